//! Why no container was found for what the user wrote.

use super::label::Container;
use std::fmt;
use std::path::PathBuf;

/// How many candidates a hint lists.
const MAX_LISTED: usize = 12;

/// A container that could have been meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Its label; container-chosen text.
    pub tag: String,
    /// Its cgroup.
    pub cgroup_path: String,
}

impl From<&Container> for Candidate {
    fn from(container: &Container) -> Self {
        Self {
            tag: container.tag(),
            cgroup_path: container.cgroup_path.clone(),
        }
    }
}

impl fmt::Display for Candidate {
    /// One line, safe for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", shown(&self.tag), shown(&self.cgroup_path))
    }
}

/// What was asked for is not one container.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerError {
    /// Nothing that runs matches.
    #[error("no running container and no cgroup `{}` under {}", shown(what), searched.display())]
    NotFound {
        /// As the user wrote it.
        what: String,
        /// The mount point of the hierarchy.
        searched: PathBuf,
        /// Every container that runs.
        candidates: Vec<Candidate>,
    },
    /// Several match.
    #[error("`{}` means {} running containers", shown(what), candidates.len())]
    Ambiguous {
        /// As the user wrote it.
        what: String,
        /// Those that match.
        candidates: Vec<Candidate>,
    },
    /// Nothing in a recording matches.
    #[error("no container and no cgroup `{}` in the recording", shown(what))]
    NotRecorded {
        /// As the user wrote it.
        what: String,
        /// Every container that was sampled.
        candidates: Vec<Candidate>,
    },
    /// Several of a recording match.
    #[error("`{}` means {} containers of the recording", shown(what), candidates.len())]
    AmbiguousRecorded {
        /// As the user wrote it.
        what: String,
        /// Those that match.
        candidates: Vec<Candidate>,
    },
}

impl ContainerError {
    /// What the user can do: the candidates, one a line, safe for a terminal.
    pub fn hint(&self) -> String {
        match self {
            ContainerError::NotFound { candidates, .. } if candidates.is_empty() => {
                "no container runs here: check with `docker ps`, `podman ps` or `crictl ps`"
                    .to_owned()
            }
            ContainerError::NotFound { candidates, .. } => listed(
                "give a name, at least 3 digits of an id, a pod, or a cgroup; running are",
                candidates,
            ),
            ContainerError::NotRecorded { candidates, .. } if candidates.is_empty() => {
                "no sample in it is of a container: `perf record --all-cgroups` tells the cgroups; \
                 what is in none is `host`"
                    .to_owned()
            }
            ContainerError::NotRecorded { candidates, .. } => listed(
                "give a name, at least 3 digits of an id, a pod, a cgroup, or `host`; sampled were",
                candidates,
            ),
            ContainerError::Ambiguous { candidates, .. }
            | ContainerError::AmbiguousRecorded { candidates, .. } => listed(
                "give more digits, `namespace/pod/container`, or the cgroup, of",
                candidates,
            ),
        }
    }
}

fn listed(advice: &str, candidates: &[Candidate]) -> String {
    let mut text = format!("{advice}:");
    for candidate in candidates.iter().take(MAX_LISTED) {
        text.push_str(&format!("\n  {candidate}"));
    }
    match candidates.len().saturating_sub(MAX_LISTED) {
        0 => text,
        more => format!("{text}\n  and {more} more"),
    }
}

/// Control characters and those that turn the writing direction, as escapes.
fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(tag: &str) -> Candidate {
        Candidate {
            tag: tag.to_owned(),
            cgroup_path: "/x".to_owned(),
        }
    }

    #[test]
    fn an_error_is_one_line_and_its_hint_lists_the_candidates() {
        let missing = ContainerError::NotFound {
            what: "we\x1b[2Jb\n".into(),
            searched: "/sys/fs/cgroup".into(),
            candidates: vec![candidate("docker:a\u{202e}b\r (1)"); 14],
        };
        assert_eq!(
            missing.to_string(),
            r"no running container and no cgroup `we\u{1b}[2Jb\u{a}` under /sys/fs/cgroup"
        );
        let hint = missing.hint();
        assert_eq!(hint.lines().count(), 14);
        assert_eq!(
            hint.lines().nth(1),
            Some(r"  docker:a\u{202e}b\u{d} (1)  /x")
        );
        assert_eq!(hint.lines().last(), Some("  and 2 more"));
        let several = ContainerError::Ambiguous {
            what: "web".into(),
            candidates: vec![candidate("a"), candidate("b")],
        };
        assert_eq!(several.to_string(), "`web` means 2 running containers");
        assert!(several.hint().ends_with("of:\n  a  /x\n  b  /x"));
        let none = ContainerError::NotFound {
            what: "x".into(),
            searched: "/c".into(),
            candidates: vec![],
        };
        assert!(none.hint().contains("docker ps"));
    }
}
