//! What is known of BMC families, as data: one TOML file each in `profiles/`, built in, and more from a folder.
//!
//! ```text
//! profiles/*.toml ─▶ load (checked) ─▶ Profiles ─▶ choose(Identity) ─▶ Profile ─▶ discover, media, boot, power
//! ```
//! Inert by design. A profile may choose, order, omit, stretch a wait and name an adapter; there is no key in it for
//! an image, a credential, a trust decision, or a reset type that the BMC does not list.

mod choose;
mod load;
mod version;
mod waits;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use choose::Identity;
pub use load::ProfileError;
pub use version::Version;
pub use waits::{Stretch, Waits};

/// What differs in one family of BMCs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name: small letters, digits and dashes.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// How well it is known.
    pub evidence: Known,
    /// Where each fact comes from.
    pub sources: Vec<String>,
    /// What does not work, or nobody has tried. For people.
    #[serde(default)]
    pub limits: Vec<String>,
    /// Which BMCs it is about.
    #[serde(rename = "match")]
    pub rule: Rule,
    /// Its media slots.
    #[serde(default)]
    pub slots: Slots,
    /// How images are put in.
    #[serde(default)]
    pub media: Media,
    /// How the one-time boot is set.
    #[serde(default)]
    pub boot: BootRules,
    /// How it is read.
    #[serde(default)]
    pub read: Reading,
    /// How much longer than others it takes.
    #[serde(default)]
    pub waits: Stretch,
    /// What an operator should know before a job relies on it; shown by every probe.
    #[serde(default)]
    pub advice: Vec<String>,
}

/// How well a family is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// A tree recorded from such a machine is read in a test.
    Captured,
    /// By the vendor's documentation, or the source of a client that is used with it.
    Documented,
    /// By reports of people only.
    Reported,
    /// It is what the standard says.
    Standard,
}

/// Which BMCs a profile is about: every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Beginnings of the BMC maker's name (`ServiceRoot.Vendor`; the system's manufacturer where no profile knows
    /// that), as whole words, without case.
    pub maker: Vec<String>,
    /// Beginnings of `Manager.Model`, without case.
    pub manager: Vec<String>,
    /// Beginnings of the system's model, without case.
    pub model: Vec<String>,
    /// `Manager.FirmwareVersion`.
    pub firmware: Range,
}

/// A range of versions; open where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// This one and newer.
    pub from: Option<Version>,
    /// Older than this one.
    pub below: Option<Version>,
}

/// Which slots are used for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slots {
    /// Beginnings of the ids of slots that take remote images; any where none is named.
    pub only: Vec<String>,
    /// Ids preferred for booting, best first.
    pub boot: Vec<String>,
    /// Ids preferred for data, best first.
    pub data: Vec<String>,
    /// The only ids that can be booted from; any that takes a CD where none is named.
    pub boots_only: Vec<String>,
    /// How many remote images it holds at once, where that is fewer than it has slots.
    pub most: Option<usize>,
}

/// How images are put in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// The adapter, where the standard's way is not offered.
    pub way: Option<MediaWay>,
    /// Parameters that are sent from the first request on.
    pub first: Vec<super::payload::Extra>,
    /// URL schemes of images that it takes; `http` and `https` where none is named.
    pub schemes: Vec<String>,
}

/// Adapters for BMCs that take images in ways of their own, each in a file of its own in `oem/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaWay {
    /// Supermicro X10, X11: `VM1/CfgCD`.
    SupermicroCfgcd,
    /// Fujitsu iRMC: the system's OEM resource and action.
    Irmc,
    /// Huawei, xFusion iBMC: `VmmControl`.
    IbmcVmmcontrol,
    /// HPE iLO 4, and iLO 5 and newer where the standard's action is absent.
    Ilo,
}

/// How the one-time boot is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootRules {
    /// Targets for a virtual CD, best first; `Cd`, then `UsbCd` where none is named.
    pub targets: Vec<String>,
    /// Whether every change must carry target, enabled and mode together.
    pub full: bool,
    /// Whether the mode is never sent.
    pub no_mode: bool,
    /// What it shows of `BootSourceOverrideEnabled` when an override is set that it was asked for once.
    pub shown_enabled: Option<String>,
    /// The target that stands for no override, where it knows no `Disabled`.
    pub rest_target: Option<String>,
    /// The adapter, where the standard's override boots nothing virtual.
    pub way: Option<BootWay>,
}

/// Adapters for BMCs whose one-time boot from virtual media is set in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootWay {
    /// Dell iDRAC: `ServerBoot.1.FirstBootDevice` = `VCD-DVD`.
    IdracFirstBootDevice,
}

/// How it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// Whether the machine's serial is its `SKU`.
    pub serial_is_sku: bool,
    /// Whether `$expand` may be used where the service advertises it.
    pub expand: bool,
    /// Ids of systems that are never the server itself.
    pub not_systems: Vec<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { serial_is_sku: false, expand: true, not_systems: Vec::new() }
    }
}

impl Profile {
    /// Fits a service that does what the standard says.
    pub fn generic() -> Self {
        Self {
            name: GENERIC.to_owned(),
            title: "any BMC that does what the standard says".to_owned(),
            evidence: Known::Standard,
            sources: vec!["DMTF DSP0266, DSP0268".to_owned()],
            limits: Vec::new(),
            rule: Rule::default(),
            slots: Slots::default(),
            media: Media::default(),
            boot: BootRules::default(),
            read: Reading::default(),
            waits: Stretch::default(),
            advice: Vec::new(),
        }
    }

    /// One-time boot targets for a virtual CD, best first.
    pub fn cd_targets(&self) -> Vec<&str> {
        match self.boot.targets.as_slice() {
            [] => vec!["Cd", "UsbCd"],
            named => named.iter().map(String::as_str).collect(),
        }
    }
}

/// Name of the profile that fits where no other does.
pub const GENERIC: &str = "generic";

/// All profiles of this process: the built-in ones and those of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    all: Vec<Arc<Profile>>,
    generic: Arc<Profile>,
}
