//! One sushy-tools emulator, fifty systems behind it: from the first POST until every machine is switched on with both
//! media seen in their slots. What happens is read from the emulator's own log and by asking it past the controller,
//! so that watching costs the controller nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::sushy::Emulator;
use serde_json::{Value, json};

use crate::{WITHIN, controller, mib, submit};

/// Between two looks at the emulator.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the last machine's power is given to be seen by the controller, which looks every five seconds.
const LAST_LOOK: Duration = Duration::from_secs(6);
/// What tells our own looks from the controller's in the log.
const OURS: &str = "?watched";

/// What fleet.
#[derive(clap::Args)]
pub struct Options {
    /// Systems behind the emulator.
    #[arg(long, default_value_t = 50)]
    machines: u16,
    /// Folder of sushy-emulator.
    #[arg(long)]
    tools: PathBuf,
}

/// Runs it.
pub async fn run(program: &Path, folder: &Path, options: &Options) -> Result<Value> {
    let emulator = Emulator::start(&options.tools, &folder.join("sushy"), options.machines)?;
    let described = (0..emulator.systems()).map(|n| emulator.description(n)).collect();
    let (serve, api) = controller(program, folder, described).await?;
    let serials: Vec<String> = (0..emulator.systems()).map(|n| emulator.serial(n)).collect();

    let (idle_cpu, began) = (serve.cpu_seconds()?, Instant::now());
    let ids = submit(&api, &serials, |_| ()).await?.ids;
    for n in 0..emulator.systems() {
        while !on_with_both(&emulator, n).await? {
            ensure!(began.elapsed() < WITHIN, "{} is not on: {:#}", serials[n], api.job(&ids[n]).await?);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(LAST_LOOK).await;
    let cpu = serve.cpu_seconds()? - idle_cpu;
    let requests = emulator.requests()?;
    // What belongs to no system (root, collections) is asked before anything is inserted; what belongs to one counts
    // until its power was seen.
    let mut per_machine = Vec::new();
    let mut shared = requests.iter().filter(|line| !line.contains(OURS)).count();
    for (n, id) in ids.iter().enumerate() {
        let path = emulator.path(n, "");
        let of_it: Vec<&String> =
            requests.iter().filter(|line| line.contains(&path) && !line.contains(OURS)).collect();
        shared -= of_it.len();
        per_machine.push(until_on(&api.job(id).await?, &path, &of_it)?);
    }
    let count = f64::from(options.machines);
    let counted: usize = shared + per_machine.iter().sum::<usize>();
    Ok(json!({
        "machines": options.machines,
        "seconds": seconds,
        "cpu_seconds_per_machine": cpu / count,
        "requests_per_machine": f64::from(u32::try_from(counted)?) / count,
        "requests_of_one_machine_at_most": per_machine.iter().max(),
        "requests_shared": shared,
        "rss_peak_mib": mib(&serve, "VmHWM")?,
        "an_example": requests.iter().filter(|line| line.contains(&emulator.path(0, ""))).take(40).collect::<Vec<_>>(),
    }))
}

async fn on_with_both(emulator: &Emulator, n: usize) -> Result<bool> {
    let system = emulator.read(&emulator.path(n, OURS)).await?;
    if system["PowerState"] != "On" {
        return Ok(false);
    }
    for slot in ["Cd", "Floppy"] {
        let slot = emulator.read(&emulator.path(n, &format!("/VirtualMedia/{slot}{OURS}"))).await?;
        ensure!(slot["Inserted"] == true, "switched on without both media: {slot:#}");
    }
    Ok(true)
}

/// Requests for one system until its power was seen: up to the reset, and the looks at it that the evidence counts.
fn until_on(job: &Value, path: &str, requests: &[&String]) -> Result<usize> {
    let timeline = job["timeline"].as_array().context("no timeline")?;
    let seen = timeline
        .iter()
        .rev()
        .find(|event| event["text"].as_str().unwrap_or_default().contains("shows PowerState On"));
    let seen = seen.with_context(|| format!("the controller did not see it on: {job:#}"))?;
    let reset = format!("POST {path}/Actions/ComputerSystem.Reset");
    let at = requests.iter().rposition(|line| **line == reset).with_context(|| format!("no {reset}"))?;
    // Of the requests for switching on, the reset is one, and one look may come before it.
    let looks = usize::try_from(seen["data"]["requests"].as_u64().context("no count in the evidence")?)?;
    Ok(at + looks)
}
