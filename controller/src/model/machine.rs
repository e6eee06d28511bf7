//! A server and the BMC that drives it. The BMC's password is not in here: it stays sealed in the store and is
//! handed only to whoever connects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schema::recipe::HostNetwork;
use schema::task::Identity;
use serde::{Deserialize, Serialize};

use super::id::MachineId;
use super::timing::Overrides;
use super::transport::TransportSetting;

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Internal identity; stays when the serial is corrected.
    pub id: MachineId,
    /// DMI system serial, trimmed. Compared without case; unique.
    pub serial: String,
    /// SMBIOS system UUID, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// MAC addresses of its NICs, when known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
    /// How its BMC is reached.
    pub bmc: Bmc,
    /// Network of the maintenance OS on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<HostNetwork>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Deadlines of this machine, by phase, in seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines: Overrides,
    /// Base URL of media as this machine's BMC reaches it, when not the site's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// Base URL of the API as this machine's host reaches it, when not the site's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// How the maintenance OS gets onto it.
    #[serde(default, skip_serializing_if = "TransportSetting::is_auto")]
    pub transport: TransportSetting,
    /// Whether it may be written to.
    pub lifecycle: Lifecycle,
    /// When it was added.
    pub created_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; guards against lost updates.
    pub version: u64,
}

impl Machine {
    /// What a task medium expects of the host it boots.
    pub fn identity(&self) -> Identity {
        Identity { serial: self.serial.clone(), uuid: self.uuid.clone(), macs: self.macs.clone() }
    }
}

/// A serial as it is compared: trimmed, without case.
pub fn serial_key(serial: &str) -> String {
    serial.trim().to_lowercase()
}

/// How a BMC is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmc {
    /// `https://10.0.0.20` or `https://10.0.0.20:8443`; no path.
    pub url: String,
    /// User name.
    pub user: String,
    /// How its certificate is judged.
    #[serde(default)]
    pub tls: BmcTls,
    /// `http://` was accepted on purpose.
    #[serde(default)]
    pub plain_http: bool,
    /// Id of the system where the BMC shows more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// How a BMC's certificate is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BmcTls {
    /// By the system's authorities.
    #[default]
    Verify,
    /// It must be exactly the one with this SHA-256 (64 lower-case hex digits of the DER certificate).
    Pinned(String),
}

/// Whether a machine may be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Lifecycle {
    /// Any job may have it.
    #[default]
    Free,
    /// A job installed it: destructive jobs need `reinstall`.
    InService {
        /// Since when.
        since: Timestamp,
    },
    /// A job left its disk half-written, or its BMC unseen: no job may have it until someone releases it.
    Quarantined {
        /// Since when.
        since: Timestamp,
        /// Why, for the one who releases it.
        reason: String,
    },
}

impl Lifecycle {
    /// As written in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::InService { .. } => "in_service",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}
