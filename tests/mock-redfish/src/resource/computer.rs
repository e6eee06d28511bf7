//! The system and its manager.

use serde_json::{Value, json};

use super::{boot, collection, healthy, link, slots::power_said};
use crate::{
    config::BackendConfig,
    machine::{Machine, Power},
    vendor::MediaHome,
};

pub(super) fn system(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let layout = &machine.model().layout;
    let [id, rest @ ..] = &segments[1..] else {
        let mut ids = vec![layout.system.as_str()];
        ids.extend(layout.others.iter().map(String::as_str));
        let name = "Computer System Collection";
        return Some(collection("/redfish/v1/Systems", "ComputerSystemCollection", name, &ids));
    };
    if layout.others.iter().any(|other| other == id) {
        return rest.is_empty().then(|| bystander(machine, id));
    }
    if *id != layout.system {
        return None;
    }
    let interfaces = format!("{}/EthernetInterfaces", layout.system_path());
    match rest {
        [] => Some(computer(machine)),
        [last] if *last == layout.settings => boot::settings(machine),
        ["EthernetInterfaces"] => {
            let ids: Vec<String> = (1..=machine.config().macs.len()).map(|id| id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let name = "Ethernet Interface Collection";
            Some(collection(&interfaces, "EthernetInterfaceCollection", name, &ids))
        }
        ["EthernetInterfaces", id] => {
            let number: usize = id.parse().ok()?;
            let mac = machine.config().macs.get(number.checked_sub(1)?)?.to_uppercase();
            Some(json!({
                "@odata.type": "#EthernetInterface.v1_10_0.EthernetInterface",
                "@odata.id": format!("{interfaces}/{number}"),
                "Id": number.to_string(),
                "Name": format!("System Ethernet Interface {number}"),
                "MACAddress": mac,
                "PermanentMACAddress": mac,
                "InterfaceEnabled": true,
                "Status": healthy(),
            }))
        }
        ["SecureBoot"] => {
            let enabled = secure_boot(machine);
            Some(json!({
                "@odata.type": "#SecureBoot.v1_1_0.SecureBoot",
                "@odata.id": format!("{}/SecureBoot", layout.system_path()),
                "Id": "SecureBoot",
                "Name": "UEFI Secure Boot",
                "SecureBootEnable": enabled,
                "SecureBootCurrentBoot": if enabled { "Enabled" } else { "Disabled" },
                "SecureBootMode": if enabled { "UserMode" } else { "SetupMode" },
            }))
        }
        ["ResetActionInfo"] if machine.config().quirks.reset_info => Some(json!({
            "@odata.type": "#ActionInfo.v1_3_0.ActionInfo",
            "@odata.id": format!("{}/ResetActionInfo", layout.system_path()),
            "Id": "ResetActionInfo",
            "Name": "Reset Action Info",
            "Parameters": [{
                "Name": "ResetType", "Required": true, "DataType": "String",
                "AllowableValues": machine.model().resets.0,
            }],
        })),
        _ => None,
    }
}

/// A system beside the machine that neither boots nor resets: the board of its accelerators.
fn bystander(machine: &Machine, id: &str) -> Value {
    let layout = &machine.model().layout;
    json!({
        "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem",
        "@odata.id": format!("/redfish/v1/Systems/{id}"),
        "Id": id,
        "Name": id,
        "SystemType": "Physical",
        "SerialNumber": format!("{}-{id}", machine.config().serial),
        "PowerState": "On",
        "Status": healthy(),
        "Links": {"ManagedBy": [link(&layout.manager_path())]},
    })
}

fn secure_boot(machine: &Machine) -> bool {
    matches!(&machine.config().backend, BackendConfig::Qemu(qemu) if qemu.secure_boot)
}

/// `BootProgress` of a machine in that power state.
pub(crate) fn progress(power: Power) -> &'static str {
    match power {
        Power::Off | Power::PoweringOff => "None",
        Power::PoweringOn => "SystemHardwareInitializationComplete",
        Power::On => "OSBootStarted",
    }
}

