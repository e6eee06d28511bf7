//! What a rack is made of, as written in TOML or built in a test. Plain data; nothing here starts anything.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    backend::qemu::QemuConfig,
    vendor::{Model, Vendor},
};

/// Manufacturer of a machine that says none.
const MAKER: &str = "Slipway Mock Works";
/// Model of a machine that says none.
const PRODUCT: &str = "Mock 2000";
/// Sessions at once of a BMC that says nothing.
const SESSION_LIMIT: usize = 16;
/// Seconds until idle sessions end, likewise.
const SESSION_SECONDS: u64 = 1800;

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
    /// Whose BMC it is. QEMU machines have the generic ones.
    pub vendor: Vendor,
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
    /// Serve events (`EventService`, SSE) where the vendor's model does not say.
    pub events: bool,
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
            vendor: Vendor::default(),
            port: 0,
            serial: String::new(),
            uuid: None,
            macs: Vec::new(),
            manufacturer: MAKER.into(),
            model: PRODUCT.into(),
            user: "admin".into(),
            password: "password".into(),
            session_limit: SESSION_LIMIT,
            session_seconds: SESSION_SECONDS,
            events: false,
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

    /// An instant machine of that name with the BMC of a vendor.
    pub fn vendor(vendor: Vendor, name: &str) -> Self {
        Self { vendor, ..Self::sim(name) }
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

    /// Takes from its vendor what the configuration leaves open. The quirks of both are joined.
    #[must_use]
    pub fn of_model(mut self, model: &Model) -> Self {
        let fill = |own: &mut String, default: &str, vendors: &Option<String>| {
            if let (true, Some(text)) = (own == default, vendors) {
                own.clone_from(text);
            }
        };
        fill(&mut self.manufacturer, MAKER, &model.manufacturer);
        fill(&mut self.model, PRODUCT, &model.product);
        if self.session_seconds == SESSION_SECONDS {
            self.session_seconds = model.session_seconds.unwrap_or(SESSION_SECONDS);
        }
        if self.session_limit == SESSION_LIMIT {
            self.session_limit = model.session_limit.unwrap_or(SESSION_LIMIT);
        }
        self.quirks = self.quirks.and(&model.quirks);
        self
    }
}

/// How long things take, in milliseconds. All but `settle_ms` are zero by default: tests do not wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How long passing refusals of a vendor last: "not during POST", "conflict" after power-off. A real one: a minute.
    pub settle_ms: u64,
    /// How long the BMC is away after `Manager.Reset`.
    pub restart_ms: u64,
    /// Answer Reset, `InsertMedia` and `EjectMedia` with 202 and a task instead of 204.
    pub tasks: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            power_on_ms: 0,
            power_off_ms: 0,
            insert_ms: 0,
            eject_ms: 0,
            settle_ms: 20,
            restart_ms: 0,
            tasks: false,
        }
    }
}

impl Timing {
    /// What a quick real BMC needs.
    pub fn realistic() -> Self {
        Self {
            power_on_ms: 3000,
            power_off_ms: 2000,
            insert_ms: 1500,
            eject_ms: 1000,
            settle_ms: 5000,
            restart_ms: 5000,
            tasks: false,
        }
    }
}

/// Defines [`Quirks`] and how two of them are joined.
macro_rules! quirks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How a BMC deviates from the book. Every default is the book.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[allow(clippy::struct_excessive_bools)] // independent switches, each a fact about some BMC
        pub struct Quirks {
            $($(#[doc = $doc])+ pub $name: bool,)+
        }

        impl Quirks {
            /// The deviations of both.
            #[must_use]
            pub fn and(&self, other: &Self) -> Self {
                Self { $($name: self.$name || other.$name,)+ }
            }
        }
    };
}

quirks! {
    /// Only the `Cd` slot exists.
    single_slot,
    /// The slots hang under the system instead of the manager (iDRAC 6.00 and later).
    media_under_system,
    /// No `InsertMedia` action; media are set by PATCH (Lenovo XCC).
    media_by_patch,
    /// `InsertMedia` demands `TransferProtocolType` (xFusion, Nokia).
    needs_transfer_protocol,
    /// `InsertMedia` refuses `Inserted` and `WriteProtected` (Supermicro X11/X12).
    refuses_inserted,
    /// Actions with an empty body instead of `{}` are refused with 415 (HPE).
    needs_json_body,
    /// PATCH without `If-Match` is refused with 428.
    needs_if_match,
    /// ETags are weak and `If-Match` compares strongly, so they never match (some proxies of BMCs).
    weak_etags,
    /// No `SessionService`: Basic authentication only (sushy-tools).
    no_sessions,
    /// `Cd` is missing from the boot targets and `UsbCd` is there (Supermicro).
    usb_cd_target,
    /// No `BootSourceOverrideMode` (Supermicro X10, GB200).
    no_override_mode,
    /// The media URL is stored without trying to reach it.
    blind_insert,
    /// `On` is missing from the reset types and `ForceOn` is there.
    force_on_only,
    /// The boot override is changed in a settings object and applied at the next start; the system itself neither
    /// takes it nor lists what it may be (Nokia, iDRAC10).
    boot_settings,
    /// `$expand` is understood, as by most newer BMCs. What is expanded is served by the request for what it is
    /// expanded in, so faults armed for its own path do not show there.
    expands,
    /// A boot PATCH that lacks target, enabled or mode is accepted and does nothing (AMI).
    full_boot,
    /// A boot PATCH without `BootSourceOverrideEnabled` is accepted and leaves the override off (Supermicro X11).
    enabled_wanted,
    /// A boot PATCH without `BootSourceOverrideMode` makes the mode `Legacy` (Supermicro X11).
    mode_flips,
    /// `EjectMedia` is not listed while the drive is empty (Supermicro X13).
    eject_hidden,
    /// The values of `ResetType` are in an action info only (Supermicro X13).
    reset_info,
    /// `InsertMedia` demands `UserName` and `Password`, be they `none` (NVIDIA DGX).
    needs_credentials,
    /// `InsertMedia` demands `TransferMethod` (OpenBMC).
    needs_transfer_method,
    /// `On` is refused with 409 for a while after power-off (iDRAC10).
    on_conflicts,
    /// The boot override and Reset are refused for a while after a power change (HPE).
    busy_in_post,
    /// What is expanded lacks its `Id` and `Name` (AMI DGX, GB300).
    expand_broken,
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
