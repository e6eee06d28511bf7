//! What a BMC knows of its machine: power, boot override, virtual drives, tasks. Pure; the driver and the
//! service change it, every change through a named method.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    backend::host::{BootSource, Inserted},
    config::Quirks,
};

/// Tasks kept; older ones vanish as they do on real BMCs.
const TASKS_KEPT: usize = 64;

/// `PowerState` of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of Redfish
pub enum Power {
    Off,
    PoweringOn,
    On,
    PoweringOff,
}

/// `BootSourceOverrideEnabled` of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of Redfish
pub enum Enabled {
    Disabled,
    Once,
    Continuous,
}

/// `BootSourceOverrideTarget` of Redfish, as far as this BMC offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of Redfish
pub enum Target {
    None,
    Pxe,
    Cd,
    Usb,
    Hdd,
    UefiHttp,
    UsbCd,
}

/// The boot override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootOverride {
    /// How long it holds.
    pub enabled: Enabled,
    /// What it boots.
    pub target: Target,
    /// `UEFI` or `Legacy`.
    pub mode: String,
    /// `HttpBootUri`, for [`Target::UefiHttp`].
    pub http_boot_uri: String,
}

/// One virtual drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// `Cd` or `Usb`.
    pub id: String,
    /// Image URL of what is inserted.
    pub image: Option<String>,
    /// `TransferProtocolType` as given or as the URL says.
    pub protocol: Option<String>,
    /// User name given with the image.
    pub user: Option<String>,
    /// Whether the server of the image must show a certificate that can be verified.
    pub verify_certificate: bool,
    /// After a stale eject: the image still shown, and for how many reads.
    #[serde(skip)]
    pub(crate) stale: Option<(String, u32)>,
}

impl SlotState {
    fn empty(id: &str) -> Self {
        Self {
            id: id.into(),
            image: None,
            protocol: None,
            user: None,
            verify_certificate: false,
            stale: None,
        }
    }

    /// Media types of Redfish that the drive plays.
    pub(crate) fn media_types(&self) -> &'static [&'static str] {
        if self.id == "Cd" { &["CD", "DVD"] } else { &["CD", "USBStick"] }
    }

    /// The image to show at a read, which a stale eject falsifies for a while.
    pub(crate) fn shown(&mut self) -> Option<String> {
        match &mut self.stale {
            Some((image, left)) if *left > 0 => {
                *left -= 1;
                Some(image.clone())
            }
            _ => self.image.clone(),
        }
    }
}

/// A task of `TaskService`.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub id: u64,
    pub name: &'static str,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// What went wrong, when it did.
    pub fault: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    pub power: Power,
    pub boot: BootOverride,
    /// The override in the settings object, which the next start makes the one that holds.
    pub pending_boot: Option<BootOverride>,
    pub slots: Vec<SlotState>,
    pub boots: u64,
    /// Override and media of the last boot, for those who ask later.
    pub last_source: Option<BootSource>,
    pub asset_tag: String,
    pub last_reset: Timestamp,
    /// Why the machine last refused to start.
    pub broken: Option<String>,
    pub tasks: VecDeque<Task>,
    next_task: u64,
}

impl Board {
    pub fn new(quirks: &Quirks, now: Timestamp) -> Self {
        let ids: &[&str] = if quirks.single_slot { &["Cd"] } else { &["Cd", "Usb"] };
        Self {
            power: Power::Off,
            boot: BootOverride {
                enabled: Enabled::Disabled,
                target: Target::None,
                mode: "UEFI".into(),
                http_boot_uri: String::new(),
            },
            pending_boot: None,
            slots: ids.iter().map(|id| SlotState::empty(id)).collect(),
            boots: 0,
            last_source: None,
            asset_tag: String::new(),
            last_reset: now,
            broken: None,
            tasks: VecDeque::new(),
            next_task: 1,
        }
    }

    /// What is in the drives.
    pub fn media(&self) -> Vec<Inserted> {
        let inserted = |slot: &SlotState| Some(Inserted { slot: slot.id.clone(), url: slot.image.clone()? });
        self.slots.iter().filter_map(inserted).collect()
    }

    /// The override that the next start finds.
    pub fn next_boot(&self) -> &BootOverride {
        self.pending_boot.as_ref().unwrap_or(&self.boot)
    }

    /// The machine is starting: what waits in the settings object holds from now on.
    pub fn apply_settings(&mut self) {
        if let Some(boot) = self.pending_boot.take() {
            self.boot = boot;
        }
    }

