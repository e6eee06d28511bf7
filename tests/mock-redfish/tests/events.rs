//! Server-sent events: what is told, how many may listen, and what ends a stream.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use std::time::Duration;

use mock_redfish::{Fault, Injection, MachineConfig, Rack, RackConfig, Vendor};
use reqwest::Response;
use serde_json::{Value, json};
use support::{Client, ImageServer};

async fn one(change: impl FnOnce(&mut MachineConfig)) -> (Rack, Client) {
    let mut machine = MachineConfig::sim("m1");
    change(&mut machine);
    let rack = Rack::start(RackConfig { machines: vec![machine], ..RackConfig::default() }).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

/// A stream and what came of it that was not yet taken.
struct Listener {
    response: Response,
    text: String,
}

impl Listener {
    async fn at(rack: &Rack, path: &str) -> Self {
        let url = format!("{}{path}", rack.machine(0).base_url());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.get(url).basic_auth("admin", Some("password")).send().await.unwrap();
        Self { response, text: String::new() }
    }

    async fn opened(rack: &Rack, path: &str) -> Self {
        let mut listener = Self::at(rack, path).await;
        assert_eq!(listener.response.status(), 200);
        listener.block().await.unwrap();
        listener
    }

    /// Text up to the next blank line; none when the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let piece = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await.unwrap();
            match piece {
                Ok(Some(piece)) => self.text.push_str(std::str::from_utf8(&piece).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The first event that says so.
    async fn until(&mut self, wanted: &str) -> Value {
        loop {
            let block = self.block().await.unwrap();
            let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            let event: Value = serde_json::from_str(data).unwrap();
            let said = |record: &&Value| record["Message"] == wanted;
            if let Some(record) = event["Events"].as_array().unwrap().iter().find(said) {
                return record.clone();
            }
        }
    }
}

#[tokio::test]
async fn power_drives_and_overrides_are_told_to_who_listens() {
    let (rack, client) = one(|machine| machine.events = true).await;
    let images = ImageServer::start(vec![7; 1000]).await;
    let root = client.get("/redfish/v1/").await.body;
    let service = client.get(root["EventService"]["@odata.id"].as_str().unwrap()).await.body;
    let path = service["ServerSentEventUri"].as_str().unwrap();
    let mut listener = Listener::opened(&rack, path).await;
    let image = images.url("a.iso");
    client.insert("Cd", &image).await;
    let record = listener.until(&format!("Image is {image}.")).await;
    assert_eq!(record["OriginOfCondition"]["@odata.id"], "/redfish/v1/Managers/1/VirtualMedia/Cd");
    client.boot_once("Cd").await;
    listener.until("BootSourceOverrideEnabled is Once.").await;
    client.reset("On").await;
    listener.until("PowerState is On.").await;
}

#[tokio::test]
async fn a_stream_too_many_is_refused_until_another_ends() {
    let (rack, _client) = one(|machine| machine.vendor = Vendor::AmiDgx).await;
    let path = &rack.machine(0).model().events.clone().unwrap().path;
    let first = Listener::opened(&rack, path).await;
    assert_eq!(Listener::at(&rack, path).await.response.status(), 503);
    drop(first);
    let mut status = 503;
    for _ in 0..200 {
        status = Listener::at(&rack, path).await.response.status().as_u16();
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_stream_wants_a_login_and_ends_when_the_bmc_restarts() {
    let (rack, client) = one(|machine| machine.vendor = Vendor::Idrac9).await;
    let bare = client.raw(reqwest::Method::GET, "/redfish/v1/SSE", &[], None).await.unwrap();
    assert_eq!(bare.status, 401);
    let mut listener = Listener::opened(&rack, "/redfish/v1/SSE").await;
    let restart = "/redfish/v1/Managers/iDRAC.Embedded.1/Actions/Manager.Reset";
    client.post(restart, json!({"ResetType": "GracefulRestart"})).await;
    assert_eq!(listener.block().await, None);
}

#[tokio::test]
async fn a_stream_can_lie_flood_and_end_too_early_and_is_counted_while_it_is_open() {
    let (rack, _client) = one(|machine| machine.vendor = Vendor::Idrac9).await;
    let machine = rack.machine(0);
    let path = "/redfish/v1/SSE";
    machine.inject(Injection::times(1, Fault::EventsLie).on("GET", path));
    let mut liar = Listener::opened(&rack, path).await;
    liar.until("PowerState is On.").await; // it is off
    assert!(liar.block().await.unwrap().ends_with("\"MessageId\": "), "half an event");
    machine.inject(Injection::times(1, Fault::EventsFlood).on("GET", path));
    let mut flood = Listener::opened(&rack, path).await;
    for _ in 0..50 {
        flood.until("PowerState is Off.").await;
    }
    assert_eq!(machine.open_streams(), 2);
    drop((liar, flood));
    machine.inject(Injection::times(1, Fault::EventsEnd).on("GET", path));
    let mut brief = Listener::opened(&rack, path).await;
    assert_eq!(brief.block().await, None);
    for _ in 0..200 {
        if machine.open_streams() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} streams are still open", machine.open_streams());
}
