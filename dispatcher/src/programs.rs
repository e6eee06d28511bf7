//! The only place that starts other programs: each with a deadline, no input, a plain environment and bounded output.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Runs programs.
pub trait Programs: Send + Sync {
    /// Runs the program to its end, or kills it at the deadline.
    fn run(&self, program: &str, args: &[&str], deadline: Duration) -> Result<Output, ProgramError> {
        self.tail(program, args, deadline, OUTPUT_MAX)
    }

    /// The same, with the last `most` bytes of each output.
    fn tail(
        &self,
        program: &str,
        args: &[&str],
        deadline: Duration,
        most: usize,
    ) -> Result<Output, ProgramError>;
}

/// What a program left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The end of its output.
    pub stdout: Vec<u8>,
    /// The end of its errors.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The output when the program ended well, an error that quotes it otherwise.
    pub fn ok(self, program: &str) -> Result<Self, ProgramError> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        Err(ProgramError::Ended { program: program.to_owned(), code: self.code, said })
    }
}

/// Why a program did not do its work.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("starting {program}; is it installed in the maintenance OS?")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {seconds} s and was killed")]
    Deadline {
        /// The program.
        program: String,
        /// Its deadline in seconds.
        seconds: u64,
    },
    /// It ended badly.
    #[error("{program} ended with {code:?}: {said}")]
    Ended {
        /// The program.
        program: String,
        /// Exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// The end of what it wrote to its standard error.
        said: String,
    },
}

/// Most bytes kept of each of a program's outputs when nobody asks for more.
pub const OUTPUT_MAX: usize = 64 << 10;
/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where programs are looked up.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Real processes.
pub struct Processes;

impl Programs for Processes {
    fn tail(
        &self,
        program: &str,
        args: &[&str],
        deadline: Duration,
        most: usize,
    ) -> Result<Output, ProgramError> {
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ProgramError::Start { program: program.to_owned(), source })?;
        let stdout = child.stdout.take().map(|pipe| tail_of(pipe, most));
        let stderr = child.stderr.take().map(|pipe| tail_of(pipe, most));
        let status = wait(&mut child, deadline).ok_or_else(|| ProgramError::Deadline {
            program: program.to_owned(),
            seconds: deadline.as_secs(),
        })?;
        Ok(Output { code: status.code(), stdout: collected(stdout), stderr: collected(stderr) })
    }
}

/// How the program ended within the deadline; `None` when the deadline passed and the program was killed.
fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + deadline;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= until {
            let _already_gone = child.kill();
            let _reaped = child.wait();
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn tail_of(mut pipe: impl Read + Send + 'static, most: usize) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut tail = VecDeque::new();
        let mut chunk = [0; 8 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            tail.extend(&chunk[..count]);
            if tail.len() > most {
                tail.drain(..tail.len() - most);
            }
        }
        tail.into()
    })
}

fn collected(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{OUTPUT_MAX, Processes, ProgramError, Programs};

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_program_that_hangs_is_killed_at_its_deadline() {
        let began = Instant::now();
        let ended = Processes.run("sleep", &["60"], Duration::from_millis(50));
        assert!(matches!(ended, Err(ProgramError::Deadline { .. })), "{ended:?}");
        assert!(began.elapsed() < SOON);
    }

    #[test]
    fn of_a_talkative_program_the_end_is_kept() {
        let output =
            Processes.run("sh", &["-c", "yes 0123456789 | head -c 1000000; echo last words"], SOON).unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_MAX);
        assert!(output.stdout.ends_with(b"last words\n"));
        let whole =
            Processes.tail("sh", &["-c", "yes 0123456789 | head -c 1000000"], SOON, 2_000_000).unwrap();
        assert_eq!(whole.stdout.len(), 1_000_000);
    }

    #[test]
    fn a_bad_end_quotes_what_the_program_said() {
        let output = Processes.run("sh", &["-c", "echo no such disc >&2; exit 32"], SOON).unwrap();
        let error = output.ok("mount").unwrap_err().to_string();
        assert_eq!(error, "mount ended with Some(32): no such disc");
    }
}
