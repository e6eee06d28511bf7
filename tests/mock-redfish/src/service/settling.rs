//! What some BMCs refuse for a while after power has changed.

use std::time::{Duration, Instant};

use super::reply::{Message, Reply};
use crate::machine::{Machine, Power, ResetType};

/// Whether power changed so lately that the BMC still minds.
fn settles(machine: &Machine) -> Option<Power> {
    let board = machine.board();
    let lately = Duration::from_millis(machine.config().timing.settle_ms);
    let moved = board.moved.filter(|moved| Instant::now().saturating_duration_since(*moved) < lately);
    moved.map(|_| board.power)
}

/// The refusal to change boot settings while firmware runs its self-test (HPE).
pub(super) fn in_post(machine: &Machine) -> Option<Reply> {
    let busy = machine.config().quirks.busy_in_post && settles(machine) == Some(Power::On);
    let text = "The property cannot be modified during system POST.";
    busy.then(|| Reply::error(400, Message::new("UnableToModifyDuringSystemPOST", text)))
}

/// The refusal of a Reset right after the last one.
pub(super) fn too_early(machine: &Machine, kind: ResetType) -> Option<Reply> {
    let quirks = &machine.config().quirks;
    let power = settles(machine)?;
    if quirks.busy_in_post {
        let text = "The operation was not successful due to the current power state (for example, attempting to turn the power off when it is already off).";
        return Some(Reply::error(400, Message::new("InvalidOperationForSystemState", text)));
    }
    if quirks.on_conflicts && kind == ResetType::On && power == Power::Off {
        let text = "The parameter ResetType with the requested value of On does not meet the constraints of the implementation.";
        let message = Message::new("ActionParameterValueConflict", text).args(&["ResetType", "On"]);
        return Some(Reply::error(409, message.about("ResetType")));
    }
    None
}
