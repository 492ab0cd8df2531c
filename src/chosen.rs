//! Which containers of a recording the user means: asked for each place as the samples come to it, checked
//! once all of it is read.

use profiler::container::{Container, ContainerError, Names, Recorded, is_meant};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use symbolizer::{Place, Selected};

/// What the user wrote, and what of it the recording has.
pub(crate) struct Chosen {
    names: Names,
    /// Whose samples are wanted; everybody's where it is empty.
    wanted: Vec<String>,
    /// Whose files are elsewhere, in the order of their directories.
    sysroots: Vec<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By cgroup path.
    by_path: HashMap<String, Meant>,
    recorded: Recorded,
}

#[derive(Clone)]
struct Meant {
    selected: Selected,
    sysroots: Vec<usize>,
}

impl Chosen {
    pub(crate) fn new(names: Names, wanted: Vec<String>, sysroots: Vec<String>) -> Self {
        Self {
            names,
            wanted,
            sysroots,
            seen: Mutex::default(),
        }
    }

    /// Whether the samples of a place are wanted.
    pub(crate) fn select(&self, place: &Place<'_>) -> Selected {
        self.meant(place).selected
    }

    /// Which of the sysroots are of this place's container, by their index.
    pub(crate) fn sysroots_of(&self, place: &Place<'_>) -> Vec<usize> {
        self.meant(place).sysroots
    }

    fn meant(&self, place: &Place<'_>) -> Meant {
        // Without a cgroup the picture calls it the host's.
        let path = place.cgroup_path.unwrap_or_default();
        let mut seen = self.lock();
        if let Some(known) = seen.by_path.get(path) {
            return known.clone();
        }
        let container = Container::identify(path, &self.names);
        let is = |what: &String| is_meant(what, path, container.as_ref());
        let selected = if self.wanted.is_empty() || self.wanted.iter().any(is) {
            Selected::Yes
        } else {
            Selected::No
        };
        let sysroots = self.sysroots.iter().enumerate();
        let meant = Meant {
            selected,
            sysroots: sysroots
                .filter(|(_, what)| is(what))
                .map(|(index, _)| index)
                .collect(),
        };
        seen.recorded.add(path, container.as_ref());
        seen.by_path.insert(path.to_owned(), meant.clone());
        meant
    }

    /// Whether all that the user wrote means something, and only one.
    pub(crate) fn check(&self) -> Result<(), ContainerError> {
        let seen = self.lock();
        if seen.by_path.is_empty() {
            // Nothing was asked: no sample is left after the other flags, or there is none.
            return Ok(());
        }
        let mut all = self.wanted.iter().chain(&self.sysroots);
        all.try_for_each(|what| seen.recorded.check(what))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // What is known is as good after a panic as before.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn place(cgroup_path: Option<&str>) -> Place<'_> {
        Place {
            pid: None,
            cgroup_path,
            proc_cgroups: None,
            root: None,
        }
    }

    #[test]
    fn a_place_is_selected_by_what_it_is_and_a_wish_that_nothing_met_is_an_error() {
        let web = format!("/docker/{}", "ab".repeat(32));
        let names = || Names::load(Path::new("/no/such/root"));
        let chosen = Chosen::new(
            names(),
            vec!["abab".into()],
            vec!["host".into(), "/docker".into()],
        );
        assert_eq!(chosen.select(&place(Some(&web))), Selected::Yes);
        assert_eq!(chosen.sysroots_of(&place(Some(&web))), [1]);
        assert_eq!(chosen.select(&place(None)), Selected::No);
        assert_eq!(chosen.sysroots_of(&place(None)), [0]);
        assert_eq!(chosen.check(), Ok(()));

        let missed = Chosen::new(names(), vec!["nosuch".into()], vec![]);
        assert_eq!(missed.select(&place(Some(&web))), Selected::No);
        let error = missed.check().expect_err("nothing is called so");
        assert!(
            error.hint().contains("docker:abababababab"),
            "{}",
            error.hint()
        );
        let all = Chosen::new(names(), vec![], vec![]);
        assert_eq!(all.select(&place(None)), Selected::Yes);
    }
}
