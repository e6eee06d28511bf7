//! docs/openapi.json is what is served, and what is served is what it says: every answer of a tour through the API
//! is held against the document, with no field more and none less.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::collections::BTreeSet;
use std::path::Path;

use api_support::host::Script;
use api_support::{Answer, World};
use serde_json::{Value, json};

/// Writes the document anew when set.
const UPDATE: &str = "UPDATE_GOLDENS";

fn generated() -> Value {
    serde_json::to_value(controller::api::openapi()).unwrap()
}

#[test]
fn the_document_in_docs_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&generated()).unwrap());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/openapi.json is stale; run {UPDATE}=1 cargo test -p controller --test api_document"
    );
}

#[test]
fn every_operation_says_what_it_does_and_how_it_refuses() {
    let document = generated();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{what} has no summary"
            );
            assert!(
                operation["responses"]["default"]["content"].is_object(),
                "{what} does not say how it refuses"
            );
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{what} has another's id"
            );
        }
    }
    assert!(ids.len() > 30, "{ids:?}");
    jsonschema::meta::validate(&json!({ "$defs": document["components"]["schemas"] })).unwrap();
}

#[test]
fn a_field_too_many_and_a_field_too_few_are_noticed() {
    let document = Document::closed();
    let checks = |body: Value| {
        let answer = Answer { status: 200, body, headers: reqwest::header::HeaderMap::new() };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            document.check("GET", "/machines/{serial}/power", &answer);
        }))
        .is_ok()
    };
    assert!(checks(json!({ "power": "on" })));
    assert!(!checks(json!({ "power": "on", "watts": 7 })));
    assert!(!checks(json!({})));
    assert!(!checks(json!({ "power": "maybe" })));
}

/// The document, closed: objects have the properties it lists and no others.
struct Document {
    whole: Value,
    toured: std::cell::RefCell<BTreeSet<String>>,
}

impl Document {
    fn closed() -> Self {
        let mut whole = generated();
        close(&mut whole["components"]["schemas"]);
        Self { whole, toured: std::cell::RefCell::default() }
    }

    /// Holds an answer against what the document says of that operation.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path} → {}", answer.status);
        let operation = &self.whole["paths"][format!("/api/v1{path}")][method.to_lowercase()];
        assert!(operation.is_object(), "{what}: not in the document");
        self.toured.borrow_mut().insert(format!("{method} {path}"));
        let responses = &operation["responses"];
        let response = match responses.get(answer.status.to_string()) {
            Some(response) => response,
            None if answer.status >= 400 => &responses["default"],
            None => panic!("{what}: a status the document does not know"),
        };
        let content = response["content"].as_object();
        let schema =
            content.and_then(|content| content.get("application/json")).map(|json| json["schema"].clone());
        let Some(mut schema) = schema else {
            assert!(answer.body.is_null() || content.is_some(), "{what}: a body the document does not know");
            return;
        };
        schema["components"] = self.whole["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&answer.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{:#}", answer.body);
    }
}

