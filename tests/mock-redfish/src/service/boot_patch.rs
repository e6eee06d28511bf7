//! PATCH of `Boot`: what is taken, and how vendors understand what is left out.

use serde_json::{Map, Value};

use super::{
    patch::{unwritable, wrong_type},
    reply::Message,
};
use crate::{
    fault::Fault,
    machine::{BootOverride, Enabled, Machine, Target},
};

const ENABLED: &str = "BootSourceOverrideEnabled";
const TARGET: &str = "BootSourceOverrideTarget";
const MODE: &str = "BootSourceOverrideMode";

/// Applies what is wanted to `boot`, or says what is wrong with it.
pub(super) fn apply(
    machine: &Machine,
    wanted: &Map<String, Value>,
    current: &Value,
    boot: &mut BootOverride,
    faults: &mut Vec<Message>,
) {
    let rules = &machine.model().boots;
    let mut set = boot.clone();
    for (name, value) in wanted {
        let pointer = format!("Boot/{name}");
        let Some(text) = value.as_str() else {
            if name == "HttpBootUri" && value.is_null() {
                set.http_boot_uri.clear();
            } else {
                faults.push(wrong_type(&pointer, value));
            }
            continue;
        };
        let parsed = match name.as_str() {
            ENABLED => enum_of::<Enabled>(value)
                .filter(|enabled| rules.enabled.contains(enabled) || *enabled == Enabled::Disabled)
                .map(|enabled| set.enabled = enabled),
            TARGET => enum_of::<Target>(value)
                .filter(|target| rules.targets.contains(target))
                .map(|target| set.target = target),
            MODE if !rules.modes.is_empty() => {
                rules.modes.iter().any(|mode| mode == text).then(|| text.clone_into(&mut set.mode))
            }
            "HttpBootUri" => {
                text.clone_into(&mut set.http_boot_uri);
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
    let has = |name: &str| wanted.contains_key(name);
    let modes = !rules.modes.is_empty();
    let quirks = &machine.config().quirks;
    if quirks.full_boot && !(has(ENABLED) && has(TARGET) && (has(MODE) || !modes)) {
        return; // Accepted, and nothing of it done.
    }
    if quirks.enabled_wanted && has(TARGET) && !has(ENABLED) {
        set.enabled = Enabled::Disabled;
    }
    if quirks.mode_flips && has(TARGET) && !has(MODE) {
        set.mode = "Legacy".into();
    }
    if rules.lasting {
        set.enabled = Enabled::Continuous;
    }
    *boot = set;
}

/// What injected faults do to an override that was just set.
pub(super) fn misbehave(machine: &Machine) {
    let mut board = machine.board();
    if !board.is_armed() {
        return;
    }
    let mut faults = machine.faults();
    let reverts = faults.take(|fault| match fault {
        Fault::OnceReverts { reads } => Some(*reads),
        _ => None,
    });
    board.reverts_in = reverts.or(board.reverts_in);
    if !machine.model().boots.modes.is_empty() && faults.takes(&Fault::ModeFlips) {
        board.flip_mode();
    }
}

fn enum_of<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}
