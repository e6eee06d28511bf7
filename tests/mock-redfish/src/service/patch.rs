//! PATCH: `If-Match` first, then every property checked, then all applied or none.

use serde_json::{Map, Value};

use super::{
    Asked, action, boot_patch,
    reply::{Message, Reply},
    settling, unsupported,
};
use crate::{machine::Machine, resource, vendor::SettingsRule};

/// Routes a PATCH.
pub(crate) async fn patch(machine: &Machine, asked: &Asked, segments: &[&str]) -> Reply {
    let Some(current) = resource::get(machine, segments) else { return Reply::not_found(&asked.path) };
    if !resource::methods(machine, segments).contains("PATCH") {
        return unsupported(machine, asked, segments);
    }
    if let Err(reply) = precondition(machine, asked, &resource::etag(machine, &current)) {
        return reply;
    }
    let body = match asked.object() {
        Ok(body) if !body.is_empty() => body,
        Ok(_) => {
            let text = "The request body submitted contained empty JSON object and the service is unable to process it.";
            return Reply::error(400, Message::new("EmptyJSON", text));
        }
        Err(reply) => return reply,
    };
    if let Some((index, [])) = resource::slot_of(machine, segments) {
        return slot_patch(machine, asked, &body, &current, index).await;
    }
    let settings_id = machine.model().layout.settings.as_str();
    match segments {
        ["Systems", _] => system(machine, segments, &body, &current),
        ["Systems", _, last] if *last == settings_id => settings(machine, segments, &body, &current),
        ["Managers", _, "Attributes"] => attributes(machine, segments, &body),
        _ => unsupported(machine, asked, segments),
    }
}

fn precondition(machine: &Machine, asked: &Asked, etag: &str) -> Result<(), Reply> {
    let Some(wanted) = asked.header("if-match") else {
        if machine.config().quirks.needs_if_match {
            let text = "The operation requires the If-Match header with the resource's ETag.";
            return Err(Reply::error(428, Message::new("PreconditionRequired", text)));
        }
        return Ok(());
    };
    let weak = machine.config().quirks.weak_etags;
    let same = wanted.split(',').map(str::trim).any(|tag| tag == "*" || (tag == etag && !weak));
    if same {
        return Ok(());
    }
    let text = "The ETag supplied did not match the ETag required to change this resource.";
    Err(Reply::error(412, Message::new("PreconditionFailed", text)))
}

pub(super) fn unwritable(current: &Value, path: &str, name: &str) -> Message {
    let pointer = format!("{path}{name}");
    if current.get(name).is_some() {
        let said = format!("The property {pointer} is a read only property and cannot be assigned a value.");
        Message::new("PropertyNotWritable", said).args(&[name]).about(&pointer)
    } else {
        let said = format!("The property {pointer} is not in the list of valid properties for the resource.");
        Message::new("PropertyUnknown", said).args(&[name]).about(&pointer)
    }
}

pub(super) fn wrong_type(name: &str, value: &Value) -> Message {
    let said = format!(
        "The value {value} for the property {name} is of a different type than the property can accept."
    );
    Message::new("PropertyValueTypeError", said).args(&[name]).about(name)
}

fn system(machine: &Machine, segments: &[&str], body: &Map<String, Value>, current: &Value) -> Reply {
    let mut faults = Vec::new();
    let mut boot = machine.boot_override();
    let mut asset_tag = None;
    for (name, value) in body {
        match (name.as_str(), value) {
            ("AssetTag", Value::String(text)) => asset_tag = Some(text.chars().take(64).collect::<String>()),
            ("Boot", Value::Object(wanted)) if machine.model().boots.settings == SettingsRule::Override => {
                faults.extend(wanted.keys().map(|name| unwritable(&current["Boot"], "Boot/", name)));
            }
            ("Boot", Value::Object(wanted)) => {
                if let Some(reply) = settling::in_post(machine) {
                    return reply;
                }
                boot_patch::apply(machine, wanted, &current["Boot"], &mut boot, &mut faults);
            }
            ("AssetTag" | "Boot", other) => faults.push(wrong_type(name, other)),
            _ => faults.push(unwritable(current, "", name)),
        }
    }
    if !faults.is_empty() {
        return Reply::errors(400, &faults);
    }
    machine.change(|board| {
        board.boot = boot;
        if let Some(tag) = asset_tag {
            board.asset_tag = tag;
        }
    });
    boot_patch::misbehave(machine);
    changed(machine, segments)
}

