//! What a vendor's file says. Plain data; every default is the book, as [`super::Vendor::GenericTwoSlot`] has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{overlay::Change, words::Words};
use crate::{
    config::Quirks,
    machine::{Enabled, ResetType, Target},
};

/// One kind of BMC.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Manufacturer of system and chassis, when the machine's configuration does not say.
    pub manufacturer: Option<String>,
    /// Model of system and chassis, likewise.
    pub product: Option<String>,
    /// Seconds after which an idle session ends, likewise.
    pub session_seconds: Option<u64>,
    /// Most sessions at once, likewise.
    pub session_limit: Option<usize>,
    /// Ids, slots, links.
    pub layout: Layout,
    /// Boot targets and what they boot.
    pub boots: Boots,
    /// How media are put in.
    pub dialect: Dialect,
    /// Server-sent events; absent: no `EventService`.
    pub events: Option<Events>,
    /// `ResetType` values, as far as anything is done for them.
    pub resets: Resets,
    /// Deviations in behaviour.
    pub quirks: Quirks,
    /// Wording of errors.
    pub words: Words,
    /// What resources have more or less than the book, by kind: `root`, `system`, `manager`, `slot`, ….
    pub change: BTreeMap<String, Change>,
}

impl Model {
    /// What the quirks of a machine mean for ids, slots and targets: from here on only the model is asked.
    #[must_use]
    pub fn with(mut self, quirks: &Quirks) -> Self {
        if quirks.single_slot {
            self.layout.slots.truncate(1);
        }
        if quirks.media_under_system {
            self.layout.media = MediaHome::Systems;
        }
        if quirks.usb_cd_target {
            for target in &mut self.boots.targets {
                if *target == Target::Cd {
                    *target = Target::UsbCd;
                }
            }
        }
        if quirks.no_override_mode {
            self.boots.modes.clear();
        }
        if quirks.boot_settings {
            self.boots.settings = SettingsRule::Override;
        }
        if quirks.force_on_only {
            for kind in &mut self.resets.0 {
                if *kind == ResetType::On {
                    *kind = ResetType::ForceOn;
                }
            }
        }
        self
    }
}

/// The `ResetType` values that a BMC takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Resets(pub Vec<ResetType>);

impl Default for Resets {
    fn default() -> Self {
        use ResetType as R;
        Self(vec![
            R::On,
            R::ForceOff,
            R::GracefulShutdown,
            R::ForceRestart,
            R::GracefulRestart,
            R::PowerCycle,
            R::PushPowerButton,
        ])
    }
}

/// Ids and links.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layout {
    /// Id of the system.
    pub system: String,
    /// Ids of systems beside it that cannot be booted.
    pub others: Vec<String>,
    /// Id of the manager.
    pub manager: String,
    /// Id of the chassis.
    pub chassis: String,
    /// Collection that the slots hang under.
    pub media: MediaHome,
    /// The virtual drives.
    pub slots: Vec<SlotModel>,
    /// Last part of the path of the settings object.
    pub settings: String,
}

impl Default for Layout {
    fn default() -> Self {
        let one = || "1".to_owned();
        Self {
            system: one(),
            others: Vec::new(),
            manager: one(),
            chassis: one(),
            media: MediaHome::Managers,
            slots: vec![SlotModel::new("Cd", &["CD", "DVD"]), SlotModel::new("Usb", &["CD", "USBStick"])],
            settings: "Settings".into(),
        }
    }
}

impl Layout {
    /// Path of the system.
    pub fn system_path(&self) -> String {
        format!("/redfish/v1/Systems/{}", self.system)
    }

    /// Path of the settings object of the system.
    pub fn settings_path(&self) -> String {
        format!("{}/{}", self.system_path(), self.settings)
    }

    /// Path of the manager.
    pub fn manager_path(&self) -> String {
        format!("/redfish/v1/Managers/{}", self.manager)
    }

    /// Path of the chassis.
    pub fn chassis_path(&self) -> String {
        format!("/redfish/v1/Chassis/{}", self.chassis)
    }

    /// Collection and member that the slots hang under.
    pub(crate) fn media_parent(&self, home: MediaHome) -> (&'static str, &str) {
        match home {
            MediaHome::Managers => ("Managers", &self.manager),
            MediaHome::Systems => ("Systems", &self.system),
        }
    }
}

/// Where virtual media hang.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaHome {
    /// Under the manager.
    #[default]
    Managers,
    /// Under the system.
    Systems,
}

/// One virtual drive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotModel {
    /// Its id.
    pub id: String,
    /// `MediaTypes`.
    pub types: Vec<String>,
    /// Not for images of remote servers: it has no insert action and refuses a PATCH.
    #[serde(default)]
    pub local: bool,
}

impl SlotModel {
    fn new(id: &str, types: &[&str]) -> Self {
        Self { id: id.into(), types: types.iter().map(|&kind| kind.into()).collect(), local: false }
    }
}

/// The boot override.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boots {
    /// Targets that are listed and taken.
    pub targets: Vec<Target>,
    /// `BootSourceOverrideEnabled` values that are taken.
    pub enabled: Vec<Enabled>,
    /// Do not list what is taken.
    pub unlisted: bool,
    /// `BootSourceOverrideMode` values that are taken.
    pub modes: Vec<String>,
    /// Slots that a target boots, best first. Absent: `Cd` and `UsbCd` boot what takes a CD, `Usb` what is a stick.
    pub from: BTreeMap<Target, Vec<String>>,
    /// Every override is shown as `Continuous` and lasts; at rest it is `Hdd` (sushy-tools).
    pub lasting: bool,
    /// What the settings object is for.
    pub settings: SettingsRule,
    /// Slot that Dell's `VCD-DVD` boots, set by the attributes `ServerBoot.1.*` of the manager.
    pub vcd: Option<String>,
}

impl Default for Boots {
    fn default() -> Self {
        Self {
            targets: vec![Target::None, Target::Pxe, Target::Cd, Target::Usb, Target::Hdd, Target::UefiHttp],
            enabled: vec![Enabled::Disabled, Enabled::Once, Enabled::Continuous],
            unlisted: false,
            modes: vec!["UEFI".into()],
            from: BTreeMap::new(),
            lasting: false,
            settings: SettingsRule::None,
            vcd: None,
        }
    }
}

/// What the settings object of the system takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingsRule {
    /// There is none.
    #[default]
    None,
    /// The boot order and no override.
    OrderOnly,
    /// The override; the system itself refuses it.
    Override,
}

/// How media are put in and out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Path of the insert action below `Actions/` of a slot.
    pub insert: String,
    /// Path of the eject action likewise.
    pub eject: String,
    /// Object of the slot that lists them, as names joined by `|`.
    pub listed_in: String,
    /// Whether `InsertMedia` has an action info.
    pub action_info: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            insert: "VirtualMedia.InsertMedia".into(),
            eject: "VirtualMedia.EjectMedia".into(),
            listed_in: "Actions".into(),
            action_info: true,
        }
    }
}

impl Dialect {
    /// Name that an action path has in a list of actions.
    pub(crate) fn listed(path: &str) -> String {
        format!("#{}", path.rsplit('/').next().unwrap_or(path))
    }
}

/// Server-sent events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// `ServerSentEventUri`.
    pub path: String,
    /// Streams at once.
    pub streams: usize,
    /// Properties that its events lack.
    pub lacks: Vec<String>,
    /// What is written after the time instead of `Z`.
    pub offset: Option<String>,
}

impl Default for Events {
    fn default() -> Self {
        Self { path: "/redfish/v1/EventService/SSE".into(), streams: 2, lacks: Vec::new(), offset: None }
    }
}
