//! The firmware's boot entries: what efibootmgr lists, and what shall be changed. Pure.

use schema::recipe::BootOrder;

use crate::plan::{Action, Command};

/// Where the kernel shows the firmware's variables.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// Our entries begin so; old ones are known by it.
const LABEL: &str = "Slipway ";

/// What the firmware has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Numbers in boot order.
    pub order: Vec<u16>,
    /// Number, name and device path of each entry.
    pub entries: Vec<(u16, String, String)>,
}

/// The entry to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the system calls itself.
    pub name: String,
    /// Path on the ESP, with backslashes.
    pub path: String,
    /// The disk.
    pub disk: String,
    /// Number of the ESP on it.
    pub partition: u32,
    /// GUIDs of all partitions of this disk, those it has and those it had.
    pub guids: Vec<String>,
}

/// Reads `efibootmgr --verbose`.
pub fn parse(listing: &str) -> Entries {
    let mut found = Entries::default();
    for line in listing.lines() {
        if let Some(order) = line.strip_prefix("BootOrder:") {
            found.order = order
                .trim()
                .split(',')
                .filter_map(|number| u16::from_str_radix(number.trim(), 16).ok())
                .collect();
        } else if let Some(rest) = line.strip_prefix("Boot")
            && let Some(number) = rest.get(..4).and_then(|number| u16::from_str_radix(number, 16).ok())
        {
            let text = rest[4..].trim_start_matches('*').trim_start();
            let (name, path) = text.split_once('\t').unwrap_or((text, ""));
            found.entries.push((number, name.trim().to_owned(), path.to_owned()));
        }
    }
    found
}

/// Removes entries of this disk, adds one, and puts it first, or last where the order shall stay.
pub fn plan(found: &Entries, entry: &Entry, order: BootOrder) -> Vec<Action> {
    let guid_of = |path: &str| {
        let rest = path.split("GPT,").nth(1)?;
        Some(rest.split([',', ')']).next()?.to_ascii_lowercase())
    };
    let of_this_disk = |path: &str| guid_of(path).is_some_and(|guid| entry.guids.contains(&guid));
    let label = format!("{LABEL}{}", entry.name);
    // An entry of ours whose disk path is gone was left by an install that lost power.
    let dead = |name: &str, path: &str| of_this_disk(path) || (name == label && guid_of(path).is_none());
    let (gone, stay): (Vec<_>, Vec<_>) = found.entries.iter().partition(|(_, name, path)| dead(name, path));

    let hex = |number: u16| format!("{number:04X}");
    let mut actions: Vec<Action> = gone
        .iter()
        .map(|(number, ..)| {
            let command = Command::new("efibootmgr")
                .args(["--quiet", "--delete-bootnum", "--bootnum", &hex(*number)])
                .tolerate("an old boot entry of this disk stays");
            Action::Run(command)
        })
        .collect();
    let is_free = |number: &u16| stay.iter().all(|(taken, ..)| taken != number);
    let number = (0..=u16::MAX).find(is_free).unwrap_or(u16::MAX);
    actions.push(Action::Run(Command::new("efibootmgr").args([
        "--quiet",
        "--create-only",
        "--bootnum",
        &hex(number),
        "--disk",
        &entry.disk,
        "--part",
        &entry.partition.to_string(),
        "--loader",
        &entry.path,
        "--label",
        &label,
    ])));
    let exists = |number: &&u16| stay.iter().any(|(known, ..)| known == *number);
    let others = found.order.iter().filter(exists).filter(|other| **other != number).copied();
    let new_order: Vec<String> = match order {
        BootOrder::First => std::iter::once(number).chain(others).map(hex).collect(),
        BootOrder::Keep => others.chain(std::iter::once(number)).map(hex).collect(),
    };
    actions.push(Action::Run(Command::new("efibootmgr").args([
        "--quiet",
        "--bootorder",
        &new_order.join(","),
    ])));
    actions
}