    /// What the next boot boots from, by the override alone. A drive without a disc is passed over.
    pub fn next_source(&self) -> BootSource {
        if self.boot.enabled == Enabled::Disabled {
            return BootSource::Order;
        }
        let filled = |wanted: &[&str]| {
            let id = wanted.iter().find(|id| self.slots.iter().any(|s| s.id == **id && s.image.is_some()))?;
            Some(BootSource::Slot { slot: (*id).into() })
        };
        match self.boot.target {
            Target::None => BootSource::Order,
            Target::Cd | Target::UsbCd => filled(&["Cd", "Usb"]).unwrap_or(BootSource::Order),
            Target::Usb => filled(&["Usb"]).unwrap_or(BootSource::Order),
            Target::Hdd => BootSource::Disk,
            Target::Pxe => BootSource::Pxe,
            Target::UefiHttp => BootSource::UefiHttp { uri: self.boot.http_boot_uri.clone() },
        }
    }

    /// The machine has started: counts the boot, and `Once` is used up.
    pub fn booted(&mut self, source: BootSource, now: Timestamp, keep_once: bool) {
        self.power = Power::On;
        self.boots += 1;
        self.last_reset = now;
        self.last_source = Some(source);
        self.broken = None;
        if self.boot.enabled == Enabled::Once && !keep_once {
            self.boot.enabled = Enabled::Disabled;
            self.boot.target = Target::None;
        }
    }

    /// Opens a task and returns its number.
    pub fn open_task(&mut self, name: &'static str, now: Timestamp) -> u64 {
        let id = self.next_task;
        self.next_task += 1;
        if self.tasks.len() >= TASKS_KEPT {
            self.tasks.pop_front();
        }
        self.tasks.push_back(Task { id, name, started: now, ended: None, fault: None });
        id
    }

    /// Ends a task.
    pub fn end_task(&mut self, id: u64, fault: Option<String>, now: Timestamp) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) {
            task.ended = Some(now);
            task.fault = fault;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board::new(&Quirks::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn once_is_used_up_by_one_boot_and_continuous_is_not() {
        for (enabled, after) in
            [(Enabled::Once, Enabled::Disabled), (Enabled::Continuous, Enabled::Continuous)]
        {
            let mut board = board();
            board.slots[0].image = Some("http://x/a.iso".into());
            board.boot.enabled = enabled;
            board.boot.target = Target::Cd;
            let source = board.next_source();
            assert_eq!(source, BootSource::Slot { slot: "Cd".into() });
            board.booted(source, Timestamp::UNIX_EPOCH, false);
            assert_eq!(board.boot.enabled, after);
        }
    }

    #[test]
    fn the_override_picks_a_filled_drive_or_falls_back_to_the_order() {
        let slot = |id: &str| BootSource::Slot { slot: id.into() };
        let table = [
            (Target::Cd, "", BootSource::Order),
            (Target::Cd, "Usb", slot("Usb")),
            (Target::UsbCd, "Cd", slot("Cd")),
            (Target::Usb, "Cd", BootSource::Order),
            (Target::Hdd, "Cd", BootSource::Disk),
            (Target::Pxe, "Cd", BootSource::Pxe),
        ];
        for (target, filled, source) in table {
            let mut board = board();
            board.boot.enabled = Enabled::Once;
            board.boot.target = target;
            for slot in &mut board.slots {
                slot.image = (slot.id == filled).then(|| "http://x/a.iso".into());
            }
            assert_eq!(board.next_source(), source, "{target:?} with {filled:?} filled");
        }
    }

    #[test]
    fn a_stale_slot_shows_the_old_image_for_its_reads_only() {
        let mut slot = SlotState::empty("Cd");
        slot.stale = Some(("http://x/old.iso".into(), 2));
        assert_eq!(slot.shown().as_deref(), Some("http://x/old.iso"));
        assert_eq!(slot.shown().as_deref(), Some("http://x/old.iso"));
        assert_eq!(slot.shown(), None);
    }

    #[test]
    fn old_tasks_vanish() {
        let mut board = board();
        let first = board.open_task("Reset", Timestamp::UNIX_EPOCH);
        for _ in 0..TASKS_KEPT {
            board.open_task("Reset", Timestamp::UNIX_EPOCH);
        }
        assert_eq!(board.tasks.len(), TASKS_KEPT);
        assert!(board.tasks.iter().all(|task| task.id != first));
    }
}
