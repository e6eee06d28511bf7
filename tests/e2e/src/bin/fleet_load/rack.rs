//! Machines at mock BMCs that take their time with every answer, and simulated hosts: every job from POST to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::sim::{Api, Deed, PASSWORD, Playbook, SimHost, description};
use mock_redfish::{Fault, Injection, Machine, MachineConfig, Rack, RackConfig};
use serde_json::{Value, json};

use crate::asking::{Asking, percentile};
use crate::{STATE, Submitted, WITHIN, controller, mib, submit};

/// Between heartbeats of a host: what real ones are told.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Between two looks whether all are done. Looking at the rack costs the controller nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What fleet.
#[derive(clap::Args)]
pub struct Options {
    /// Machines, and jobs, at once.
    #[arg(long)]
    machines: usize,
    /// How long a BMC takes for an answer.
    #[arg(long, default_value_t = 200)]
    delay_ms: u64,
    /// Somebody looks at jobs and machines all the while. It costs the controller, so what a job costs is measured
    /// without.
    #[arg(long)]
    asking: bool,
}

/// Runs it.
pub async fn run(program: &Path, folder: &Path, options: &Options) -> Result<Value> {
    let playbook = Arc::new(Playbook::default());
    let machines = (0..options.machines)
        .map(|n| MachineConfig { password: PASSWORD.to_owned(), ..MachineConfig::sim(&format!("sim-{n}")) })
        .collect();
    let config = RackConfig { machines, folder: folder.join("rack"), ..RackConfig::default() };
    let rack = Rack::start_with_host(config, Arc::new(SimHost::new(Arc::clone(&playbook))?)).await?;
    let described = rack.machines().iter().map(description).collect();
    let (serve, api) = controller(program, folder, described).await?;
    for machine in rack.machines() {
        machine.inject(Injection::always(Fault::Delay { ms: options.delay_ms }));
        playbook.stage(&machine.config().serial).script(|script| script.heartbeat = HEARTBEAT);
    }
    let serials: Vec<String> =
        rack.machines().iter().map(|machine| machine.config().serial.clone()).collect();

    let (idle, idle_cpu, began) = (mib(&serve, "VmRSS")?, serve.cpu_seconds()?, Instant::now());
    let asking = if options.asking { Some(Asking::begin(serve.api(&folder.join(STATE), 1)?)?) } else { None };
    let tell = |id: &str| asking.iter().for_each(|asking| asking.knows(id));
    let Submitted { ids, took: posts } = submit(&api, &serials, tell).await?;
    let submitted = began.elapsed();
    while !rack.machines().iter().all(|machine| done(machine, &playbook)) {
        ensure!(began.elapsed() < WITHIN, "{}", stuck(&api, &rack, &playbook, &ids).await?);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), serve.cpu_seconds()? - idle_cpu);
    let took = match asking {
        Some(asking) => asking.end()?,
        None => vec![],
    };
    for id in &ids {
        let job = complete(&api, id).await?;
        ensure!(job["status"] == "succeeded", "job {id}: {job:#}");
    }
    let requests: usize = rack.machines().iter().map(|machine| machine.requests().len()).sum();
    let count = f64::from(u32::try_from(options.machines)?);
    let result = json!({
        "machines": options.machines,
        "succeeded": ids.len(),
        "seconds": seconds,
        "seconds_until_submitted": submitted.as_secs_f64(),
        "submission_p50_ms": percentile(&posts, 50),
        "submission_p99_ms": percentile(&posts, 99),
        "cpu_seconds_per_job": cpu / count,
        "bmc_requests_per_job": f64::from(u32::try_from(requests)?) / count,
        "rss_idle_mib": idle,
        "rss_peak_mib": mib(&serve, "VmHWM")?,
        "answers": took.len(),
        "answer_p50_ms": percentile(&took, 50),
        "answer_p99_ms": percentile(&took, 99),
        "answer_max_ms": percentile(&took, 100),
    });
    rack.shutdown().await;
    Ok(result)
}

/// The machine runs what was installed, nothing is in its drives, and nobody is logged in at its BMC.
fn done(machine: &Machine, playbook: &Playbook) -> bool {
    playbook.stage(&machine.config().serial).times(&Deed::NewSystem) > 0
        && machine.open_sessions() == 0
        && machine.slots().iter().all(|slot| slot.image.is_none())
}

/// The controller may note the end a moment after the BMC saw its last request.
async fn complete(api: &Api, id: &str) -> Result<Value> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let job = api.job(id).await?;
        if job["complete"] == true || Instant::now() > end {
            return Ok(job);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn stuck(api: &Api, rack: &Rack, playbook: &Playbook, ids: &[String]) -> Result<String> {
    let machines = rack.machines().iter().zip(ids);
    let open: Vec<_> = machines.filter(|(machine, _)| !done(machine, playbook)).collect();
    let first = match open.first() {
        Some((_, id)) => api.job(id).await?,
        None => Value::Null,
    };
    Ok(format!("{} of {} are not done; the first: {first:#}", open.len(), ids.len()))
}
