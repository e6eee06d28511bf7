//! `$expand` as a client sees it.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use mock_redfish::{Rack, RackConfig};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::Client;

const ROOT: &str = "/redfish/v1/";
const MEDIA: &str = "/redfish/v1/Managers/1/VirtualMedia";

async fn one() -> (Rack, Client) {
    let mut config = RackConfig::sim(1);
    config.machines[0].quirks.expands = true;
    let rack = Rack::start(config).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

fn is_link(value: &Value) -> bool {
    value.as_object().unwrap().len() == 1
}

#[tokio::test]
async fn the_members_of_an_expanded_collection_are_what_a_client_would_read_one_by_one() {
    let (_rack, client) = one().await;
    let expanded = client.get(&format!("{MEDIA}?$expand=.($levels=1)")).await;
    assert_eq!(expanded.status, StatusCode::OK);
    let members = expanded.body["Members"].as_array().unwrap();
    assert_eq!((members.len(), &expanded.body["Members@odata.count"]), (2, &json!(2)));
    for member in members {
        assert_eq!(*member, client.get(member["@odata.id"].as_str().unwrap()).await.body);
    }
}

#[tokio::test]
async fn dot_takes_what_is_below_tilde_what_is_beside_and_star_both() {
    let (_rack, client) = one().await;
    for (which, below, beside) in [(".", true, false), ("~", false, true), ("*", true, true)] {
        let system = client.get(&format!("/redfish/v1/Systems/1?$expand={which}")).await.body;
        assert_eq!(!is_link(&system["SecureBoot"]), below, "{which}");
        assert_eq!(!is_link(&system["Links"]["Chassis"][0]), beside, "{which}");
        assert!(system["Boot"]["BootSourceOverrideEnabled"].is_string(), "what is no link stays: {which}");
    }
}

#[tokio::test]
async fn levels_are_counted_and_circles_end() {
    let (_rack, client) = one().await;
    let systems = |levels: u8| format!("/redfish/v1/Systems?$expand=.($levels={levels})");
    let one = client.get(&systems(1)).await.body;
    assert!(is_link(&one["Members"][0]["EthernetInterfaces"]));
    let two = client.get(&systems(2)).await.body;
    assert!(is_link(&two["Members"][0]["EthernetInterfaces"]["Members"][0]));
    let three = client.get(&systems(3)).await.body;
    assert!(three["Members"][0]["EthernetInterfaces"]["Members"][0]["MACAddress"].is_string());
    // System, chassis and manager link to each other.
    let circle = client.get("/redfish/v1/Systems/1?$expand=*($levels=3)").await;
    assert_eq!(circle.status, StatusCode::OK);
    let third = &circle.body["Links"]["Chassis"][0]["Links"]["ComputerSystems"][0]["Links"]["Chassis"][0];
    assert!(!is_link(third) && is_link(&third["Links"]["ComputerSystems"][0]));
}

#[tokio::test]
async fn what_the_root_says_of_expand_is_true() {
    let (_rack, client) = one().await;
    let says = client.get(ROOT).await.body["ProtocolFeaturesSupported"]["ExpandQuery"].clone();
    assert_eq!(
        says,
        json!({"ExpandAll": true, "Levels": true, "Links": true, "NoLinks": true, "MaxLevels": 3})
    );
    for (query, id) in [
        ("$expand=.($levels=4)", "QueryParameterOutOfRange"),
        ("$expand=Members", "QueryParameterValueFormatError"),
        ("$expand", "QueryParameterValueFormatError"),
    ] {
        let answer = client.get(&format!("{MEDIA}?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.message_id()), (400, id), "{query}");
    }
    let filter = client.get(&format!("{MEDIA}?$filter=Id eq 'Cd'")).await;
    assert_eq!(filter.status, StatusCode::NOT_IMPLEMENTED);
    let write = client.patch("/redfish/v1/Systems/1?$expand=.", json!({"AssetTag": "a"})).await;
    assert_eq!((write.status.as_u16(), write.message_id()), (400, "QueryNotSupportedOnOperation"));

    let rack = Rack::start(RackConfig::sim(1)).await.unwrap();
    let client = Client::new(rack.machine(0));
    let says = client.get(ROOT).await.body["ProtocolFeaturesSupported"]["ExpandQuery"].clone();
    assert_eq!(says, json!({"ExpandAll": false, "Levels": false, "Links": false, "NoLinks": false}));
    assert_eq!(client.get(&format!("{MEDIA}?$expand=.")).await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn an_expanded_root_is_not_open_to_all() {
    let (_rack, client) = one().await;
    let path = format!("{ROOT}?$expand=.");
    let stranger = client.raw(Method::GET, &path, &[], None).await.unwrap();
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    let known = client.get(&path).await.body;
    assert!(known["Systems"]["Members"].is_array() && is_link(&known["Links"]["Sessions"]));
}
