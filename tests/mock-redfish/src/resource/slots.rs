//! The virtual media drives.

use serde_json::{Map, Value, json};

use super::collection;
use crate::{fault::Fault, machine::Machine, vendor::Dialect};

/// The drive that a path leads to, and what comes after it.
pub(crate) fn slot_of<'s>(machine: &Machine, segments: &'s [&'s str]) -> Option<(usize, &'s [&'s str])> {
    let [id, rest @ ..] = below_media(machine, segments)? else { return None };
    let index = machine.board().slots.iter().position(|slot| slot.id == *id)?;
    Some((index, rest))
}

/// What comes after the collection of drives in a path that leads there.
pub(super) fn below_media<'s>(machine: &Machine, segments: &'s [&'s str]) -> Option<&'s [&'s str]> {
    let layout = &machine.model().layout;
    match segments {
        [home, id, "VirtualMedia", rest @ ..] if (*home, *id) == layout.media_parent(layout.media) => {
            Some(rest)
        }
        _ => None,
    }
}

pub(super) fn get(machine: &Machine, rest: &[&str]) -> Option<Value> {
    let path = machine.media_path();
    match rest {
        [] => {
            let ids: Vec<String> = machine.board().slots.iter().map(|slot| slot.id.clone()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Some(collection(&path, "VirtualMediaCollection", "Virtual Media Collection", &ids))
        }
        [id] => slot(machine, &path, id),
        [id, "InsertMediaActionInfo"] if machine.model().dialect.action_info => {
            machine.board().slots.iter().find(|slot| slot.id == *id)?;
            Some(action_info(machine, &path, id))
        }
        _ => None,
    }
}

fn slot(machine: &Machine, path: &str, id: &str) -> Option<Value> {
    let mut board = machine.board();
    let slot = board.slots.iter_mut().find(|slot| slot.id == id)?;
    let image = slot.shown();
    let filled = image.is_some();
    let name = image.as_deref().and_then(|url| url.rsplit('/').next()).map(str::to_owned);
    let here = format!("{path}/{id}");
    let mut body = json!({
        "@odata.type": "#VirtualMedia.v1_6_1.VirtualMedia",
        "@odata.id": here,
        "Id": id,
        "Name": format!("Virtual {id}"),
        "MediaTypes": slot.media_types,
        "ConnectedVia": if filled { "URI" } else { "NotConnected" },
        "Image": image,
        "ImageName": name,
        "Inserted": filled,
        "WriteProtected": true,
        "TransferMethod": "Stream",
        "TransferProtocolType": if filled { slot.protocol.clone() } else { None },
        "UserName": slot.user,
        "Password": null,
        "VerifyCertificate": slot.verify_certificate,
        "Status": super::healthy(),
    });
    if !machine.config().quirks.media_by_patch && !slot.local {
        let dialect = &machine.model().dialect;
        let mut actions = Map::new();
        actions.insert(Dialect::listed(&dialect.insert), insert_action(&here, dialect));
        if filled || !machine.config().quirks.eject_hidden {
            let target = format!("{here}/Actions/{}", dialect.eject);
            actions.insert(Dialect::listed(&dialect.eject), json!({ "target": target }));
        }
        let mut at = &mut body;
        for name in dialect.listed_in.split('|') {
            at = &mut at[name];
        }
        *at = Value::Object(actions);
    }
    Some(body)
}

fn insert_action(here: &str, dialect: &Dialect) -> Value {
    let mut insert = json!({"target": format!("{here}/Actions/{}", dialect.insert)});
    if dialect.action_info {
        insert["TransferProtocolType@Redfish.AllowableValues"] = json!(["HTTP", "HTTPS"]);
        insert["TransferMethod@Redfish.AllowableValues"] = json!(["Stream"]);
        insert["@Redfish.ActionInfo"] = json!(format!("{here}/InsertMediaActionInfo"));
    }
    insert
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
