//! Opening and closing sessions, and the monitors of tasks.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    Asked, login,
    reply::{Message, Reply},
    unsupported,
};
use crate::{machine::Machine, resource};

/// POST to the session collection.
pub(crate) fn create(machine: &Machine, asked: &Asked) -> Reply {
    if machine.config().quirks.no_sessions {
        return Reply::not_found(&asked.path);
    }
    let body = match asked.object() {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(user), Some(password)) = (text("UserName"), text("Password")) else {
        let missing = if text("UserName").is_none() { "UserName" } else { "Password" };
        let said =
            format!("The property {missing} is a required property and must be included in the request.");
        return Reply::error(400, Message::new("PropertyMissing", said).args(&[missing]).about(missing));
    };
    if !login::knows(machine, user, password) {
        let text = "While accessing the resource the service received an authorization error.";
        return login::unauthorized(Message::new("ResourceAtUriUnauthorized", text));
    }
    let mut secret = [0; 24];
    if getrandom::fill(&mut secret).is_err() {
        return Reply::error(500, Message::new("InternalError", "There is no randomness."));
    }
    let token = hex::encode(secret);
    let opened = machine.sessions().open(user, token.clone(), Instant::now());
    let Ok(id) = opened else {
        let text = "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the implementation.";
        return Reply::error(503, Message::new("SessionLimitExceeded", text)).with("Retry-After", "5");
    };
    let path = format!("/redfish/v1/SessionService/Sessions/{id}");
    let mut reply = Reply::json(resource::accounts::session(id, user));
    reply.status = 201;
    reply.with("X-Auth-Token", token).with("Location", path)
}

/// DELETE: only sessions can be deleted.
pub(crate) fn delete(machine: &Machine, asked: &Asked, segments: &[&str]) -> Reply {
    let ["SessionService", "Sessions", id] = segments else { return unsupported(machine, asked, segments) };
    match id.parse().map(|id| machine.sessions().close(id)) {
        Ok(true) => Reply::empty(),
        _ => Reply::not_found(&asked.path),
    }
}

/// GET of a task monitor: 202 while it runs, then the answer of the operation itself.
pub(crate) fn monitor(machine: &Machine, path: &str, id: &str) -> Reply {
    let board = machine.board();
    let task = id.parse().ok().and_then(|id: u64| board.tasks.iter().find(|task| task.id == id));
    let Some(task) = task else { return Reply::not_found(path) };
    match (task.ended, &task.fault) {
        (None, _) => {
            let mut reply = Reply::json(resource::tasks::task(task));
            reply.status = 202;
            reply.with("Location", path).with("Retry-After", "1")
        }
        (Some(_), None) => Reply::empty(),
        (Some(_), Some(fault)) => Reply::error(500, Message::new("InternalError", fault.clone())),
    }
}

/// 202 for a task that has just been opened.
pub(crate) fn accepted(machine: &Machine, id: u64) -> Reply {
    let board = machine.board();
    let body = board.tasks.iter().find(|task| task.id == id).map_or(json!({}), resource::tasks::task);
    let mut reply = Reply::json(body);
    reply.status = 202;
    reply.with("Location", resource::tasks::monitor_path(id)).with("Retry-After", "1")
}
