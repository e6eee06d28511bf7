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

/// A job whose tool images could not be pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// podman takes a proxy from its environment, where no password may be.
    #[error(
        "tools.{step} names an image to pull, and host_network.proxy holds a password, which podman would need in its \
         environment: give the host a proxy without a password, or leave out tools"
    )]
    ProxyPassword {
        /// The step.
        step: String,
    },
    /// A reference that is none.
    #[error(
        "tools.{step} names {reference:?}, which is no repository with a digest in the embedded registry"
    )]
    Reference {
        /// The step.
        step: String,
        /// As it stands in the recipe.
        reference: String,
    },
}

/// Whether the drop-ins of this job can be made. Asked before the controller is asked for leave.
pub fn check(recipe: &Recipe, job: &TaskJob) -> Result<(), OverrideError> {
    for (step, reference) in &recipe.tools {
        if image(reference, job).is_none() {
            return Err(OverrideError::Reference { step: step.clone(), reference: reference.clone() });
        }
        if job.proxy_for(registry(job)).is_some_and(|proxy| plain_proxy(proxy).is_none()) {
            return Err(OverrideError::ProxyPassword { step: step.clone() });
        }
    }
    Ok(())
}

/// The drop-ins of a job whose target has these steps (unit names).
pub fn drop_ins(recipe: &Recipe, job: &TaskJob, steps: &[String], token: &Token) -> Vec<DropIn> {
    let mut files = Vec::new();
    let mut pulls = false;
    for unit in steps {
        let step = unit.trim_end_matches(".service");
        if let Some(seconds) = job.step_seconds.get(step) {
            files.push(DropIn {
                path: PathBuf::from(format!("{UNIT_DIR}/{unit}.d/50-job.conf")),
                text: format!("# Deadline of this job.\n[Service]\nTimeoutStartSec={seconds}\n"),
                secret: false,
            });
        }
        if let Some(image) = recipe.tools.get(step).and_then(|reference| image(reference, job)) {
            pulls = true;
            let proxy = job.proxy_for(registry(job)).and_then(plain_proxy);
            // For podman's pull alone: the tools find the proxy in job.json.
            let proxy = proxy.map_or_else(String::new, |proxy| {
                format!("PodmanArgs=--http-proxy=false\n\n[Service]\nEnvironment=HTTPS_PROXY={proxy}\n")
            });
            files.push(DropIn {
                path: PathBuf::from(format!("{QUADLET_DIR}/{step}.container.d/50-job.conf")),
                text: format!(
                    "# Tool image of this job, instead of the one in the maintenance OS.\n\
                     [Container]\nImage={image}\nPull=missing\nPodmanArgs=--authfile={AUTH_FILE}\n{proxy}"
                ),
                secret: false,
            });
        }
    }
    if pulls {
        let host = authority_of(registry(job));
        files.push(credentials(host, token));
        files.extend(job.site_ca.as_ref().map(|authority| DropIn {
            path: PathBuf::from(format!("{CERTS_DIR}/{host}/ca.crt")),
            text: authority.clone(),
            secret: false,
        }));
    }
    files
}

/// The embedded registry, the only one that tool images come from and that sees the token.
fn registry(job: &TaskJob) -> &str {
    job.image.as_ref().map_or(&job.api_url, |image| &image.registry)
}

/// `host:port` of a URL.
fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// The reference as podman needs it: in the embedded registry, as this host reaches it, by digest alone.
fn image(reference: &str, job: &TaskJob) -> Option<String> {
    let reference: schema::reference::Reference = reference.parse().ok()?;
    let image =
        format!("{}/{}@{}", authority_of(registry(job)), reference.repository, reference.digest?.as_str());
    // It goes into a unit file: nothing that could end the line or start a specifier.
    image.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@-[]".contains(c)).then_some(image)
}

/// The proxy, if a unit file may hold it: no user name, no password, nothing that systemd reads as more than text.
fn plain_proxy(proxy: &str) -> Option<&str> {
    proxy.chars().all(|c| c.is_ascii_alphanumeric() || "_./:-[]".contains(c)).then_some(proxy)
}

fn credentials(host: &str, token: &Token) -> DropIn {
    let login = BASE64_STANDARD.encode(format!("{USER}:{}", token.reveal()));
    DropIn {
        path: PathBuf::from(AUTH_FILE),
        text: serde_json::json!({ "auths": { host: { "auth": login } } }).to_string(),
        secret: true,
    }
}

#[cfg(test)]
mod tests {
    use schema::recipe::Recipe;
    use schema::task::TaskJob;

    use super::{OverrideError, check, drop_ins};
    use crate::controller::Token;

    fn job(proxy: Option<&str>) -> TaskJob {
        serde_json::from_value(serde_json::json!({
            "version": 1, "job_id": "j", "attempt": 1, "expected": {"serial": "S"}, "api_url": "https://10.0.0.5:8443",
            "bootstrap_token": "t", "issued_at": "2026-11-21T08:45:00Z", "heartbeat_seconds": 15, "proxy": proxy
        }))
        .unwrap()
    }

    fn recipe(image: &str) -> Recipe {
        let image = format!("{image}@sha256:{}", "0".repeat(64));
        serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target", "tools": {"partition": image}
        }))
        .unwrap()
    }

    fn partition(recipe: &Recipe, job: &TaskJob) -> String {
        let token = Token::new("session").unwrap();
        drop_ins(recipe, job, &["partition.service".to_owned()], &token)[0].text.clone()
    }

    #[test]
    fn a_tool_image_is_pulled_from_the_jobs_own_registry_however_the_recipe_spells_it() {
        for spelled in ["tools/site", "tools/site:v1", "slipway.example:8443/tools/site:v1"] {
            let text = partition(&recipe(spelled), &job(None));
            let image = format!("Image=10.0.0.5:8443/tools/site@sha256:{}", "0".repeat(64));
            assert!(text.lines().any(|line| line == image), "{spelled}: {text}");
            assert!(!text.contains("PROXY"), "{text}");
        }
    }

    #[test]
    fn podman_pulls_through_the_proxy_and_does_not_pass_it_on() {
        let text = partition(&recipe("tools/site"), &job(Some("http://proxy:3128")));
        assert!(text.ends_with(
            "PodmanArgs=--http-proxy=false\n\n[Service]\nEnvironment=HTTPS_PROXY=http://proxy:3128\n"
        ));
    }

    #[test]
    fn a_proxys_password_is_never_put_into_a_unit_or_an_environment() {
        let job = job(Some("http://user:hunter2@proxy:3128"));
        let error = check(&recipe("tools/site"), &job).unwrap_err();
        assert_eq!(error, OverrideError::ProxyPassword { step: "partition".to_owned() });
        assert!(!error.to_string().contains("hunter2"));
        assert!(!partition(&recipe("tools/site"), &job).contains("hunter2"));
        let without_tools = serde_json::from_str(r#"{"task_target":"install-linux.target"}"#).unwrap();
        assert_eq!(check(&without_tools, &job), Ok(()));
    }
}
