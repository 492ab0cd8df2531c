//! The terminal while it is ours: whatever ends us, it is given back as it was.

use super::state::State;
use super::view;
use ratatui::DefaultTerminal;
use ratatui::layout::{Position, Rect};
use std::io;

/// The alternate screen, in raw mode. Dropping it gives the terminal back; a panic does, in any thread,
/// before it says what it is (`ratatui::try_init()` sees to that).
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                // It may be raw already.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    pub(super) fn draw(&mut self, state: &mut State) -> io::Result<()> {
        self.terminal
            .draw(|frame| view::draw(frame, state))
            .map(drop)
    }

    /// Forgets what is drawn: the next drawing is a whole one. Not `Terminal::clear()`, which asks the
    /// terminal for its cursor: the answer would come among the keys, which another thread reads.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// How many containers are seen at once.
    pub(super) fn rows(&self) -> usize {
        self.terminal
            .size()
            .map_or(1, |size| view::rows_in(size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    /// Set for the process that is to panic.
    const PANICS: &str = "CTRFLAME_TEST_PANICS";

    fn modes(terminal: &impl AsFd) -> Termios {
        tcgetattr(terminal).expect("a terminal")
    }

    /// Runs this test program again, on a terminal, for a single test; the modes of the terminal before and
    /// after, and what was written to it.
    fn on_a_terminal(test: &str, variable: &str) -> (Termios, Termios, String) {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        let slave = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let before = modes(&pty.slave);
        let mut child = Command::new(std::env::current_exe().expect("we run"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(variable, "1")
            .env("TERM", "xterm")
            .env("RUST_BACKTRACE", "0")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("we can run again");
        child.wait().expect("our child");
        let after = modes(&pty.slave);
        // Nobody has the other end any more: what was written ends.
        drop(pty.slave);
        let mut written = Vec::new();
        let mut part = [0; 4096];
        while let Ok(len @ 1..) = nix::unistd::read(&pty.master, &mut part) {
            written.extend_from_slice(part.get(..len).unwrap_or_default());
        }
        let written = String::from_utf8_lossy(&written);
        (before, after, written.into_owned())
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read_on_it() {
        if std::env::var_os(PANICS).is_some() {
            let screen = Screen::open().expect("a terminal");
            // In another thread, so that nothing is dropped before the message.
            let panics = std::thread::spawn(|| panic!("for the test"));
            let _ = panics.join();
            drop(screen);
            return;
        }
        let test =
            "top::screen::terminal::tests::a_panic_gives_the_terminal_back_and_is_read_on_it";
        let (before, after, written) = on_a_terminal(test, PANICS);
        assert!(
            before
                .local_flags
                .contains(LocalFlags::ECHO | LocalFlags::ICANON)
        );
        assert_eq!(after, before);
        let left = written.find("\u{1b}[?1049l").expect("the other screen");
        let entered = written.find("\u{1b}[?1049h").expect("the other screen");
        let said = written.find("for the test").expect("the message");
        assert!(entered < left && left < said, "{written:?}");
        let shown = written.rfind("\u{1b}[?25h");
        assert!(shown > written.rfind("\u{1b}[?25l"), "{written:?}");
    }
}
