//! BMCs that tell by themselves when something changes: they are looked at sooner, and not believed.

use std::time::{Duration, Instant};

use e2e::sim::{Moment, Setup, Site, WITHIN};
use mock_redfish::{Fault, Injection, MachineConfig, Power};

use super::support::{assert_no_session, assert_tidy, site_with, start};

const STREAM: &str = "/redfish/v1/EventService/SSE";

/// Until the machine is as wanted; how long that took.
async fn until(what: &str, wanted: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !wanted() {
        assert!(began.elapsed() < WITHIN, "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// How often a machine's BMC was asked for that path.
fn reads(site: &Site, n: usize, path: &str) -> usize {
    let requests = site.machine(n).requests();
    requests.iter().filter(|seen| seen.method == "GET" && seen.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_switched_off_while_it_boots_is_on_again_within_seconds() {
    let site = site_with(|machine| machine.events = true).await;
    site.stage(0).hold_at(Moment::Asking);
    let job = site.api().submit(site.serial(0), site.recipe()).await.unwrap();
    site.stage(0).reached(WITHIN).await.unwrap();
    until("listened to", || site.machine(0).open_streams() == 1).await;
    assert_eq!((reads(&site, 0, "/redfish/v1/EventService"), reads(&site, 0, STREAM)), (1, 1));

    site.machine(0).pull_power().await.unwrap();
    assert_eq!(site.machine(0).power(), Power::Off);
    let took = until("on again", || site.machine(0).boots() == 2).await;
    // By polling alone it would be a minute.
    assert!(took < Duration::from_secs(30), "{took:?}");

    site.stage(0).go_on();
    let job = site.api().wait_complete(&job).await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_tidy(&site, 0);
    assert_no_session(&site, 0).await;
    until("left", || site.machine(0).open_streams() == 0).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_lie_or_flood_or_end_change_nothing_but_a_look_or_two() {
    let kinds = [Fault::EventsLie, Fault::EventsFlood, Fault::EventsEnd, Fault::status(503), Fault::Reset];
    let machine = |n| {
        let mut machine = MachineConfig::sim(&format!("sim-{n}"));
        machine.events = true;
        machine
    };
    let site = start(Setup::with((0..kinds.len()).map(machine).collect())).await;
    let mut jobs = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        site.machine(n).inject(Injection::always(kind.clone()).on("GET", STREAM));
        site.stage(n).hold_at(Moment::Asking);
        jobs.push(site.api().submit(site.serial(n), site.recipe()).await.unwrap());
    }
    for n in 0..kinds.len() {
        site.stage(n).reached(WITHIN).await.unwrap();
        until("listened to", || reads(&site, n, STREAM) == 1).await;
    }
    let looks = |n| reads(&site, n, "/redfish/v1/Systems/1");
    let before: Vec<usize> = (0..kinds.len()).map(looks).collect();
    tokio::time::sleep(Duration::from_secs(12)).await;
    for (n, kind) in kinds.iter().enumerate() {
        let more = looks(n) - before[n];
        let most = if matches!(kind, Fault::EventsLie | Fault::EventsFlood) { 1..=3 } else { 0..=1 };
        assert!(most.contains(&more), "{kind:?} led to {more} looks in 12 s");
        assert_eq!(site.machine(n).power(), Power::On);
        assert_eq!(site.machine(n).boots(), 1, "{kind:?}");
        site.stage(n).go_on();
    }
    for (n, job) in jobs.iter().enumerate() {
        let job = site.api().wait_complete(job).await.unwrap();
        assert_eq!(job["status"], "succeeded", "{:?}: {job:#}", kinds[n]);
        assert_eq!(reads(&site, n, STREAM), 1, "{:?}: it is asked once", kinds[n]);
        assert_tidy(&site, n);
        assert_no_session(&site, n).await;
        until("left", || site.machine(n).open_streams() == 0).await;
        let circuit = site.api().machine(site.serial(n)).await.unwrap()["bmc_circuit"].clone();
        assert_eq!(circuit["failures"], 0, "{:?}: {circuit:#}", kinds[n]);
    }
    site.end().await;
}
