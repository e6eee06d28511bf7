//! The system and its manager.

use serde_json::{Value, json};

use super::{
    boot, collection, healthy, link,
    slots::{media_path, power_said},
};
use crate::{
    config::BackendConfig,
    machine::{Machine, Power, reset::ResetType},
};

const SYSTEM: &str = "/redfish/v1/Systems/1";
const MANAGER: &str = "/redfish/v1/Managers/1";

pub(super) fn system(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let interfaces = format!("{SYSTEM}/EthernetInterfaces");
    match segments[1..] {
        [] => Some(collection(
            "/redfish/v1/Systems",
            "ComputerSystemCollection",
            "Computer System Collection",
            &["1"],
        )),
        ["1"] => Some(computer(machine)),
        ["1", "Settings"] => boot::settings(machine),
        ["1", "EthernetInterfaces"] => {
            let ids: Vec<String> = (1..=machine.config().macs.len()).map(|id| id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let name = "Ethernet Interface Collection";
            Some(collection(&interfaces, "EthernetInterfaceCollection", name, &ids))
        }
        ["1", "EthernetInterfaces", id] => {
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
        ["1", "SecureBoot"] => {
            let enabled = secure_boot(machine);
            Some(json!({
                "@odata.type": "#SecureBoot.v1_1_0.SecureBoot",
                "@odata.id": format!("{SYSTEM}/SecureBoot"),
                "Id": "SecureBoot",
                "Name": "UEFI Secure Boot",
                "SecureBootEnable": enabled,
                "SecureBootCurrentBoot": if enabled { "Enabled" } else { "Disabled" },
                "SecureBootMode": if enabled { "UserMode" } else { "SetupMode" },
            }))
        }
        _ => None,
    }
}

fn secure_boot(machine: &Machine) -> bool {
    matches!(&machine.config().backend, BackendConfig::Qemu(qemu) if qemu.secure_boot)
}

fn computer(machine: &Machine) -> Value {
    let said = power_said(machine);
    let config = machine.config();
    let board = machine.board();
    let progress = match board.power {
        Power::Off | Power::PoweringOff => "None",
        Power::PoweringOn => "SystemHardwareInitializationComplete",
        Power::On => "OSBootStarted",
    };
    let state = if board.power == Power::Off { "Disabled" } else { "Enabled" };
    let (cpus, memory) = match &config.backend {
        BackendConfig::Sim => (2, 4096),
        BackendConfig::Qemu(qemu) => (qemu.cpus, qemu.memory_mib),
    };
    let mut body = json!({
        "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem",
        "@odata.id": SYSTEM,
        "Id": "1",
        "Name": config.name,
        "SystemType": "Physical",
        "Manufacturer": config.manufacturer,
        "Model": config.model,
        "SerialNumber": config.serial,
        "UUID": config.uuid,
        "AssetTag": board.asset_tag,
        "PowerState": said,
        "Status": {"State": state, "Health": if board.broken.is_some() { "Critical" } else { "OK" }},
        "BootProgress": {"LastState": progress},
        "LastResetTime": board.last_reset.to_string(),
        "ProcessorSummary": {"Count": 1, "CoreCount": cpus},
        "MemorySummary": {"TotalSystemMemoryGiB": f64::from(memory) / 1024.0},
        "EthernetInterfaces": link(&format!("{SYSTEM}/EthernetInterfaces")),
        "SecureBoot": link(&format!("{SYSTEM}/SecureBoot")),
        "Links": {"Chassis": [link("/redfish/v1/Chassis/1")], "ManagedBy": [link(MANAGER)]},
        "Actions": {"#ComputerSystem.Reset": {
            "target": format!("{SYSTEM}/Actions/ComputerSystem.Reset"),
            "ResetType@Redfish.AllowableValues": ResetType::allowable(config.quirks.force_on_only),
        }},
    });
    boot::add_to_system(&mut body, &board.boot, &config.quirks);
    drop(board);
    if config.quirks.media_under_system {
        body["VirtualMedia"] = link(&media_path(machine));
    }
    body
}

pub(super) fn manager(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let config = machine.config();
    match segments[1..] {
        [] => Some(collection("/redfish/v1/Managers", "ManagerCollection", "Manager Collection", &["1"])),
        ["1"] => {
            let mut body = json!({
                "@odata.type": "#Manager.v1_18_0.Manager",
                "@odata.id": MANAGER,
                "Id": "1",
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
                    "ManagerForServers": [link(SYSTEM)],
                    "ManagerForChassis": [link("/redfish/v1/Chassis/1")],
                },
                "Actions": {"#Manager.Reset": {
                    "target": format!("{MANAGER}/Actions/Manager.Reset"),
                    "ResetType@Redfish.AllowableValues": ["GracefulRestart", "ForceRestart"],
                }},
            });
            if !config.quirks.media_under_system {
                body["VirtualMedia"] = link(&media_path(machine));
            }
            Some(body)
        }
        _ => None,
    }
}
