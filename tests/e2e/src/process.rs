//! The controller as a process of its own: the real `slipway serve` on a state folder, and what the kernel knows of
//! it: memory, threads, processor time.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sim::Api;
use anyhow::{Context as _, Result, bail};

/// How long it may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Clock ticks a second in `/proc/PID/stat`; Linux shows user space this number on every architecture of ours.
const TICKS: f64 = 100.0;

/// The process. Dropping it ends it.
pub struct Controller {
    child: Child,
    url: String,
}

impl Controller {
    /// Starts `program serve` on the folder `state` and waits until it listens; its log goes to `log`.
    pub fn start(program: &Path, state: &Path, log: &Path) -> Result<Self> {
        let (api, media) = (free_address()?, free_address()?);
        let log = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--state-dir")
            .arg(state)
            .args(["--api-listen", &api.to_string(), "--media-listen", &media.to_string()])
            .args(["--allow-loopback", "--allow-plain-http-bmcs"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut started = Self { child, url: format!("https://{api}") };
        let end = Instant::now() + READY_WITHIN;
        while !state.join("admin.token").exists() || TcpStream::connect(api).is_err() {
            if let Some(status) = started.child.try_wait()? {
                bail!("{} serve ended with {status}", program.display());
            }
            if Instant::now() > end {
                bail!("{} serve does not listen on {api}", program.display());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(started)
    }

    /// A caller that keeps at most `idle` connections.
    pub fn api(&self, state: &Path, idle: usize) -> Result<Api> {
        let ca = std::fs::read(state.join("site/ca.pem"))?;
        let token = std::fs::read_to_string(state.join("admin.token"))?;
        Api::keeping(&self.url, &ca, token.trim(), idle)
    }

    /// What `/proc/PID/status` says in numbers, memory in KiB, by the kernel's names.
    pub fn status(&self) -> Result<BTreeMap<String, u64>> {
        status(self.child.id())
    }

    /// Seconds of processor time so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in brackets may hold anything; after it come state (3rd) and, 11 further, utime and stime.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks: u32 = ticks.sum::<Result<u32, _>>().context("/proc/PID/stat has times")?;
        Ok(f64::from(ticks) / TICKS)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn status(pid: u32) -> Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            Some((name.to_owned(), value.strip_suffix(" kB").unwrap_or(value).parse().ok()?))
        })
        .collect())
}
