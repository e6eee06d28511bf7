//! Sessions, the account, the roles.

use std::time::Instant;

use serde_json::{Value, json};

use super::{collection, healthy, link};
use crate::machine::Machine;

const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
const ACCOUNTS: &str = "/redfish/v1/AccountService/Accounts";
const ROLES: &str = "/redfish/v1/AccountService/Roles";
/// Roles of the standard with their privileges.
const PRIVILEGES: &[(&str, &[&str])] = &[
    (
        "Administrator",
        &["Login", "ConfigureManager", "ConfigureUsers", "ConfigureComponents", "ConfigureSelf"],
    ),
    ("Operator", &["Login", "ConfigureComponents", "ConfigureSelf"]),
    ("ReadOnly", &["Login", "ConfigureSelf"]),
];

pub(super) fn get(machine: &Machine, segments: &[&str]) -> Option<Value> {
    let config = machine.config();
    if segments[0] == "SessionService" && config.quirks.no_sessions {
        return None;
    }
    match segments[1..] {
        [] if segments[0] == "SessionService" => Some(json!({
            "@odata.type": "#SessionService.v1_1_8.SessionService",
            "@odata.id": "/redfish/v1/SessionService",
            "Id": "SessionService",
            "Name": "Session Service",
            "Status": healthy(),
            "ServiceEnabled": true,
            "SessionTimeout": config.session_seconds.clamp(30, 86_400),
            "Sessions": link(SESSIONS),
        })),
        ["Sessions"] => {
            let ids: Vec<String> = machine
                .sessions()
                .list(Instant::now())
                .iter()
                .map(|session| session.id.to_string())
                .collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Some(collection(SESSIONS, "SessionCollection", "Session Collection", &ids))
        }
        ["Sessions", id] => {
            let id: u64 = id.parse().ok()?;
            let mut sessions = machine.sessions();
            let found = sessions.list(Instant::now()).iter().find(|session| session.id == id)?;
            Some(session(id, &found.user))
        }
        [] => Some(json!({
            "@odata.type": "#AccountService.v1_13_0.AccountService",
            "@odata.id": "/redfish/v1/AccountService",
            "Id": "AccountService",
            "Name": "Account Service",
            "Status": healthy(),
            "ServiceEnabled": true,
            "MinPasswordLength": 1,
            "MaxPasswordLength": 64,
            "Accounts": link(ACCOUNTS),
            "Roles": link(ROLES),
        })),
        ["Accounts"] => Some(collection(ACCOUNTS, "ManagerAccountCollection", "Accounts Collection", &["1"])),
        ["Accounts", "1"] => Some(json!({
            "@odata.type": "#ManagerAccount.v1_10_0.ManagerAccount",
            "@odata.id": format!("{ACCOUNTS}/1"),
            "Id": "1",
            "Name": "User Account",
            "Enabled": true,
            "Locked": false,
            "UserName": config.user,
            "Password": null,
            "PasswordChangeRequired": false,
            "RoleId": "Administrator",
            "AccountTypes": ["Redfish"],
            "Links": {"Role": link(&format!("{ROLES}/Administrator"))},
        })),
        ["Roles"] => {
            let ids: Vec<&str> = PRIVILEGES.iter().map(|(id, _)| *id).collect();
            Some(collection(ROLES, "RoleCollection", "Roles Collection", &ids))
        }
        ["Roles", id] => {
            let (id, privileges) = PRIVILEGES.iter().find(|(known, _)| *known == id)?;
            Some(json!({
                "@odata.type": "#Role.v1_3_1.Role",
                "@odata.id": format!("{ROLES}/{id}"),
                "Id": id,
                "RoleId": id,
                "Name": format!("{id} Role"),
                "IsPredefined": true,
                "AssignedPrivileges": privileges,
            }))
        }
        _ => None,
    }
}

/// A session resource; the token is never in it.
pub(crate) fn session(id: u64, user: &str) -> Value {
    json!({
        "@odata.type": "#Session.v1_6_0.Session",
        "@odata.id": format!("{SESSIONS}/{id}"),
        "Id": id.to_string(),
        "Name": "User Session",
        "UserName": user,
        "Password": null,
        "SessionType": "Redfish",
    })
}
