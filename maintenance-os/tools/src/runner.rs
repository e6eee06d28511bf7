//! The one place where a plan becomes deeds: programs run, bytes are zeroed, files are written.
//! Decides nothing. [`ProcessRunner`] is real; tests use [`RecordingRunner`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Action, Command, Plan};
use crate::process::{self, ProcessError};

/// Pause between two tries of a command that udev may have got in the way of.
const RETRY_PAUSE: Duration = Duration::from_millis(700);
/// How often an awaited path is looked for.
const AWAIT_PAUSE: Duration = Duration::from_millis(50);
/// Zeros written per call.
const ZERO_CHUNK: usize = 64 << 10;

/// Runs plans and answers questions by running programs.
pub trait Runner {
    /// Runs a program and returns its standard output.
    fn output(&mut self, command: &Command) -> Result<String, RunError>;

    /// Does one action that is not a program; see [`Action`].
    fn act(&mut self, action: &Action) -> Result<(), RunError>;

    /// Says a sentence to whoever watches.
    fn say(&mut self, words: &str);

    /// Runs a whole plan: the actions up to the first that does not work, then all of `undo`.
    fn run(&mut self, plan: &Plan) -> Result<(), RunError> {
        let outcome = self.run_actions(&plan.actions);
        let undone = self.run_undo(&plan.undo);
        outcome.and(undone)
    }

    /// Runs actions up to the first that does not work.
    fn run_actions(&mut self, actions: &[Action]) -> Result<(), RunError> {
        actions.iter().try_for_each(|action| self.one(action))
    }

    /// Runs every action and returns the first error.
    fn run_undo(&mut self, actions: &[Action]) -> Result<(), RunError> {
        let mut first = Ok(());
        for action in actions {
            let outcome = self.one(action);
            if first.is_ok() {
                first = outcome;
            }
        }
        first
    }

    /// Does one action of any kind, honouring what its command tolerates.
    fn one(&mut self, action: &Action) -> Result<(), RunError> {
        match action {
            Action::Say(words) => {
                self.say(words);
                Ok(())
            }
            Action::Run(command) => match (self.output(command), &command.tolerated) {
                (Ok(_), _) => Ok(()),
                (Err(error), Some(why)) => {
                    self.say(&format!("warning: {why}: {error}"));
                    Ok(())
                }
                (Err(error), None) => Err(error),
            },
            other => self.act(other),
        }
    }
}

