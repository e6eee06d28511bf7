//! A controller on a state folder, and its own command line, as an operator on that host has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::service::{Service, free_port};

/// How long after it listens a controller may take to write its first token.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);

/// Where a controller is and what it keeps.
pub struct Site {
    program: PathBuf,
    /// Folder of everything it keeps.
    pub state: PathBuf,
    /// Port of its API.
    pub api_port: u16,
    /// Port of its media.
    pub media_port: u16,
}

impl Site {
    /// A new one on free ports; nothing runs yet.
    pub fn new(program: &Path, state: &Path) -> Result<Self> {
        fs::create_dir_all(state)?;
        Ok(Self {
            program: program.to_owned(),
            state: state.to_owned(),
            api_port: free_port()?,
            media_port: free_port()?,
        })
    }

    /// Runs the controller, with `more` options.
    pub fn serve(&self, more: &[String]) -> Result<Service> {
        let mut args = vec![
            "serve".to_owned(),
            format!("--state-dir={}", self.state.display()),
            format!("--api-listen=127.0.0.1:{}", self.api_port),
            format!("--media-listen=127.0.0.1:{}", self.media_port),
        ];
        args.extend_from_slice(more);
        let service = Service::start(&self.program, &args, &self.log(), self.api_port)?;
        // It listens a moment before the first administrator's token is written.
        let end = Instant::now() + TOKEN_WITHIN;
        while !self.token_file().exists() {
            ensure!(Instant::now() < end, "{} was not written", self.token_file().display());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(service)
    }

    /// The controller's log.
    pub fn log(&self) -> PathBuf {
        self.state.join("controller.log")
    }

    /// URL of its API.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// File of the administrator's token.
    pub fn token_file(&self) -> PathBuf {
        self.state.join("admin.token")
    }

    /// File of the authority that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.state.join("site/ca.pem")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("SLIPWAY_URL", self.url())
            .env("SLIPWAY_TOKEN_FILE", self.token_file())
            .env("SLIPWAY_CA", self.ca_file())
            .stdin(Stdio::null());
        command
    }

    /// `slipway ARGS` on the screen.
    pub fn run(&self, args: &[&str]) -> Result<()> {
        println!("$ slipway {}", args.join(" "));
        let status = self.command(args).status()?;
        ensure!(status.success(), "slipway {} ended with {status}", args.join(" "));
        Ok(())
    }

    /// What `slipway ARGS` prints, trimmed.
    pub fn text(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output()?;
        ensure!(
            output.status.success(),
            "slipway {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The same as JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(args)?)?)
    }
}
