//! What a job changes about its steps: another tool image, another deadline. Pure: says which drop-ins to write and
//! what they hold; systemd and quadlet read them on the reload before the target starts.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schema::recipe::Recipe;
use schema::task::TaskJob;

use crate::controller::Token;

/// A file to write before systemd reloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where.
    pub path: PathBuf,
    /// What. Holds a secret only in [`AUTH_FILE`].
    pub text: String,
    /// Whether only root may read it.
    pub secret: bool,
}

/// Credentials for pulls, as podman reads them.
pub const AUTH_FILE: &str = "/run/provision/auth.json";
/// Where quadlet looks for this boot's drop-ins.
const QUADLET_DIR: &str = "/run/containers/systemd";
/// Where systemd does.
const UNIT_DIR: &str = "/run/systemd/system";
/// Where podman looks for a registry's authority (containers-certs.d(5)).
const CERTS_DIR: &str = "/etc/containers/certs.d";
/// User name beside the token; the registry looks at the token alone.
const USER: &str = "slipway";

/// The drop-ins of a job whose target has these steps (unit names).
pub fn drop_ins(recipe: &Recipe, job: &TaskJob, steps: &[String], token: &Token) -> Vec<DropIn> {
    let mut files = Vec::new();
    let mut registries = Vec::new();
    for unit in steps {
        let step = unit.trim_end_matches(".service");
        if let Some(seconds) = job.step_seconds.get(step) {
            files.push(DropIn {
                path: PathBuf::from(format!("{UNIT_DIR}/{unit}.d/50-job.conf")),
                text: format!("# Deadline of this job.\n[Service]\nTimeoutStartSec={seconds}\n"),
                secret: false,
            });
        }
        if let Some(image) = recipe.tools.get(step).filter(|image| is_reference(image)) {
            registries.extend(image.split_once('/').map(|(host, _)| host.to_owned()));
            files.push(DropIn {
                path: PathBuf::from(format!("{QUADLET_DIR}/{step}.container.d/50-job.conf")),
                text: format!(
                    "# Tool image of this job, instead of the one in the maintenance OS.\n\
                     [Container]\nImage={image}\nPull=missing\nPodmanArgs=--authfile={AUTH_FILE}\n"
                ),
                secret: false,
            });
        }
    }
    registries.sort();
    registries.dedup();
    files.extend(credentials(&registries, token));
    if let Some(authority) = &job.site_ca {
        files.extend(registries.iter().map(|registry| DropIn {
            path: PathBuf::from(format!("{CERTS_DIR}/{registry}/ca.crt")),
            text: authority.clone(),
            secret: false,
        }));
    }
    files
}

fn credentials(registries: &[String], token: &Token) -> Option<DropIn> {
    if registries.is_empty() {
        return None;
    }
    let login = BASE64_STANDARD.encode(format!("{USER}:{}", token.reveal()));
    let logins: serde_json::Map<String, serde_json::Value> =
        registries.iter().map(|host| (host.clone(), serde_json::json!({ "auth": login }))).collect();
    Some(DropIn {
        path: PathBuf::from(AUTH_FILE),
        text: serde_json::json!({ "auths": logins }).to_string(),
        secret: true,
    })
}

/// A reference goes into a unit file: nothing that could end the line or start a specifier.
fn is_reference(image: &str) -> bool {
    image.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@-[]".contains(c)) && image.contains("@sha256:")
}
