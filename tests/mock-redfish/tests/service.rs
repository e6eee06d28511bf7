//! The Redfish service as a client sees it, on simulated machines.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use mock_redfish::{
    Boot, BootSource, Enabled, Fault, Host, HostExit, HostPower, Injection, MachineConfig, Power, Quirks,
    Rack, RackConfig, Timing,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, ImageServer};
use tokio::sync::mpsc;

const SYSTEM: &str = "/redfish/v1/Systems/1";
const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd";
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
const SOON: Duration = Duration::from_secs(5);

async fn one(change: impl FnOnce(&mut MachineConfig)) -> (Rack, Client) {
    let mut config = RackConfig::sim(1);
    change(&mut config.machines[0]);
    let rack = Rack::start(config).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

/// Every `@odata.id` inside a body.
fn links(body: &Value, found: &mut BTreeSet<String>) {
    match body {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(path) if name == "@odata.id" || name == "@Redfish.ActionInfo" => {
                        found.insert(path.to_owned());
                    }
                    _ => links(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| links(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_link_of_the_tree_leads_somewhere_with_id_type_and_etag() {
    let (_rack, client) = one(|_| {}).await;
    client.post(SESSIONS, json!({"UserName": "admin", "Password": "password"})).await;
    let mut seen = BTreeSet::new();
    let mut next = BTreeSet::from(["/redfish/v1/".to_owned()]);
    let mut shown = Vec::new();
    while let Some(path) = next.pop_first() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = client.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.body["@odata.id"], json!(path));
        assert!(answer.body["@odata.type"].as_str().unwrap().starts_with('#'), "{path}");
        assert!(answer.body["Name"].is_string(), "{path}");
        assert_eq!(answer.body["@odata.etag"].as_str().unwrap(), answer.header("etag"), "{path}");
        assert_eq!(answer.header("odata-version"), "4.0");
        links(&answer.body, &mut next);
        shown.push(path);
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[tokio::test]
async fn a_system_looks_like_this() {
    let (_rack, client) = one(|_| {}).await;
    let mut body = client.get(SYSTEM).await.body;
    body["LastResetTime"] = json!("(time)");
    body["@odata.etag"] = json!("(tag)");
    insta::assert_json_snapshot!(body);
}

#[tokio::test]
async fn a_drive_looks_like_this() {
    let (_rack, client) = one(|_| {}).await;
    insta::assert_json_snapshot!(client.get(CD).await.body);
}

#[tokio::test]
async fn a_session_opens_serves_and_closes() {
    let (rack, client) = one(|_| {}).await;
    let wrong = json!({"UserName": "admin", "Password": "wrong"});
    let refused = client.raw(Method::POST, SESSIONS, &[], Some(wrong)).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let right = json!({"UserName": "admin", "Password": "password"});
    let opened = client.raw(Method::POST, SESSIONS, &[], Some(right)).await.unwrap();
    assert_eq!(opened.status, StatusCode::CREATED);
    let (token, location) = (opened.header("x-auth-token").to_owned(), opened.header("location").to_owned());
    assert!(!opened.body.to_string().contains(&token), "the token is in the header only");
    let head = [("X-Auth-Token", token.as_str())];
    assert_eq!(client.raw(Method::GET, SYSTEM, &head, None).await.unwrap().status, StatusCode::OK);
    assert_eq!(rack.machine(0).open_sessions(), 1);
    assert_eq!(
        client.raw(Method::DELETE, &location, &head, None).await.unwrap().status,
        StatusCode::NO_CONTENT
    );
    let gone = client.raw(Method::GET, SYSTEM, &head, None).await.unwrap();
    assert_eq!((gone.status, gone.message_id()), (StatusCode::UNAUTHORIZED, "NoValidSession"));
    let kept = serde_json::to_string(&rack.machine(0).requests()).unwrap();
    assert!(!kept.contains("\"password\"") && !kept.contains("wrong"), "{kept}");
}

#[tokio::test]
async fn a_full_session_table_says_so_and_a_forgotten_session_is_401() {
    let (rack, client) = one(|machine| machine.session_limit = 1).await;
    let login = json!({"UserName": "admin", "Password": "password"});
    let first = client.post(SESSIONS, login.clone()).await;
    let second = client.post(SESSIONS, login).await;
    assert_eq!((second.status.as_u16(), second.message_id()), (503, "SessionLimitExceeded"));
    rack.machine(0).forget_sessions();
    let head = [("X-Auth-Token", first.header("x-auth-token"))];
    assert_eq!(client.raw(Method::GET, SYSTEM, &head, None).await.unwrap().status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_the_root_is_open_to_all() {
    let (_rack, client) = one(|_| {}).await;
    for (path, status) in [
        ("/redfish", 200),
        ("/redfish/v1", 200),
        ("/redfish/v1/", 200),
        ("/redfish/v1/$metadata", 200),
        ("/redfish/v1/odata", 200),
        (SYSTEM, 401),
        (SESSIONS, 401),
        ("/redfish/v1/Nowhere", 401),
    ] {
        let answer = client.raw(Method::GET, path, &[], None).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
    assert_eq!(client.get("/redfish/v1/Nowhere").await.status, StatusCode::NOT_FOUND);
    assert_eq!(client.ask(Method::DELETE, SYSTEM, &[], None).await.header("allow"), "GET, HEAD, PATCH");
}

#[tokio::test]
async fn if_match_is_checked_and_if_none_match_saves_the_body() {
    let (_rack, client) = one(|_| {}).await;
    let etag = client.get(SYSTEM).await.header("etag").to_owned();
    let same = client.ask(Method::GET, SYSTEM, &[("If-None-Match", &etag)], None).await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    let tag = |text: &str| Some(json!({ "AssetTag": text }));
    let first = client.ask(Method::PATCH, SYSTEM, &[("If-Match", &etag)], tag("a")).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_ne!(first.header("etag"), etag);
    let late = client.ask(Method::PATCH, SYSTEM, &[("If-Match", &etag)], tag("b")).await;
    assert_eq!((late.status, late.message_id()), (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    let any = client.ask(Method::PATCH, SYSTEM, &[("If-Match", "*")], tag("c")).await;
    assert_eq!(any.body["AssetTag"], "c");
}

#[tokio::test]
async fn a_strict_bmc_wants_if_match_and_a_weak_one_never_matches() {
    let (_rack, client) = one(|machine| machine.quirks.needs_if_match = true).await;
    assert_eq!(client.patch(SYSTEM, json!({"AssetTag": "a"})).await.status.as_u16(), 428);
    let (_rack, client) = one(|machine| machine.quirks.weak_etags = true).await;
    let etag = client.get(SYSTEM).await.header("etag").to_owned();
    assert!(etag.starts_with("W/"));
    let body = Some(json!({"AssetTag": "a"}));
    assert_eq!(client.ask(Method::PATCH, SYSTEM, &[("If-Match", &etag)], body).await.status.as_u16(), 412);
}

#[tokio::test]
async fn a_bad_patch_names_every_property_and_changes_nothing() {
    let (rack, client) = one(|_| {}).await;
    let body = json!({
        "AssetTag": "new", "SerialNumber": "x", "Colour": "red",
        "Boot": {"BootSourceOverrideTarget": "Cloud", "BootSourceOverrideEnabled": "Once", "BootOrder": []},
    });
    let answer = client.patch(SYSTEM, body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let mut ids: Vec<String> = Vec::new();
    for info in answer.body["error"]["@Message.ExtendedInfo"].as_array().unwrap() {
        ids.push(format!("{} {}", info["RelatedProperties"][0], info["MessageId"]));
    }
    ids.sort();
    insta::assert_snapshot!(ids.join("\n"));
    assert_eq!(rack.machine(0).boot_override().enabled, Enabled::Disabled);
    assert_eq!(client.get(SYSTEM).await.body["AssetTag"], "");
}

#[tokio::test]
async fn resets_follow_the_table_and_conflicts_are_409() {
    let (rack, client) = one(|_| {}).await;
    let machine = rack.machine(0);
    assert_eq!(client.reset("ForceOff").await.status, StatusCode::CONFLICT);
    assert_eq!(client.reset("On").await.status, StatusCode::NO_CONTENT);
    assert_eq!(machine.power(), Power::On);
    assert_eq!(client.reset("On").await.status, StatusCode::CONFLICT);
    assert_eq!(client.reset("ForceRestart").await.status, StatusCode::NO_CONTENT);
    assert_eq!(machine.boots(), 2);
    client.reset("GracefulRestart").await;
    machine.wait_boots(3, SOON).await.unwrap();
    client.reset("GracefulShutdown").await;
    machine.wait_power(Power::Off, SOON).await.unwrap();
    let unknown = client.reset("Explode").await;
    assert_eq!((unknown.status.as_u16(), unknown.message_id()), (400, "ActionParameterValueNotInList"));
}

#[tokio::test]
async fn a_slow_bmc_says_powering_on_and_gives_tasks() {
    let timing = Timing { power_on_ms: 300, tasks: true, ..Timing::default() };
    let (rack, client) = one(|machine| machine.timing = timing).await;
    let answer = client.reset("On").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["TaskState"], "Running");
    let monitor = answer.header("location").to_owned();
    assert_eq!(client.get(&monitor).await.status, StatusCode::ACCEPTED);
    rack.machine(0).wait_power(Power::PoweringOn, SOON).await.unwrap();
    rack.machine(0).wait_power(Power::On, SOON).await.unwrap();
    let task = answer.body["@odata.id"].as_str().unwrap();
    let end = tokio::time::Instant::now() + SOON;
    while client.get(task).await.body["TaskState"] != "Completed" && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.get(&monitor).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn media_go_in_and_out_of_both_drives() {
    let (rack, client) = one(|_| {}).await;
    let images = ImageServer::start(vec![7; 100_000]).await;
    assert_eq!(client.insert("Cd", &images.url("boot.iso")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.insert("Usb", &images.url("task.iso")).await.status, StatusCode::NO_CONTENT);
    let cd = client.get(CD).await.body;
    assert_eq!((&cd["Inserted"], &cd["ImageName"]), (&json!(true), &json!("boot.iso")));
    let twice = client.insert("Cd", &images.url("other.iso")).await;
    assert_eq!((twice.status.as_u16(), twice.message_id()), (409, "ResourceInUse"));
    assert_eq!(client.eject("Cd").await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.eject("Cd").await.status, StatusCode::NO_CONTENT, "an empty drive is no error");
    assert_eq!(client.get(CD).await.body["Image"], Value::Null);
    assert_eq!(rack.machine(0).image("Usb"), Some(images.url("task.iso")));
}

#[tokio::test]
async fn an_image_that_cannot_be_used_is_refused_by_name() {
    let (rack, client) = one(|_| {}).await;
    let whole = ImageServer::without_ranges(vec![7; 1000]).await;
    let empty = ImageServer::start(Vec::new()).await;
    for (url, id) in [
        ("http://127.0.0.1:1/x.iso".to_owned(), "CouldNotEstablishConnection"),
        (whole.url("x.iso"), "ResourceAtUriInUnknownFormat"),
        (empty.url("x.iso"), "ResourceAtUriInUnknownFormat"),
        ("nfs://127.0.0.1/x.iso".to_owned(), "ActionParameterValueFormatError"),
    ] {
        let answer = client.insert("Cd", &url).await;
        assert_eq!((answer.status.as_u16(), answer.message_id()), (400, id), "{url}");
        assert!(answer.message().contains(&url), "{}", answer.message());
    }
    assert_eq!(rack.machine(0).image("Cd"), None);
}

#[tokio::test]
async fn insert_parameters_are_checked_as_the_quirks_say() {
    let (_rack, client) = one(|machine| {
        machine.quirks = Quirks {
            needs_transfer_protocol: true,
            refuses_inserted: true,
            blind_insert: true,
            needs_json_body: true,
            ..Quirks::default()
        };
    })
    .await;
    let insert = format!("{CD}/Actions/VirtualMedia.InsertMedia");
    let image = "http://127.0.0.1:1/x.iso";
    for (body, id) in [
        (json!({}), "ActionParameterMissing"),
        (json!({"Image": 5}), "ActionParameterValueTypeError"),
        (json!({ "Image": image }), "ActionParameterMissing"),
        (json!({"Image": image, "TransferProtocolType": "NFS"}), "ActionParameterValueNotInList"),
        (json!({"Image": image, "TransferProtocolType": "HTTP", "Inserted": true}), "ActionParameterUnknown"),
        (json!({"Image": image, "TransferProtocolType": "HTTP", "Magic": 1}), "ActionParameterUnknown"),
        (json!({"Image": image, "TransferProtocolType": "HTTP"}), ""),
    ] {
        let answer = client.post(&insert, body.clone()).await;
        assert_eq!(answer.message_id(), id, "{body}");
    }
    let eject = format!("{CD}/Actions/VirtualMedia.EjectMedia");
    assert_eq!(client.ask(Method::POST, &eject, &[], None).await.status.as_u16(), 415);
}

#[tokio::test]
async fn a_bmc_without_actions_takes_media_by_patch() {
    let (rack, client) = one(|machine| {
        machine.quirks = Quirks { media_by_patch: true, media_under_system: true, ..Quirks::default() };
    })
    .await;
    let images = ImageServer::start(vec![7; 1000]).await;
    let slot = "/redfish/v1/Systems/1/VirtualMedia/Cd";
    assert!(client.get(slot).await.body.get("Actions").is_none());
    let inserted = client.patch(slot, json!({"Image": images.url("a.iso"), "Inserted": true})).await;
    assert_eq!(inserted.body["Inserted"], true);
    assert_eq!(rack.machine(0).image("Cd"), Some(images.url("a.iso")));
    assert_eq!(client.patch(slot, json!({"Image": null, "Inserted": false})).await.body["Inserted"], false);
    assert_eq!(client.get(CD).await.status, StatusCode::NOT_FOUND);
}

/// Tells every boot to the test, then does as it is told.
struct Script(mpsc::UnboundedSender<Boot>, Vec<HostExit>);

#[async_trait]
impl Host for Script {
    async fn booted(&self, boot: Boot, power: HostPower) -> HostExit {
        power.print(&format!("boot {}", boot.number));
        let exit = self.1[usize::try_from(boot.number).unwrap() - 1];
        self.0.send(boot).unwrap();
        if exit == HostExit::Stays {
            std::future::pending::<()>().await;
        }
        exit
    }
}

#[tokio::test]
async fn once_boots_the_cd_one_time_also_when_the_guest_restarts_itself() {
    let (boots, mut booted) = mpsc::unbounded_channel();
    let host = Script(boots, vec![HostExit::Restarted, HostExit::PoweredOff, HostExit::Stays]);
    let rack = Rack::start_with_host(RackConfig::sim(1), Arc::new(host)).await.unwrap();
    let machine = rack.machine(0);
    let client = Client::new(machine);
    let images = ImageServer::start(vec![7; 1000]).await;
    client.insert("Cd", &images.url("boot.iso")).await;
    client.insert("Usb", &images.url("task.iso")).await;
    assert_eq!(client.boot_once("Cd").await.status, StatusCode::OK);
    assert_eq!(client.reset("On").await.status, StatusCode::NO_CONTENT);
    let first = booted.recv().await.unwrap();
    assert_eq!(first.boot_medium(), Some(images.url("boot.iso").as_str()));
    assert_eq!(first.other_media(), [images.url("task.iso")]);
    let second = booted.recv().await.unwrap();
    assert_eq!(second.source, BootSource::Order);
    machine.wait_power(Power::Off, SOON).await.unwrap();
    assert_eq!(machine.boot_override().enabled, Enabled::Disabled);
    client.reset("On").await;
    assert_eq!(booted.recv().await.unwrap().number, 3);
    machine.pull_power().await.unwrap();
    assert_eq!(machine.power(), Power::Off);
    assert_eq!(machine.console(), "boot 1\nboot 2\nboot 3\n");
}

#[tokio::test]
async fn faults_of_requests_show_and_wear_off() {
    let (rack, client) = one(|_| {}).await;
    let machine = rack.machine(0);
    let status = Fault::message(400, "UnableToModifyDuringSystemPOST");
    machine.inject(Injection::times(1, status).on("PATCH", SYSTEM));
    assert_eq!(client.boot_once("Cd").await.message_id(), "UnableToModifyDuringSystemPOST");
    assert_eq!(client.boot_once("Cd").await.status, StatusCode::OK);
    machine.inject(Injection::times(1, Fault::Reset));
    let reset = client.raw(Method::GET, "/redfish/v1/", &[], None).await;
    assert!(reset.is_err_and(|error| error.is_request()));
    machine.inject(Injection::times(1, Fault::Page { status: 403 }));
    let page = client.get(SYSTEM).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (403, "text/html"));
    machine.inject(Injection::times(1, Fault::StatusAfter { status: 500 }));
    assert_eq!(client.reset("On").await.status.as_u16(), 500);
    assert_eq!(machine.power(), Power::On, "the work went through all the same");
    let properties = json!({"SerialNumber": "other", "Boot": null}).as_object().unwrap().clone();
    machine.inject(Injection::times(1, Fault::Replace { properties }).on("GET", SYSTEM));
    let odd = client.get(SYSTEM).await.body;
    assert_eq!((odd["SerialNumber"].as_str(), odd.get("Boot")), (Some("other"), None));
    machine.inject(Injection::times(1, Fault::Delay { ms: 80 }));
    let start = std::time::Instant::now();
    client.get(SYSTEM).await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert!(machine.armed_faults().is_empty());
}

#[tokio::test]
async fn faults_of_the_machine_show() {
    let (rack, client) = one(|_| {}).await;
    let machine = rack.machine(0);
    let images = ImageServer::start(vec![7; 1000]).await;
    machine.inject(Injection::times(1, Fault::PhantomInsert));
    assert_eq!(client.insert("Cd", &images.url("a.iso")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(CD).await.body["Inserted"], false);
    client.insert("Cd", &images.url("a.iso")).await;
    machine.inject(Injection::times(1, Fault::StaleInserted { reads: 1 }));
    client.eject("Cd").await;
    assert_eq!(client.get(CD).await.body["Inserted"], true, "stale");
    assert_eq!(client.get(CD).await.body["Inserted"], false);
    client.insert("Cd", &images.url("a.iso")).await;
    machine.inject(Injection::times(1, Fault::OnceIgnored));
    client.boot_once("Cd").await;
    client.reset("On").await;
    assert_eq!(machine.last_source(), Some(BootSource::Order));
    assert_eq!(machine.boot_override().enabled, Enabled::Disabled);
    machine.inject(Injection::times(1, Fault::OnceSticks));
    client.boot_once("Cd").await;
    client.reset("PowerCycle").await;
    assert_eq!(machine.boot_override().enabled, Enabled::Once);
    machine.inject(Injection::times(1, Fault::PowerLies { says: "Off".into() }));
    assert_eq!(client.get(SYSTEM).await.body["PowerState"], "Off");
    assert_eq!(client.get(SYSTEM).await.body["PowerState"], "On");
    machine.inject(Injection::times(1, Fault::ResetIgnored));
    assert_eq!(client.reset("ForceOff").await.status, StatusCode::NO_CONTENT);
    assert_eq!(machine.power(), Power::On);
    client.reset("ForceOff").await;
    machine.inject(Injection::times(1, Fault::WillNotStart));
    assert_eq!(client.reset("On").await.status.as_u16(), 500);
    assert_eq!(machine.power(), Power::Off);
}

#[tokio::test]
async fn the_control_api_shows_and_does_what_the_library_does() {
    let (rack, client) = one(|_| {}).await;
    let machine = rack.machine(0);
    machine.power_on().await.unwrap();
    let state = client.get("/mock/state").await.body;
    assert_eq!((&state["power"], &state["serial"]), (&json!("On"), &json!("MOCK-SIM-0")));
    let fault = json!({"fault": {"kind": "status", "status": 503, "retry_after": 7}, "times": 1});
    assert_eq!(client.post("/mock/faults", fault).await.status, StatusCode::CREATED);
    assert_eq!(client.get("/mock/faults").await.body[0]["injection"]["times"], 1);
    assert_eq!(client.get(SYSTEM).await.header("retry-after"), "7");
    assert_eq!(
        client.post("/mock/faults", json!({"fault": {"kind": "gremlins"}})).await.status.as_u16(),
        400
    );
    assert_eq!(client.post("/mock/nvram/wipe", json!({})).await.status.as_u16(), 409, "power is on");
    assert_eq!(client.post("/mock/power/pull", json!({})).await.status.as_u16(), 204);
    assert_eq!(machine.power(), Power::Off);
    let requests = client.get("/mock/requests").await.body;
    assert_eq!(requests.as_array().unwrap().len(), 1, "control requests are not kept");
    let closed = Rack::start(RackConfig { control: false, ..RackConfig::sim(1) }).await.unwrap();
    assert_eq!(Client::new(closed.machine(0)).get("/mock/state").await.status.as_u16(), 404);
}

#[tokio::test]
async fn https_shows_the_certificate_the_rack_made() {
    let rack = Rack::start(RackConfig { tls: true, ..RackConfig::sim(1) }).await.unwrap();
    let client = Client::new(rack.machine(0));
    assert!(rack.machine(0).base_url().starts_with("https://127.0.0.1:"));
    assert_eq!(client.get(SYSTEM).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_hundred_bmcs_live_in_one_process_and_end_with_the_rack() {
    let rack = Rack::start(RackConfig::sim(200)).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for machine in rack.machines() {
        let client = Client::new(machine);
        asked.spawn(async move { client.reset("On").await.status });
    }
    while let Some(status) = asked.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::NO_CONTENT);
    }
    assert!(rack.machines().iter().all(|machine| machine.power() == Power::On));
    let last = rack.machine(199).clone();
    rack.shutdown().await;
    assert!(last.power_on().await.is_err(), "the driver is gone");
}
