//! What a rack is made of, as written in TOML or built in a test. Plain data; nothing here starts anything.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backend::qemu::QemuConfig;

/// A rack: where it listens and which machines it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RackConfig {
    /// Address every BMC listens on; loopback by default.
    pub bind: IpAddr,
    /// Serve HTTPS with a self-signed certificate made at start.
    pub tls: bool,
    /// Serve the unauthenticated `/mock/…` control API on every BMC.
    pub control: bool,
    /// Folder for machine files (disks, firmware variables, consoles); each machine gets a folder inside it.
    pub folder: PathBuf,
    /// The machines, each with a BMC of its own.
    pub machines: Vec<MachineConfig>,
}

impl Default for RackConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            tls: false,
            control: true,
            folder: PathBuf::from("mock-rack"),
            machines: Vec::new(),
        }
    }
}

impl RackConfig {
    /// `count` instant machines named `sim-0`, `sim-1`, … on free ports.
    pub fn sim(count: usize) -> Self {
        Self {
            machines: (0..count).map(|index| MachineConfig::sim(&format!("sim-{index}"))).collect(),
            ..Self::default()
        }
    }
}

/// One machine and its BMC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineConfig {
    /// Name in this rack; also the name of its folder.
    pub name: String,
    /// TCP port of the BMC; 0 takes a free one.
    pub port: u16,
    /// System serial number (Redfish and SMBIOS); empty: `MOCK-<NAME>`.
    pub serial: String,
    /// System UUID (Redfish and SMBIOS); absent: derived from the serial.
    pub uuid: Option<Uuid>,
    /// MAC addresses; empty: one derived from the serial, with QEMU's prefix 52:54:00.
    pub macs: Vec<String>,
    /// Manufacturer shown by system, chassis and manager.
    pub manufacturer: String,
    /// Model shown by system and chassis.
    pub model: String,
    /// The BMC's one account.
    pub user: String,
    /// Password of that account.
    pub password: String,
    /// Most sessions open at once.
    pub session_limit: usize,
    /// Seconds after which an idle session is gone.
    pub session_seconds: u64,
    /// How long things take.
    pub timing: Timing,
    /// How this BMC deviates from the book.
    pub quirks: Quirks,
    /// What is powered.
    pub backend: BackendConfig,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            name: "machine".into(),
            port: 0,
            serial: String::new(),
            uuid: None,
            macs: Vec::new(),
            manufacturer: "Slipway Mock Works".into(),
            model: "Mock 2000".into(),
            user: "admin".into(),
            password: "password".into(),
            session_limit: 16,
            session_seconds: 1800,
            timing: Timing::default(),
            quirks: Quirks::default(),
            backend: BackendConfig::Sim,
        }
    }
}

impl MachineConfig {
    /// An instant machine of that name.
    pub fn sim(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A QEMU machine of that name.
    pub fn qemu(name: &str, qemu: QemuConfig) -> Self {
        Self { name: name.into(), backend: BackendConfig::Qemu(Box::new(qemu)), ..Self::default() }
    }

    /// Fills what was left to be derived: serial, UUID, MAC address.
    #[must_use]
    pub fn completed(mut self) -> Self {
        if self.serial.is_empty() {
            self.serial = format!("MOCK-{}", self.name.to_uppercase());
        }
        let digest = <sha2::Sha256 as sha2::Digest>::digest(self.serial.as_bytes());
        if self.uuid.is_none() {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            self.uuid = Some(uuid::Builder::from_random_bytes(bytes).into_uuid());
        }
        if self.macs.is_empty() {
            self.macs = vec![format!("52:54:00:{:02x}:{:02x}:{:02x}", digest[16], digest[17], digest[18])];
        }
        self
    }
}

/// How long things take, in milliseconds. All zero by default: tests do not wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// From an accepted power-on until the power state is `On`.
    pub power_on_ms: u64,
    /// From an accepted power-off until the power state is `Off`.
    pub power_off_ms: u64,
    /// From an accepted insert until the slot says `Inserted`.
    pub insert_ms: u64,
    /// From an accepted eject until the slot is empty.
    pub eject_ms: u64,
    /// Answer Reset, `InsertMedia` and `EjectMedia` with 202 and a task instead of 204.
    pub tasks: bool,
}

impl Timing {
    /// What a quick real BMC needs.
    pub fn realistic() -> Self {
        Self { power_on_ms: 3000, power_off_ms: 2000, insert_ms: 1500, eject_ms: 1000, tasks: false }
    }
}

/// How a BMC deviates from the book. Every default is the book.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each a fact about some BMC
pub struct Quirks {
    /// Only the `Cd` slot exists.
    pub single_slot: bool,
    /// The slots hang under the system instead of the manager (iDRAC 6.00 and later).
    pub media_under_system: bool,
    /// No `InsertMedia` action; media are set by PATCH (Lenovo XCC).
    pub media_by_patch: bool,
    /// `InsertMedia` demands `TransferProtocolType` (xFusion, Nokia).
    pub needs_transfer_protocol: bool,
    /// `InsertMedia` refuses `Inserted` and `WriteProtected` (Supermicro X11/X12).
    pub refuses_inserted: bool,
    /// Actions with an empty body instead of `{}` are refused with 415 (HPE).
    pub needs_json_body: bool,
    /// PATCH without `If-Match` is refused with 428.
    pub needs_if_match: bool,
    /// ETags are weak and `If-Match` compares strongly, so they never match (some proxies of BMCs).
    pub weak_etags: bool,
    /// No `SessionService`: Basic authentication only (sushy-tools).
    pub no_sessions: bool,
    /// `Cd` is missing from the boot targets and `UsbCd` is there (Supermicro).
    pub usb_cd_target: bool,
    /// No `BootSourceOverrideMode` (Supermicro X10, GB200).
    pub no_override_mode: bool,
    /// The media URL is stored without trying to reach it.
    pub blind_insert: bool,
    /// `On` is missing from the reset types and `ForceOn` is there.
    pub force_on_only: bool,
    /// The boot override is changed in a settings object and applied at the next start; the system itself neither
    /// takes it nor lists what it may be (Nokia, iDRAC10).
    pub boot_settings: bool,
    /// `$expand` is understood, as by most newer BMCs. What is expanded is served by the request for what it is
    /// expanded in, so faults armed for its own path do not show there.
    pub expands: bool,
}

/// What a BMC powers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendConfig {
    /// Nothing real: a [`crate::Host`] plays the server, or nobody does.
    #[default]
    Sim,
    /// A QEMU machine with OVMF firmware.
    Qemu(Box<QemuConfig>),
}
