//! `/mock/…`: what a test or a person may see and do that no BMC offers. No login; for loopback only.
//!
//! ```text
//!   GET    /mock/state                GET    /mock/console   (text)
//!   GET    /mock/requests             DELETE /mock/requests
//!   GET    /mock/faults               POST   /mock/faults     (Injection)
//!   DELETE /mock/faults               DELETE /mock/faults/{id}
//!   POST   /mock/power/pull           POST   /mock/power/on
//!   POST   /mock/nvram/wipe           DELETE /mock/sessions
//! ```

use hyper::Method;
use serde_json::{Value, json};

use super::{Asked, reply::Reply};
use crate::{
    fault::Injection,
    machine::{Machine, MachineError},
};

/// Answers a control request.
pub(crate) async fn answer(machine: &Machine, asked: &Asked) -> Reply {
    let path = asked.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    match (&asked.method, segments.as_slice()) {
        (&Method::GET, ["state"]) => Reply::json(state(machine)),
        (&Method::GET, ["console"]) => Reply::text(200, "text/plain;charset=utf-8", machine.console()),
        (&Method::GET, ["requests"]) => Reply::json(json!(machine.requests())),
        (&Method::DELETE, ["requests"]) => {
            machine.clear_requests();
            Reply::empty()
        }
        (&Method::GET, ["faults"]) => Reply::json(armed(machine)),
        (&Method::POST, ["faults"]) => match serde_json::from_slice::<Injection>(&asked.body) {
            Ok(injection) => {
                let mut reply = Reply::json(json!({"id": machine.inject(injection)}));
                reply.status = 201;
                reply
            }
            Err(error) => Reply::text(400, "text/plain", format!("not a fault: {error}")),
        },
        (&Method::DELETE, ["faults"]) => {
            machine.clear_faults();
            Reply::empty()
        }
        (&Method::DELETE, ["faults", id]) => match id.parse().map(|id| machine.remove_fault(id)) {
            Ok(true) => Reply::empty(),
            _ => Reply::text(404, "text/plain", format!("no fault {id} is armed")),
        },
        (&Method::POST, ["power", "pull"]) => done(machine.pull_power().await),
        (&Method::POST, ["power", "on"]) => done(machine.power_on().await),
        (&Method::POST, ["nvram", "wipe"]) => done(machine.wipe_nvram().await),
        (&Method::DELETE, ["sessions"]) => {
            machine.forget_sessions();
            Reply::empty()
        }
        _ => Reply::text(404, "text/plain", format!("there is no {} {}", asked.method, asked.path)),
    }
}

fn done(result: Result<(), MachineError>) -> Reply {
    match result {
        Ok(()) => Reply::empty(),
        Err(error) => Reply::text(409, "text/plain", error.to_string()),
    }
}

fn armed(machine: &Machine) -> Value {
    let faults = machine.armed_faults();
    faults.into_iter().map(|(id, injection)| json!({"id": id, "injection": injection})).collect()
}

fn state(machine: &Machine) -> Value {
    let config = machine.config();
    let (sessions, streams) = (machine.open_sessions(), machine.open_streams());
    let (restarts, shown) = (machine.condition().restarts(), machine.shown_faults());
    let board = machine.board();
    json!({
        "machine": config.name,
        "vendor": config.vendor,
        "serial": config.serial,
        "uuid": config.uuid,
        "macs": config.macs,
        "power": board.power,
        "boot_override": board.boot,
        "pending_boot_override": board.pending_boot,
        "slots": board.slots,
        "boots": board.boots,
        "last_source": board.last_source,
        "attributes": board.attributes,
        "bmc_restarts": restarts,
        "shown_faults": shown,
        "broken": board.broken,
        "open_sessions": sessions,
        "open_streams": streams,
    })
}
