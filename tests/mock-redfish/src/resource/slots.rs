//! The virtual media drives.

use serde_json::{Value, json};

use super::collection;
use crate::{fault::Fault, machine::Machine};

/// Collection the drives hang under.
pub(crate) fn media_parent(machine: &Machine) -> &'static str {
    if machine.config().quirks.media_under_system { "Systems" } else { "Managers" }
}

/// Path of the drives.
pub(super) fn media_path(machine: &Machine) -> String {
    format!("/redfish/v1/{}/1/VirtualMedia", media_parent(machine))
}

/// Position of the drive of that id.
pub(crate) fn slot_index(machine: &Machine, id: &str) -> Option<usize> {
    machine.board().slots.iter().position(|slot| slot.id == id)
}

pub(super) fn get(machine: &Machine, rest: &[&str]) -> Option<Value> {
    let path = media_path(machine);
    match rest {
        [] => {
            let ids: Vec<String> = machine.board().slots.iter().map(|slot| slot.id.clone()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Some(collection(&path, "VirtualMediaCollection", "Virtual Media Collection", &ids))
        }
        [id] => slot(machine, &path, id),
        [id, "InsertMediaActionInfo"] => {
            slot_index(machine, id)?;
            Some(action_info(machine, &path, id))
        }
        _ => None,
    }
}

fn slot(machine: &Machine, path: &str, id: &str) -> Option<Value> {
    let by_patch = machine.config().quirks.media_by_patch;
    let mut board = machine.board();
    let slot = board.slots.iter_mut().find(|slot| slot.id == id)?;
    let image = slot.shown();
    let name = image.as_deref().and_then(|url| url.rsplit('/').next()).map(str::to_owned);
    let here = format!("{path}/{id}");
    let mut body = json!({
        "@odata.type": "#VirtualMedia.v1_6_1.VirtualMedia",
        "@odata.id": here,
        "Id": id,
        "Name": format!("Virtual {id}"),
        "MediaTypes": slot.media_types(),
        "ConnectedVia": if image.is_some() { "URI" } else { "NotConnected" },
        "Image": image,
        "ImageName": name,
        "Inserted": image.is_some(),
        "WriteProtected": true,
        "TransferMethod": "Stream",
        "TransferProtocolType": if image.is_some() { slot.protocol.clone() } else { None },
        "UserName": slot.user,
        "Password": null,
        "VerifyCertificate": slot.verify_certificate,
        "Status": super::healthy(),
    });
    if !by_patch {
        let mut insert = json!({
            "target": format!("{here}/Actions/VirtualMedia.InsertMedia"),
            "TransferProtocolType@Redfish.AllowableValues": ["HTTP", "HTTPS"],
            "TransferMethod@Redfish.AllowableValues": ["Stream"],
        });
        insert["@Redfish.ActionInfo"] = json!(format!("{here}/InsertMediaActionInfo"));
        body["Actions"] = json!({
            "#VirtualMedia.InsertMedia": insert,
            "#VirtualMedia.EjectMedia": {"target": format!("{here}/Actions/VirtualMedia.EjectMedia")},
        });
    }
    Some(body)
}

fn action_info(machine: &Machine, path: &str, id: &str) -> Value {
    let quirks = &machine.config().quirks;
    let mut parameters = vec![
        json!({"Name": "Image", "Required": true, "DataType": "String"}),
        json!({
            "Name": "TransferProtocolType", "Required": quirks.needs_transfer_protocol, "DataType": "String",
            "AllowableValues": ["HTTP", "HTTPS"],
        }),
        json!({"Name": "TransferMethod", "Required": false, "DataType": "String", "AllowableValues": ["Stream"]}),
        json!({"Name": "UserName", "Required": false, "DataType": "String"}),
        json!({"Name": "Password", "Required": false, "DataType": "String"}),
    ];
    if !quirks.refuses_inserted {
        parameters.push(json!({"Name": "Inserted", "Required": false, "DataType": "Boolean"}));
        parameters.push(json!({"Name": "WriteProtected", "Required": false, "DataType": "Boolean"}));
    }
    json!({
        "@odata.type": "#ActionInfo.v1_3_0.ActionInfo",
        "@odata.id": format!("{path}/{id}/InsertMediaActionInfo"),
        "Id": "InsertMediaActionInfo",
        "Name": "InsertMedia Action Info",
        "Parameters": parameters,
    })
}

/// What `PowerState` says: the truth, or an injected lie.
pub(super) fn power_said(machine: &Machine) -> String {
    let lie = machine.faults().take(|fault| match fault {
        Fault::PowerLies { says } => Some(says.clone()),
        _ => None,
    });
    lie.unwrap_or_else(|| format!("{:?}", machine.power()))
}
