//! Ways of BMC makers' own, against small services that show what the makers' documents and clients say, and keep what
//! they are told. Each runs the calls of a job: probe, insert, once, look, eject, clear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use controller::redfish::{Bmc, BmcError, RefusalKind};
use serde_json::{Value, json};

use super::support::{BOOT, at};

/// What a POST does to the resources; the status it is answered with.
type Act = fn(&mut BTreeMap<String, Value>, &str, &Value) -> u16;

/// Resources by path, and what a POST does to them.
#[derive(Default)]
struct Service {
    resources: BTreeMap<String, Value>,
    asked: Vec<(String, Value)>,
    act: Option<Act>,
}

type Shared = Arc<Mutex<Service>>;

/// Serves them: PATCH merges, POST acts, everything else is 404.
async fn serve(
    resources: Value,
    act: fn(&mut BTreeMap<String, Value>, &str, &Value) -> u16,
) -> (Shared, String) {
    let resources = resources.as_object().unwrap().clone().into_iter().collect();
    let service = Arc::new(Mutex::new(Service { resources, act: Some(act), ..Service::default() }));
    let kept = Arc::clone(&service);
    let router = Router::new().fallback(move |request: Request| {
        let service = Arc::clone(&service);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
            answer(&service, &parts.method, parts.uri.path().trim_end_matches('/'), &body)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (kept, url)
}

fn answer(service: &Shared, method: &Method, path: &str, body: &Bytes) -> Response {
    let mut service = service.lock().unwrap();
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if *method == Method::GET {
        return match service.resources.get(path) {
            Some(resource) => axum::Json(resource.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    service.asked.push((format!("{method} {path}"), body.clone()));
    if *method == Method::PATCH {
        let Some(resource) = service.resources.get_mut(path) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        merge(resource, &body);
        return StatusCode::NO_CONTENT.into_response();
    }
    let Some(act) = service.act else { return StatusCode::NOT_FOUND.into_response() };
    let status = act(&mut service.resources, path, &body);
    StatusCode::from_u16(status).unwrap().into_response()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn root(vendor: &Value) -> Value {
    json!({"Vendor": vendor, "Systems": link("/redfish/v1/Systems"), "Managers": link("/redfish/v1/Managers")})
}

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

fn collection(members: &[&str]) -> Value {
    json!({"Members": members.iter().map(|path| link(path)).collect::<Vec<_>>()})
}

fn asked(service: &Shared) -> Vec<(String, Value)> {
    service.lock().unwrap().asked.clone()
}

#[tokio::test]
async fn an_idrac_is_told_by_attribute_to_boot_its_virtual_cd_and_only_the_first_slot_is_booted() {
    const MEDIA: &str = "/redfish/v1/Systems/System.Embedded.1/VirtualMedia";
    const ATTRIBUTES: &str = "/redfish/v1/Managers/iDRAC.Embedded.1/Oem/Dell/DellAttributes/iDRAC.Embedded.1";
    let slot = |id: &str| {
        json!({"Id": id, "MediaTypes": ["CD", "DVD", "USBStick"], "Inserted": false, "Image": null, "Actions": {
            "#VirtualMedia.InsertMedia": {"target": format!("{MEDIA}/{id}/Actions/VirtualMedia.InsertMedia")},
            "#VirtualMedia.EjectMedia": {"target": format!("{MEDIA}/{id}/Actions/VirtualMedia.EjectMedia")}}})
    };
    let resources = json!({
        "/redfish/v1": root(&json!("Dell")),
        "/redfish/v1/Systems": collection(&["/redfish/v1/Systems/System.Embedded.1"]),
        "/redfish/v1/Systems/System.Embedded.1": {
            "Id": "System.Embedded.1", "Manufacturer": "Dell Inc.", "PowerState": "Off", "SKU": "TAG1", "SerialNumber": "BOARD1",
            "Boot": {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"},
            "VirtualMedia": link(MEDIA), "Links": {"ManagedBy": [link("/redfish/v1/Managers/iDRAC.Embedded.1")]}},
        "/redfish/v1/Managers/iDRAC.Embedded.1": {
            "Id": "iDRAC.Embedded.1", "Model": "17G Monolithic", "FirmwareVersion": "1.20.25.00", "Links": {"Oem": {"Dell": {
                "DellAttributes": [link(ATTRIBUTES), link("/redfish/v1/Other")]}}}},
        ATTRIBUTES: {"Id": "iDRACAttributes", "Attributes":
            {"ServerBoot.1.FirstBootDevice": "Normal", "ServerBoot.1.BootOnce": "Disabled", "Users.2.UserName": "root"}},
        MEDIA: collection(&[&format!("{MEDIA}/2"), &format!("{MEDIA}/1")]),
        format!("{MEDIA}/1"): slot("1"),
        format!("{MEDIA}/2"): slot("2"),
    });
    let (service, url) = serve(resources, |resources, path, body| {
        let slot = path.split("/Actions/").next().unwrap_or_default();
        let Some(slot) = resources.get_mut(slot) else { return 404 };
        let image = body.get("Image").cloned().unwrap_or(Value::Null);
        merge(slot, &json!({"Inserted": !image.is_null(), "Image": image}));
        204
    })
    .await;
    let bmc = at(&url);
    let probe = bmc.probe().await.unwrap();
    assert_eq!(probe.serial.as_deref(), Some("TAG1"));
    let slots: Vec<(&str, bool)> =
        probe.slots.iter().map(|slot| (slot.id.0.rsplit('/').next().unwrap(), slot.boots)).collect();
    assert_eq!(slots, [("1", true), ("2", false)]);
    bmc.insert(&probe.slots[0].id, BOOT).await.unwrap();
    let seen = bmc.boot_once(&probe.slots[0].id).await.unwrap().seen;
    assert_eq!(seen, "the BMC shows first boot device VCD-DVD, once Enabled");
    let error = bmc.boot_once(&probe.slots[1].id).await.unwrap_err().to_string();
    assert!(error.contains("boot from slot"), "{error}");
    bmc.clear_boot(None).await.unwrap();
    let wanted = |device: &str| {
        let attributes = json!({"ServerBoot.1.FirstBootDevice": device, "ServerBoot.1.BootOnce": "Enabled"});
        (format!("PATCH {ATTRIBUTES}"), json!({"Attributes": attributes}))
    };
    let patches: Vec<_> = asked(&service).into_iter().filter(|(what, _)| what.starts_with("PATCH")).collect();
    assert_eq!(patches, [wanted("VCD-DVD"), wanted("Normal")]);
}

fn cfgcd() -> Value {
    json!({
        "/redfish/v1": root(&Value::Null),
        "/redfish/v1/Systems": collection(&["/redfish/v1/Systems/1"]),
        "/redfish/v1/Systems/1": {"Id": "1", "Manufacturer": "Supermicro", "Model": "X10DRi", "PowerState": "Off",
            "Boot": {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled",
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "UsbCd"]},
            "Links": {"ManagedBy": [link("/redfish/v1/Managers/1")]}},
        "/redfish/v1/Managers/1": {"Id": "1", "VirtualMedia": link("/redfish/v1/Managers/1/VM1")},
        "/redfish/v1/Managers/1/VM1": {"Members": [],
            "Oem": {"Supermicro": {"VirtualMediaConfig": link("/redfish/v1/Managers/1/VM1/CfgCD")}}},
        "/redfish/v1/Managers/1/VM1/CfgCD": {"Id": "1", "Name": "VM1", "Host": "", "Path": "", "Actions": {
            "#IsoConfig.Mount": {"target": "/redfish/v1/Managers/1/VM1/CfgCD/Actions/IsoConfig.Mount"},
            "#IsoConfig.UnMount": {"target": "/redfish/v1/Managers/1/VM1/CfgCD/Actions/IsoConfig.UnMount"}}},
    })
}

#[tokio::test]
async fn an_old_supermicro_is_told_host_and_path_and_then_to_mount() {
    const CD: &str = "/redfish/v1/Managers/1/VM1/CD1";
    let (service, url) = serve(cfgcd(), |resources, path, _| {
        let mounts = path.ends_with("IsoConfig.Mount");
        let config = resources["/redfish/v1/Managers/1/VM1/CfgCD"].clone();
        let image = format!("{}{}", config["Host"].as_str().unwrap(), config["Path"].as_str().unwrap());
        let members = if mounts { json!([link(CD)]) } else { json!([]) };
        resources.get_mut("/redfish/v1/Managers/1/VM1").unwrap()["Members"] = members;
        if mounts {
            resources.insert(
                CD.into(),
                json!({"Id": "CD1", "Image": image, "Inserted": true, "MediaTypes": ["CD"]}),
            );
        } else {
            resources.remove(CD);
        }
        200
    })
    .await;
    let bmc = at(&url);
    let probe = bmc.probe().await.unwrap();
    assert_eq!(probe.slots.len(), 1);
    let slot = &probe.slots[0].id;
    let seen = bmc.insert(slot, BOOT).await.unwrap().seen;
    assert!(seen.contains(&format!("holds {BOOT} (Inserted=true)")), "{seen}");
    bmc.boot_once(slot).await.unwrap();
    assert!(bmc.slots().await.unwrap()[0].holds(BOOT));
    bmc.eject(slot).await.unwrap();
    assert!(!bmc.slots().await.unwrap()[0].inserted);
    let asked = asked(&service);
    assert_eq!(asked[0].1["Host"], "http://10.0.0.5:8080");
    assert_eq!(asked[0].1["Path"], "/m/4f2a/maintenance.iso");
    let boot = asked.iter().find(|(what, _)| what == "PATCH /redfish/v1/Systems/1").unwrap();
    assert_eq!(
        boot.1,
        json!({"Boot": {"BootSourceOverrideTarget": "UsbCd", "BootSourceOverrideEnabled": "Once"}})
    );
}

fn irmc(allowed: &Value) -> Value {
    json!({
        "/redfish/v1": root(&json!("FUJITSU")),
        "/redfish/v1/Systems": collection(&["/redfish/v1/Systems/0"]),
        "/redfish/v1/Systems/0": {"Id": "0", "Manufacturer": "FUJITSU", "PowerState": "Off",
            "Boot": {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled"},
            "Oem": {"ts_fujitsu": {"VirtualMedia": link("/redfish/v1/Systems/0/Oem/ts_fujitsu/VirtualMedia")}},
            "Actions": {"Oem": {"#FTSComputerSystem.VirtualMedia": {
                "target": "/redfish/v1/Systems/0/Actions/Oem/FTSComputerSystem.VirtualMedia",
                "FTSVirtualMediaAction@Redfish.AllowableValues": allowed}}}},
        "/redfish/v1/Systems/0/Oem/ts_fujitsu/VirtualMedia": {"@odata.etag": "\"7\"", "RemoteMountEnabled": false,
            "CDImage": {"Server": "10.0.0.9", "ShareName": "/iso", "ImageName": "old.iso", "ShareType": "NFS"},
            "HDImage": {"Server": "", "ShareName": "", "ImageName": "", "ShareType": "NFS"}},
    })
}

#[tokio::test]
async fn an_irmc_is_told_where_the_image_is_and_then_to_connect() {
    let (service, url) = serve(irmc(&json!(["ConnectCD", "ConnectHD"])), |resources, _, body| {
        let done = body["FTSVirtualMediaAction"].as_str().unwrap_or_default().to_owned();
        let undo = match done.strip_prefix("Dis") {
            Some(rest) => rest.replacen('c', "C", 1),
            None => done.replacen('C', "Disc", 1),
        };
        let action = &mut resources.get_mut("/redfish/v1/Systems/0").unwrap()["Actions"]["Oem"]["#FTSComputerSystem.VirtualMedia"];
        for value in action["FTSVirtualMediaAction@Redfish.AllowableValues"].as_array_mut().unwrap() {
            if *value == done {
                *value = json!(undo);
            }
        }
        204
    })
    .await;
    let bmc = at(&url);
    let probe = bmc.probe().await.unwrap();
    let shown: Vec<(bool, bool, Option<&str>)> =
        probe.slots.iter().map(|slot| (slot.boots, slot.inserted, slot.image.as_deref())).collect();
    assert_eq!(shown, [(true, false, None), (false, false, None)], "what is only configured is not in");
    let (cd, hd) = (&probe.slots[0].id, &probe.slots[1].id);
    bmc.insert(cd, BOOT).await.unwrap();
    bmc.insert(hd, "http://10.0.0.5:8080/m/9c11/task.img").await.unwrap();
    assert!(bmc.slots().await.unwrap()[0].holds(BOOT));
    bmc.eject(cd).await.unwrap();
    bmc.eject(hd).await.unwrap();
    assert!(bmc.slots().await.unwrap().iter().all(|slot| !slot.inserted));
    let asked = asked(&service);
    assert_eq!(asked[0].1["CDImage"]["ShareType"], "HTTP");
    assert_eq!(asked[0].1["CDImage"]["ImageName"], "maintenance.iso");
    assert_eq!(asked[1].1, json!({"FTSVirtualMediaAction": "ConnectCD"}));
}

#[tokio::test]
async fn an_irmc_that_allows_nothing_lacks_the_licence() {
    let (_, url) = serve(irmc(&json!([])), |_, _, _| 404).await;
    let error = at(&url).probe().await.unwrap_err();
    assert!(matches!(error, BmcError::Refused { kind: RefusalKind::Licence, .. }), "{error:?}");
    assert!(error.to_string().contains("licence"), "{error}");
}

#[tokio::test]
async fn an_ibmc_connects_by_its_own_control_and_never_gets_a_second_image() {
    const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/CD";
    let target = format!("{CD}/Oem/Huawei/Actions/VirtualMedia.VmmControl");
    let resources = json!({
        "/redfish/v1": root(&json!("Huawei")),
        "/redfish/v1/Systems": collection(&["/redfish/v1/Systems/1"]),
        // The managers are not linked from the system on some of them.
        "/redfish/v1/Systems/1": {"Id": "1", "Manufacturer": "Huawei", "PowerState": "Off", "Boot": {}},
        "/redfish/v1/Managers": collection(&["/redfish/v1/Managers/1"]),
        "/redfish/v1/Managers/1": {"Id": "1", "VirtualMedia": link("/redfish/v1/Managers/1/VirtualMedia")},
        "/redfish/v1/Managers/1/VirtualMedia": collection(&[CD, "/redfish/v1/Managers/1/VirtualMedia/USBStick"]),
        CD: {"Id": "CD", "MediaTypes": ["CD"], "Inserted": false, "Image": null, "Actions": {},
            "Oem": {"Huawei": {"Actions": {"#VirtualMedia.VmmControl": {"target": target}}}}},
        "/redfish/v1/Managers/1/VirtualMedia/USBStick": {"Id": "USBStick", "MediaTypes": ["USBStick"], "Inserted": false,
            "Image": null, "Oem": {"Huawei": {"Actions": {"#VirtualMedia.VmmControl": {"target": "/x"}}}}},
    });
    let (service, url) = serve(resources, |resources, _, body| {
        let image = body.get("Image").cloned().unwrap_or(Value::Null);
        merge(resources.get_mut(CD).unwrap(), &json!({"Inserted": !image.is_null(), "Image": image}));
        202
    })
    .await;
    let bmc = at(&url);
    let slots = bmc.slots().await.unwrap();
    assert_eq!(slots.len(), 1, "{slots:?}");
    bmc.insert(&slots[0].id, "https://10.0.0.5/m/4f2a/composed.iso").await.unwrap();
    bmc.eject(&slots[0].id).await.unwrap();
    let bodies: Vec<Value> = asked(&service).into_iter().map(|(_, body)| body).collect();
    let image = "https://10.0.0.5/m/4f2a/composed.iso";
    assert_eq!(
        bodies,
        [json!({"VmmControlType": "Connect", "Image": image}), json!({"VmmControlType": "Disconnect"})]
    );
}

#[tokio::test]
async fn an_ilo_4_takes_images_by_the_actions_of_its_maker() {
    const MEDIA: &str = "/redfish/v1/Managers/1/VirtualMedia";
    let slot = |id: &str, types: &[&str]| {
        let action =
            |name: &str| json!({"target": format!("{MEDIA}/{id}/Actions/Oem/Hp/HpiLOVirtualMedia.{name}")});
        json!({"Id": id, "MediaTypes": types, "Inserted": false, "Image": "", "Oem": {"Hp": {"Actions": {
            "#HpiLOVirtualMedia.InsertVirtualMedia": action("InsertVirtualMedia"),
            "#HpiLOVirtualMedia.EjectVirtualMedia": action("EjectVirtualMedia")}}}})
    };
    let resources = json!({
        "/redfish/v1": {"Systems": link("/redfish/v1/Systems"), "Oem": {"Hp": {}}},
        "/redfish/v1/Systems": collection(&["/redfish/v1/Systems/1"]),
        "/redfish/v1/Systems/1": {"Id": "1", "Manufacturer": "HPE", "PowerState": "Off", "Boot": {},
            "Links": {"ManagedBy": [link("/redfish/v1/Managers/1")]}},
        "/redfish/v1/Managers/1": {"Id": "1", "Model": "iLO 4", "FirmwareVersion": "iLO 4 v2.80", "VirtualMedia": link(MEDIA)},
        MEDIA: collection(&[&format!("{MEDIA}/1"), &format!("{MEDIA}/2")]),
        format!("{MEDIA}/1"): slot("1", &["Floppy", "USBStick"]),
        format!("{MEDIA}/2"): slot("2", &["CD", "DVD"]),
    });
    let (service, url) = serve(resources, |resources, path, body| {
        let slot = path.split("/Actions/").next().unwrap_or_default().to_owned();
        let image = body.get("Image").cloned().unwrap_or(json!(""));
        merge(resources.get_mut(&slot).unwrap(), &json!({"Inserted": image != "", "Image": image}));
        200
    })
    .await;
    let bmc = at(&url);
    let slots = bmc.slots().await.unwrap();
    let ids: Vec<&str> = slots.iter().map(|slot| slot.id.0.rsplit('/').next().unwrap()).collect();
    assert_eq!(ids, ["2", "1"]);
    bmc.insert(&slots[0].id, BOOT).await.unwrap();
    bmc.eject(&slots[0].id).await.unwrap();
    let bodies: Vec<Value> = asked(&service).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [json!({"Image": BOOT}), json!({})]);
}