fn computer(machine: &Machine) -> Value {
    let said = power_said(machine);
    let layout = &machine.model().layout;
    let system = layout.system_path();
    let config = machine.config();
    let board = machine.board();
    let state = if board.power == Power::Off { "Disabled" } else { "Enabled" };
    let (cpus, memory) = match &config.backend {
        BackendConfig::Sim => (2, 4096),
        BackendConfig::Qemu(qemu) => (qemu.cpus, qemu.memory_mib),
    };
    let mut body = json!({
        "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem",
        "@odata.id": system,
        "Id": layout.system,
        "Name": config.name,
        "SystemType": "Physical",
        "Manufacturer": config.manufacturer,
        "Model": config.model,
        "SerialNumber": config.serial,
        "UUID": config.uuid,
        "AssetTag": board.asset_tag,
        "PowerState": said,
        "Status": {"State": state, "Health": if board.broken.is_some() { "Critical" } else { "OK" }},
        "BootProgress": {"LastState": progress(board.power)},
        "LastResetTime": board.last_reset.to_string(),
        "ProcessorSummary": {"Count": 1, "CoreCount": cpus},
        "MemorySummary": {"TotalSystemMemoryGiB": f64::from(memory) / 1024.0},
        "EthernetInterfaces": link(&format!("{system}/EthernetInterfaces")),
        "SecureBoot": link(&format!("{system}/SecureBoot")),
        "Links": {
            "Chassis": [link(&layout.chassis_path())],
            "ManagedBy": [link(&layout.manager_path())],
        },
        "Actions": {"#ComputerSystem.Reset": {"target": machine.reset_path()}},
    });
    let reset = &mut body["Actions"]["#ComputerSystem.Reset"];
    if config.quirks.reset_info {
        reset["@Redfish.ActionInfo"] = json!(format!("{system}/ResetActionInfo"));
    } else {
        reset["ResetType@Redfish.AllowableValues"] = json!(machine.model().resets.0);
    }
    boot::add_to_system(machine, &mut body, &board.boot);
    drop(board);
    if layout.media == MediaHome::Systems {
        body["VirtualMedia"] = link(&machine.media_path());
    }
    body
}

pub(super) fn manager(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let config = machine.config();
    let layout = &machine.model().layout;
    let [id, rest @ ..] = &segments[1..] else {
        let name = "Manager Collection";
        return Some(collection("/redfish/v1/Managers", "ManagerCollection", name, &[&layout.manager]));
    };
    if *id != layout.manager {
        return None;
    }
    let path = layout.manager_path();
    match rest {
        [] => {
            let mut body = json!({
                "@odata.type": "#Manager.v1_18_0.Manager",
                "@odata.id": path,
                "Id": layout.manager,
                "Name": "Manager",
                "ManagerType": "BMC",
                "Manufacturer": config.manufacturer,
                "Model": "mock-redfish",
                "FirmwareVersion": env!("CARGO_PKG_VERSION"),
                "DateTime": jiff::Timestamp::now().to_string(),
                "DateTimeLocalOffset": "+00:00",
                "PowerState": "On",
                "Status": healthy(),
                "Links": {
                    "ManagerForServers": [link(&layout.system_path())],
                    "ManagerForChassis": [link(&layout.chassis_path())],
                },
                "Actions": {"#Manager.Reset": {
                    "target": format!("{path}/Actions/Manager.Reset"),
                    "ResetType@Redfish.AllowableValues": ["GracefulRestart", "ForceRestart"],
                }},
            });
            if layout.media == MediaHome::Managers {
                body["VirtualMedia"] = link(&machine.media_path());
            }
            Some(body)
        }
        ["Attributes"] if machine.model().boots.vcd.is_some() => Some(json!({
            "@odata.type": "#DellAttributes.v1_0_0.DellAttributes",
            "@odata.id": format!("{path}/Attributes"),
            "Id": "iDRACAttributes",
            "Name": "OEMAttributeRegistry",
            "Attributes": machine.board().attributes,
        })),
        _ => None,
    }
}
