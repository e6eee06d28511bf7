//! The boot override: on the system, or in a settings object beside it that the next start applies.

use serde_json::{Value, json};

use super::link;
use crate::{
    machine::{BootOverride, Machine},
    vendor::{Boots, SettingsRule},
};

/// Puts `Boot` and what belongs to it into the system.
pub(super) fn add_to_system(machine: &Machine, body: &mut Value, boot: &BootOverride) {
    let model = machine.model();
    let elsewhere = model.boots.settings == SettingsRule::Override;
    body["Boot"] = shown(boot, &model.boots, !elsewhere);
    if model.boots.settings != SettingsRule::None {
        body["@Redfish.Settings"] = json!({
            "@odata.type": "#Settings.v1_3_5.Settings",
            "SettingsObject": link(&model.layout.settings_path()),
            "SupportedApplyTimes": ["OnReset"],
        });
    }
}

/// The settings object, of BMCs that have one: what the next start will apply, or what is.
pub(super) fn settings(machine: &Machine) -> Option<Value> {
    let model = machine.model();
    let boot = match model.boots.settings {
        SettingsRule::None => return None,
        SettingsRule::OrderOnly => json!({"BootOrder": []}),
        SettingsRule::Override => shown(machine.board().next_boot(), &model.boots, true),
    };
    Some(json!({
        "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem",
        "@odata.id": model.layout.settings_path(),
        "Id": model.layout.settings,
        "Name": "Settings of the next start",
        "Boot": boot,
    }))
}

/// `Boot`, with or without what its properties may be set to.
fn shown(boot: &BootOverride, rules: &Boots, with_values: bool) -> Value {
    let uri = &boot.http_boot_uri;
    let mut body = json!({
        "BootSourceOverrideEnabled": boot.enabled,
        "BootSourceOverrideTarget": boot.target,
        "HttpBootUri": if uri.is_empty() { Value::Null } else { json!(uri) },
    });
    let modes = !rules.modes.is_empty();
    if modes {
        body["BootSourceOverrideMode"] = json!(boot.mode);
    }
    if with_values && !rules.unlisted {
        body["BootSourceOverrideEnabled@Redfish.AllowableValues"] = json!(rules.enabled);
        body["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(rules.targets);
        if modes {
            body["BootSourceOverrideMode@Redfish.AllowableValues"] = json!(rules.modes);
        }
    }
    body
}
