//! Which kernel was recorded, and whose symbols name it: those that the user gave, this kernel's, those that
//! perf kept.

use crate::kallsyms::{KernelText, scan};
use crate::lookup::LookupError;
use profiler::BuildId;
use profiler::live;
use profiler::perfdata::About;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use symbolizer::{Kallsyms, Lookup, Tally, kernel_build_id};

/// Largest text of kernel symbols that is read: some ten times that of a large kernel.
const LIMIT_BYTES: u64 = 128 << 20;

/// What a recording tells of its kernel.
pub(crate) struct RecordedKernel<'a> {
    release: Option<&'a str>,
    /// The recorded host's name, where it is not this one's.
    other_host: Option<&'a str>,
    build_id: Option<BuildId>,
    /// A symbol and its address: `_text`.
    text: Option<(&'a str, u64)>,
    /// The time of its last sample, where the header has it.
    until_ns: Option<u64>,
}

/// The host that was recorded, where it is told and is not this one.
pub(crate) fn other_host(about: &About) -> Option<&str> {
    let recorded = about.hostname.as_deref();
    recorded.filter(|recorded| live::hostname().is_some_and(|own| own != *recorded))
}

impl<'a> RecordedKernel<'a> {
    /// `tally` has read the whole recording.
    pub(crate) fn new(about: &'a About, tally: &'a Tally) -> Self {
        // Of the clocks that can be chosen, those that begin with the boot and stand still with the machine
        // (linux/time.h); perf's own is another of the kind.
        let is_since_boot = matches!(about.clock_id, None | Some(1 | 4));
        Self {
            release: about.os_release.as_deref(),
            other_host: other_host(about),
            build_id: tally
                .kernel_build_id()
                .or(kernel_build_id(&about.build_ids)),
            text: tally.kernel_text(),
            until_ns: about
                .sample_time_ns
                .filter(|_| is_since_boot)
                .map(|(_, last)| last),
        }
    }

