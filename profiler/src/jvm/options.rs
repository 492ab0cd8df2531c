//! What a JVM was started with, as far as its command line and environment tell.

/// Flags that decide whether a JVM may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JavaOptions {
    /// `-Xrs` was given: SIGQUIT is left alone, and kills.
    pub reduced_signals: bool,
    /// `-XX:+DisableAttachMechanism` is in force.
    pub attach_disabled: bool,
    /// `-XX:+PreserveFramePointer` is in force.
    pub preserve_frame_pointer: bool,
}

/// Environment variables that hold options, in the order in which a JVM takes them; the command line
/// stands between the second and the third (`java` launcher and `arguments.cpp` of OpenJDK).
const BEFORE: [&str; 2] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"];
const BEHIND: [&str; 1] = ["_JAVA_OPTIONS"];

impl JavaOptions {
    /// From `/proc/PID/cmdline` and `/proc/PID/environ`. Options files (`@file`, `-XX:Flags=`) are the
    /// container's and are not read.
    pub fn parse(cmdline: &[u8], environ: &[u8]) -> Self {
        let mut options = Self::default();
        let of_variable = |name: &str| {
            let mut variables = environ.split(|byte| *byte == 0);
            let value =
                variables.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
            value.unwrap_or_default()
        };
        for name in BEFORE {
            options.take_all(of_variable(name).split(u8::is_ascii_whitespace));
        }
        // What follows the main class or -jar is the program's.
        let mut words = cmdline.split(|byte| *byte == 0).skip(1);
        while let Some(word) = words.next() {
            match word {
                b"-cp" | b"-classpath" | b"--class-path" | b"-p" | b"--module-path"
                | b"--add-modules" | b"--add-opens" | b"--add-exports" | b"--add-reads" => {
                    words.next();
                }
                b"-jar" | b"-m" | b"--module" => break,
                [b'-' | b'@', ..] => options.take(word),
                _ => break,
            }
        }
        for name in BEHIND {
            options.take_all(of_variable(name).split(u8::is_ascii_whitespace));
        }
        options
    }

    fn take_all<'a>(&mut self, words: impl Iterator<Item = &'a [u8]>) {
        words.for_each(|word| self.take(word));
    }

    /// The last one wins.
    fn take(&mut self, word: &[u8]) {
        match word {
            b"-Xrs" | b"-XX:+ReduceSignalUsage" => self.reduced_signals = true,
            b"-XX:-ReduceSignalUsage" => self.reduced_signals = false,
            b"-XX:+DisableAttachMechanism" => self.attach_disabled = true,
            b"-XX:-DisableAttachMechanism" => self.attach_disabled = false,
            b"-XX:+PreserveFramePointer" => self.preserve_frame_pointer = true,
            b"-XX:-PreserveFramePointer" => self.preserve_frame_pointer = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(cmdline: &str, environ: &str) -> JavaOptions {
        let joined = |text: &str| text.replace(' ', "\0").into_bytes();
        JavaOptions::parse(&joined(cmdline), environ.replace('|', "\0").as_bytes())
    }

    #[test]
    fn the_last_of_a_flag_wins_and_what_follows_the_main_class_is_the_programs() {
        let found = options(
            "java -XX:+DisableAttachMechanism -cp -Xrs -XX:-DisableAttachMechanism Main -Xrs",
            "",
        );
        assert_eq!(found, JavaOptions::default());
        let found = options("java -XX:+PreserveFramePointer -Xrs -jar app.jar", "A=1");
        assert!(found.preserve_frame_pointer && found.reduced_signals);
        assert!(!found.attach_disabled);
    }

    #[test]
    fn the_environment_stands_around_the_command_line() {
        let found = options(
            "java -XX:-PreserveFramePointer Main",
            "PATH=/bin|JAVA_TOOL_OPTIONS=-Xmx1g -XX:+PreserveFramePointer|X=y",
        );
        assert!(!found.preserve_frame_pointer);
        let found = options(
            "java -XX:-DisableAttachMechanism Main",
            "_JAVA_OPTIONS=-XX:+DisableAttachMechanism|X_JAVA_OPTIONS=-Xrs",
        );
        assert!(found.attach_disabled && !found.reduced_signals);
    }
}
