//! Where injected faults of a request show: instead of serving it, and in what is answered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    listener::Hangup,
    reply::{Body, Delivery, Message, Reply},
};
use crate::{fault::Fault, machine::Machine};

/// What a BMC leaves out until it is restarted.
const KEYS: [&str; 2] = ["Boot", "VirtualMedia"];

/// Faults that show before a request is served: an answer when it is not served at all, and the faults that are left.
pub(super) async fn before(
    machine: &Machine,
    faults: Vec<Fault>,
) -> Result<(Option<Reply>, Vec<Fault>), Hangup> {
    let mut after = Vec::new();
    for fault in faults {
        match fault {
            Fault::Delay { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Fault::Status { status, message_id, message, retry_after } => {
                let id = message_id.unwrap_or_else(|| "GeneralError".into());
                let text = message.unwrap_or_else(|| "An injected fault.".into());
                let reply = Reply::error(status, Message::new(&id, text));
                let reply = match retry_after {
                    Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                    None => reply,
                };
                return Ok((Some(reply), after));
            }
            Fault::Page { status } => {
                let page = "<html><body><h1>This page is no JSON</h1></body></html>";
                return Ok((Some(Reply::text(status, "text/html", page)), after));
            }
            Fault::Reset => return Err(Hangup),
            Fault::SessionForgotten => machine.forget_sessions(),
            Fault::PasswordChange => {
                let text = "The password provided for this account must be changed before access is granted. PATCH the Password property for this account located at the target URI '/redfish/v1/AccountService/Accounts/1' to complete this process.";
                let reply = Reply::error(403, Message::new("PasswordChangeRequired", text));
                return Ok((Some(reply), after));
            }
            Fault::SessionsFull => {
                let text = "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the implementation.";
                let reply = Reply::error(503, Message::new("SessionLimitExceeded", text));
                return Ok((Some(reply), after));
            }
            Fault::BmcReboots { ms, unready } => {
                machine.restart_bmc(Duration::from_millis(ms), unready);
                return Err(Hangup);
            }
            other => after.push(other),
        }
    }
    Ok((None, after))
}

/// Faults that show in the answer of a request that was served.
pub(super) fn after(mut reply: Reply, faults: Vec<Fault>) -> Result<Reply, Hangup> {
    for fault in faults {
        match fault {
            Fault::ResetAfter => return Err(Hangup),
            Fault::StatusAfter { status } => {
                reply = Reply::error(status, Message::new("InternalError", "An injected fault."));
            }
            Fault::Replace { properties } => {
                if let Body::Json(Value::Object(body)) = &mut reply.body {
                    for (name, value) in properties {
                        if value.is_null() {
                            body.remove(&name);
                        } else {
                            body.insert(name, value);
                        }
                    }
                }
            }
            Fault::CutAnswer => reply.delivery = Delivery::Cut,
            Fault::Drip { ms } => reply.delivery = Delivery::Drip(ms),
            Fault::HalfJson => {
                let (kind, mut text) = reply.text_of_body();
                text.truncate(half(&text));
                reply.body = kind.map_or(Body::Empty, |kind| Body::Text(kind, text));
            }
            Fault::ClockSkew { seconds } => {
                let wrong =
                    Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or_default();
                if let Body::Json(body) = &mut reply.body {
                    skew(body, wrong);
                }
                let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&wrong);
                if let Ok(date) = date {
                    reply = reply.with("Date", date);
                }
            }
            Fault::KeysMissing => {
                if let Body::Json(body) = &mut reply.body {
                    forget_keys(body);
                }
            }
            _ => {}
        }
    }
    Ok(reply)
}

/// About the middle, where a character begins.
fn half(text: &str) -> usize {
    let mut at = text.len() / 2;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn skew(body: &mut Value, wrong: Timestamp) {
    match body {
        Value::Array(list) => list.iter_mut().for_each(|item| skew(item, wrong)),
        Value::Object(map) => {
            for (name, value) in map {
                if name == "DateTime" {
                    *value = Value::from(wrong.to_string());
                } else {
                    skew(value, wrong);
                }
            }
        }
        _ => {}
    }
}

fn forget_keys(body: &mut Value) {
    match body {
        Value::Array(list) => list.iter_mut().for_each(forget_keys),
        Value::Object(map) => {
            map.retain(|name, _| !KEYS.contains(&name.as_str()));
            map.values_mut().for_each(forget_keys);
        }
        _ => {}
    }
}