    /// Its build id, where the recording tells it.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        self.build_id
    }

    /// A symbol and where it lay, where the recording tells it.
    pub(crate) fn text(&self) -> Option<(&'a str, u64)> {
        self.text
    }

    /// Whether the recording is of a host of another name.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.other_host.is_some()
    }

    /// Looks whether it is the one that runs here, since its boot.
    pub(crate) fn look(&self) -> Running {
        let not = |why| Running {
            is: Err(why),
            kallsyms: KernelText::of(std::io::empty()),
        };
        let this_build = match self.check_build() {
            Ok(this_build) => this_build,
            Err(why) => return not(why),
        };
        match KernelText::running() {
            Ok(mut kallsyms) => Running {
                is: self.check_place(this_build, &mut kallsyms),
                kallsyms,
            },
            Err(error) => not(NotRunning::AnotherKernel(format!(
                "cannot read /proc/kallsyms: {error}"
            ))),
        }
    }

    /// Whether it can be the build that runs here, and whether it is known to be.
    fn check_build(&self) -> Result<ThisBuild, NotRunning> {
        let another = |why: String| Err(NotRunning::AnotherKernel(why));
        let release = match live::kernel_release() {
            Ok(release) => release,
            Err(error) => return another(format!("cannot tell this kernel: {error}")),
        };
        match self.release {
            Some(recorded) if recorded != release => {
                return another(format!("recorded on kernel {recorded}, this is {release}"));
            }
            _ => {}
        }
        match (self.build_id, live::kernel_build_id()) {
            (Some(recorded), Some(own)) if !recorded.matches(&own) => another(format!(
                "recorded on a kernel with build id {recorded}, this one's is {own}"
            )),
            (Some(_), Some(_)) => Ok(ThisBuild::Known),
            _ => Ok(ThisBuild::Perhaps),
        }
    }

    /// Whether it lies where this host's kernel does, whose kallsyms these are, and is not of the future.
    fn check_place(
        &self,
        this_build: ThisBuild,
        kallsyms: &mut KernelText,
    ) -> Result<(), NotRunning> {
        let another = |why: String| Err(NotRunning::AnotherKernel(why));
        let is_this_build = this_build == ThisBuild::Known;
        // perf's clock begins with the boot: nothing was recorded later than now, or a little.
        if let Some(until_ns) = self.until_ns {
            let now_ns = live::monotonic_ns();
            if until_ns > now_ns + now_ns / 2_000 + 1_000_000_000 {
                return Err(NotRunning::AnotherBoot(None));
            }
        }
        if let Some(host) = self.other_host {
            // The same build of the kernel may run there; its modules lie where they were loaded.
            let found = self.text.and_then(|(symbol, recorded)| {
                let found = kallsyms.address_of(symbol).filter(|found| *found != 0)?;
                is_this_build.then(|| recorded.wrapping_sub(found))
            });
            return match found {
                Some(by) => Err(NotRunning::AnotherBoot(Some(by))),
                None => another(format!("recorded on host {host}")),
            };
        }
        let Some((symbol, recorded)) = self.text else {
            return if is_this_build {
                Ok(())
            } else {
                another("the recording does not tell where its kernel lay".into())
            };
        };
        match kallsyms.address_of(symbol) {
            // Hidden from us: whoever reads the symbols says so.
            Some(0) | None if is_this_build => Ok(()),
            Some(found) if found == recorded => Ok(()),
            Some(found) if is_this_build => {
                Err(NotRunning::AnotherBoot(Some(recorded.wrapping_sub(found))))
            }
            Some(0) => another("this host's /proc/kallsyms shows no addresses".into()),
            _ => another("recorded on another kernel or before this boot".into()),
        }
    }

    /// Symbols that name it, or why there are none. A file that the user gave and that is of another
    /// kernel is an error.
    pub(crate) fn kallsyms(
        &self,
        given: Option<&Path>,
        running: Running,
        lookup: &Lookup,
    ) -> Result<Result<Kallsyms, String>, LookupError> {
        match given {
            Some(path) => self.given(path).map(Ok),
            None => Ok(match running.into_symbols() {
                Ok(symbols) => {
                    let kept = self.kept(lookup).map(|kept| Kallsyms {
                        code_from: symbols.code_from,
                        ..kept
                    });
                    Ok(Kallsyms {
                        copy: kept.map(Box::new),
                        ..symbols
                    })
                }
                Err(why) => self.kept(lookup).ok_or(why),
            }),
        }
    }

    fn given(&self, path: &Path) -> Result<Kallsyms, LookupError> {
        let failed = |source| LookupError::Place {
            flag: "--kallsyms",
            path: path.to_owned(),
            source,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        file.take(LIMIT_BYTES)
            .read_to_end(&mut text)
            .map_err(failed)?;
        let scanned = scan(&text, self.text.map_or("_text", |(symbol, _)| symbol));
        let path = || path.to_owned();
        if scanned.symbols == 0 {
            return Err(LookupError::NoKernel { path: path() });
        }
        if scanned.at_zero == scanned.symbols {
            return Err(LookupError::KernelHidden {
                path: path(),
                symbols: scanned.symbols,
            });
        }
        let unchecked = match (self.text, scanned.found) {
            (Some((symbol, recorded)), Some(found)) if recorded != found => {
                return Err(LookupError::AnotherKernel {
                    path: path(),
                    symbol: symbol.to_owned(),
                    found,
                    recorded,
                });
            }
            (Some(_), Some(_)) => None,
            (Some((symbol, _)), None) => Some(format!(
                "{} has no {symbol} to compare with the recorded kernel's",
                path().display()
            )),
            (None, _) => Some("the recording does not tell where its kernel lay".to_owned()),
        };
        Ok(Kallsyms {
            unchecked,
            ..Kallsyms::recorded(std::io::Cursor::new(text))
        })
    }

    /// What perf kept of the kernel with this build id: of whichever boot it saw first.
    fn kept(&self, lookup: &Lookup) -> Option<Kallsyms> {
        let (symbol, recorded) = self.text?;
        let mut text = KernelText::of(lookup.cached_kallsyms(&self.build_id?)?);
        let found = text.address_of(symbol).filter(|found| *found != 0)?;
        Some(Kallsyms {
            moved_by: Some(recorded.wrapping_sub(found)),
            ..Kallsyms::recorded(text.into_reader())
        })
    }
}

/// What this host's kernel is to the recorded one.
pub(crate) struct Running {
    is: Result<(), NotRunning>,
    kallsyms: KernelText,
}

impl Running {
    /// Whether it is the recorded one, since the boot that was recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is.is_ok()
    }

    /// What `/proc/kallsyms` says, where it was looked at.
    pub(crate) fn kallsyms(&mut self) -> &mut KernelText {
        &mut self.kallsyms
    }

    fn into_symbols(self) -> Result<Kallsyms, String> {
        let moved_by = match self.is {
            Ok(()) => None,
            Err(NotRunning::AnotherBoot(Some(by))) => Some(by),
            Err(NotRunning::AnotherBoot(None)) => return Err("recorded before this boot".into()),
            Err(NotRunning::AnotherKernel(why)) => return Err(why),
        };
        Ok(Kallsyms {
            moved_by,
            code_from: live::kernel_code_from(),
            ..Kallsyms::recorded(self.kallsyms.into_reader())
        })
    }
}

/// Whether the recorded kernel is the build that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThisBuild {
    /// By its build id.
    Known,
    /// Nothing says otherwise.
    Perhaps,
}

