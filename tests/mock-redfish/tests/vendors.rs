//! Each vendor boots a virtual CD by its own words, and refuses others' in its own words.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use std::time::Duration;

use mock_redfish::{BootSource, Machine, MachineConfig, Rack, RackConfig, Vendor};
use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, Client, ImageServer};

async fn one(vendor: Vendor) -> (Rack, Client) {
    let config = RackConfig { machines: vec![MachineConfig::vendor(vendor, "m1")], ..RackConfig::default() };
    let rack = Rack::start(config).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

fn power(machine: &Machine) -> (String, Value) {
    let kind = if machine.model().resets.0.contains(&mock_redfish::ResetType::On) { "On" } else { "ForceOn" };
    (machine.reset_path(), json!({ "ResetType": kind }))
}

/// Sends a change with the current `ETag`.
async fn change(client: &Client, method: &Method, path: &str, body: &Value) -> Answer {
    let etag = client.get(path).await.header("etag").to_owned();
    let headers: &[(&str, &str)] = if etag.is_empty() { &[] } else { &[("If-Match", &etag)] };
    client.ask(method.clone(), path, headers, Some(body.clone())).await
}

/// The slot, how an image is put into it, and how it is booted.
struct Way {
    vendor: Vendor,
    slot: &'static str,
    insert: (Method, &'static str, Value),
    boot: (&'static str, Value),
}

fn way(
    vendor: Vendor,
    slot: &'static str,
    insert: (&'static str, Value),
    boot: (&'static str, Value),
) -> Way {
    let method = if insert.0.contains("Actions") { Method::POST } else { Method::PATCH };
    Way { vendor, slot, insert: (method, insert.0, insert.1), boot }
}

fn once(target: &str) -> Value {
    json!({"Boot": {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once",
        "BootSourceOverrideMode": "UEFI"}})
}

fn modeless(target: &str) -> Value {
    json!({"Boot": {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once"}})
}

fn ways(url: &str) -> Vec<Way> {
    let image = json!({ "Image": url });
    let dell = "/redfish/v1/Systems/System.Embedded.1";
    let vcd = json!({"Attributes": {"ServerBoot.1.FirstBootDevice": "VCD-DVD", "ServerBoot.1.BootOnce": "Enabled"}});
    vec![
        way(
            Vendor::GenericTwoSlot,
            "Cd",
            ("/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia", image.clone()),
            ("/redfish/v1/Systems/1", once("Cd")),
        ),
        way(
            Vendor::GenericOneSlot,
            "Cd",
            ("/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia", image.clone()),
            ("/redfish/v1/Systems/1", once("Cd")),
        ),
        way(
            Vendor::Idrac9,
            "1",
            (
                "/redfish/v1/Systems/System.Embedded.1/VirtualMedia/1/Actions/VirtualMedia.InsertMedia",
                image.clone(),
            ),
            (dell, once("Cd")),
        ),
        way(
            Vendor::Idrac10,
            "1",
            (
                "/redfish/v1/Systems/System.Embedded.1/VirtualMedia/1/Actions/VirtualMedia.InsertMedia",
                image.clone(),
            ),
            ("/redfish/v1/Managers/iDRAC.Embedded.1/Attributes", vcd.clone()),
        ),
        way(
            Vendor::Ilo5,
            "2",
            ("/redfish/v1/Managers/1/VirtualMedia/2/Actions/VirtualMedia.InsertMedia", image.clone()),
            ("/redfish/v1/Systems/1", once("Cd")),
        ),
        way(
            Vendor::Xcc,
            "EXT1",
            (
                "/redfish/v1/Systems/1/VirtualMedia/EXT1",
                json!({"Image": url, "Inserted": true, "WriteProtected": true}),
            ),
            ("/redfish/v1/Systems/1", once("Cd")),
        ),
        way(
            Vendor::SupermicroX11,
            "CD1",
            ("/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia", image.clone()),
            ("/redfish/v1/Systems/1", once("UsbCd")),
        ),
        way(
            Vendor::SupermicroX13,
            "VirtualMedia1",
            (
                "/redfish/v1/Managers/1/VirtualMedia/VirtualMedia1/Actions/VirtualMedia.InsertMedia",
                image.clone(),
            ),
            ("/redfish/v1/Systems/1", once("UsbCd")),
        ),
        way(
            Vendor::OpenbmcGb200,
            "USB1",
            (
                "/redfish/v1/Managers/BMC_0/VirtualMedia/USB1/Actions/VirtualMedia.InsertMedia",
                json!({"Image": url, "TransferMethod": "Stream"}),
            ),
            ("/redfish/v1/Systems/System_0", modeless("Cd")),
        ),
        way(
            Vendor::AmiDgx,
            "CD1",
            (
                "/redfish/v1/Managers/BMC/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia",
                json!({"Image": url, "UserName": "none", "Password": "none"}),
            ),
            ("/redfish/v1/Systems/DGX/SD", once("Cd")),
        ),
        way(
            Vendor::Idrac8,
            "CD",
            (
                "/redfish/v1/Managers/iDRAC.Embedded.1/VirtualMedia/CD/Actions/VirtualMedia.InsertMedia",
                image.clone(),
            ),
            ("/redfish/v1/Managers/iDRAC.Embedded.1/Attributes", vcd.clone()),
        ),
        way(
            Vendor::Ilo4,
            "2",
            (
                "/redfish/v1/Managers/1/VirtualMedia/2/Actions/Oem/Hp/HpiLOVirtualMedia.InsertVirtualMedia",
                image.clone(),
            ),
            ("/redfish/v1/Systems/1", modeless("Cd")),
        ),
        way(
            Vendor::Sushy,
            "Cd",
            ("/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia", image),
            ("/redfish/v1/Systems/1", once("Cd")),
        ),
    ]
}

#[tokio::test]
async fn every_vendor_boots_a_virtual_cd_once_by_its_own_words() {
    let images = ImageServer::start(vec![7; 1000]).await;
    for way in ways(&images.url("boot.iso")) {
        let (rack, client) = one(way.vendor).await;
        let (vendor, machine) = (way.vendor, rack.machine(0));
        let (method, path, body) = &way.insert;
        let slot = format!("{}/{}", machine.media_path(), way.slot);
        let etag = client.get(&slot).await.header("etag").to_owned();
        let put = client.ask(method.clone(), path, &[("If-Match", &etag)], Some(body.clone())).await;
        assert!(put.status.is_success(), "{vendor}: {} {}", put.status, put.body);
        assert_eq!(client.get(&slot).await.body["Inserted"], true, "{vendor}");
        let armed = change(&client, &Method::PATCH, way.boot.0, &way.boot.1).await;
        assert!(armed.status.is_success(), "{vendor}: {} {}", armed.status, armed.body);
        let (reset, on) = power(machine);
        let started = client.post(&reset, on).await;
        assert!(started.status.is_success(), "{vendor}: {} {}", started.status, started.body);
        assert_eq!(
            machine.last_source(),
            Some(BootSource::Slot { slot: way.slot.into() }),
            "{vendor}: {:?}",
            machine.boot_override()
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
        machine.pull_power().await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let again = client.post(&reset, power(machine).1).await;
        assert!(again.status.is_success(), "{vendor}: {}", again.body);
        let lasts = machine.model().boots.lasting;
        let next = if lasts { BootSource::Slot { slot: way.slot.into() } } else { BootSource::Order };
        assert_eq!(machine.last_source(), Some(next), "{vendor}: once is once");
    }
}

#[tokio::test]
async fn every_vendor_refuses_in_its_own_words() {
    let images = ImageServer::start(vec![7; 1000]).await;
    let image = json!({"Image": images.url("boot.iso")});
    let held = json!({"Image": images.url("boot.iso"), "Inserted": true});
    let dell = "/redfish/v1/Systems/System.Embedded.1";
    let table: [(Vendor, &str, String, Value, u16, &str); 9] = [
        (
            Vendor::Idrac10,
            "PATCH",
            dell.into(),
            json!({"Boot": {"BootSourceOverrideTarget": "Cd"}}),
            400,
            "Base.1.18.PropertyNotWritable",
        ),
        (
            Vendor::Xcc,
            "PATCH",
            "/redfish/v1/Systems/1/VirtualMedia/RDOC1".into(),
            held.clone(),
            400,
            "Base.1.12.PropertyNotWritable",
        ),
        (
            Vendor::Xcc,
            "PATCH",
            "/redfish/v1/Systems/1".into(),
            json!({"Boot": {"BootSourceOverrideEnabled": "Continuous"}}),
            400,
            "Base.1.12.PropertyValueNotInList",
        ),
        (
            Vendor::Xcc,
            "PATCH",
            "/redfish/v1/Systems/1/Pending".into(),
            once("Cd"),
            400,
            "Base.1.12.PropertyUnknown",
        ),
        (
            Vendor::SupermicroX11,
            "POST",
            "/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia".into(),
            held,
            400,
            "Base.v1_4_0.PropertyNotWritable",
        ),
        (
            Vendor::OpenbmcGb200,
            "POST",
            "/redfish/v1/Managers/BMC_0/VirtualMedia/USB1/Actions/VirtualMedia.InsertMedia".into(),
            image.clone(),
            400,
            "Base.1.16.ActionParameterMissing",
        ),
        (
            Vendor::OpenbmcGb200,
            "PATCH",
            "/redfish/v1/Systems/System_0".into(),
            once("Cd"),
            400,
            "Base.1.16.PropertyUnknown",
        ),
        (
            Vendor::AmiDgx,
            "POST",
            "/redfish/v1/Managers/BMC/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia".into(),
            image,
            400,
            "Base.1.5.ActionParameterMissing",
        ),
        (
            Vendor::OpenbmcGb200,
            "POST",
            "/redfish/v1/Systems/HGX_Baseboard_0/Actions/ComputerSystem.Reset".into(),
            json!({"ResetType": "On"}),
            404,
            "Base.1.16.ResourceMissingAtURI",
        ),
    ];
    for (vendor, method, path, body, status, id) in table {
        let (_rack, client) = one(vendor).await;
        let method: Method = method.parse().unwrap();
        let refused = change(&client, &method, &path, &body).await;
        let info = &refused.body["error"]["@Message.ExtendedInfo"];
        let first = if info.is_array() { &info[0] } else { info };
        assert_eq!(
            (refused.status.as_u16(), first["MessageId"].as_str()),
            (status, Some(id)),
            "{vendor} {path}"
        );
        assert_eq!(info.is_object(), vendor == Vendor::Idrac10, "{vendor}");
        assert_eq!(refused.body["error"].get("code").is_none(), vendor == Vendor::AmiDgx, "{vendor}");
    }
}

#[tokio::test]
async fn an_idrac10_boots_nothing_from_cd_and_wants_a_pause_after_power_off() {
    let images = ImageServer::start(vec![7; 1000]).await;
    let (rack, client) = one(Vendor::Idrac10).await;
    let machine = rack.machine(0);
    let slot = format!("{}/1/Actions/VirtualMedia.InsertMedia", machine.media_path());
    client.post(&slot, json!({"Image": images.url("a.iso")})).await;
    let system = client.get(&machine.system_path()).await.body;
    assert_eq!(system["Boot"].get("BootSourceOverrideTarget@Redfish.AllowableValues"), None);
    assert_eq!((&system["SKU"], system["SerialNumber"] == "MOCK-M1"), (&json!("MOCK-M1"), false));
    let settings = system["@Redfish.Settings"]["SettingsObject"]["@odata.id"].as_str().unwrap().to_owned();
    let listed =
        &client.get(&settings).await.body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"];
    assert!(listed.as_array().unwrap().contains(&json!("Cd")), "{listed}");
    change(&client, &Method::PATCH, &settings, &once("Cd")).await;
    let reset = machine.reset_path();
    assert!(client.post(&reset, json!({"ResetType": "On"})).await.status.is_success());
    assert_eq!(machine.last_source(), Some(BootSource::Order));
    client.post(&reset, json!({"ResetType": "ForceOff"})).await;
    let early = client.post(&reset, json!({"ResetType": "On"})).await;
    assert_eq!(early.status, 409, "{}", early.body);
    let id = &early.body["error"]["@Message.ExtendedInfo"]["MessageId"];
    assert!(id.as_str().unwrap().ends_with("ActionParameterValueConflict"), "{id}");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(client.post(&reset, json!({"ResetType": "On"})).await.status.is_success());
}

#[tokio::test]
async fn an_ilo5_refuses_empty_bodies_and_changes_right_after_power_on() {
    let (rack, client) = one(Vendor::Ilo5).await;
    let machine = rack.machine(0);
    let eject = format!("{}/2/Actions/VirtualMedia.EjectMedia", machine.media_path());
    assert_eq!(client.ask(Method::POST, &eject, &[], None).await.status, 415);
    assert!(client.post(&eject, json!({})).await.status.is_success());
    client.reset("On").await;
    let early = client.patch("/redfish/v1/Systems/1", once("Cd")).await;
    assert_eq!((early.status.as_u16(), early.message_id()), (400, "UnableToModifyDuringSystemPOST"));
    let early = client.reset("ForceOff").await;
    assert_eq!((early.status.as_u16(), early.message_id()), (400, "InvalidOperationForSystemState"));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(client.reset("ForceOff").await.status.is_success());
    let root = client.get("/redfish/v1/").await.body;
    assert_eq!(root.get("EventService"), None, "iLO 5 has no server-sent events");
}

#[tokio::test]
async fn supermicros_flip_the_mode_hide_the_eject_action_and_name_no_vendor() {
    let images = ImageServer::start(vec![7; 1000]).await;
    let (rack, client) = one(Vendor::SupermicroX13).await;
    assert_eq!(client.get("/redfish/v1/").await.body.get("Vendor"), None);
    let slot = format!("{}/VirtualMedia2", rack.machine(0).media_path());
    let eject = "#VirtualMedia.EjectMedia";
    assert_eq!(client.get(&slot).await.body["Actions"].get(eject), None);
    client
        .post(&format!("{slot}/Actions/VirtualMedia.InsertMedia"), json!({"Image": images.url("a.img")}))
        .await;
    assert!(client.get(&slot).await.body["Actions"][eject]["target"].is_string());
    let system = client.get("/redfish/v1/Systems/1").await.body;
    let reset = &system["Actions"]["#ComputerSystem.Reset"];
    let info = client.get(reset["@Redfish.ActionInfo"].as_str().unwrap()).await.body;
    assert!(info["Parameters"][0]["AllowableValues"].as_array().unwrap().contains(&json!("ForceOn")));

    let (_rack, client) = one(Vendor::SupermicroX11).await;
    let system = "/redfish/v1/Systems/1";
    client.patch(system, modeless("UsbCd")).await;
    assert_eq!(client.get(system).await.body["Boot"]["BootSourceOverrideMode"], "Legacy");
    let without = json!({"Boot": {"BootSourceOverrideTarget": "UsbCd", "BootSourceOverrideMode": "UEFI"}});
    client.patch(system, without).await;
    assert_eq!(client.get(system).await.body["Boot"]["BootSourceOverrideEnabled"], "Disabled");
}

#[tokio::test]
async fn a_dgx_takes_a_partial_override_and_forgets_it_and_breaks_what_it_expands() {
    let (rack, client) = one(Vendor::AmiDgx).await;
    let settings = rack.machine(0).model().layout.settings_path();
    let taken = change(&client, &Method::PATCH, &settings, &modeless("Cd")).await;
    assert_eq!(taken.status, 200);
    assert_eq!(client.get(&settings).await.body["Boot"]["BootSourceOverrideEnabled"], "Disabled");
    assert_eq!(client.patch(&settings, once("Cd")).await.status, 428);
    let systems = client.get("/redfish/v1/Systems?$expand=.($levels=1)").await.body;
    let ids: Vec<&str> = systems["Members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            assert_eq!(member.get("Id"), None);
            member["@odata.id"].as_str().unwrap()
        })
        .collect();
    assert_eq!(ids, ["/redfish/v1/Systems/DGX", "/redfish/v1/Systems/HGX_Baseboard_0"]);
}

#[tokio::test]
async fn a_vendor_fills_what_a_machine_leaves_open_and_not_what_it_says() {
    let mut config = MachineConfig::vendor(Vendor::Ilo5, "m1");
    config.model = "Ours".into();
    config.quirks.needs_if_match = true;
    let rack = Rack::start(RackConfig { machines: vec![config], ..RackConfig::default() }).await.unwrap();
    let found = rack.machine(0).config();
    assert_eq!(
        (found.manufacturer.as_str(), found.model.as_str(), found.session_seconds),
        ("HPE", "Ours", 30)
    );
    assert!(found.quirks.needs_if_match && found.quirks.busy_in_post);
    let text = "[[machines]]\nname = 'a'\nvendor = 'openbmc-gb200'\n";
    let config: RackConfig = toml::from_str(text).unwrap();
    assert_eq!(config.machines[0].vendor, Vendor::OpenbmcGb200);
}
