//! Child processes: every one is named on screen, its output goes to a log file, and a failure shows the log's end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cache;

/// How many lines of a failed command's log are shown.
const TAIL_LINES: usize = 40;

/// One command, built like [`Command`] and run with [`Run::quiet`], [`Run::loud`] or [`Run::text`].
pub struct Run {
    command: Command,
    shown: String,
}

impl Run {
    /// A command by program name.
    pub fn new(program: &str) -> Self {
        Self { command: Command::new(program), shown: program.to_owned() }
    }

    /// One argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Several arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }

    /// An environment variable of the child.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The folder that the child runs in.
    pub fn folder(mut self, path: &std::path::Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// The command line, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Runs and returns what it printed, with the seconds from its start to its end.
    pub fn timed(self) -> Result<(String, f64)> {
        let began = Instant::now();
        let text = self.text()?;
        Ok((text, began.elapsed().as_secs_f64()))
    }

    /// Runs with output into `target/slipway/log/<name>.log`.
    pub fn quiet(mut self, name: &str) -> Result<()> {
        let folder = cache::folder("log")?;
        let path = folder.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let status = self
            .command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .with_context(|| format!("starting `{}`", self.shown))?;
        if status.success() {
            return Ok(());
        }
        bail!("`{}` ended with {status}; end of {}:\n{}", self.shown, path.display(), tail(&path))
    }

    /// Runs with output on the screen.
    pub fn loud(mut self) -> Result<()> {
        println!("$ {}", self.shown);
        let status = self
            .command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("starting `{}`", self.shown))?;
        if status.success() { Ok(()) } else { bail!("`{}` ended with {status}", self.shown) }
    }

    /// Runs and returns what it printed, trimmed.
    pub fn text(mut self) -> Result<String> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting `{}`", self.shown))?;
        if !output.status.success() {
            bail!(
                "`{}` ended with {}: {}",
                self.shown,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether it ends well; output is dropped.
    pub fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn tail(path: &PathBuf) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
