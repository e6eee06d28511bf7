//! A fleet at once on the real `slipway serve`, alone in its process: what it costs there, and whether the API still
//! answers meanwhile. For `cargo xtask bench fleet`; prints one JSON object.
//!
//! ```text
//! fleet-load --slipway PROGRAM rack  --machines 1000 --delay-ms 200 [--asking]   mock BMCs, simulated hosts: whole jobs
//! fleet-load --slipway PROGRAM sushy --machines 50 --tools FOLDER                sushy-tools: until all are switched on
//! ```
#![allow(clippy::print_stdout)] // its output is for xtask

mod asking;
mod rack;
mod sushy;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use e2e::process::Controller;
use e2e::sim::{Api, linux_recipe, maintenance_iso, push_image};
use serde_json::Value;
use tokio::task::JoinSet;

/// Longest a run may take.
const WITHIN: Duration = Duration::from_secs(900);
/// The controller's folder within a run's.
const STATE: &str = "state";
/// Connections that are kept for submitting and asking.
const KEPT: usize = 8;
/// Submissions at once.
const SUBMITTERS: usize = 8;

/// A fleet at once.
#[derive(Parser)]
struct Options {
    /// The controller.
    #[arg(long)]
    slipway: PathBuf,
    #[command(subcommand)]
    fleet: Fleet,
}

#[derive(clap::Subcommand)]
enum Fleet {
    /// Mock BMCs that take their time, and simulated hosts: whole jobs
    Rack(rack::Options),
    /// One sushy-tools emulator with its fake driver: until all machines are switched on
    Sushy(sushy::Options),
}

fn main() -> Result<()> {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options::parse();
    let result = tokio::runtime::Runtime::new()?.block_on(async {
        let folder = tempfile::tempdir()?;
        match &options.fleet {
            Fleet::Rack(fleet) => rack::run(&options.slipway, folder.path(), fleet).await,
            Fleet::Sushy(fleet) => sushy::run(&options.slipway, folder.path(), fleet).await,
        }
    })?;
    println!("{result:#}");
    Ok(())
}

/// A controller that knows these machines, and has an image for them.
async fn controller(program: &Path, folder: &Path, machines: Vec<Value>) -> Result<(Controller, Api)> {
    let state = folder.join(STATE);
    std::fs::create_dir_all(state.join("media"))?;
    maintenance_iso(&state.join("media/maintenance.iso"))?;
    let serve = Controller::start(program, &state, &folder.join("controller.log"))?;
    let api = serve.api(&state, KEPT)?;
    for machine in machines {
        let answer = api.post("/api/v1/machines", machine).await?;
        ensure!(answer.status == 201, "adding a machine: {} {}", answer.status, answer.text);
    }
    push_image(&api, "images/debian", "trixie", b"a root filesystem").await?;
    Ok((serve, api))
}

/// Jobs that were submitted.
struct Submitted {
    /// Their ids, in the order of the machines.
    ids: Vec<String>,
    /// How long each answer took, shortest first.
    took: Vec<Duration>,
}

/// Submits a job for each, a few at a time. `tell` hears of each as soon as it is known.
async fn submit(api: &Api, serials: &[String], tell: impl Fn(&str)) -> Result<Submitted> {
    let mut ids = vec![String::new(); serials.len()];
    let mut times = Vec::new();
    let mut running = JoinSet::new();
    let mut note = |(at, id, took): (usize, String, Duration)| {
        tell(&id);
        ids[at] = id;
        times.push(took);
    };
    for (n, serial) in serials.iter().cloned().enumerate() {
        if running.len() == SUBMITTERS
            && let Some(done) = running.join_next().await
        {
            note(done??);
        }
        let api = api.clone();
        running.spawn(async move {
            let began = Instant::now();
            let id = api.submit(&serial, linux_recipe()).await?;
            anyhow::Ok((n, id, began.elapsed()))
        });
    }
    while let Some(done) = running.join_next().await {
        note(done??);
    }
    times.sort_unstable();
    Ok(Submitted { ids, took: times })
}

/// A number of `/proc/PID/status`, in MiB.
fn mib(serve: &Controller, name: &str) -> Result<f64> {
    let kib = *serve.status()?.get(name).with_context(|| format!("no {name}"))?;
    Ok(f64::from(u32::try_from(kib)?) / 1024.0)
}
