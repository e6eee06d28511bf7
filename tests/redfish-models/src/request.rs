//! Requests of a client, each by the model of the action or resource it goes to.

use redfish_codegen::models as m;
use serde_json::Value;

use crate::round_trip::{Echo, Fault, check, echo};

/// What a request is, and the model of its body.
fn model(method: &str, path: &str) -> Option<(&'static str, Echo)> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').skip(2).collect();
    Some(match (method, segments.as_slice()) {
        ("POST", ["SessionService", "Sessions"]) => ("Session", echo::<m::session::v1_6_0::Session>),
        ("POST", ["Systems", _, "Actions", "ComputerSystem.Reset"]) => {
            ("Reset", echo::<m::computer_system::v1_20_1::ResetRequestBody>)
        }
        ("POST", [_, _, "VirtualMedia", _, "Actions", "VirtualMedia.InsertMedia"]) => {
            ("InsertMedia", echo::<m::virtual_media::v1_6_1::InsertMediaRequestBody>)
        }
        ("POST", [_, _, "VirtualMedia", _, "Actions", "VirtualMedia.EjectMedia"]) => {
            ("EjectMedia", echo::<m::virtual_media::v1_6_1::EjectMediaRequestBody>)
        }
        ("PATCH", ["Systems", _] | ["Systems", _, "Settings"]) => {
            ("ComputerSystem", echo::<m::computer_system::v1_20_1::ComputerSystem>)
        }
        ("PATCH", [_, _, "VirtualMedia", _]) => {
            ("VirtualMedia", echo::<m::virtual_media::v1_6_1::VirtualMedia>)
        }
        _ => return None,
    })
}

/// Holds a request's body against the model of where it goes, and says which it was.
pub fn body(method: &str, path: &str, body: &Value) -> Result<&'static str, Fault> {
    let (name, echo) = model(method, path).ok_or_else(|| Fault::NoModel(format!("{method} {path}")))?;
    if !body.is_object() {
        let reason = format!("{body} is no object");
        return Err(Fault::Refused { model: name.to_owned(), reason });
    }
    // Every action parameter goes by a model; the one without parameters takes anything, so it is held to nothing.
    if name == "EjectMedia" && body.as_object().is_some_and(|map| !map.is_empty()) {
        let properties = body.as_object().into_iter().flatten().map(|(name, _)| format!("/{name}")).collect();
        return Err(Fault::Strange { model: name.to_owned(), properties });
    }
    check(name, echo, body).map(|()| name)
}
