//! Every fault of the README, armed over HTTP as a stranger would, shows and wears off.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mock_redfish::{BootSource, Enabled, Machine, Power, Rack, RackConfig};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, ImageServer};

const SYSTEM: &str = "/redfish/v1/Systems/1";
const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd";

/// The kinds that the table of the README names.
fn kinds_of_the_readme() -> BTreeSet<String> {
    let readme = include_str!("../README.md");
    let table = readme.split("| kind | shows as |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut kinds = BTreeSet::new();
    for row in table.lines().filter(|row| row.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap();
        for name in cell.split(',').filter_map(|part| part.trim().strip_prefix('`')?.split('`').next()) {
            kinds.insert(name.to_owned());
        }
    }
    kinds
}

/// A machine, a client, and what was armed so far.
struct Bench {
    rack: Rack,
    client: Client,
    images: ImageServer,
    armed: BTreeSet<String>,
}

impl Bench {
    async fn new() -> Self {
        let mut config = RackConfig::sim(1);
        config.machines[0].events = true;
        let rack = Rack::start(config).await.unwrap();
        let client = Client::new(rack.machine(0));
        let images = ImageServer::start(vec![7; 1000]).await;
        Self { rack, client, images, armed: BTreeSet::new() }
    }

    fn machine(&self) -> &Machine {
        self.rack.machine(0)
    }

    /// Arms a fault to show once.
    async fn arm(&mut self, fault: Value) {
        self.arm_at(fault, json!({})).await;
    }

    async fn arm_at(&mut self, fault: Value, limits: Value) {
        self.armed.insert(fault["kind"].as_str().unwrap().to_owned());
        let mut injection = json!({"fault": fault, "times": 1});
        injection.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        let answer = self.client.post("/mock/faults", injection).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{fault}: {}", answer.body);
    }

    async fn insert(&self) {
        assert_eq!(self.client.insert("Cd", &self.images.url("a.iso")).await.status, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn every_fault_of_the_readme_can_be_armed_over_http_and_shows() {
    let mut bench = Bench::new().await;
    faults_of_requests(&mut bench).await;
    faults_of_drives(&mut bench).await;
    faults_of_boots(&mut bench).await;
    faults_of_power(&mut bench).await;
    faults_of_answers(&mut bench).await;
    faults_of_logins(&mut bench).await;
    faults_of_tasks(&mut bench).await;
    faults_of_overrides(&mut bench).await;
    faults_of_the_bmc(&mut bench).await;
    faults_of_events(&mut bench).await;
    assert_eq!(bench.client.get("/mock/faults").await.body, json!([]), "all are used up");
    assert_eq!(bench.armed, kinds_of_the_readme(), "the test and the README name the same kinds");
    let shown: BTreeSet<String> = bench.machine().shown_faults().into_keys().collect();
    assert_eq!(shown, bench.armed, "every one is counted where it showed");
}

async fn faults_of_requests(bench: &mut Bench) {
    bench.arm(json!({"kind": "delay", "ms": 120})).await;
    let start = Instant::now();
    assert_eq!(bench.client.get(SYSTEM).await.status, StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_millis(120));

    let status = json!({
        "kind": "status", "status": 503, "message_id": "ServiceTemporarilyUnavailable", "message": "Later.", "retry_after": 9,
    });
    bench.arm(status).await;
    let refused = bench.client.reset("On").await;
    let said =
        (refused.status.as_u16(), refused.message_id(), refused.message(), refused.header("retry-after"));
    assert_eq!(said, (503, "ServiceTemporarilyUnavailable", "Later.", "9"));
    assert_eq!(bench.machine().power(), Power::Off, "nothing was done");

    bench.arm(json!({"kind": "status-after", "status": 500})).await;
    assert_eq!(bench.client.reset("On").await.status.as_u16(), 500);
    assert_eq!(bench.machine().power(), Power::On, "all was done");

    bench.arm(json!({"kind": "page", "status": 200})).await;
    let page = bench.client.get(SYSTEM).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html"));

    let off = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
    let body = || Some(json!({"ResetType": "ForceOff"}));
    let login = [("Authorization", "Basic YWRtaW46cGFzc3dvcmQ=")];
    bench.arm(json!({"kind": "reset"})).await;
    assert!(bench.client.raw(Method::POST, off, &login, body()).await.is_err());
    assert_eq!(bench.machine().power(), Power::On, "nothing was done");
    bench.arm(json!({"kind": "reset-after"})).await;
    assert!(bench.client.raw(Method::POST, off, &login, body()).await.is_err());
    assert_eq!(bench.machine().power(), Power::Off, "all was done");

    let properties = json!({"SerialNumber": "other", "Boot": null});
    let limits = json!({"method": "get", "path": SYSTEM, "after": 1});
    bench.arm_at(json!({"kind": "replace", "properties": properties}), limits).await;
    assert_eq!(bench.client.get(SYSTEM).await.body["SerialNumber"], "MOCK-SIM-0", "the first passes");
    bench.client.get(CD).await;
    let odd = bench.client.get(SYSTEM).await.body;
    assert_eq!((&odd["SerialNumber"], odd.get("Boot")), (&json!("other"), None));
}

async fn faults_of_drives(bench: &mut Bench) {
    bench.arm(json!({"kind": "phantom-insert"})).await;
    bench.insert().await;
    assert_eq!(bench.client.get(CD).await.body["Inserted"], false);
    bench.insert().await;
    assert_eq!(bench.client.get(CD).await.body["Inserted"], true);

    bench.arm(json!({"kind": "stale-inserted", "reads": 2})).await;
    assert_eq!(bench.client.eject("Cd").await.status, StatusCode::NO_CONTENT);
    let mut shown = Vec::new();
    for _ in 0..3 {
        shown.push(bench.client.get(CD).await.body["Inserted"] == true);
    }
    assert_eq!(shown, [true, true, false]);
}

async fn faults_of_boots(bench: &mut Bench) {
    bench.insert().await;
    bench.arm(json!({"kind": "once-ignored"})).await;
    bench.client.boot_once("Cd").await;
    bench.client.reset("On").await;
    assert_eq!(bench.machine().last_source(), Some(BootSource::Order));
    assert_eq!(bench.machine().boot_override().enabled, Enabled::Disabled, "used up all the same");

    bench.arm(json!({"kind": "once-sticks"})).await;
    bench.client.boot_once("Cd").await;
    for left in [Enabled::Once, Enabled::Disabled] {
        bench.client.reset("ForceRestart").await;
        assert_eq!(bench.machine().last_source(), Some(BootSource::Slot { slot: "Cd".into() }));
        assert_eq!(bench.machine().boot_override().enabled, left);
    }
}

async fn faults_of_power(bench: &mut Bench) {
    bench.arm(json!({"kind": "power-lies", "says": "PoweringOff"})).await;
    assert_eq!(bench.client.get(SYSTEM).await.body["PowerState"], "PoweringOff");
    assert_eq!(bench.client.get(SYSTEM).await.body["PowerState"], "On");

    bench.arm(json!({"kind": "reset-ignored"})).await;
    assert_eq!(bench.client.reset("ForceOff").await.status, StatusCode::NO_CONTENT);
    assert_eq!(bench.machine().power(), Power::On);
    bench.client.reset("ForceOff").await;
    assert_eq!(bench.machine().power(), Power::Off);

    bench.arm(json!({"kind": "will-not-start"})).await;
    assert_eq!(bench.client.reset("On").await.status.as_u16(), 500);
    assert_eq!(bench.machine().power(), Power::Off);
    assert!(bench.client.get("/mock/state").await.body["broken"].is_string(), "the state says why");
}

async fn faults_of_answers(bench: &mut Bench) {
    let login = [("Authorization", "Basic YWRtaW46cGFzc3dvcmQ=")];
    bench.arm(json!({"kind": "cut-answer"})).await;
    assert!(bench.client.raw(Method::GET, SYSTEM, &login, None).await.is_err(), "a reset in the middle");
    bench.arm(json!({"kind": "half-json"})).await;
    let half = bench.client.get(SYSTEM).await;
    assert_eq!((half.status, &half.body), (StatusCode::OK, &Value::Null), "whole by HTTP, and no JSON");
    bench.arm(json!({"kind": "drip", "ms": 20})).await;
    let start = Instant::now();
    let slow = bench.client.get("/redfish/v1/Systems").await.body;
    assert_eq!(slow["Members@odata.count"], 1);
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}

async fn faults_of_logins(bench: &mut Bench) {
    let sessions = "/redfish/v1/SessionService/Sessions";
    let login = json!({"UserName": "admin", "Password": "password"});
    let opened = bench.client.post(sessions, login.clone()).await;
    let token = [("X-Auth-Token", opened.header("x-auth-token"))];
    bench.arm(json!({"kind": "session-forgotten"})).await;
    for _ in 0..2 {
        let lost = bench.client.raw(Method::GET, SYSTEM, &token, None).await.unwrap();
        assert_eq!((lost.status.as_u16(), lost.message_id()), (401, "NoValidSession"));
    }
    bench.arm(json!({"kind": "sessions-full"})).await;
    assert_eq!(bench.client.get(SYSTEM).await.status, StatusCode::OK, "shows at the login alone");
    let full = bench.client.post(sessions, login.clone()).await;
    assert_eq!((full.status.as_u16(), full.message_id()), (503, "SessionLimitExceeded"));
    assert_eq!(bench.client.post(sessions, login).await.status, StatusCode::CREATED);
    bench.arm(json!({"kind": "password-change"})).await;
    let refused = bench.client.get(SYSTEM).await;
    assert_eq!((refused.status.as_u16(), refused.message_id()), (403, "PasswordChangeRequired"));
}

async fn faults_of_tasks(bench: &mut Bench) {
    bench.arm(json!({"kind": "task-vanishes"})).await;
    let accepted = bench.client.reset("On").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    bench.machine().wait_power(Power::On, Duration::from_secs(5)).await.unwrap();
    assert_eq!(bench.client.get(accepted.header("location")).await.status, StatusCode::NOT_FOUND);
    for (works, left) in [(false, Power::On), (true, Power::Off)] {
        bench.arm(json!({"kind": "task-stuck", "works": works})).await;
        let accepted = bench.client.reset("ForceOff").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let monitor = bench.client.get(accepted.header("location")).await;
        assert_eq!((monitor.status, &monitor.body["TaskState"]), (StatusCode::ACCEPTED, &json!("Running")));
        assert_eq!(bench.machine().power(), left);
    }
}

async fn faults_of_overrides(bench: &mut Bench) {
    let override_of = async |bench: &Bench, name: &str| {
        bench.client.get(SYSTEM).await.body["Boot"][format!("BootSourceOverride{name}")].clone()
    };
    bench.arm(json!({"kind": "once-reverts", "reads": 1})).await;
    bench.client.boot_once("Cd").await;
    assert_eq!(override_of(bench, "Enabled").await, "Once");
    assert_eq!(override_of(bench, "Enabled").await, "Disabled");
    bench.client.eject("Cd").await;
    bench.client.boot_once("Cd").await;
    bench.arm(json!({"kind": "override-dropped"})).await;
    bench.insert().await;
    assert_eq!(override_of(bench, "Enabled").await, "Disabled");
    bench.arm(json!({"kind": "mode-flips"})).await;
    bench.client.boot_once("Cd").await;
    assert_eq!(override_of(bench, "Mode").await, "Legacy");
    bench.client.reset("On").await;
    assert_eq!(bench.machine().last_source(), Some(BootSource::Order), "the images boot by UEFI alone");
}

async fn faults_of_the_bmc(bench: &mut Bench) {
    let manager = "/redfish/v1/Managers/1";
    bench.arm(json!({"kind": "clock-skew", "seconds": -86_400})).await;
    let skewed = bench.client.get(manager).await;
    let says: jiff::Timestamp = skewed.body["DateTime"].as_str().unwrap().parse().unwrap();
    let behind = jiff::Timestamp::now().duration_since(says).as_hours();
    assert_eq!(behind, 24);
    let date = jiff::fmt::rfc2822::parse(skewed.header("date")).unwrap().timestamp();
    assert!(date.duration_since(says).abs() < jiff::SignedDuration::from_secs(2), "{date} {says}");

    let restart = "/redfish/v1/Managers/1/Actions/Manager.Reset";
    bench.arm_at(json!({"kind": "keys-missing"}), json!({"times": null})).await;
    assert_eq!(bench.client.get(SYSTEM).await.body.get("Boot"), None);
    assert_eq!(bench.client.get(manager).await.body.get("VirtualMedia"), None);
    bench.client.post(restart, json!({"ResetType": "GracefulRestart"})).await;
    assert!(bench.client.get(SYSTEM).await.body["Boot"].is_object(), "a restart brings them back");

    let login = [("Authorization", "Basic YWRtaW46cGFzc3dvcmQ=")];
    bench.arm(json!({"kind": "bmc-reboots", "ms": 150, "unready": 2})).await;
    let start = Instant::now();
    while bench.client.raw(Method::GET, SYSTEM, &login, None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    assert_eq!(bench.client.get(SYSTEM).await.message_id(), "ServiceTemporarilyUnavailable");
    assert_eq!(bench.client.get(SYSTEM).await.status, StatusCode::OK);
    assert_eq!(bench.machine().open_sessions(), 0);
    assert_eq!(bench.machine().power(), Power::On, "the machine does not mind");
}

/// What streams say while they lie, flood and end is in `events.rs`.
async fn faults_of_events(bench: &mut Bench) {
    let url = format!("{}/redfish/v1/EventService/SSE", bench.machine().base_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (kind, goes_on) in [("events-lie", true), ("events-flood", true), ("events-end", false)] {
        bench.arm(json!({"kind": kind})).await;
        let asked = http.get(&url).basic_auth("admin", Some("password"));
        let mut stream = asked.send().await.unwrap();
        stream.chunk().await.unwrap().unwrap();
        assert_eq!(stream.chunk().await.unwrap().is_some(), goes_on, "{kind}");
    }
}

#[tokio::test]
async fn an_armed_fault_is_listed_and_can_be_disarmed_by_its_number_or_with_all() {
    let bench = Bench::new().await;
    let fault = |status: u16| json!({"fault": {"kind": "status", "status": status}});
    let first = bench.client.post("/mock/faults", fault(500)).await.body["id"].clone();
    let second = bench.client.post("/mock/faults", fault(502)).await.body["id"].clone();
    assert_eq!(bench.client.get(SYSTEM).await.status.as_u16(), 500);
    let one = format!("/mock/faults/{first}");
    assert_eq!(bench.client.ask(Method::DELETE, &one, &[], None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(bench.client.ask(Method::DELETE, &one, &[], None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.client.get("/mock/faults").await.body[0]["id"], second);
    assert_eq!(bench.client.get(SYSTEM).await.status.as_u16(), 502);
    assert_eq!(
        bench.client.ask(Method::DELETE, "/mock/faults", &[], None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(bench.client.get(SYSTEM).await.status, StatusCode::OK);
}
