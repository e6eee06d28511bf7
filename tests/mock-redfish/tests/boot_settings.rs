//! BMCs whose boot override is changed in a settings object, which the next start applies.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use mock_redfish::{BootSource, Enabled, Rack, RackConfig, Target};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, ImageServer};

const SYSTEM: &str = "/redfish/v1/Systems/1";
const SETTINGS: &str = "/redfish/v1/Systems/1/Settings";

async fn one() -> (Rack, Client) {
    let mut config = RackConfig::sim(1);
    config.machines[0].quirks.boot_settings = true;
    let rack = Rack::start(config).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

fn once_from_cd() -> Value {
    json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}})
}

#[tokio::test]
async fn an_override_waits_in_the_settings_object_and_holds_for_the_next_start_alone() {
    let (rack, client) = one().await;
    let images = ImageServer::start(vec![7; 1000]).await;
    client.insert("Cd", &images.url("a.iso")).await;
    let system = client.get(SYSTEM).await.body;
    assert_eq!(system["@Redfish.Settings"]["SettingsObject"]["@odata.id"], SETTINGS);
    let etag = client.get(SETTINGS).await.header("etag").to_owned();
    let set = client.ask(Method::PATCH, SETTINGS, &[("If-Match", &etag)], Some(once_from_cd())).await;
    assert_eq!(
        (set.status, &set.body["Boot"]["BootSourceOverrideEnabled"]),
        (StatusCode::OK, &json!("Once"))
    );
    let late = client.ask(Method::PATCH, SETTINGS, &[("If-Match", &etag)], Some(once_from_cd())).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(client.get(SYSTEM).await.body["Boot"]["BootSourceOverrideEnabled"], "Disabled", "not yet");

    client.reset("On").await;
    let machine = rack.machine(0);
    assert_eq!(machine.last_source(), Some(BootSource::Slot { slot: "Cd".into() }));
    for path in [SYSTEM, SETTINGS] {
        assert_eq!(client.get(path).await.body["Boot"]["BootSourceOverrideEnabled"], "Disabled", "{path}");
    }
    client.reset("ForceRestart").await;
    assert_eq!(machine.last_source(), Some(BootSource::Order));
    assert_eq!(
        (machine.boot_override().enabled, machine.boot_override().target),
        (Enabled::Disabled, Target::None)
    );
}

#[tokio::test]
async fn the_system_takes_no_override_and_the_settings_object_nothing_else() {
    let (rack, client) = one().await;
    let system = client.get(SYSTEM).await.body;
    assert_eq!(system["Boot"].get("BootSourceOverrideTarget@Redfish.AllowableValues"), None);
    let refused = client.patch(SYSTEM, once_from_cd()).await;
    assert_eq!((refused.status.as_u16(), refused.message_id()), (400, "PropertyNotWritable"));
    assert_eq!(client.patch(SYSTEM, json!({"AssetTag": "a"})).await.status, StatusCode::OK);
    for (body, id) in [
        (json!({"AssetTag": "b"}), "PropertyUnknown"),
        (json!({"Boot": "Cd"}), "PropertyValueTypeError"),
        (json!({"Boot": {"BootSourceOverrideTarget": "Cloud"}}), "PropertyValueNotInList"),
    ] {
        let refused = client.patch(SETTINGS, body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.message_id()), (400, id), "{body}");
    }
    assert_eq!(client.get("/mock/state").await.body["pending_boot_override"], Value::Null);
    let by_the_book = Rack::start(RackConfig::sim(1)).await.unwrap();
    assert_eq!(Client::new(by_the_book.machine(0)).get(SETTINGS).await.status, StatusCode::NOT_FOUND);
    drop(rack);
}
