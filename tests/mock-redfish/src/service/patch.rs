//! PATCH: `If-Match` first, then every property checked, then all applied or none.

use serde_json::{Map, Value};

use super::{
    Asked, action,
    reply::{Message, Reply},
    unsupported,
};
use crate::{
    machine::{BootOverride, Enabled, Machine, Target},
    resource,
};

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
    match segments {
        ["Systems", "1"] => system(machine, &body, &current),
        ["Systems", "1", "Settings"] => settings(machine, &body, &current),
        [_, "1", "VirtualMedia", slot] => match resource::slot_index(machine, slot) {
            Some(index) => slot_patch(machine, &body, &current, index).await,
            None => Reply::not_found(&asked.path),
        },
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

fn unwritable(current: &Value, path: &str, name: &str) -> Message {
    let pointer = format!("{path}{name}");
    if current.get(name).is_some() {
        let said = format!("The property {pointer} is a read only property and cannot be assigned a value.");
        Message::new("PropertyNotWritable", said).args(&[name]).about(&pointer)
    } else {
        let said = format!("The property {pointer} is not in the list of valid properties for the resource.");
        Message::new("PropertyUnknown", said).args(&[name]).about(&pointer)
    }
}

fn wrong_type(name: &str, value: &Value) -> Message {
    let said = format!(
        "The value {value} for the property {name} is of a different type than the property can accept."
    );
    Message::new("PropertyValueTypeError", said).args(&[name]).about(name)
}

fn system(machine: &Machine, body: &Map<String, Value>, current: &Value) -> Reply {
    let mut faults = Vec::new();
    let mut boot = machine.boot_override();
    let mut asset_tag = None;
    for (name, value) in body {
        match (name.as_str(), value) {
            ("AssetTag", Value::String(text)) => asset_tag = Some(text.chars().take(64).collect::<String>()),
            ("Boot", Value::Object(wanted)) if machine.config().quirks.boot_settings => {
                faults.extend(wanted.keys().map(|name| unwritable(&current["Boot"], "Boot/", name)));
            }
            ("Boot", Value::Object(wanted)) => {
                boot_patch(machine, wanted, &current["Boot"], &mut boot, &mut faults);
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
    changed(machine, &["Systems", "1"])
}

/// The settings object: the change waits for the next start.
fn settings(machine: &Machine, body: &Map<String, Value>, current: &Value) -> Reply {
    let mut faults = Vec::new();
    let mut boot = machine.board().next_boot().clone();
    for (name, value) in body {
        match (name.as_str(), value) {
            ("Boot", Value::Object(wanted)) => {
                boot_patch(machine, wanted, &current["Boot"], &mut boot, &mut faults);
            }
            ("Boot", other) => faults.push(wrong_type(name, other)),
            _ => faults.push(unwritable(current, "", name)),
        }
    }
    if !faults.is_empty() {
        return Reply::errors(400, &faults);
    }
    machine.change(|board| board.pending_boot = Some(boot));
    changed(machine, &["Systems", "1", "Settings"])
}

fn boot_patch(
    machine: &Machine,
    wanted: &Map<String, Value>,
    current: &Value,
    boot: &mut BootOverride,
    faults: &mut Vec<Message>,
) {
    for (name, value) in wanted {
        let pointer = format!("Boot/{name}");
        let Some(text) = value.as_str() else {
            if name == "HttpBootUri" && value.is_null() {
                boot.http_boot_uri.clear();
            } else {
                faults.push(wrong_type(&pointer, value));
            }
            continue;
        };
        let allowed = &current[format!("{name}@Redfish.AllowableValues")];
        let listed = allowed.as_array().is_none_or(|list| list.iter().any(|item| item == text));
        let parsed = match name.as_str() {
            "BootSourceOverrideEnabled" => {
                enum_of::<Enabled>(value).map(|enabled| boot.enabled = enabled).filter(|()| listed)
            }
            "BootSourceOverrideTarget" => {
                enum_of::<Target>(value).map(|target| boot.target = target).filter(|()| listed)
            }
            "BootSourceOverrideMode" if !machine.config().quirks.no_override_mode => {
                boot.mode = text.into();
                listed.then_some(())
            }
            "HttpBootUri" => {
                boot.http_boot_uri = text.into();
                Some(())
            }
            _ => {
                faults.push(unwritable(current, "Boot/", name));
                continue;
            }
        };
        if parsed.is_none() {
            let said = format!(
                "The value '{text}' for the property {name} is not in the list of acceptable values."
            );
            faults.push(Message::new("PropertyValueNotInList", said).args(&[text, name]).about(&pointer));
        }
    }
}

fn enum_of<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

async fn slot_patch(machine: &Machine, body: &Map<String, Value>, current: &Value, index: usize) -> Reply {
    if let Some(value) = body.get("VerifyCertificate") {
        let (Some(verify), 1) = (value.as_bool(), body.len()) else {
            return Reply::error(400, wrong_type("VerifyCertificate", value));
        };
        machine.change(|board| board.slots[index].verify_certificate = verify);
    } else if !machine.config().quirks.media_by_patch {
        let faults: Vec<Message> = body.keys().map(|name| unwritable(current, "", name)).collect();
        return Reply::errors(400, &faults);
    } else {
        let ejects = body.get("Image").is_some_and(Value::is_null)
            || body.get("Inserted") == Some(&Value::Bool(false));
        let reply = if ejects {
            action::eject_from(machine, index).await
        } else {
            action::insert_from(machine, body, index, "PATCH").await
        };
        if reply.status != 204 {
            return reply;
        }
    }
    let id = machine.board().slots[index].id.clone();
    changed(machine, &[resource::media_parent(machine), "1", "VirtualMedia", &id])
}

/// 200 with the resource as it is now.
fn changed(machine: &Machine, segments: &[&str]) -> Reply {
    let Some(mut body) = resource::get(machine, segments) else { return Reply::empty() };
    let etag = resource::etag(machine, &body);
    body["@odata.etag"] = Value::from(etag.clone());
    Reply::json(body).with("ETag", etag)
}
