//! Every vendor's BMC × everything that goes wrong with BMCs, each as a whole job through the real controller: it
//! ends right, leaves no medium and no session behind, and touches no machine but its own.
//!
//! A binary of its own, so that its hundreds of machines have the processors for themselves. To run a part:
//! `MATRIX_ONLY=idrac10 cargo test -p e2e --test matrix`, by vendor or by words of a row.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends
#![allow(clippy::print_stdout)] // what it measured

mod faults;
mod run;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use controller::redfish::Waits;
use controller::server::Pace;
use e2e::sim::{Setup, Site, fast};
use faults::ROWS;
use futures_util::{StreamExt, stream};
use mock_redfish::{MachineConfig, Power, Rack, RackConfig, Vendor};
use run::{Case, Verdict};

/// The vendors of the matrix.
const VENDORS: &[Vendor] = &[
    Vendor::Idrac9,
    Vendor::Idrac10,
    Vendor::Ilo5,
    Vendor::Xcc,
    Vendor::SupermicroX11,
    Vendor::SupermicroX13,
    Vendor::OpenbmcGb200,
    Vendor::AmiDgx,
    Vendor::GenericOneSlot,
    Vendor::GenericTwoSlot,
    Vendor::Idrac8,
    Vendor::Ilo4,
    Vendor::Sushy,
];
/// Jobs at once.
const AT_ONCE: usize = 32;
/// Machines of the rack that no job is for.
const BYSTANDERS: usize = 3;
/// What the whole of it may cost: what the two processors of the smallest builder do in two minutes. Processor time and
/// not the clock, for something else may run beside it.
const LIMIT: Duration = Duration::from_secs(240);
/// Ticks of `/proc` in a second.
const TICKS: u64 = 100;

/// The cases that are asked for, with the machines they run on.
fn cases() -> (Vec<Case>, Vec<MachineConfig>) {
    let only = std::env::var("MATRIX_ONLY").unwrap_or_default();
    let mut cases = Vec::new();
    let mut machines = Vec::new();
    // Vendor by vendor, so that rows which wait for deadlines are spread among those that work.
    for vendor in VENDORS {
        for row in ROWS {
            if vendor.to_string().contains(&only) || row.name.contains(&only) {
                let machine = machines.len();
                machines.push(MachineConfig::vendor(*vendor, &format!("m{machine}")));
                cases.push(Case { machine, vendor: *vendor, row });
            }
        }
    }
    machines.extend((0..BYSTANDERS).map(|n| MachineConfig::sim(&format!("bystander-{n}"))));
    (cases, machines)
}

/// Waits are data: what never comes is given up soon.
fn pace() -> Pace {
    let pace = fast();
    let waits = Waits {
        power_total: Duration::from_millis(1500),
        media_total: Duration::from_secs(1),
        boot_total: Duration::from_millis(400),
        task_total: Duration::from_millis(1500),
        ..pace.waits
    };
    Pace { waits, ..pace }
}

/// What this process has had of the processors so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS)
}

async fn all(site: &Site, cases: Vec<Case>) -> Vec<Verdict> {
    stream::iter(cases).map(|case| case.run(site)).buffer_unordered(AT_ONCE).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vendor_with_every_fault_ends_right_and_leaves_nothing_behind() {
    let began = Instant::now();
    let (cases, machines) = cases();
    let count = cases.len();
    let bystanders: Vec<usize> = (count..machines.len()).collect();
    let site = Setup { pace: pace(), kept: AT_ONCE, ..Setup::with(machines) }.start().await.unwrap();
    site.push().await.unwrap();
    let ready = began.elapsed();
    let verdicts = all(&site, cases).await;
    let took = began.elapsed();
    let slowest = verdicts.iter().max_by_key(|verdict| verdict.took).unwrap();
    let spent = processor_time();
    println!(
        "{count} jobs in {:.1} s and {:.1} s of processor time, {:.1} s to set up; the longest, {}, took {:.1} s",
        took.as_secs_f32(),
        spent.as_secs_f32(),
        ready.as_secs_f32(),
        slowest.case,
        slowest.took.as_secs_f32()
    );
    if verdicts.len() < ROWS.len() * VENDORS.len() {
        for verdict in &verdicts {
            println!("{} in {:.1} s{}", verdict.case, verdict.took.as_secs_f32(), verdict.told);
        }
    }
    let mut wrong: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.faults.is_empty())
        .map(|verdict| format!("{}\n    {}", verdict.case, verdict.faults.join("\n    ")))
        .collect();
    wrong.sort();
    for n in bystanders {
        let machine = site.machine(n);
        if machine.boots() > 0 || machine.power() != Power::Off || !machine.requests().is_empty() {
            wrong.push(format!("{} was touched: {:?}", machine.name(), machine.requests()));
        }
    }
    site.end().await;
    assert!(wrong.is_empty(), "{} of {count} jobs went wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(spent < LIMIT, "{count} jobs cost {spent:?} of processor time");
}

/// Faults of event streams: these are listened to while a host is awaited, which is a moment here. `sim/waking` has
/// them on jobs that wait.
const ELSEWHERE: [&str; 3] = ["events-lie", "events-flood", "events-end"];

#[tokio::test]
async fn every_kind_of_fault_that_the_mock_knows_is_in_the_table() {
    let readme = include_str!("../../../mock-redfish/README.md");
    let table = readme.split("| kind | shows as |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().filter_map(|row| row.strip_prefix("| `")?.split(" |").next());
    let known: BTreeSet<String> = cells
        .flat_map(|cell| cell.split(", `"))
        .map(|name| name.split('`').next().unwrap().to_owned())
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .collect();
    let rack = Rack::start(RackConfig::sim(1)).await.unwrap();
    let armed = ROWS.iter().flat_map(|row| (row.arm)(rack.machine(0)));
    let used: BTreeSet<String> = armed.map(|injection| injection.fault.kind()).collect();
    assert_eq!(used, known);
}

#[test]
fn the_table_is_as_large_as_promised_and_no_row_is_there_twice() {
    let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ROWS.len(), "each row has a name of its own");
    assert!(VENDORS.len() >= 10 && ROWS.len() >= 24, "{} × {}", VENDORS.len(), ROWS.len());
    for row in ROWS {
        for except in row.except {
            assert!(VENDORS.contains(&except.vendor) && !except.why.is_empty(), "{}", row.name);
        }
    }
}
