//! Lets the controller's BMC client do a whole job on BMCs of every shape, and holds each body that the BMC
//! received against the model of where it went.

use std::{collections::BTreeSet, time::Duration};

use controller::redfish::{
    Bmc, BmcAddress, BmcError, Credentials, Fingerprint, Password, Power, RedfishBmc, TlsTrust, Waits,
};
use mock_redfish::{Machine, MachineConfig, Timing};
use redfish_models::{Fault, request};
use serde_json::{Value, json};

use super::rack;

const BOOT: &str = "http://10.0.0.5:8080/m/4f2a/maintenance.iso";
const TASK: &str = "https://10.0.0.5:8443/m/9c11/task.iso";

fn client(machine: &Machine) -> RedfishBmc {
    let address = BmcAddress {
        url: machine.base_url().into(),
        system: None,
        tls: TlsTrust::Pinned(Fingerprint([0; 32])),
        plain_http_allowed: true,
    };
    let credentials = Credentials { user: "admin".into(), password: Password::new("password") };
    RedfishBmc::connect_with(&address, credentials, Waits::fast()).unwrap()
}

/// Every change a job makes, the cleaning up included.
async fn whole_job(machine: &Machine) -> Result<(), BmcError> {
    let bmc = client(machine);
    let slots = bmc.probe().await?.slots;
    bmc.set_power(Power::On).await?;
    bmc.set_power(Power::Off).await?;
    for (slot, url) in slots.iter().zip([BOOT, TASK]) {
        bmc.insert(&slot.id, url).await?;
    }
    bmc.boot_once(&slots[0].id).await?;
    bmc.clear_boot(None).await?;
    bmc.boot_once(&slots[0].id).await?;
    bmc.set_power(Power::On).await?;
    machine.wait_boots(2, Duration::from_secs(5)).await.unwrap();
    bmc.set_power(Power::Off).await?;
    for slot in &slots {
        bmc.eject(&slot.id).await?;
    }
    bmc.close().await;
    Ok(())
}

type Shape = (&'static str, fn(&mut MachineConfig));

fn shapes() -> Vec<Shape> {
    vec![
        ("by the book", |_| {}),
        ("Dell", |machine| machine.manufacturer = "Dell Inc.".into()),
        ("Supermicro", |machine| {
            machine.manufacturer = "Supermicro".into();
            machine.quirks.refuses_inserted = true;
        }),
        ("AMI", |machine| machine.manufacturer = "American Megatrends".into()),
        ("HPE", |machine| {
            machine.manufacturer = "HPE".into();
            machine.quirks.needs_json_body = true;
        }),
        ("media by PATCH", |machine| machine.quirks.media_by_patch = true),
        ("media under the system", |machine| machine.quirks.media_under_system = true),
        ("TransferProtocolType needed", |machine| machine.quirks.needs_transfer_protocol = true),
        ("If-Match needed", |machine| machine.quirks.needs_if_match = true),
        ("boot settings object", |machine| machine.quirks.boot_settings = true),
        ("no sessions, no modes", |machine| {
            (machine.quirks.no_sessions, machine.quirks.no_override_mode) = (true, true);
        }),
        ("ForceOn only, $expand", |machine| {
            (machine.quirks.force_on_only, machine.quirks.expands) = (true, true);
        }),
        ("tasks", |machine| machine.timing = Timing { tasks: true, ..Timing::default() }),
    ]
}

#[tokio::test]
async fn every_body_that_the_controller_sends_is_one_of_the_schema() {
    let mut seen = BTreeSet::new();
    for (name, shape) in shapes() {
        let rack = rack(shape).await;
        if let Err(error) = whole_job(rack.machine(0)).await {
            panic!("{name}: {error}");
        }
        for record in rack.machine(0).requests() {
            let (method, path) = (record.method.as_str(), record.path.as_str());
            if matches!(method, "GET" | "HEAD" | "DELETE") {
                assert_eq!(record.body, None, "{name}: {method} {path}");
                continue;
            }
            let body = record.body.unwrap_or_else(|| panic!("{name}: {method} {path} has no JSON body"));
            match request::body(method, path, &body) {
                Ok(kind) => seen.insert(kind),
                Err(fault) => panic!("{name}: {method} {path}: {body}: {fault:?}"),
            };
        }
    }
    let all = ["ComputerSystem", "EjectMedia", "InsertMedia", "Reset", "Session", "VirtualMedia"];
    assert_eq!(seen, BTreeSet::from(all), "every kind of request was made");
}

/// Supermicro's firmware lists a boot target that the schema does not have, and a client must say it.
#[tokio::test]
async fn the_one_word_beside_the_schema_is_usbcd_where_a_bmc_lists_it() {
    let rack = rack(|machine| {
        machine.manufacturer = "Supermicro".into();
        machine.quirks.usb_cd_target = true;
    })
    .await;
    whole_job(rack.machine(0)).await.unwrap();
    let mut found = BTreeSet::new();
    for record in rack.machine(0).requests() {
        let Some(body) = record.body else { continue };
        if let Err(fault) = request::body(&record.method, &record.path, &body) {
            let said = matches!(&fault, Fault::Refused { reason, .. } if reason.contains("`UsbCd`"));
            assert!(said, "{} {}: {body}: {fault:?}", record.method, record.path);
            found.insert(body["Boot"]["BootSourceOverrideTarget"].as_str().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(found, BTreeSet::from(["UsbCd".to_owned()]));
}

#[test]
fn a_body_that_is_not_of_the_schema_is_found() {
    let insert = "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia";
    let eject = "/redfish/v1/Managers/1/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia";
    let system = "/redfish/v1/Systems/1";
    let refused = |method: &str, path: &str, body: Value| request::body(method, path, &body).unwrap_err();
    assert!(matches!(refused("POST", insert, json!({})), Fault::Refused { .. }), "Image is required");
    assert!(matches!(refused("POST", insert, json!({"Image": "a", "Img": "a"})), Fault::Strange { .. }));
    assert!(matches!(refused("POST", eject, json!({"Image": "a"})), Fault::Strange { .. }));
    let sideways = json!({"Boot": {"BootSourceOverrideEnabled": "Sometimes"}});
    assert!(matches!(refused("PATCH", system, sideways), Fault::Refused { .. }));
    let misspelt = json!({"Boot": {"BootSourceOverideTarget": "Cd"}});
    assert!(matches!(refused("PATCH", system, misspelt), Fault::Strange { .. }));
    assert!(matches!(refused("PUT", system, json!({})), Fault::NoModel(_)));
    assert_eq!(request::body("POST", eject, &json!({})), Ok("EjectMedia"));
}
