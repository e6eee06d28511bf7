//! What a BMC knows of its machine: power, boot override, virtual drives, tasks. Pure; the driver and the
//! service change it, every change through a named method.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    backend::host::{BootSource, Inserted},
    vendor::{Boots, Model, SlotModel},
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

/// `BootSourceOverrideTarget` of Redfish, as far as BMCs here offer it. What is not bootable here boots the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of Redfish
pub enum Target {
    None,
    Pxe,
    Cd,
    Usb,
    Hdd,
    UefiHttp,
    UsbCd,
    Floppy,
    #[serde(rename = "SDCard")]
    SdCard,
    BiosSetup,
    Utilities,
    Diags,
    UefiShell,
    UefiTarget,
    UefiBootNext,
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
    /// Its id, `Cd` or `Usb` by the book.
    pub id: String,
    /// `MediaTypes` of Redfish.
    pub media_types: Vec<String>,
    /// Takes no image of a remote server.
    pub local: bool,
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
    fn empty(model: &SlotModel) -> Self {
        Self {
            id: model.id.clone(),
            media_types: model.types.clone(),
            local: model.local,
            image: None,
            protocol: None,
            user: None,
            verify_certificate: false,
            stale: None,
        }
    }

    /// Whether it plays media of that type.
    pub(crate) fn plays(&self, kind: &str) -> bool {
        self.media_types.iter().any(|known| known == kind)
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

/// Attributes by which Dell's firmware is told to boot a virtual drive once, and what they are at rest.
const VCD_ATTRIBUTES: [(&str, &str); 2] =
    [("ServerBoot.1.BootOnce", "Disabled"), ("ServerBoot.1.FirstBootDevice", "Normal")];

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    pub power: Power,
    /// When power last began or ceased to be on.
    pub moved: Option<Instant>,
    pub boot: BootOverride,
    /// The override in the settings object, which the next start makes the one that holds.
    pub pending_boot: Option<BootOverride>,
    /// The override reverts by itself after that many looks at it.
    pub reverts_in: Option<u32>,
    /// Attributes of the manager, of BMCs that have them.
    pub attributes: BTreeMap<String, String>,
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
    rules: Boots,
}

/// The override when nobody has set one.
fn at_rest(rules: &Boots) -> (Enabled, Target) {
    if rules.lasting { (Enabled::Continuous, Target::Hdd) } else { (Enabled::Disabled, Target::None) }
}

impl Board {
    pub fn new(model: &Model, now: Timestamp) -> Self {
        let mut attributes = BTreeMap::new();
        if model.boots.vcd.is_some() {
            attributes.extend(VCD_ATTRIBUTES.map(|(name, value)| (name.to_owned(), value.to_owned())));
            attributes.insert("VirtualMedia.1.Attached".into(), "AutoAttach".into());
        }
        let (enabled, target) = at_rest(&model.boots);
        Self {
            power: Power::Off,
            moved: None,
            boot: BootOverride { enabled, target, mode: "UEFI".into(), http_boot_uri: String::new() },
            pending_boot: None,
            reverts_in: None,
            attributes,
            slots: model.layout.slots.iter().map(SlotState::empty).collect(),
            boots: 0,
            last_source: None,
            asset_tag: String::new(),
            last_reset: now,
            broken: None,
            tasks: VecDeque::new(),
            next_task: 1,
            rules: model.boots.clone(),
        }
    }

    /// Power changes.
    pub fn turn(&mut self, power: Power, now: Instant) {
        self.power = power;
        self.moved = Some(now);
    }

