//! What each resource looks like (Redfish schema 2023.1), by path. Reads the machine, changes nothing but
//! the count of stale reads.

pub(crate) mod accounts;
mod boot;
mod computer;
mod events;
pub(crate) mod expand;
mod plain;
mod slots;
pub(crate) mod tasks;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{machine::Machine, vendor::overlay::Filling};

pub(crate) use computer::progress;
pub(crate) use plain::{metadata, odata};
pub(crate) use slots::slot_of;

/// Properties that change without the resource changing; they do not count for the ETag.
const VOLATILE: &[&str] = &["DateTime"];

/// A path below `/redfish/v1` in segments; `None` for other paths.
pub(crate) fn segments(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix("/redfish/v1")?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    Some(if rest.is_empty() { Vec::new() } else { rest.split('/').collect() })
}

/// The resource at that path below `/redfish/v1`, as its vendor has it, without its ETag.
pub(crate) fn get(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let mut body = by_the_book(machine, segments)?;
    if let Some(change) = machine.model().change.get(kind(machine, segments)) {
        let config = machine.config();
        let uuid = config.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let here = format!("/redfish/v1/{}", segments.join("/"));
        change.apply(&mut body, Filling { serial: &config.serial, uuid: &uuid, here: &here });
    }
    Some(body)
}

fn by_the_book(machine: &Machine, segments: &[&str]) -> Option<Value> {
    if let Some(rest) = slots::below_media(machine, segments) {
        return slots::get(machine, rest);
    }
    match segments {
        [] => Some(plain::root(machine)),
        ["SessionService" | "AccountService", ..] => accounts::get(machine, segments),
        ["EventService", ..] => events::get(machine, segments),
        ["TaskService", ..] => tasks::get(machine, segments),
        ["Systems", ..] => computer::system(machine, segments),
        ["Managers", ..] => computer::manager(machine, segments),
        ["Chassis", rest @ ..] => {
            let id = &machine.model().layout.chassis;
            match rest {
                [] => {
                    Some(collection("/redfish/v1/Chassis", "ChassisCollection", "Chassis Collection", &[id]))
                }
                [asked] if asked == id => Some(plain::chassis(machine)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What kind of resource a path leads to, in the words of vendors' files.
fn kind<'s>(machine: &Machine, segments: &[&'s str]) -> &'s str {
    let layout = &machine.model().layout;
    match slots::below_media(machine, segments) {
        Some([]) => return "slots",
        Some([_]) => return "slot",
        Some(_) => return "action-info",
        None => {}
    }
    match segments {
        [] => "root",
        ["Systems", id] if *id == layout.system => "system",
        ["Systems", _] => "other-system",
        ["Systems", _, last] if *last == layout.settings => "settings",
        ["Managers", _] => "manager",
        ["Chassis", _] => "chassis",
        [only] => only,
        _ => "",
    }
}

/// Methods of an existing resource, for `Allow`.
pub(crate) fn methods(machine: &Machine, segments: &[&str]) -> &'static str {
    if matches!(slots::below_media(machine, segments), Some([_])) {
        return "GET, HEAD, PATCH";
    }
    match segments {
        ["SessionService", "Sessions"] => "GET, HEAD, POST",
        ["SessionService", "Sessions", _] => "GET, HEAD, DELETE",
        ["Managers", _, "Attributes"] => "GET, HEAD, PATCH",
        _ if matches!(kind(machine, segments), "system" | "settings") => "GET, HEAD, PATCH",
        _ => "GET, HEAD",
    }
}

/// Strong ETag over what counts of a resource.
pub(crate) fn etag(machine: &Machine, body: &Value) -> String {
    let mut counted = body.clone();
    if let Some(map) = counted.as_object_mut() {
        map.retain(|name, _| !VOLATILE.contains(&name.as_str()));
    }
    let digest = Sha256::digest(counted.to_string().as_bytes());
    let tag = hex::encode(&digest[..8]);
    if machine.config().quirks.weak_etags { format!("W/\"{tag}\"") } else { format!("\"{tag}\"") }
}

/// URI of the schema that describes a resource.
pub(crate) fn schema_of(body: &Value) -> Option<String> {
    let kind = body["@odata.type"].as_str()?.strip_prefix('#')?;
    let (name, _) = kind.rsplit_once('.')?;
    Some(format!("http://redfish.dmtf.org/schemas/v1/{name}.json"))
}

/// A collection resource.
fn collection(path: &str, kind: &str, name: &str, ids: &[&str]) -> Value {
    let members: Vec<Value> = ids.iter().map(|id| link(&format!("{path}/{id}"))).collect();
    json!({
        "@odata.type": format!("#{kind}.{kind}"),
        "@odata.id": path,
        "Name": name,
        "Members": members,
        "Members@odata.count": ids.len(),
    })
}

fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

fn healthy() -> Value {
    json!({"State": "Enabled", "Health": "OK"})
}
