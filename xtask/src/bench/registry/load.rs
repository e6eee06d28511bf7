//! One measurement: what the client did in how many seconds, and what that cost the server.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::servers::{Server, Servers};
use crate::run::Run;

/// Bytes of a MiB and of a GiB.
const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// The client, and whom it asks.
pub struct Load<'a> {
    pub program: &'a Path,
    pub servers: &'a Servers,
}

/// What was found.
pub struct Measured {
    seconds: f64,
    bytes: f64,
    requests: f64,
    hash_seconds: f64,
    cpu_seconds: f64,
}

impl Measured {
    pub fn mib_per_second(&self) -> f64 {
        self.bytes / MIB / self.seconds
    }

    pub fn requests_per_second(&self) -> f64 {
        self.requests / self.seconds
    }

    pub fn cpu_per_gib(&self) -> f64 {
        self.cpu_seconds / (self.bytes / GIB)
    }

    pub fn hash_per_gib(&self) -> f64 {
        self.hash_seconds / (self.bytes / GIB)
    }
}

impl Load<'_> {
    /// Reads a path of a server over and over.
    pub fn get(&self, server: Server, path: &str, args: &[&str]) -> Result<Measured> {
        self.measure(server, self.command("get", server, path, args))
    }

    /// Pushes to a server.
    pub fn push(&self, server: Server, args: &[&str]) -> Result<Measured> {
        self.measure(server, self.command("push", server, "", args))
    }

    /// Fills a registry, unmeasured.
    pub fn fill(&self, server: Server, args: &[&str]) -> Result<()> {
        self.command("fill", server, "", args).text().map(drop)
    }

    /// Copies a blob from one repository to others; seconds of the slowest.
    pub fn mount(&self, server: Server, args: &[&str]) -> Result<f64> {
        Ok(self.measure(server, self.command("mount", server, "", args))?.seconds)
    }

    pub fn get_shown(&self, server: Server, path: &str, args: &[&str]) -> String {
        self.command("get", server, path, args).shown().to_owned()
    }

    pub fn push_shown(&self, server: Server, args: &[&str]) -> String {
        self.command("push", server, "", args).shown().to_owned()
    }

    fn command(&self, what: &str, server: Server, path: &str, args: &[&str]) -> Run {
        let url = format!("{}{path}", self.servers.url(server));
        Run::new(&self.program.display().to_string())
            .arg(what)
            .arg(url)
            .args(self.servers.access(server))
            .args(args)
    }

    fn measure(&self, server: Server, run: Run) -> Result<Measured> {
        let before = self.servers.cpu_seconds(server)?;
        let found: Value = serde_json::from_str(&run.text()?)?;
        let cpu_seconds = self.servers.cpu_seconds(server)? - before;
        let number = |name: &str| found[name].as_f64();
        Ok(Measured {
            seconds: number("seconds").context("registry-load tells seconds")?,
            bytes: number("bytes").context("registry-load tells bytes")?,
            requests: number("requests").unwrap_or_default(),
            hash_seconds: number("hash_seconds").unwrap_or_default(),
            cpu_seconds,
        })
    }
}
