//! What travels on a task medium: the words of `job.json` and `manifest.json`, and the fixed names of files.
//!
//! ```text
//! task.iso (label SLIPWAY_TASK)
//! ├── recipe.json            the recipe, as accepted
//! ├── recipe.schema.json     the schema it was accepted by
//! ├── job.json               TaskJob
//! ├── host-network/*.network|*.netdev
//! ├── user-data, meta-data, network-config, unattend.xml, ks.cfg   (only what the job has)
//! ├── manifest.json          Manifest: sha256 of every file above
//! └── manifest.sig           Ed25519 signature (64 raw bytes) over manifest.json by the site key
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::recipe::ImageKind;

/// Volume label of the task medium.
pub const TASK_LABEL: &str = "SLIPWAY_TASK";
/// Volume label of the maintenance medium.
pub const MAINTENANCE_LABEL: &str = "SLIPWAY_MAINT";
/// Path on the maintenance medium of the file that the site's public keys are laid over.
pub const TRUST_FILE: &str = "slipway/trust";
/// Size of [`TRUST_FILE`] in bytes.
pub const TRUST_SIZE: u64 = 4096;
/// Path on the maintenance medium of the file that a composed task medium is laid over.
pub const COMPOSED_TASK_FILE: &str = "slipway/task.img";
/// Size of [`COMPOSED_TASK_FILE`] in bytes, and with it the largest composed task medium.
pub const COMPOSED_TASK_SIZE: u64 = 12 << 20;
/// Largest task medium in bytes.
pub const TASK_MEDIUM_MAX: u64 = 10 << 20;

/// Annotation of an image manifest that says what the image is: `rootfs`, `container` or `disk`.
pub const IMAGE_KIND_ANNOTATION: &str = "org.slipway.image.kind";
/// Annotation of an image manifest with its size once unpacked, in bytes; lets preflight refuse a small disk.
pub const UNPACKED_SIZE_ANNOTATION: &str = "io.slipway.image.unpacked-size";
/// `artifactType` of a root filesystem tar in the registry.
pub const ROOTFS_ARTIFACT: &str = "application/vnd.slipway.rootfs.v1";
/// `artifactType` of a raw disk image in the registry.
pub const DISK_ARTIFACT: &str = "application/vnd.slipway.disk.v1";

/// `job.json`: what the host must know to check and report, besides the recipe.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskJob {
    /// Version of this document, `1`.
    pub version: u32,
    /// The job.
    pub job_id: String,
    /// Attempt of that job, from 1.
    pub attempt: u32,
    /// The machine this medium is for.
    pub expected: Identity,
    /// Base URL of the controller's API, without a trailing slash, such as `https://10.0.0.5:8443`.
    pub api_url: String,
    /// Bootstrap token: buys one `started`, nothing else.
    pub bootstrap_token: String,
    /// PEM certificate of the site's authority; TLS to `api_url` is checked against it and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_ca: Option<String>,
    /// When the medium was made; the host's clock is moved forward to at least this.
    pub issued_at: Timestamp,
    /// The image to install, already resolved to a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<TaskImage>,
    /// Seconds between heartbeats.
    pub heartbeat_seconds: u32,
    /// Deadline of each step in seconds, by step name; a step that is absent keeps its unit's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub step_seconds: BTreeMap<String, u64>,
    /// HTTP proxy between the host and its controller, of the recipe's `host_network` or else of the machine's: see
    /// [`TaskJob::proxy_for`]. It may carry a user name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Permission to run without reaching the controller. No controller gives it, and a host refuses a medium that has
    /// it: docs/decisions/0009.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Offline>,
}

impl TaskJob {
    /// The proxy that a request to `url` takes: the job's, but never one for the host itself.
    pub fn proxy_for(&self, url: &str) -> Option<&str> {
        let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
        let host = authority.rsplit('@').next()?;
        let host = host.strip_prefix('[').map_or_else(
            || host.split(':').next().unwrap_or_default(),
            |rest| rest.split(']').next().unwrap_or_default(),
        );
        let is_local =
            host.parse().map_or(host == "localhost", |address: std::net::IpAddr| address.is_loopback());
        self.proxy.as_deref().filter(|_| !is_local)
    }
}

/// Who a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// DMI system serial; trimmed and compared without case.
    pub serial: String,
    /// SMBIOS system UUID when known; either byte order matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// MAC addresses when known; one match suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
}

/// An image resolved when the job was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskImage {
    /// Base URL of the registry, without `/v2` and trailing slash; usually equal to `api_url`.
    pub registry: String,
    /// Repository name inside that registry.
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// What the image is.
    pub kind: ImageKind,
}

/// Permission to run without a controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offline {
    /// Not after this time.
    pub expires_at: Timestamp,
}

/// `manifest.json`: SHA-256 (lower-case hex) of every other file but the signature, by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document, `1`.
    pub version: u32,
    /// Path on the medium, `/`-separated without a leading slash, to SHA-256.
    pub files: BTreeMap<String, String>,
}

/// The trust block laid over [`TRUST_FILE`]: JSON, padded with newlines to [`TRUST_SIZE`].
/// A medium signed by any of these keys is the site's own. An empty list trusts no task medium.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Version of this document, `1`.
    pub version: u32,
    /// Ed25519 public keys, 32 bytes in lower-case hex: current first, then previous.
    pub keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_host_itself_is_reached_through_the_proxy() {
        let job: TaskJob = serde_json::from_value(serde_json::json!({
            "version": 1, "job_id": "j", "attempt": 1, "expected": {"serial": "S"}, "api_url": "https://10.0.0.5:8443",
            "bootstrap_token": "t", "issued_at": "2026-11-21T08:45:00Z", "heartbeat_seconds": 15,
            "proxy": "http://proxy:3128"
        }))
        .unwrap();
        for (url, through) in [
            ("https://10.0.0.5:8443", true),
            ("https://controller.example/v2/", true),
            ("https://[2001:db8::5]:8443/x", true),
            ("https://127.0.0.1.example.com/", true),
            ("https://localhost@10.0.0.5/", true),
            ("http://127.0.0.1:5000", false),
            ("http://127.9.9.9", false),
            ("http://localhost:5000/v2", false),
            ("http://[::1]:5000", false),
            ("no url", false),
        ] {
            assert_eq!(job.proxy_for(url), Some("http://proxy:3128").filter(|_| through), "{url}");
        }
        assert_eq!(TaskJob { proxy: None, ..job }.proxy_for("https://10.0.0.5"), None);
    }
}