/// Why this host's kernel symbols cannot be taken as they are.
#[derive(Debug, PartialEq, Eq)]
enum NotRunning {
    /// It is the same build, and lay this much further up (wrapping), where that is known.
    AnotherBoot(Option<u64>),
    /// Another kernel, or nothing tells.
    AnotherKernel(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::path::PathBuf;
    use symbolizer::LookupPlaces;

    const TEXT: u64 = 0xffff_ffff_8100_0000;

    fn kernel(text: Option<(&str, u64)>) -> RecordedKernel<'_> {
        RecordedKernel {
            release: None,
            other_host: None,
            build_id: None,
            text,
            until_ns: None,
        }
    }

    fn kallsyms(text: u64) -> Vec<u8> {
        format!("0000000000000000 A zero\n{text:016x} T _text\nnonsense\n{text:016x} T _text\n")
            .into_bytes()
    }

    #[test]
    fn this_kernel_is_the_recorded_one_only_if_everything_that_is_known_agrees() {
        let text = Some(("_text", TEXT));
        let release = live::kernel_release().expect("/proc is mounted");
        let other_id = BuildId::new(&[7; 20]);
        let check = |kernel: &RecordedKernel<'_>, at| {
            let build = kernel.check_build()?;
            kernel.check_place(build, &mut KernelText::of(Cursor::new(kallsyms(at))))
        };
        assert_eq!(check(&kernel(text), TEXT), Ok(()));
        let same_release = RecordedKernel {
            release: Some(&release),
            ..kernel(text)
        };
        assert_eq!(check(&same_release, TEXT), Ok(()));
        for (other, at) in [
            (kernel(text), TEXT + 0x1000),
            (kernel(text), 0),
            (kernel(None), TEXT),
            (
                RecordedKernel {
                    release: Some("3.8.11"),
                    ..kernel(text)
                },
                TEXT,
            ),
            (
                RecordedKernel {
                    other_host: Some("elsewhere"),
                    ..kernel(text)
                },
                TEXT,
            ),
        ] {
            let refused = check(&other, at);
            assert!(
                matches!(refused, Err(NotRunning::AnotherKernel(_))),
                "{refused:?} at {at:x}"
            );
        }
        let later = RecordedKernel {
            until_ns: Some(u64::MAX),
            ..kernel(text)
        };
        assert_eq!(check(&later, TEXT), Err(NotRunning::AnotherBoot(None)));
        let Some(own_id) = live::kernel_build_id() else {
            return; // no /sys here
        };
        let with_id = |id, text| RecordedKernel {
            build_id: id,
            ..kernel(text)
        };
        assert!(check(&with_id(other_id, text), TEXT).is_err());
        assert_eq!(check(&with_id(Some(own_id), None), TEXT), Ok(()));
        assert_eq!(
            check(&with_id(Some(own_id), text), TEXT - 0x1000),
            Err(NotRunning::AnotherBoot(Some(0x1000)))
        );
    }

    #[test]
    fn what_perf_kept_of_the_kernel_is_moved_to_where_it_lay() {
        let dir = tempfile::tempdir().expect("a directory");
        let id = BuildId::new(&[0xab; 20]).expect("twenty bytes");
        let kept = dir.path().join(".build-id/ab").join("ab".repeat(19));
        std::fs::create_dir_all(&kept).expect("ours");
        let lookup = Lookup::open(LookupPlaces {
            build_id_dirs: vec![dir.path().to_owned()],
            ..LookupPlaces::default()
        })
        .expect("a cache");
        let recorded = RecordedKernel {
            build_id: Some(id),
            ..kernel(Some(("_text", TEXT)))
        };
        assert!(recorded.kept(&lookup).is_none());
        std::fs::write(kept.join("kallsyms"), kallsyms(TEXT + 0x20_0000)).expect("written");
        let found = recorded.kept(&lookup).expect("it is there");
        assert_eq!(found.moved_by, Some(0x20_0000_u64.wrapping_neg()));
        // Hidden addresses say nothing.
        std::fs::write(kept.join("kallsyms"), kallsyms(0)).expect("written");
        assert!(recorded.kept(&lookup).is_none());
        assert!(kernel(Some(("_text", TEXT))).kept(&lookup).is_none());
    }

    #[test]
    fn given_symbols_that_cannot_be_compared_are_used_and_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let path: PathBuf = dir.path().join("kallsyms");
        std::fs::write(&path, kallsyms(TEXT)).expect("written");
        let unchecked = |text| {
            let given = kernel(text).given(&path);
            given.map(|given| given.unchecked.is_some()).ok()
        };
        assert_eq!(unchecked(Some(("_text", TEXT))), Some(false));
        assert_eq!(unchecked(Some(("_stext", TEXT))), Some(true));
        assert_eq!(unchecked(None), Some(true));
        assert_eq!(unchecked(Some(("_text", TEXT + 1))), None);
        let gone = kernel(None).given(Path::new("/no/such/file"));
        assert!(matches!(gone, Err(LookupError::Place { .. })));
    }
}
