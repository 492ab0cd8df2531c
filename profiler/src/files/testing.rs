//! For tests: real containers made by `unshare`, and skipping out loud without the right to make them.

use super::FileError;
use crate::HostPid;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether we are root; if not, says so on stderr, or fails where `CTRFLAME_REQUIRE` names `root`.
pub(super) fn is_root_or_skips(claim: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    skip(claim, "root");
    false
}

/// Says on the real stderr, which libtest does not hide, what `claim` lacks.
pub(super) fn skip(claim: &str, lacking: &str) {
    let required = std::env::var("CTRFLAME_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|need| need.trim() == lacking),
        "CTRFLAME_REQUIRE: `{claim}` needs {lacking}"
    );
    let _ = writeln!(std::io::stderr(), "skipped `{claim}`: needs {lacking}");
}

/// Waits for `condition`, at most ten seconds.
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process in a mount namespace of its own; killed when dropped.
pub(super) struct Sandbox {
    child: Child,
    _stdin: ChildStdin,
}

impl Sandbox {
    /// Runs a shell script in a new mount namespace, and returns when what the script became has
    /// echoed a line: `exec cat`, or `read line; echo "$line"; read line`.
    pub(super) fn start(script: &str) -> Self {
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) is installed");
        let mut stdin = child.stdin.take().expect("piped above");
        let stdout = child.stdout.take().expect("piped above");
        let written = stdin.write_all(b"ready\n");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("reads");
        assert_eq!(
            line, "ready\n",
            "the sandbox did not start (write: {written:?})"
        );
        Self {
            child,
            _stdin: stdin,
        }
    }

    /// A container with a root of its own, pivoted to, on a tmpfs, and another tmpfs on its `/tmp`.
    /// `inside` runs there.
    pub(super) fn container(inside: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Everything is mounted in the namespace: the directory itself stays empty.
        Self::start(&format!(
            r#"mount -t tmpfs tmpfs '{dir}'
            cd '{dir}'
            mkdir usr tmp proc etc old
            for d in bin sbin lib lib64; do
                if [ -L /$d ]; then cp -P /$d .; elif [ -d /$d ]; then mkdir $d; mount --bind /$d $d; fi
            done
            mount --bind /usr usr
            mount -t proc proc proc
            mount -t tmpfs tmpfs tmp
            echo container > etc/name
            ln -s /etc/name etc/absolute
            echo nested > tmp/nested
            pivot_root . old
            cd /
            umount -l old
            exec chroot . sh -ec '{inside}'"#,
            dir = dir.path().display(),
        ))
    }

    pub(super) fn pid(&self) -> HostPid {
        HostPid(self.child.id())
    }

    /// Kills the process and returns when it is no more.
    pub(super) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where the process has mapped `path` (as it sees it) executable.
    pub(super) fn text_of(&self, path: &str) -> Range<u64> {
        let maps =
            std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("maps");
        let line = maps
            .lines()
            .find(|line| line.contains(" r-xp ") && line.ends_with(path))
            .unwrap_or_else(|| panic!("no text of {path} in {maps}"));
        let (start, end) = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'))
            .expect("a line of maps begins with a range");
        let hex = |digits| u64::from_str_radix(digits, 16).expect("hexadecimal");
        hex(start)..hex(end)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The whole of a file below a root, for files that are there.
pub(super) fn text(held: Result<super::HeldFile, FileError>) -> Result<String, FileError> {
    let bytes = held?.open_regular(1 << 30)?.read_all()?;
    Ok(String::from_utf8(bytes).expect("the tests write text"))
}
