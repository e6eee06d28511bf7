//! POST to actions: Reset, `InsertMedia`, `EjectMedia`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    Asked,
    reply::{Message, Reply},
    session, settling,
};
use crate::{
    fault::Fault,
    machine::{Machine, Power, ResetType, driver::Order, reset::decide},
    media::MediaError,
    resource,
};

/// Parameters of `InsertMedia` that are understood.
const INSERT_PARAMETERS: &[&str] = &[
    "Image",
    "Inserted",
    "WriteProtected",
    "TransferProtocolType",
    "TransferMethod",
    "UserName",
    "Password",
];

/// Routes an action.
pub(crate) async fn act(machine: &Machine, asked: &Asked, segments: &[&str]) -> Reply {
    let layout = &machine.model().layout;
    if let Some((index, ["Actions", action @ ..])) = resource::slot_of(machine, segments) {
        let closed = machine.config().quirks.media_by_patch || machine.board().slots[index].local;
        let dialect = &machine.model().dialect;
        return match action.join("/") {
            _ if closed => Reply::not_found(&asked.path),
            name if name == dialect.insert => insert(machine, asked, index).await,
            name if name == dialect.eject => eject(machine, asked, index).await,
            _ => Reply::not_found(&asked.path),
        };
    }
    match segments {
        ["Systems", id, "Actions", "ComputerSystem.Reset"] if *id == layout.system => {
            reset(machine, asked).await
        }
        ["Managers", id, "Actions", "Manager.Reset"] if *id == layout.manager => {
            machine.restart_bmc(Duration::from_millis(machine.config().timing.restart_ms), 0);
            Reply::empty()
        }
        _ => Reply::not_found(&asked.path),
    }
}

/// The parameters of an action; an empty body is an empty object unless the BMC minds.
fn parameters(machine: &Machine, asked: &Asked) -> Result<Map<String, Value>, Reply> {
    if !asked.body.is_empty() {
        return asked.object();
    }
    if machine.config().quirks.needs_json_body {
        let text = "The request had no body; send {} as application/json.";
        return Err(Reply::error(415, Message::new("MalformedJSON", text)));
    }
    Ok(Map::new())
}

/// `text` parameter of that name, or what is wrong with it.
fn text_of<'a>(body: &'a Map<String, Value>, name: &str, action: &str) -> Result<&'a str, Reply> {
    match body.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => {
            let said = format!(
                "The value {other} for the parameter {name} in the action {action} is of a different type than the parameter can accept."
            );
            Err(Reply::error(
                400,
                Message::new("ActionParameterValueTypeError", said).args(&[name]).about(name),
            ))
        }
        None => {
            let said = format!(
                "The action {action} requires the parameter {name} to be present in the request body."
            );
            Err(Reply::error(
                400,
                Message::new("ActionParameterMissing", said).args(&[action, name]).about(name),
            ))
        }
    }
}

fn not_in_list(value: &str, name: &str) -> Reply {
    let said =
        format!("The value '{value}' for the parameter {name} is not in the list of acceptable values.");
    Reply::error(400, Message::new("ActionParameterValueNotInList", said).args(&[value, name]).about(name))
}

async fn reset(machine: &Machine, asked: &Asked) -> Reply {
    let body = match parameters(machine, asked) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let name = match text_of(&body, "ResetType", "ComputerSystem.Reset") {
        Ok(name) => name,
        Err(reply) => return reply,
    };
    let kind = serde_json::from_value::<ResetType>(Value::from(name)).ok();
    let Some(kind) = kind.filter(|kind| machine.model().resets.0.contains(kind)) else {
        return not_in_list(name, "ResetType");
    };
    if let Some(reply) = settling::too_early(machine, kind) {
        return reply;
    }
    let power = machine.power();
    if decide(kind, power).is_none() {
        let state = if matches!(power, Power::On | Power::PoweringOn) { "on" } else { "off" };
        let said = format!("The system is already powered {state}; ResetType {name} does not apply.");
        let message = Message::new("ActionParameterValueConflict", said).args(&["ResetType", name]);
        return Reply::error(409, message.about("ResetType"));
    }
    let timing = &machine.config().timing;
    let slow = timing.power_on_ms > 0 || timing.power_off_ms > 0;
    carry_out(machine, asked, Order::Reset(kind), "Reset", slow).await
}

