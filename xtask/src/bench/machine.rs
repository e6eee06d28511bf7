//! Where and beside what something was measured: without it no figure means anything.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::run::Run;

/// A machine.
#[derive(Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    system: String,
    kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Result<Self> {
        let memory = line_of("/proc/meminfo", "MemTotal:")?;
        let memory: u64 = memory.trim_end_matches(" kB").parse().context("MemTotal is a number")?;
        Ok(Self {
            processor: line_of("/proc/cpuinfo", "model name")?
                .trim_start_matches([':', ' ', '\t'])
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory / 1024,
            system: line_of("/etc/os-release", "PRETTY_NAME=")?.trim_matches('"').to_owned(),
            kernel: Run::new("uname").arg("-r").text()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} × {}, {} MiB, {}, Linux {}",
            self.cores, self.processor, self.memory_mib, self.system, self.kernel
        )
    }
}

/// What follows a word at the beginning of a line.
fn line_of(path: &str, word: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    Ok(line.with_context(|| format!("{path} has no {word}"))?.trim().to_owned())
}

/// Load averages over 1, 5 and 15 minutes.
pub fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// Date and time, UTC.
pub fn now() -> Result<String> {
    Run::new("date").args(["-u", "+%Y-%m-%dT%H:%MZ"]).text()
}

/// The commit that is measured, the compiler, and what each peer says of itself.
pub fn versions(peers: &[&str]) -> Result<Vec<String>> {
    let changed = !Run::new("git").args(["diff", "--quiet", "HEAD"]).succeeds();
    let commit = Run::new("git").args(["rev-parse", "--short=12", "HEAD"]).text()?;
    let mut versions = vec![format!("slipway {commit}{}", if changed { " with changes" } else { "" })];
    for program in ["rustc"].iter().chain(peers) {
        // nginx alone has no --version, and tells its own on standard error.
        let ask = "\"$1\" --version 2>/dev/null || \"$1\" -v 2>&1";
        let text = Run::new("sh").args(["-c", ask, "sh", program]).text()?;
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        versions.push(first.chars().take(60).collect());
    }
    Ok(versions)
}
