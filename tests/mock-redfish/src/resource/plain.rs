//! Service root, chassis, `$metadata`, `odata`.

use serde_json::{Value, json};

use super::{expand::MOST_LEVELS, healthy, link};
use crate::machine::{Machine, Power};

/// Schemas that `$metadata` refers to: file name without version, and the versioned namespaces in use.
const SCHEMAS: &[(&str, &[&str])] = &[
    ("ServiceRoot", &["ServiceRoot.v1_16_0"]),
    ("SessionService", &["SessionService.v1_1_8"]),
    ("Session", &["Session.v1_6_0"]),
    ("SessionCollection", &[]),
    ("AccountService", &["AccountService.v1_13_0"]),
    ("ManagerAccount", &["ManagerAccount.v1_10_0"]),
    ("ManagerAccountCollection", &[]),
    ("Role", &["Role.v1_3_1"]),
    ("RoleCollection", &[]),
    ("ComputerSystem", &["ComputerSystem.v1_20_1"]),
    ("ComputerSystemCollection", &[]),
    ("EthernetInterface", &["EthernetInterface.v1_10_0"]),
    ("EthernetInterfaceCollection", &[]),
    ("SecureBoot", &["SecureBoot.v1_1_0"]),
    ("Manager", &["Manager.v1_18_0"]),
    ("ManagerCollection", &[]),
    ("VirtualMedia", &["VirtualMedia.v1_6_1"]),
    ("VirtualMediaCollection", &[]),
    ("Chassis", &["Chassis.v1_23_0"]),
    ("ChassisCollection", &[]),
    ("TaskService", &["TaskService.v1_2_0"]),
    ("Task", &["Task.v1_7_1"]),
    ("TaskCollection", &[]),
    ("Message", &["Message.v1_1_2"]),
    ("ActionInfo", &["ActionInfo.v1_3_0"]),
    ("Resource", &["Resource.v1_16_0"]),
];

/// Those of a BMC that has events.
const EVENT_SCHEMAS: &[(&str, &[&str])] = &[
    ("EventService", &["EventService.v1_10_0"]),
    ("EventDestinationCollection", &[]),
    ("Event", &["Event.v1_7_0"]),
];

pub(super) fn root(machine: &Machine) -> Value {
    let config = machine.config();
    let expands = config.quirks.expands;
    let mut expand = json!({"ExpandAll": expands, "Levels": expands, "Links": expands, "NoLinks": expands});
    if expands {
        expand["MaxLevels"] = json!(MOST_LEVELS);
    }
    let mut root = json!({
        "@odata.type": "#ServiceRoot.v1_16_0.ServiceRoot",
        "@odata.id": "/redfish/v1/",
        "Id": "RootService",
        "Name": "Root Service",
        "RedfishVersion": "1.17.0",
        "UUID": config.uuid,
        "Vendor": config.manufacturer,
        "Product": "mock-redfish",
        "ProtocolFeaturesSupported": {
            "ExpandQuery": expand,
            "FilterQuery": false,
            "SelectQuery": false,
            "ExcerptQuery": false,
            "OnlyMemberQuery": false,
        },
        "Systems": link("/redfish/v1/Systems"),
        "Managers": link("/redfish/v1/Managers"),
        "Chassis": link("/redfish/v1/Chassis"),
        "AccountService": link("/redfish/v1/AccountService"),
        "Tasks": link("/redfish/v1/TaskService"),
        "Links": {},
    });
    if machine.model().events.is_some() {
        root["EventService"] = link("/redfish/v1/EventService");
    }
    if !config.quirks.no_sessions {
        root["SessionService"] = link("/redfish/v1/SessionService");
        root["Links"]["Sessions"] = link("/redfish/v1/SessionService/Sessions");
    }
    root
}

pub(super) fn chassis(machine: &Machine) -> Value {
    let config = machine.config();
    let layout = &machine.model().layout;
    json!({
        "@odata.type": "#Chassis.v1_23_0.Chassis",
        "@odata.id": layout.chassis_path(),
        "Id": layout.chassis,
        "Name": "Chassis",
        "ChassisType": "RackMount",
        "Manufacturer": config.manufacturer,
        "Model": config.model,
        "SerialNumber": config.serial,
        "PowerState": if machine.power() == Power::Off { "Off" } else { "On" },
        "Status": healthy(),
        "Links": {
            "ComputerSystems": [link(&layout.system_path())],
            "ManagedBy": [link(&layout.manager_path())],
        },
    })
}

/// The `odata` service document.
pub(crate) fn odata() -> Value {
    let entry = |name: &str, url: &str| json!({"name": name, "kind": "Singleton", "url": url});
    json!({
        "@odata.context": "/redfish/v1/$metadata",
        "value": [
            entry("Service", "/redfish/v1/"),
            entry("Systems", "/redfish/v1/Systems"),
            entry("Managers", "/redfish/v1/Managers"),
            entry("Chassis", "/redfish/v1/Chassis"),
            entry("SessionService", "/redfish/v1/SessionService"),
            entry("AccountService", "/redfish/v1/AccountService"),
            entry("Tasks", "/redfish/v1/TaskService"),
        ],
    })
}

/// The `$metadata` document.
pub(crate) fn metadata(machine: &Machine) -> String {
    let events = if machine.model().events.is_some() { EVENT_SCHEMAS } else { &[] };
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <edmx:Edmx xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\" Version=\"4.0\">\n",
    );
    for (file, versions) in SCHEMAS.iter().chain(events) {
        let includes = [*file].into_iter().chain(versions.iter().copied());
        let includes: Vec<String> =
            includes.map(|name| format!("    <edmx:Include Namespace=\"{name}\"/>\n")).collect();
        let uri = format!("http://redfish.dmtf.org/schemas/v1/{file}_v1.xml");
        text += &["  <edmx:Reference Uri=\"", &uri, "\">\n", &includes.concat(), "  </edmx:Reference>\n"]
            .concat();
    }
    text += "  <edmx:Reference Uri=\"http://redfish.dmtf.org/schemas/v1/RedfishExtensions_v1.xml\">\n    \
             <edmx:Include Namespace=\"RedfishExtensions.v1_0_0\" Alias=\"Redfish\"/>\n  </edmx:Reference>\n  \
             <edmx:DataServices>\n    <Schema xmlns=\"http://docs.oasis-open.org/odata/ns/edm\" Namespace=\"Service\">\n      \
             <EntityContainer Name=\"Service\" Extends=\"ServiceRoot.v1_16_0.ServiceContainer\"/>\n    \
             </Schema>\n  </edmx:DataServices>\n</edmx:Edmx>\n";
    text
}
