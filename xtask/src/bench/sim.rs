//! `sim`: two hundred jobs at once on one real controller, its machines simulated by another process. There is no
//! peer to measure beside it; what counts is memory, and processor time for a job.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use super::figure::{Figure, Target};
use super::programs::Programs;
use crate::run::Run;

/// Jobs at once.
const JOBS: u32 = 200;

/// Measures it.
pub fn measure(programs: &Programs, rounds: u32) -> Result<Findings> {
    let run = || {
        Run::new(&programs.sim_load.display().to_string())
            .arg("--slipway")
            .arg(&programs.slipway)
            .args(["--jobs", &JOBS.to_string()])
    };
    let found: Vec<Value> =
        (0..rounds).map(|_| Ok(serde_json::from_str(&run().text()?)?)).collect::<Result<_>>()?;
    let each = |name: &str, scale: f64| -> Result<Vec<f64>> {
        found
            .iter()
            .map(|one| one[name].as_f64().map(|value| value * scale).with_context(|| format!("no {name}")))
            .collect()
    };
    let list = |one: &Value, name: &str| one[name].as_array().map_or(0, Vec::len);
    let count = |of: &dyn Fn(&Value) -> usize| -> Vec<f64> {
        found.iter().map(|one| f64::from(u32::try_from(of(one)).unwrap_or(u32::MAX))).collect()
    };
    let finished = |one: &Value| {
        let outcomes = one["outcomes"].as_object().into_iter().flatten();
        outcomes.filter_map(|(_, number)| number.as_u64()).sum::<u64>().try_into().unwrap_or(usize::MAX)
    };
    let kib = 1.0 / 1024.0;
    Ok(Findings {
        figures: vec![
            Figure::largest("peak memory of the controller (VmHWM)", "MiB", each("controller_peak_rss_kib", kib)?)
                .should_be(Target::AtMost(150.0)),
            Figure::median("jobs that came to their end", "", count(&finished))
                .should_be(Target::AtLeast(f64::from(JOBS))),
            Figure::largest("states of a job that none was in", "", count(&|one| list(one, "states_missing")))
                .should_be(Target::AtMost(0.0)),
            Figure::median("states visited", "", count(&|one| list(one, "states_visited"))),
            Figure::median(
                "processor time of the controller for one job",
                "ms",
                each("controller_cpu_seconds", 1000.0 / f64::from(JOBS))?,
            ),
            Figure::median("from the first POST to the last end", "s", each("seconds", 1.0)?),
            Figure::median("memory before the jobs, 200 machines known", "MiB", each("controller_idle_rss_kib", kib)?),
            Figure::median("memory after them", "MiB", each("controller_rss_after_kib", kib)?),
        ],
        commands: vec![run().shown().to_owned()],
        notes: vec![
            "the controller is the real `slipway serve` alone in its process; mock BMCs, simulated hosts and the \
             watching of every job are another process on the same cores"
                .to_owned(),
            format!("outcomes: {}", found.last().map(|one| one["outcomes"].to_string()).unwrap_or_default()),
        ],
    })
}
