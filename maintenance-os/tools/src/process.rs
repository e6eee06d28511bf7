//! One child process: started, bounded in time and in what it may say, and never left behind.
//!
//! The child dies with us: it is started through `setpriv --pdeathsig` (util-linux), which needs no unsafe
//! code here, and it leads its own process group, which is killed as a whole at the deadline.

use std::io::{self, Read, Write as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::plan::Command;

/// Largest standard output that is kept; `lsblk` of a hundred disks is far below.
const STDOUT_MAX: usize = 4 << 20;
/// Largest part of standard error that is kept, from its end: it goes into the error.
const STDERR_MAX: usize = 4 << 10;
/// Longest pause between two looks at a running child.
const POLL_MAX: Duration = Duration::from_millis(50);

/// A program that could not run or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("starting `{command}`")]
    Start {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not installed in this container.
    #[error("`{program}` is not installed in the tool image; add its package to packages.txt")]
    Missing {
        /// Program name.
        program: String,
    },
    /// It ran longer than allowed and was killed.
    #[error("`{command}` was killed after {seconds} s{said}")]
    Deadline {
        /// The command.
        command: String,
        /// Its deadline.
        seconds: u64,
        /// The end of its standard error.
        said: String,
    },
    /// It ended with an error.
    #[error("`{command}` ended with {how}{said}")]
    Ended {
        /// The command.
        command: String,
        /// Exit status or signal in words.
        how: String,
        /// Exit code, when it was not a signal.
        code: Option<i32>,
        /// The end of its standard error.
        said: String,
    },
    /// Talking to it went wrong.
    #[error("waiting for `{command}`")]
    Wait {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs the program to its end and returns its standard output (text, bounded).
pub fn run(command: &Command) -> Result<String, ProcessError> {
    let line = command.line();
    if !in_path(&command.program) {
        return Err(ProcessError::Missing { program: command.program.clone() });
    }
    let mut child = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&command.program)
        .args(&command.args)
        .env("LC_ALL", "C.UTF-8")
        .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start { command: line.clone(), source })?;
    let out = child.stdout.take().map(|pipe| thread::spawn(move || keep(pipe, STDOUT_MAX, false)));
    let err = child.stderr.take().map(|pipe| thread::spawn(move || keep(pipe, STDERR_MAX, true)));
    let feed = child.stdin.take().zip(command.stdin.clone()).map(|(mut pipe, text)| {
        // A program that does not read its input is judged by its exit status.
        thread::spawn(move || drop(pipe.write_all(text.as_bytes())))
    });

    let status = wait(&mut child, command.deadline)
        .map_err(|source| ProcessError::Wait { command: line.clone(), source });
    let collect = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (out, err) = (collect(out), collect(err));
    if let Some(feed) = feed {
        let _ = feed.join();
    }
    let said = match String::from_utf8_lossy(&err).trim() {
        "" => String::new(),
        words => format!(": {words}"),
    };
    match status? {
        None => Err(ProcessError::Deadline { command: line, seconds: command.deadline.as_secs(), said }),
        Some(status) if status.success() => Ok(String::from_utf8_lossy(&out).into_owned()),
        Some(status) => {
            Err(ProcessError::Ended { command: line, how: words(status), code: status.code(), said })
        }
    }
}

/// Waits for the child; `None` means that its deadline passed and its group was killed.
fn wait(child: &mut Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// Reads a pipe to its end and keeps at most `limit` bytes: the first ones, or the last ones.
fn keep(mut pipe: impl Read, limit: usize, tail: bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0_u8; 8192];
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        if tail {
            kept.extend_from_slice(&buffer[..length]);
            let excess = kept.len().saturating_sub(limit);
            kept.drain(..excess);
        } else {
            let room = limit - kept.len();
            kept.extend_from_slice(&buffer[..length.min(room)]);
        }
    }
    kept
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// Whether a program can be found, so that a missing one has its own error.
pub fn in_path(program: &str) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).exists();
    }
    // The tool image's PATH is the usual one; sbin is asked for even where a login shell would not.
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| std::path::Path::new(folder).join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[test]
    fn output_is_returned_and_input_is_fed() {
        let mut command = Command::new("tr").args(["a-z", "A-Z"]);
        command.stdin = Some("slipway".into());
        assert_eq!(run(&command).unwrap(), "SLIPWAY");
    }

    #[test]
    fn an_error_names_the_command_its_status_and_its_last_words() {
        let error = run(&sh("echo because >&2; exit 3")).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'echo because >&2; exit 3'` ended with exit code 3: because");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&Command::new("mkfs.nothing")).unwrap_err();
        assert!(matches!(error, ProcessError::Missing { program } if program == "mkfs.nothing"));
    }

    #[test]
    fn a_deadline_ends_the_child_and_its_children() {
        let began = Instant::now();
        let error = run(&sh("sleep 60 & sleep 60").within(Duration::from_millis(200))).unwrap_err();
        assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_a_child_says_is_bounded() {
        let error = run(&sh("yes no | head -c 1000000 >&2; exit 1")).unwrap_err();
        assert!(error.to_string().len() < STDERR_MAX + 200);
        let output = run(&sh("yes no | head -c 8000000")).unwrap();
        assert_eq!(output.len(), STDOUT_MAX);
    }
}