/// The settings object: the change waits for the next start.
fn settings(machine: &Machine, segments: &[&str], body: &Map<String, Value>, current: &Value) -> Reply {
    let mut faults = Vec::new();
    let mut boot = machine.board().next_boot().clone();
    for (name, value) in body {
        match (name.as_str(), value) {
            ("Boot", Value::Object(wanted)) if machine.model().boots.settings == SettingsRule::Override => {
                boot_patch::apply(machine, wanted, &current["Boot"], &mut boot, &mut faults);
            }
            ("Boot", Value::Object(wanted)) => {
                faults.extend(wanted.keys().map(|name| unwritable(&current["Boot"], "Boot/", name)));
            }
            ("Boot", other) => faults.push(wrong_type(name, other)),
            _ => faults.push(unwritable(current, "", name)),
        }
    }
    if !faults.is_empty() {
        return Reply::errors(400, &faults);
    }
    machine.change(|board| board.pending_boot = Some(boot));
    boot_patch::misbehave(machine);
    changed(machine, segments)
}

/// Attributes of the manager (Dell): those it has, to any text.
fn attributes(machine: &Machine, segments: &[&str], body: &Map<String, Value>) -> Reply {
    let Some(Value::Object(wanted)) = body.get("Attributes") else {
        return Reply::error(400, wrong_type("Attributes", &Value::Null));
    };
    let mut set = Vec::new();
    let mut faults = Vec::new();
    let known = machine.board().attributes.clone();
    for (name, value) in wanted {
        match value.as_str() {
            _ if !known.contains_key(name) => faults.push(unwritable(&Value::Null, "Attributes/", name)),
            Some(text) => set.push((name.clone(), text.to_owned())),
            None => faults.push(wrong_type(name, value)),
        }
    }
    if !faults.is_empty() {
        return Reply::errors(400, &faults);
    }
    machine.change(|board| board.attributes.extend(set));
    boot_patch::misbehave(machine);
    changed(machine, segments)
}

async fn slot_patch(
    machine: &Machine,
    asked: &Asked,
    body: &Map<String, Value>,
    current: &Value,
    index: usize,
) -> Reply {
    let local = machine.board().slots[index].local;
    if let (Some(value), false) = (body.get("VerifyCertificate"), local) {
        let (Some(verify), 1) = (value.as_bool(), body.len()) else {
            return Reply::error(400, wrong_type("VerifyCertificate", value));
        };
        machine.change(|board| board.slots[index].verify_certificate = verify);
    } else if local || !machine.config().quirks.media_by_patch {
        let faults: Vec<Message> = body.keys().map(|name| unwritable(current, "", name)).collect();
        return Reply::errors(400, &faults);
    } else {
        let ejects = body.get("Image").is_some_and(Value::is_null)
            || body.get("Inserted") == Some(&Value::Bool(false));
        let reply = if ejects {
            action::eject_from(machine, asked, index).await
        } else {
            action::insert_from(machine, asked, body, index, "PATCH").await
        };
        if reply.status != 204 {
            return reply;
        }
    }
    let layout = &machine.model().layout;
    let (parent, member) = layout.media_parent(layout.media);
    changed(machine, &[parent, member, "VirtualMedia", &layout.slots[index].id])
}

/// 200 with the resource as it is now.
fn changed(machine: &Machine, segments: &[&str]) -> Reply {
    let Some(mut body) = resource::get(machine, segments) else { return Reply::empty() };
    let etag = resource::etag(machine, &body);
    body["@odata.etag"] = Value::from(etag.clone());
    Reply::json(body).with("ETag", etag)
}
