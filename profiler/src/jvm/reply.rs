//! What a JVM says.

use super::JvmError;

/// The text of an answer: a decimal status, a newline, text until the end. Status 0 is success.
pub(crate) fn text_of(command: &str, answer: &[u8]) -> Result<String, JvmError> {
    let answer = String::from_utf8_lossy(answer);
    let (status, text) = answer.split_once('\n').unwrap_or((&answer, ""));
    match status.trim().parse::<i32>() {
        Ok(0) => Ok(text.to_owned()),
        Ok(_) if text.contains("Unknown diagnostic command") => {
            Err(JvmError::UnknownCommand(command.to_owned()))
        }
        Ok(_) => Err(JvmError::Refused(first_line(text))),
        Err(_) => Err(JvmError::Garbled(first_line(status))),
    }
}

/// Shown to a user: the container wrote it.
fn first_line(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    let line = text.lines().next().unwrap_or_default();
    let shown = line.chars().take(SHOWN_CHARS);
    shown
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Which JVM it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As it calls itself: `OpenJDK 64-Bit Server VM version 17.0.21.1+1-Debian-…`.
    pub machine: String,
    /// The release: 8, 11, 17 …; `None` where it does not say.
    pub release: Option<u32>,
}

impl Version {
    /// From the answer to `VM.version`: a line of the machine, a line `JDK 17.0.21.1` (`JDK 8.0_392`).
    pub fn parse(text: &str) -> Self {
        let line = |wanted: fn(&str) -> bool| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| wanted(line)).unwrap_or_default()
        };
        let jdk = line(|line| line.starts_with("JDK "));
        let number = jdk.trim_start_matches("JDK ");
        let release = number.split(['.', '_', '-', '+']).next();
        Self {
            machine: first_line(line(|line| !line.is_empty())),
            release: release.and_then(|release| release.parse().ok()),
        }
    }
}

/// Flags that are not at their default, as a JVM tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<String>);

impl Flags {
    /// From the answer to `VM.flags`: words `-XX:…` on a line, or several.
    pub fn parse(text: &str) -> Self {
        let words = text.split_whitespace();
        let flags = words.filter_map(|word| word.strip_prefix("-XX:"));
        Self(flags.map(str::to_owned).collect())
    }

    /// Whether a flag was turned on.
    pub fn is_on(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|flag| flag.strip_prefix('+') == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_text() {
        let of = |answer: &[u8]| text_of("Compiler.perfmap", answer);
        assert_eq!(of(b"0\nDone.\n"), Ok("Done.\n".into()));
        assert_eq!(of(b"0"), Ok(String::new()));
        assert_eq!(
            of(b"-1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n"),
            Err(JvmError::UnknownCommand("Compiler.perfmap".into()))
        );
        assert_eq!(
            of(b"100\nno \x1b[31msuch thing\nmore"),
            Err(JvmError::Refused("no ?[31msuch thing".into()))
        );
        assert!(matches!(
            of(b"HTTP/1.1 400 Bad Request\r\n"),
            Err(JvmError::Garbled(_))
        ));
        assert!(matches!(of(b""), Err(JvmError::Garbled(_))));
    }

    #[test]
    fn the_release_is_the_first_number_of_all_numberings() {
        let release = |text: &str| Version::parse(text).release;
        let new = "OpenJDK 64-Bit Server VM version 17.0.21.1+1-Debian-1deb12u1\nJDK 17.0.21.1\n";
        assert_eq!(release(new), Some(17));
        assert!(
            Version::parse(new)
                .machine
                .starts_with("OpenJDK 64-Bit Server VM version 17")
        );
        assert_eq!(
            release("OpenJDK 64-Bit Server VM version 25.392-b08\nJDK 8.0_392\n"),
            Some(8)
        );
        assert_eq!(
            release("OpenJDK 64-Bit Server VM version 25+36-LTS\nJDK 25\n"),
            Some(25)
        );
        assert_eq!(release(""), None);
    }

    #[test]
    fn flags_are_words_wherever_they_stand() {
        let flags =
            Flags::parse("-XX:CICompilerCount=2 -XX:+PreserveFramePointer\n-XX:-UseG1GC \n");
        assert!(flags.is_on("PreserveFramePointer"));
        assert!(!flags.is_on("UseG1GC") && !flags.is_on("CICompilerCount"));
    }
}