/// An action that did not work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A program could not run or ended badly.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Zeros could not be written.
    #[error("writing {length} zero bytes at {offset} of {device}")]
    Zero {
        /// Device or file.
        device: String,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path did not appear.
    #[error("{path} did not appear within {seconds} s; the kernel or udev did not make it")]
    Await {
        /// The path.
        path: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A test told the runner to refuse.
    #[error("{command}: refused by the test")]
    Refused {
        /// The command.
        command: String,
    },
}

/// Runs real programs on the real machine, and says on stderr (so in the journal) what it does.
#[derive(Debug, Default)]
pub struct ProcessRunner;

impl Runner for ProcessRunner {
    fn output(&mut self, command: &Command) -> Result<String, RunError> {
        let mut tried = 1;
        loop {
            match process::run(command) {
                Ok(output) => return Ok(output),
                Err(error) if tried < command.tries => {
                    self.say(&format!("trying again: {error}"));
                    tried += 1;
                    thread::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn act(&mut self, action: &Action) -> Result<(), RunError> {
        let mut line = String::new();
        match action {
            Action::Zero { device, offset, length } => {
                action.transcribe(&mut line);
                self.say(line.trim_end());
                zero(device, *offset, *length).map_err(|source| RunError::Zero {
                    device: device.clone(),
                    offset: *offset,
                    length: *length,
                    source,
                })
            }
            Action::Write { path, mode, text } => {
                self.say(&format!("writing {path}"));
                write_file(Path::new(path), *mode, text)
                    .map_err(|source| RunError::Write { path: path.clone(), source })
            }
            Action::Await { path, seconds } => {
                let deadline = Instant::now() + Duration::from_secs(*seconds);
                while !Path::new(path).exists() {
                    if Instant::now() >= deadline {
                        return Err(RunError::Await { path: path.clone(), seconds: *seconds });
                    }
                    thread::sleep(AWAIT_PAUSE);
                }
                Ok(())
            }
            other @ (Action::Say(_) | Action::Run(_)) => self.one(other),
        }
    }

    fn say(&mut self, words: &str) {
        // A journal that is gone must not end an installation.
        let _ = writeln!(io::stderr(), "{words}");
    }
}

fn zero(device: &str, offset: u64, length: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(device)?;
    file.seek(SeekFrom::Start(offset))?;
    let zeros = vec![0_u8; ZERO_CHUNK];
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).map_or(ZERO_CHUNK, |left| left.min(ZERO_CHUNK));
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

/// Writes a file whole: a temporary name in the same folder, flushed, then renamed over the old one.
pub(crate) fn write_file(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".slipway-new");
    let temporary = Path::new(&name);
    let written = (|| {
        let mut file: File =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

/// Remembers what it was asked to do and answers from a script. For tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct RecordingRunner {
    /// Everything it did, as a transcript.
    pub done: String,
    /// Program name to answers, each given once, the last one again and again.
    pub answers: std::collections::HashMap<String, Vec<String>>,
    /// Commands whose line contains this text are refused.
    pub refuse: Option<String>,
}

#[cfg(test)]
impl Runner for RecordingRunner {
    fn output(&mut self, command: &Command) -> Result<String, RunError> {
        if self.refuse.as_ref().is_some_and(|refuse| command.line().contains(refuse)) {
            return Err(RunError::Refused { command: command.line() });
        }
        Action::Run(command.clone()).transcribe(&mut self.done);
        Ok(match self.answers.get_mut(&command.program) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers.first().cloned().unwrap_or_default(),
            None => String::new(),
        })
    }

    fn act(&mut self, action: &Action) -> Result<(), RunError> {
        action.transcribe(&mut self.done);
        Ok(())
    }

    fn say(&mut self, words: &str) {
        Action::Say(words.to_owned()).transcribe(&mut self.done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::run;

    #[test]
    fn undo_is_done_after_an_error_and_the_error_is_kept() {
        let plan = Plan {
            actions: vec![run("mount", &["a"]), run("mkfs", &["b"]), run("never", &[])],
            undo: vec![run("umount", &["a"]), run("rmdir", &["a"])],
        };
        let mut runner = RecordingRunner { refuse: Some("mkfs".into()), ..Default::default() };
        let error = runner.run(&plan).unwrap_err();
        assert!(error.to_string().contains("mkfs b"), "{error}");
        assert_eq!(runner.done, "mount a\numount a\nrmdir a\n");
    }

    #[test]
    fn a_tolerated_failure_is_said_and_does_not_end_the_plan() {
        let plan = Plan {
            actions: vec![
                Action::Run(Command::new("efibootmgr").tolerate("NVRAM is full")),
                run("sync", &[]),
            ],
            undo: vec![],
        };
        let mut runner = RecordingRunner { refuse: Some("efibootmgr".into()), ..Default::default() };
        runner.run(&plan).unwrap();
        assert_eq!(runner.done, "# warning: NVRAM is full: efibootmgr: refused by the test\nsync\n");
    }

    #[test]
    fn zeroing_touches_exactly_the_bytes_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, [7_u8; 1000]).unwrap();
        let device = path.to_str().unwrap().to_owned();
        ProcessRunner.act(&Action::Zero { device, offset: 100, length: 440 }).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 1000);
        assert!(bytes[..100].iter().chain(&bytes[540..]).all(|byte| *byte == 7));
        assert!(bytes[100..540].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_written_file_has_its_mode_and_leaves_no_temporary_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/fstab");
        let action = Action::Write { path: path.to_str().unwrap().into(), mode: 0o640, text: "x".into() };
        ProcessRunner.act(&action).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
