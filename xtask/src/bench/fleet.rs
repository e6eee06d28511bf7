//! `fleet`: up to a thousand machines at once on one real controller, each behind a BMC that takes 200 ms for every
//! answer; and fifty on sushy-tools' emulator, on which figures of others were published.
//!
//! The small fleets and the emulator are measured in every round; a thousand machines take minutes, so they are run
//! three times, once of them with somebody who looks at jobs and machines all the while.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use super::figure::{Figure, Target, median};
use super::programs::Programs;
use crate::redfish_tools;
use crate::run::Run;

/// Fleets whose jobs must cost the same.
const SIZES: [u32; 3] = [10, 100, 1000];
/// Rounds of the largest.
const LARGE_ROUNDS: u32 = 2;
/// Systems behind the emulator.
const EMULATED: u32 = 50;
/// How much dearer a job of the dearest fleet may be than one of the cheapest, to be called flat.
const FLAT: f64 = 1.5;

/// Measures it.
pub fn measure(programs: &Programs, rounds: u32) -> Result<Findings> {
    let tools = redfish_tools::ensure()?;
    let load = |arguments: &[&str]| {
        Run::new(&programs.fleet_load.display().to_string())
            .arg("--slipway")
            .arg(&programs.slipway)
            .args(arguments)
    };
    let ask = |run: Run| -> Result<Value> { Ok(serde_json::from_str(&run.text()?)?) };
    let rack = |machines: &str, extra: &[&str]| load(&["rack", "--machines", machines]).args(extra);
    let sushy = || load(&["sushy", "--machines", &EMULATED.to_string()]).arg("--tools").arg(&tools);

    let mut fleets: Vec<Vec<Value>> = SIZES.iter().map(|_| Vec::new()).collect();
    let mut emulated = Vec::new();
    for round in 0..rounds {
        for (size, found) in SIZES.iter().zip(&mut fleets) {
            if *size < 1000 || round < LARGE_ROUNDS {
                found.push(ask(rack(&size.to_string(), &[]))?);
            }
        }
        emulated.push(ask(sushy())?);
    }
    let asked = [ask(rack("1000", &["--asking"]))?];

    let each = |found: &[Value], name: &str, scale: f64| -> Result<Vec<f64>> {
        let one = |value: &Value| {
            value[name].as_f64().map(|value| value * scale).with_context(|| format!("no {name}"))
        };
        found.iter().map(one).collect()
    };
    let mut figures = Vec::new();
    let mut costs = Vec::new();
    for (size, found) in SIZES.iter().zip(&fleets) {
        let cost = each(found, "cpu_seconds_per_job", 1000.0)?;
        costs.push(median(&cost));
        figures.push(Figure::median(&format!("{size} machines: processor time for one job"), "ms", cost));
    }
    let (least, most) = costs.iter().fold((f64::MAX, 0.0_f64), |(a, b), cost| (a.min(*cost), b.max(*cost)));
    figures.push(
        Figure::median("dearest of these, of the cheapest", "×", vec![most / least])
            .should_be(Target::AtMost(FLAT)),
    );
    let thousand: Vec<Value> =
        fleets.into_iter().next_back().into_iter().flatten().chain(asked.clone()).collect();
    figures.extend([
        Figure::median("1000 machines: jobs that succeeded", "", each(&thousand, "succeeded", 1.0)?)
            .should_be(Target::AtLeast(1000.0)),
        Figure::largest(
            "1000 machines: peak memory of the controller",
            "MiB",
            each(&thousand, "rss_peak_mib", 1.0)?,
        )
        .should_be(Target::AtMost(150.0)),
        Figure::median(
            "1000 machines known: memory before the jobs",
            "MiB",
            each(&thousand, "rss_idle_mib", 1.0)?,
        ),
        Figure::median(
            "1000 machines: from the first POST to the last end",
            "s",
            each(&thousand, "seconds", 1.0)?,
        ),
        Figure::median(
            "1000 machines: BMC requests for one job",
            "",
            each(&thousand, "bmc_requests_per_job", 1.0)?,
        ),
        Figure::median("1000 machines: answers of the API, P99", "ms", each(&asked, "answer_p99_ms", 1.0)?)
            .should_be(Target::AtMost(50.0)),
        Figure::median("1000 machines: answers of the API, P50", "ms", each(&asked, "answer_p50_ms", 1.0)?),
        Figure::median(
            "sushy-tools: processor time for one machine",
            "ms",
            each(&emulated, "cpu_seconds_per_machine", 1000.0)?,
        )
        .should_be(Target::AtMost(30.0)),
        Figure::median(
            "sushy-tools: BMC requests for one machine",
            "",
            each(&emulated, "requests_per_machine", 1.0)?,
        )
        .should_be(Target::AtMost(16.0)),
        Figure::median(
            "sushy-tools: from the first POST to the last power-on",
            "s",
            each(&emulated, "seconds", 1.0)?,
        ),
    ]);
    Ok(Findings {
        figures,
        commands: vec![
            rack("1000", &[]).shown().to_owned(),
            rack("1000", &["--asking"]).shown().to_owned(),
            sushy().shown().to_owned(),
        ],
        notes: vec![
            "the controller is the real `slipway serve` alone in its process; mock BMCs, simulated hosts, the emulator \
             and whoever looks are other processes on the same cores"
                .to_owned(),
            "Ironic 39 on sushy-tools' fake driver, as published and not measured here: 0.27 to 5.7 CPU seconds and 41 \
             requests for one machine"
                .to_owned(),
        ],
    })
}