fn close(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object)
                && !fields.contains_key("additionalProperties")
            {
                fields.insert("additionalProperties".into(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() {
    let document = Document::closed();
    let world = World::start(2).await;
    let served = world.ask_as("", "GET", "/openapi.json", &[], None).await;
    assert_eq!(served.body, generated());
    let go = async |method: &str, template: &str, names: &[&str], query: &str, body: Option<Value>| {
        let mut path = template.to_owned();
        for name in names {
            let (from, to) = (path.find('{').unwrap(), path.find('}').unwrap());
            path.replace_range(from..=to, name);
        }
        let answer = world.ask(method, &format!("{path}{query}"), body).await;
        document.check(method, template, &answer);
        answer
    };
    let mut machine = world.machine(0);
    machine["uuid"] = json!("a0a4197b-e601-4e2b-9208-6a0296b9254f");
    machine["labels"] = json!({ "rack": "7" });
    machine["deadlines"] = json!({ "booting": 60 });
    machine["host_network"] = json!({ "links": [], "ntp": ["10.0.0.1"] });
    machine["bmc"]["certificate_sha256"] = json!("a".repeat(64));
    go("POST", "/machines", &[], "", Some(machine)).await;
    go("PUT", "/machines/{serial}", &["S1"], "", Some(world.machine(0))).await;
    go("POST", "/machines", &[], "", Some(json!({ "serial": "" }))).await;
    go("POST", "/machines", &[], "", Some(world.machine(1))).await;
    go("POST", "/machines/{serial}/probe", &["S1"], "", None).await;
    go("GET", "/machines/{serial}/power", &["S1"], "", None).await;
    go("POST", "/machines/{serial}/power", &["S1"], "", Some(json!({ "power": "on" }))).await;

    go("GET", "/site", &[], "", None).await;
    let machines = vec![mock_redfish::MachineConfig::sim("tls")];
    let rack = mock_redfish::RackConfig { tls: true, machines, ..Default::default() };
    let rack = mock_redfish::Rack::start(rack).await.unwrap();
    let url = rack.machine(0).base_url();
    let shown = go("POST", "/bmc-certificate", &[], "", Some(json!({ "url": url }))).await;
    go("POST", "/bmc-certificate", &[], "", Some(json!({ "url": "https://127.0.0.1:1" }))).await;
    let behind = json!({ "serial": "T1", "bmc": { "url": url, "user": "admin", "password": "password" } });
    go("POST", "/machines", &[], "", Some(behind)).await;
    let pin = json!({ "certificate_sha256": shown.body["sha256"] });
    go("POST", "/machines/{serial}/pin", &["T1"], "", Some(pin.clone())).await;
    go("POST", "/machines/{serial}/pin", &["S1"], "", Some(pin)).await;
    go("DELETE", "/machines/{serial}", &["T1"], "", None).await;

    let callback = json!({ "url": "http://127.0.0.1:9/hook", "kinds": ["job.*"] });
    let made = go("POST", "/callbacks", &[], "", Some(callback.clone())).await;
    let callback_id = made.body["id"].as_str().unwrap().to_owned();
    go("GET", "/callbacks", &[], "", None).await;
    go("GET", "/callbacks/{id}", &[&callback_id], "", None).await;
    go("PUT", "/callbacks/{id}", &[&callback_id], "", Some(callback)).await;
    go("POST", "/callbacks/{id}/rotate", &[&callback_id], "", None).await;
    go("POST", "/callbacks/{id}/test", &[&callback_id], "", None).await;

    assert_eq!(world.push_debian().await.code, 0);
    world.player.script("S1", Script::Fail(vec!["preflight", "partition"]));
    let submission = json!({ "server_serial": "S1", "recipe": World::debian() });
    let plan = go("POST", "/jobs", &[], "?dry_run=true", Some(submission.clone())).await;
    assert!(plan.body["partitions"].is_array());
    let mut told = submission;
    told["callback_url"] = json!("http://127.0.0.1:9/hook");
    let job = go("POST", "/jobs", &[], "", Some(told)).await;
    assert!(job.body["callback_secret"].as_str().unwrap().starts_with("whsec_"));
    let id = job.body["job_id"].as_str().unwrap().to_owned();
    while go("GET", "/jobs/{id}", &[&id], "", None).await.body["complete"] != json!(true) {
        go("GET", "/machines/{serial}", &["S1"], "", None).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    go("GET", "/machines/{serial}", &["S1"], "", None).await;
    go("DELETE", "/machines/{serial}/capability", &["S1"], "", None).await;
    go("GET", "/jobs", &[], "?status=failed", None).await;
    go("GET", "/jobs/{id}/events", &[&id], "", None).await;
    go("GET", "/jobs/{id}/logs", &[&id], "", None).await;
    go("POST", "/machines/{serial}/release", &["S1"], "", None).await;
    world.player.script("S1", Script::Begin);
    let again = go("POST", "/jobs/{id}/retry", &[&id], "", None).await;
    let second = again.body["job_id"].as_str().unwrap().to_owned();
    world.until(&second, "phase", "installing").await;
    let session = world.player.seen("S1").session;
    let log = Some(b"what the kernel said".to_vec());
    let kept = world.ask_as(&session, "POST", "/status-webhook/S1/logs?name=kernel", &[], log).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    document.check("POST", "/status-webhook/{serial}/logs", &kept);
    go("POST", "/jobs/{id}/release", &[&second], "", None).await;
    go("POST", "/jobs/{id}/cancel", &[&second], "", None).await;
    world.complete(&second).await;
    go("GET", "/jobs/{id}", &[&second], "", None).await;
    let deliveries = go("GET", "/callbacks/{id}/deliveries", &[&callback_id], "", None).await;
    let seq = deliveries.body["deliveries"][0]["seq"].to_string();
    go("POST", "/callbacks/{id}/deliveries/{seq}/replay", &[&callback_id, &seq], "", None).await;
    go("DELETE", "/callbacks/{id}", &[&callback_id], "", None).await;
    go("GET", "/machines", &[], "", None).await;
    go("DELETE", "/machines/{serial}", &["S2"], "", None).await;

    let scope = json!({ "prefix": "team", "push": true });
    let token = json!({ "name": "ci", "role": "viewer", "scopes": [scope], "days": 3 });
    let token = go("POST", "/tokens", &[], "", Some(token)).await;
    go("DELETE", "/tokens/{id}", &[token.body["id"].as_str().unwrap()], "", None).await;
    go("GET", "/tokens", &[], "", None).await;
    go("POST", "/machines/{serial}/release", &["S1"], "", None).await;
    world.player.script("S1", Script::Silent);
    let mut template = World::debian();
    template["oci_url"] = json!("{{image}}");
    let rule = json!({ "name": "web", "repository": "images/*", "recipe": template, "machines": { "labels": {"rack": "7"} },
                       "callback_url": "http://127.0.0.1:9/hook" });
    go("POST", "/push-rules", &[], "", Some(rule.clone())).await;
    go("POST", "/push-rules", &[], "", Some(rule)).await;
    go("GET", "/push-rules", &[], "", None).await;
    go("GET", "/push-rules/{name}", &["web"], "", None).await;
    let pushed = json!({ "repository": "images/debian", "tag": "trixie" });
    go("POST", "/push-rules/{name}/try", &["web"], "", Some(pushed.clone())).await;
    let mut machine = world.machine(0);
    machine["labels"] = json!({ "rack": "7" });
    go("PUT", "/machines/{serial}", &["S1"], "", Some(machine)).await;
    let tried = go("POST", "/push-rules/{name}/try", &["web"], "", Some(pushed)).await;
    assert_eq!(tried.body["machines"][0]["outcome"], "would_accept");
    go("PUT", "/push-rules/{name}/mode", &["web"], "", Some(json!({ "mode": "on" }))).await;
    let folder = world.state.path().join("root");
    let again = ["image", "push", folder.to_str().unwrap(), "images/debian:again"];
    assert_eq!(world.slipway(&again, "").await.code, 0);
    loop {
        let runs = go("GET", "/push-rules/{name}/runs", &["web"], "", None).await;
        if runs.body["runs"][0]["machines"][0]["outcome"] == "accepted" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    go("DELETE", "/push-rules/{name}", &["web"], "", None).await;
    go("GET", "/registry/usage", &[], "", None).await;
    go("GET", "/registry/mode", &[], "", None).await;
    go("PUT", "/registry/mode", &[], "", Some(json!({ "read_only": true, "reason": "a tour" }))).await;
    go("PUT", "/registry/mode", &[], "", Some(json!({ "read_only": false }))).await;
    go("POST", "/registry/verification", &[], "", None).await;
    while go("GET", "/registry/verification", &[], "", None).await.body["running"] == json!(true) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    go("POST", "/registry/collection", &[], "", Some(json!({ "dry_run": true }))).await;
    while go("GET", "/registry/collection", &[], "", None).await.body["running"] == json!(true) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    go("GET", "/schema/recipe", &[], "", None).await;
    go("GET", "/schema/event", &[], "", None).await;
    let session = world.player.seen("S1").session;
    let report = Some(json!({ "status": "heartbeat" }).to_string().into_bytes());
    let late = world.ask_as(&session, "POST", "/status-webhook/S1", &[], report).await;
    document.check("POST", "/status-webhook/{serial}", &late);

    let toured = document.toured.take();
    for (path, operations) in document.whole["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let what = format!("{} {}", method.to_uppercase(), path.trim_start_matches("/api/v1"));
            assert!(toured.contains(&what), "{what} is not on the tour");
        }
    }
    world.server.stop().await;
}
