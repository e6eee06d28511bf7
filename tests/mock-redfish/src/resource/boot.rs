//! The boot override: on the system, or in a settings object beside it that the next start applies.

use serde_json::{Value, json};

use super::link;
use crate::{
    config::Quirks,
    machine::{BootOverride, Enabled, Machine},
};

const SETTINGS: &str = "/redfish/v1/Systems/1/Settings";

/// Puts `Boot` and what belongs to it into the system.
pub(super) fn add_to_system(body: &mut Value, boot: &BootOverride, quirks: &Quirks) {
    body["Boot"] = shown(boot, quirks, !quirks.boot_settings);
    if quirks.boot_settings {
        body["@Redfish.Settings"] = json!({
            "@odata.type": "#Settings.v1_3_5.Settings",
            "SettingsObject": link(SETTINGS),
            "SupportedApplyTimes": ["OnReset"],
        });
    }
}

/// The settings object, of BMCs that have one: what the next start will apply, or what is.
pub(super) fn settings(machine: &Machine) -> Option<Value> {
    let quirks = &machine.config().quirks;
    let board = machine.board();
    quirks.boot_settings.then(|| {
        json!({
            "@odata.type": "#ComputerSystem.v1_20_1.ComputerSystem",
            "@odata.id": SETTINGS,
            "Id": "Settings",
            "Name": "Settings of the next start",
            "Boot": shown(board.next_boot(), quirks, true),
        })
    })
}

/// `Boot`, with or without what its properties may be set to.
fn shown(boot: &BootOverride, quirks: &Quirks, with_values: bool) -> Value {
    let uri = &boot.http_boot_uri;
    let mut body = json!({
        "BootSourceOverrideEnabled": boot.enabled,
        "BootSourceOverrideTarget": boot.target,
        "HttpBootUri": if uri.is_empty() { Value::Null } else { json!(uri) },
    });
    if !quirks.no_override_mode {
        body["BootSourceOverrideMode"] = json!(boot.mode);
    }
    if with_values {
        let cd = if quirks.usb_cd_target { "UsbCd" } else { "Cd" };
        body["BootSourceOverrideEnabled@Redfish.AllowableValues"] =
            json!([Enabled::Disabled, Enabled::Once, Enabled::Continuous]);
        body["BootSourceOverrideTarget@Redfish.AllowableValues"] =
            json!(["None", "Pxe", cd, "Usb", "Hdd", "UefiHttp"]);
        if !quirks.no_override_mode {
            body["BootSourceOverrideMode@Redfish.AllowableValues"] = json!(["UEFI"]);
        }
    }
    body
}