/// Gives the order and answers: 202 with a task, 204 at once, or 204 when it is done.
async fn carry_out(machine: &Machine, asked: &Asked, order: Order, name: &'static str, slow: bool) -> Reply {
    let failed =
        |error: crate::MachineError| Reply::error(500, Message::new("InternalError", error.to_string()));
    let lie = machine.faults().take_at(asked.method.as_str(), &asked.path, |fault| match fault {
        Fault::TaskVanishes => Some((true, true)),
        Fault::TaskStuck { works } => Some((*works, false)),
        _ => None,
    });
    if let Some((works, vanishes)) = lie {
        if works && let Err(error) = machine.place(order, None).await {
            return failed(error);
        }
        let id = machine.change(|board| board.open_task(name, jiff::Timestamp::now()));
        let reply = session::accepted(machine, id);
        if vanishes {
            machine.change(|board| board.forget_task(id));
        }
        return reply;
    }
    if machine.config().timing.tasks {
        let id = machine.change(|board| board.open_task(name, jiff::Timestamp::now()));
        return match machine.place(order, Some(id)).await {
            Ok(_) => session::accepted(machine, id),
            Err(error) => failed(error),
        };
    }
    let end =
        if slow { machine.place(order, None).await.map(drop) } else { machine.order(order, None).await };
    match end {
        Ok(()) => Reply::empty(),
        Err(error) => failed(error),
    }
}

async fn insert(machine: &Machine, asked: &Asked, index: usize) -> Reply {
    let body = match parameters(machine, asked) {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    insert_from(machine, asked, &body, index, "VirtualMedia.InsertMedia").await
}

/// Checks the parameters and the image, then inserts.
pub(crate) async fn insert_from(
    machine: &Machine,
    asked: &Asked,
    body: &Map<String, Value>,
    index: usize,
    action: &str,
) -> Reply {
    let quirks = &machine.config().quirks;
    for name in body.keys() {
        let refused = quirks.refuses_inserted && matches!(name.as_str(), "Inserted" | "WriteProtected");
        if refused || !INSERT_PARAMETERS.contains(&name.as_str()) {
            let said = format!("The action {action} was submitted with the invalid parameter {name}.");
            let message = Message::new("ActionParameterUnknown", said).args(&[action, name]);
            return Reply::error(400, message.about(name));
        }
    }
    let image = match text_of(body, "Image", action) {
        Ok(image) => image,
        Err(reply) => return reply,
    };
    let demanded = [
        (quirks.needs_transfer_protocol, "TransferProtocolType"),
        (quirks.needs_transfer_method, "TransferMethod"),
        (quirks.needs_credentials, "UserName"),
        (quirks.needs_credentials, "Password"),
    ];
    for (demands, name) in demanded {
        if demands && let Err(reply) = text_of(body, name, action) {
            return reply;
        }
    }
    let scheme = if image.starts_with("https:") { "HTTPS" } else { "HTTP" };
    let protocol = body.get("TransferProtocolType").and_then(Value::as_str).unwrap_or(scheme);
    if protocol != scheme {
        return not_in_list(protocol, "TransferProtocolType");
    }
    if let Some(method) = body.get("TransferMethod").and_then(Value::as_str).filter(|m| *m != "Stream") {
        return not_in_list(method, "TransferMethod");
    }
    for name in ["Inserted", "WriteProtected"] {
        if body.get(name).is_some_and(|value| *value != Value::Bool(true)) {
            return not_in_list("false", name);
        }
    }
    let verify = {
        let board = machine.board();
        let slot = &board.slots[index];
        if slot.image.is_some() {
            let said = "The drive already holds a medium; eject it first.";
            return Reply::error(409, Message::new("ResourceInUse", said).about("Image"));
        }
        slot.verify_certificate
    };
    if !quirks.blind_insert
        && let Err(error) = machine.fetch().probe(image, verify).await
    {
        return unusable(image, &error);
    }
    machine.change(|board| {
        board.slots[index].protocol = Some(protocol.to_owned());
        board.slots[index].user = body.get("UserName").and_then(Value::as_str).map(str::to_owned);
    });
    let order = Order::Insert { slot: index, image: image.to_owned() };
    carry_out(machine, asked, order, "InsertMedia", machine.config().timing.insert_ms > 0).await
}

fn unusable(image: &str, error: &MediaError) -> Reply {
    let id = match error {
        MediaError::NotHttp(_) => "ActionParameterValueFormatError",
        MediaError::Unreachable { .. } | MediaError::Status { .. } => "CouldNotEstablishConnection",
        MediaError::NoRanges { .. } => "ResourceAtUriInUnknownFormat",
    };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Reply::error(400, Message::new(id, text).args(&[image]).about("Image"))
}

async fn eject(machine: &Machine, asked: &Asked, index: usize) -> Reply {
    match parameters(machine, asked) {
        Ok(_) => eject_from(machine, asked, index).await,
        Err(reply) => reply,
    }
}

/// Ejects; an empty drive is no error.
pub(crate) async fn eject_from(machine: &Machine, asked: &Asked, index: usize) -> Reply {
    let slow = machine.config().timing.eject_ms > 0;
    carry_out(machine, asked, Order::Eject { slot: index }, "EjectMedia", slow).await
}