    /// Somebody looks at the boot override, which may be the moment that it reverts.
    pub fn look_at_boot(&mut self) {
        match &mut self.reverts_in {
            Some(0) => self.forget_boot(),
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// Whether the next start has something to boot once.
    pub fn is_armed(&self) -> bool {
        let next = self.next_boot();
        (next.enabled, next.target) != at_rest(&self.rules) && next.enabled != Enabled::Disabled
            || self.vcd().is_some()
    }

    /// The mode of the override that the next start finds becomes `Legacy`.
    pub fn flip_mode(&mut self) {
        self.pending_boot.as_mut().unwrap_or(&mut self.boot).mode = "Legacy".into();
    }

    /// No override is set any more.
    pub fn forget_boot(&mut self) {
        self.reverts_in = None;
        self.pending_boot = None;
        (self.boot.enabled, self.boot.target) = at_rest(&self.rules);
        self.rest_attributes();
    }

    fn rest_attributes(&mut self) {
        for (name, value) in VCD_ATTRIBUTES {
            if let Some(set) = self.attributes.get_mut(name) {
                value.clone_into(set);
            }
        }
    }

    /// The slot that Dell's attributes boot next.
    fn vcd(&self) -> Option<&str> {
        let set = |name: &str| self.attributes.get(name).map(String::as_str);
        let wanted = set("ServerBoot.1.BootOnce") == Some("Enabled")
            && set("ServerBoot.1.FirstBootDevice") == Some("VCD-DVD");
        self.rules.vcd.as_deref().filter(|_| wanted)
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
        if self.reverts_in.is_some() {
            self.forget_boot();
        }
        if let Some(boot) = self.pending_boot.take() {
            self.boot = boot;
        }
    }

    /// What the next boot boots from, by the override alone. A drive without a disc is passed over.
    pub fn next_source(&self) -> BootSource {
        let slot = |id: &str| BootSource::Slot { slot: id.to_owned() };
        if let Some(id) = self.vcd() {
            return if self.holds(id) { slot(id) } else { BootSource::Order };
        }
        // The images have no code for a BIOS.
        if self.boot.enabled == Enabled::Disabled || self.boot.mode == "Legacy" {
            return BootSource::Order;
        }
        match self.boot.target {
            Target::Cd | Target::UsbCd | Target::Usb => {
                self.first_filled(self.boot.target).map_or(BootSource::Order, |id| slot(&id))
            }
            Target::Hdd => BootSource::Disk,
            Target::Pxe => BootSource::Pxe,
            Target::UefiHttp => BootSource::UefiHttp { uri: self.boot.http_boot_uri.clone() },
            _ => BootSource::Order,
        }
    }

    fn holds(&self, id: &str) -> bool {
        self.slots.iter().any(|slot| slot.id == id && slot.image.is_some())
    }

    /// The first drive with a disc that a target boots.
    fn first_filled(&self, target: Target) -> Option<String> {
        if let Some(ids) = self.rules.from.get(&target) {
            return ids.iter().find(|id| self.holds(id)).cloned();
        }
        let stick = |slot: &&SlotState| slot.plays("USBStick");
        let disc = |slot: &&SlotState| slot.plays("CD") || slot.plays("DVD");
        let filled = || self.slots.iter().filter(|slot| slot.image.is_some());
        let found = if target == Target::Usb {
            filled().find(stick)
        } else {
            filled().filter(disc).find(|slot| !stick(slot)).or_else(|| filled().find(disc))
        };
        found.map(|slot| slot.id.clone())
    }

    /// The machine has started: counts the boot, and `Once` is used up.
    pub fn booted(&mut self, source: BootSource, (now, at): (Timestamp, Instant), keep_once: bool) {
        self.turn(Power::On, at);
        self.boots += 1;
        self.last_reset = now;
        self.last_source = Some(source);
        self.broken = None;
        if keep_once {
            return;
        }
        self.rest_attributes();
        if self.boot.enabled == Enabled::Once {
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

    /// A task is gone, as if it had never been.
    pub fn forget_task(&mut self, id: u64) {
        self.tasks.retain(|task| task.id != id);
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
        Board::new(&Model::default(), Timestamp::UNIX_EPOCH)
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
            board.booted(source, (Timestamp::UNIX_EPOCH, Instant::now()), false);
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
        let mut slot = board().slots.remove(0);
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
