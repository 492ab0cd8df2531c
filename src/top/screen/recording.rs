//! A recording of the selected container: this very program, as a process of its own.

use super::Happened;
use crate::top::column::name;
use crate::top::row::Row;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Of a container's name in a file's.
const NAME_CHARS_MAX: usize = 48;

/// One that runs, or has ended and was not asked for its status.
pub(super) struct Recording {
    /// Whom it is of.
    pub(super) tag: String,
    child: Child,
    picture: PathBuf,
    began: Instant,
    lasts: Duration,
}

impl Recording {
    /// Starts one; `ended` is told all that it said, from another thread, when it has said its last.
    pub(super) fn start(
        row: &Row,
        lasts: Duration,
        dir: &Path,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> io::Result<Self> {
        let picture = dir.join(picture_name(&name(row), SystemTime::now()));
        let container = &row.container;
        // A list is split at commas.
        let what = match container.cgroup_path.contains(',') {
            true => container.reference.id.to_string(),
            false => container.cgroup_path.clone(),
        };
        let mut child = Command::new("/proc/self/exe")
            .args(["record", "--container", &what, "--duration"])
            .arg(format!("{}s", lasts.as_secs_f64()))
            .arg("--output")
            .arg(&picture)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        thread::Builder::new()
            .name("recording".into())
            .spawn(move || {
                let mut said = Vec::new();
                if let Some(mut stderr) = stderr {
                    let _ = stderr.read_to_end(&mut said);
                }
                ended(String::from_utf8_lossy(&said).into_owned());
            })?;
        Ok(Self {
            tag: row.tag.clone(),
            child,
            picture,
            began: Instant::now(),
            lasts,
        })
    }

    /// What is said of it while it runs.
    pub(super) fn said(&self) -> String {
        let left = self.lasts.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            format!("drawing {}", self.tag)
        } else {
            format!("recording {}, {} s left", self.tag, left.as_secs() + 1)
        }
    }

    /// What it gave, when it has said its last.
    pub(super) fn result(mut self, said: &str) -> String {
        let is_well = self.child.wait().is_ok_and(|status| status.success());
        let picture = self.picture.display();
        if is_well {
            let closing = said.lines().last().unwrap_or_default();
            return told(&picture.to_string(), closing, &self.tag);
        }
        let is_error = |line: &&str| line.starts_with("ctrflame: error: ");
        let error = said.lines().find(is_error);
        let error = error.or_else(|| said.lines().last()).unwrap_or_default();
        format!("{} was not recorded: {error}", self.tag)
    }

    /// Lets it draw what it has so far, and waits for that; what it gave.
    pub(super) fn end_now(self, happened: &Receiver<Happened>) -> String {
        // It was not waited for yet, so that the pid is its own.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT);
        for happened in happened {
            if let Happened::Recorded(said) = happened {
                return self.result(&said);
            }
        }
        self.result("")
    }
}

/// Where the picture is and what is in it, of the closing line: its last part first, for that is the verdict,
/// and a terminal may be narrow.
fn told(picture: &str, closing: &str, tag: &str) -> String {
    let numbers = closing.split(" → ").next().unwrap_or_default();
    match numbers.rsplit_once(" · ") {
        Some((others, last)) => format!("{picture} · {last} · {others} · {tag}"),
        None => format!("{picture} · {numbers} · {tag}"),
    }
}

/// `ctrflame-web-20261123-094112.svg`, in UTC.
fn picture_name(container: &str, now: SystemTime) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = container
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(NAME_CHARS_MAX)
        .collect();
    let now = humantime::format_rfc3339_seconds(now).to_string();
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    let (date, time) = now.split_once('T').unwrap_or((&now, ""));
    format!("ctrflame-{plain}-{}-{}.svg", digits(date), digits(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pictures_name_has_nothing_of_a_containers_that_a_shell_or_a_path_would_read() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        assert_eq!(
            picture_name("shop/../a b\n$x", at),
            "ctrflame-shop-..-a-b--x-19700102-000000.svg"
        );
        let long = picture_name(&"x".repeat(500), at);
        assert!(long.len() < 100, "{long}");
    }

    #[test]
    fn the_path_and_the_verdict_are_what_is_seen_on_a_narrow_terminal() {
        let closing =
            "59 samples · 0 lost · 1 container · cap throttled in 20 of 20 periods → x.svg";
        assert_eq!(
            told("./x.svg", closing, "docker:web"),
            "./x.svg · cap throttled in 20 of 20 periods · 59 samples · 0 lost · 1 container · docker:web"
        );
    }
}
