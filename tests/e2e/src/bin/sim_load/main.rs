//! How much the controller needs for many jobs at once: seconds, processor time and memory of its own process.
//!
//! ```text
//!   sim-load --slipway target/release/slipway [--jobs 200]
//!     ├─ child: the real `slipway serve`, alone in its process: what is measured
//!     └─ here: rack, hosts, API calls ─▶ one JSON object on stdout; exit 1 when a job or a state is missing
//! ```
//! Most jobs succeed; of twenty one fails and is held, one is cancelled, so that every state is visited.
#![allow(clippy::print_stdout)] // its output is for xtask

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::process::Controller;
use e2e::sim::{
    Api, Moment, PASSWORD, Playbook, SimHost, description, linux_recipe, maintenance_iso, push_image,
};
use mock_redfish::{MachineConfig, Rack, RackConfig};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Jobs, when nobody says.
const JOBS: usize = 200;
/// From how many jobs on every fate, and so every state, is among them.
const ALL_FATES: usize = 20;
/// Longest a run may take.
const WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at a job. Two hundred watchers are part of the load, but not its point.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections that all watchers share.
const WATCHERS: usize = 16;

fn main() -> Result<()> {
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (slipway, jobs) = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--slipway", slipway] => (PathBuf::from(slipway), JOBS),
        ["--slipway", slipway, "--jobs", jobs] => {
            (PathBuf::from(slipway), jobs.parse().context("--jobs is a number")?)
        }
        _ => bail!("usage: sim-load --slipway PROGRAM [--jobs {JOBS}]"),
    };
    tokio::runtime::Runtime::new()?.block_on(load(&slipway, jobs))
}

async fn load(slipway: &Path, jobs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    std::fs::create_dir_all(state.join("media"))?;
    maintenance_iso(&state.join("media/maintenance.iso"))?;
    let serve = Controller::start(slipway, &state, &folder.path().join("controller.log"))?;
    let api = serve.api(&state, WATCHERS)?;

    let playbook = Arc::new(Playbook::default());
    let machines = (0..jobs)
        .map(|n| MachineConfig { password: PASSWORD.to_owned(), ..MachineConfig::sim(&format!("sim-{n}")) })
        .collect();
    let config = RackConfig { machines, folder: folder.path().join("rack"), ..RackConfig::default() };
    let host = Arc::new(SimHost::new(Arc::clone(&playbook))?);
    let rack = Rack::start_with_host(config, host).await?;
    for machine in rack.machines() {
        let answer = api.post("/api/v1/machines", description(machine)).await?;
        ensure!(answer.status == 201, "adding a machine: {} {}", answer.status, answer.text);
    }
    push_image(&api, "images/debian", "trixie", b"a root filesystem").await?;

    let (idle, idle_cpu, begun) = (serve.status()?, serve.cpu_seconds()?, Instant::now());
    let mut running = JoinSet::new();
    for (n, machine) in rack.machines().iter().enumerate() {
        let (api, playbook, serial) = (api.clone(), Arc::clone(&playbook), machine.config().serial.clone());
        running.spawn(async move { one(&api, &playbook, &serial, Fate::of(n)).await });
    }
    let mut visited = BTreeSet::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(done) = tokio::time::timeout(WITHIN, running.join_next()).await? {
        let job = done??;
        visited.extend(states(&job));
        *outcomes.entry(job["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), serve.cpu_seconds()? - idle_cpu);
    let after = serve.status()?;
    let missing: Vec<&str> = controller::model::state::every_state()
        .iter()
        .map(controller::model::JobState::name)
        .filter(|name| !visited.contains(*name))
        .collect();
    let result = json!({
        "jobs": jobs,
        "seconds": seconds,
        "controller_cpu_seconds": cpu,
        "controller_idle_rss_kib": idle["VmRSS"],
        "controller_peak_rss_kib": after["VmHWM"],
        "controller_rss_after_kib": after["VmRSS"],
        "controller_threads_after": after["Threads"],
        "outcomes": outcomes,
        "states_visited": visited,
        "states_missing": missing,
    });
    println!("{result:#}");
    rack.shutdown().await;
    ensure!(missing.is_empty() || jobs < ALL_FATES, "some states were not visited: {missing:?}");
    Ok(())
}

/// What becomes of a job.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    FailsAndIsHeld,
    IsCancelled,
}

impl Fate {
    fn of(n: usize) -> Self {
        match n % 20 {
            7 => Self::FailsAndIsHeld,
            13 => Self::IsCancelled,
            _ => Self::Succeeds,
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeded",
            Self::FailsAndIsHeld => "failed",
            Self::IsCancelled => "cancelled",
        }
    }
}

/// One job from POST to its end.
async fn one(api: &Api, playbook: &Playbook, serial: &str, fate: Fate) -> Result<Value> {
    let (stage, mut recipe) = (playbook.stage(serial), linux_recipe());
    match fate {
        Fate::Succeeds => {}
        Fate::FailsAndIsHeld => {
            stage.script(|script| script.fails_at = Some(("image-linux", 1)));
            recipe["on_failure"] = json!("stay");
        }
        Fate::IsCancelled => stage.hold_at(Moment::Step("image-linux")),
    }
    let id = api.submit(serial, recipe).await?;
    match fate {
        Fate::Succeeds => {}
        Fate::FailsAndIsHeld => {
            wait(api, &id, |job| job["phase"] == "holding").await?;
            api.post(&format!("/api/v1/jobs/{id}/release"), json!({})).await?;
        }
        Fate::IsCancelled => {
            stage.reached(WITHIN).await?;
            api.cancel(&id).await?;
        }
    }
    let job = wait(api, &id, |job| job["complete"] == true).await?;
    ensure!(job["status"] == fate.status(), "job {id} shall be {}: {job:#}", fate.status());
    Ok(job)
}

/// Looks seldom: two hundred watchers are part of the load.
async fn wait(api: &Api, id: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    let end = Instant::now() + WITHIN;
    loop {
        let job = api.job(id).await?;
        if is(&job) {
            return Ok(job);
        }
        ensure!(Instant::now() < end, "job {id} takes too long: {job:#}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The states that a timeline shows, by their names in the state machine.
fn states(job: &Value) -> BTreeSet<String> {
    let codes = job["timeline"].as_array().into_iter().flatten().filter_map(|event| event["code"].as_str());
    codes
        .filter_map(|code| match code {
            "job.queued" => Some("queued"),
            "complete" => Some("released"),
            code => code.strip_prefix("phase."),
        })
        .map(str::to_owned)
        .collect()
}
