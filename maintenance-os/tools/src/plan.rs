//! What a step is going to do, as data: a list of actions that can be read, compared and printed before
//! anything happens. Not how it is done; that is [`crate::runner`].
//!
//! ```text
//!   facts + recipe ──▶ Plan { actions, undo } ──▶ transcript (`--plan`, goldens)
//!                                            └──▶ Runner::run: actions in order, then undo in any case
//! ```

use std::fmt::Write as _;
use std::time::Duration;

/// Deadline of an ordinary program: metadata work on one disk takes seconds, not minutes.
pub const SHORT: Duration = Duration::from_secs(120);
/// Deadline of programs that touch much of a disk (mkfs on huge arrays, discard) or run scripts of the image.
pub const LONG: Duration = Duration::from_secs(1800);

/// Actions in order, and what must be undone afterwards whether they worked or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in order; the first that does not work ends the step.
    pub actions: Vec<Action>,
    /// Done afterwards in any case, each one even if the one before did not work.
    pub undo: Vec<Action>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A sentence for the log.
    Say(String),
    /// A program to run.
    Run(Command),
    /// Bytes to overwrite with zeros, flushed to the medium before the next action.
    Zero {
        /// Block device (or file).
        device: String,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A file to write whole, with its mode.
    Write {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The contents.
        text: String,
    },
    /// A path that must appear.
    Await {
        /// The path.
        path: String,
        /// Longest wait in seconds.
        seconds: u64,
    },
}

/// A program with its arguments and what is known about how it may behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Name, found in `PATH`.
    pub program: String,
    /// Arguments; never a secret.
    pub args: Vec<String>,
    /// Text for its standard input.
    pub stdin: Option<String>,
    /// It is killed after this time.
    pub deadline: Duration,
    /// How often it is tried in all; above 1 only for what udev may get in the way of.
    pub tries: u32,
    /// If set, a failure is only a warning, and this says why.
    pub tolerated: Option<String>,
}

impl Command {
    /// A program without arguments, tried once within [`SHORT`].
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            stdin: None,
            deadline: SHORT,
            tries: 1,
            tolerated: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how often it is tried.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// Makes a failure a warning, and says why.
    #[must_use]
    pub fn tolerate(mut self, why: &str) -> Self {
        self.tolerated = Some(why.to_owned());
        self
    }

    /// The command as a line of shell.
    pub fn line(&self) -> String {
        let mut line = quote(&self.program);
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        line
    }
}

/// `program arg arg…` as an action.
pub fn run(program: &str, args: &[&str]) -> Action {
    Action::Run(Command::new(program).args(args.iter().copied()))
}

impl Plan {
    /// The plan as a shell transcript: what an operator would type to get the same result.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for action in &self.actions {
            action.transcribe(&mut text);
        }
        if !self.undo.is_empty() {
            text.push_str("# afterwards, in any case\n");
            for action in &self.undo {
                action.transcribe(&mut text);
            }
        }
        text
    }
}

impl Action {
    /// Appends this action to a transcript.
    pub fn transcribe(&self, text: &mut String) {
        // Writing to a String cannot go wrong.
        let _ = match self {
            Self::Say(words) => writeln!(text, "# {words}"),
            Self::Run(command) => {
                let end = match (&command.stdin, &command.tolerated) {
                    (Some(stdin), _) => format!(" <<'EOF'\n{}\nEOF", stdin.trim_end()),
                    (None, Some(why)) => format!(" || true  # {why}"),
                    (None, None) => String::new(),
                };
                writeln!(text, "{}{end}", command.line())
            }
            Self::Zero { device, offset, length } => writeln!(
                text,
                "dd if=/dev/zero of={} oflag=seek_bytes iflag=count_bytes seek={offset} count={length} conv=notrunc,fsync",
                quote(device)
            ),
            Self::Write { path, mode, text: contents } => writeln!(
                text,
                "install -D -m {mode:04o} /dev/stdin {} <<'EOF'\n{}EOF",
                quote(path),
                if contents.is_empty() || contents.ends_with('\n') {
                    contents.clone()
                } else {
                    format!("{contents}\n")
                }
            ),
            Self::Await { path, seconds } => {
                let path = quote(path);
                writeln!(text, "timeout {seconds} sh -c 'until test -e {path}; do sleep 0.1; done'")
            }
        };
    }
}

/// Quotes a word for a shell, leaving plain words alone.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@=+,-%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_can_be_pasted_into_a_shell() {
        let plan = Plan {
            actions: vec![
                Action::Say("first words".into()),
                run("mkfs.ext4", &["-L", "my root", "/dev/vda2"]),
                Action::Zero { device: "/dev/vda".into(), offset: 0, length: 440 },
                Action::Run(Command::new("umount").args(["it's"]).tolerate("may be gone")),
                Action::Write { path: "/mnt/etc/fstab".into(), mode: 0o644, text: "a b\n".into() },
            ],
            undo: vec![run("umount", &["/mnt"])],
        };
        insta::assert_snapshot!(plan.transcript());
    }
}
