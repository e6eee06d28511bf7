//! Which disk is meant. Pure: from the disks a machine has and the recipe's choice to exactly one disk, or
//! to an error that lists every disk seen and why it does not do.
//!
//! ```text
//!   lsblk ──▶ [Disk] ──▶ one per WWN ──▶ candidates ──▶ choice ──▶ DiskIdentity (disk.json)
//!                                          │ excluded, with the reason      │
//!                                          ▼                                ▼
//!                                     ChooseError (lists them)      confirm(), before every step that writes
//! ```

use std::fmt::Write as _;

use schema::layout::DiskGeometry;
use schema::recipe::{DiskChoice, DiskHints};
use schema::size::{self, Size};
use schema::task::{MAINTENANCE_LABEL, TASK_LABEL};
use serde::{Deserialize, Serialize};

use crate::lsblk::plain_wwn;

/// What BMCs call the drives that they make out of network images; compared without case.
const BMC_DRIVES: [&str; 11] = [
    "virtual cd",
    "virtual floppy",
    "virtual hdisk",
    "virtual media",
    "virtual disk image",
    "idrac",
    "ilo virtual",
    "ami virtual",
    "ami     virtual",
    "lifs",
    "xclarity",
];

/// A disk, or another block device without one below it.
#[expect(clippy::struct_excessive_bools, reason = "facts as they were read, each independent of the others")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name, `sda`.
    pub name: String,
    /// Device node, `/dev/sda`.
    pub path: String,
    /// Device nodes of further paths to the same disk.
    pub also: Vec<String>,
    /// `disk`, `rom`, `loop` …
    pub kind: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub sector_bytes: u32,
    /// Model.
    pub model: Option<String>,
    /// Vendor.
    pub vendor: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name, lower case, without prefix.
    pub wwn: Option<String>,
    /// `sata`, `sas`, `nvme`, `virtio`, `scsi`, `mmc`, `usb` …
    pub transport: Option<String>,
    /// Its medium can be taken out.
    pub removable: bool,
    /// It cannot be written.
    pub read_only: bool,
    /// It spins.
    pub rotational: bool,
    /// It can discard blocks.
    pub discards: bool,
    /// Signature on the whole disk.
    pub fstype: Option<String>,
    /// Label of that.
    pub label: Option<String>,
    /// Where the whole disk is mounted.
    pub mountpoints: Vec<String>,
    /// Links below /dev/disk/by-id.
    pub by_id: Vec<String>,
    /// Links below /dev/disk/by-path.
    pub by_path: Vec<String>,
    /// Partitions and what stands on them.
    pub nodes: Vec<Node>,
}

/// A partition, or what stands on one: an array, a volume, a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Device node.
    pub path: String,
    /// `part`, `lvm`, `raid1`, `crypt`, `mpath` …
    pub kind: String,
    /// First byte on the disk, where the kernel tells.
    pub start_bytes: Option<u64>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Signature on it.
    pub fstype: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Partition GUID, lower case.
    pub partuuid: Option<String>,
    /// Partition type, lower case.
    pub parttype: Option<String>,
    /// Where it is mounted; `[SWAP]` for swap in use.
    pub mountpoints: Vec<String>,
    /// What stands on it.
    pub nodes: Vec<Node>,
}

/// The chosen disk, in everything it can be known again by. Travels as `disk.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIdentity {
    /// Device node when it was chosen; may be another one later.
    pub path: String,
    /// Link below /dev/disk/by-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_id: Option<String>,
    /// Link below /dev/disk/by-path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_path: Option<String>,
    /// World wide name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes.
    pub sector_bytes: u32,
}

/// No disk, or more than one. Each text ends with the list of the disks seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// The recipe names none.
    #[error("the recipe names no target_disk; this machine has:\n{seen}")]
    NotNamed {
        /// The disks.
        seen: String,
    },
    /// There is nothing to choose from.
    #[error("no disk of this machine can be written to.{raid} It has:\n{seen}")]
    NoCandidate {
        /// What RAID controllers there are, or nothing.
        raid: String,
        /// The disks.
        seen: String,
    },
    /// No candidate matches.
    #[error("no disk matches target_disk {wanted}; this machine has:\n{seen}")]
    NoMatch {
        /// The choice.
        wanted: String,
        /// The disks.
        seen: String,
    },
    /// Several match.
    #[error(
        "{count} disks match target_disk {wanted}, but exactly one must: add serial, wwn or by_path, or smallest; this machine has:\n{seen}"
    )]
    Ambiguous {
        /// How many match.
        count: usize,
        /// The choice.
        wanted: String,
        /// The disks.
        seen: String,
    },
    /// A disk that may not be used.
    #[error("target_disk {wanted} is not used because {reason}; this machine has:\n{seen}")]
    Excluded {
        /// The choice.
        wanted: String,
        /// Why not.
        reason: String,
        /// The disks.
        seen: String,
    },
    /// A kernel name on a machine with more disks.
    #[error(
        "target_disk {wanted} is a kernel name, which may be another disk on the next boot, and this machine has {count} disks: use hints or /dev/disk/by-…, or set allow_kernel_name; it has:\n{seen}"
    )]
    KernelName {
        /// The choice.
        wanted: String,
        /// Number of candidates.
        count: usize,
        /// The disks.
        seen: String,
    },
    /// A hint that is no size.
    #[error("target_disk {name} {value:?} is not a size such as 400G")]
    HintSize {
        /// `min_size` or `max_size`.
        name: &'static str,
        /// As it stands there.
        value: String,
    },
    /// The chosen disk is not there any more, or not the same.
    #[error(
        "the disk chosen by preflight ({wanted}) is not there any more, or not the same; nothing was written to another one. This machine has:\n{seen}"
    )]
    Vanished {
        /// The disk.
        wanted: String,
        /// The disks.
        seen: String,
    },
}

impl Disk {
    /// Why this disk is never chosen; `None` for a candidate.
    pub fn excluded(&self) -> Option<String> {
        let name =
            format!("{} {}", self.vendor.as_deref().unwrap_or(""), self.model.as_deref().unwrap_or(""))
                .to_lowercase();
        let is_ours = |label: &Option<String>| {
            label.as_deref().is_some_and(|label| label == MAINTENANCE_LABEL || label == TASK_LABEL)
        };
        let below = self.all_nodes();
        let mounted = self.mountpoints.iter().chain(below.iter().flat_map(|node| &node.mountpoints));
        let mounted: Vec<&String> = mounted.filter(|place| place.starts_with('/')).collect();
        if is_ours(&self.label) || below.iter().any(|node| is_ours(&node.label)) {
            Some("it holds Slipway's own medium".into())
        } else if self.kind != "disk" {
            Some(format!("it is a {} device", self.kind))
        } else if ["loop", "ram", "zram", "nbd", "dm-", "md", "pmem"]
            .iter()
            .any(|name| self.name.starts_with(name))
        {
            Some("it is not a physical disk".into())
        } else if BMC_DRIVES.iter().any(|drive| name.contains(drive)) {
            Some("it is a virtual drive of the BMC".into())
        } else if self.transport.as_deref() == Some("usb") {
            Some("it is connected by USB".into())
        } else if self.removable {
            Some("its medium is removable".into())
        } else if self.size_bytes == 0 {
            Some("it has no medium".into())
        } else if self.read_only {
            Some("it is read-only".into())
        } else {
            mounted.first().map(|place| format!("it is in use: mounted at {place}"))
        }
    }

    /// Everything below, an upper thing before what it stands on.
    pub fn all_nodes(&self) -> Vec<&Node> {
        fn walk<'a>(nodes: &'a [Node], into: &mut Vec<&'a Node>) {
            for node in nodes {
                walk(&node.nodes, into);
                into.push(node);
            }
        }
        let mut all = Vec::new();
        walk(&self.nodes, &mut all);
        all
    }

    /// Size and sector size, for the layout solver.
    pub fn geometry(&self) -> DiskGeometry {
        DiskGeometry { size_bytes: self.size_bytes, sector_bytes: self.sector_bytes }
    }

    fn identity(&self) -> DiskIdentity {
        let stable = |link: &&String| {
            let name = link.rsplit('/').next().unwrap_or_default();
            name.starts_with("wwn-") || name.starts_with("nvme-eui") || name.starts_with("nvme-uuid")
        };
        DiskIdentity {
            path: self.path.clone(),
            by_id: self.by_id.iter().find(stable).or(self.by_id.first()).cloned(),
            by_path: self.by_path.first().cloned(),
            wwn: self.wwn.clone(),
            serial: self.serial.clone(),
            model: self.model.clone(),
            size_bytes: self.size_bytes,
            sector_bytes: self.sector_bytes,
        }
    }

    fn is_named(&self, path: &str) -> bool {
        self.path == path
            || self.also.iter().any(|also| also == path)
            || self.by_id.iter().chain(&self.by_path).any(|link| link == path)
    }
}

/// Paths that carry one world wide name are one disk: the first stays, the others become its `also`.
pub fn one_per_wwn(disks: Vec<Disk>) -> Vec<Disk> {
    let mut kept: Vec<Disk> = Vec::new();
    for disk in disks {
        let same = kept.iter_mut().find(|other| {
            disk.wwn.is_some()
                && other.wwn == disk.wwn
                && other.size_bytes == disk.size_bytes
                && other.kind == disk.kind
        });
        match same {
            Some(first) => {
                first.also.push(disk.path);
                first.by_id.extend(disk.by_id);
                first.by_path.extend(disk.by_path);
                first.mountpoints.extend(disk.mountpoints);
            }
            None => kept.push(disk),
        }
    }
    kept
}

/// The one disk that is meant. `raid` names the RAID controllers of the machine, for the error.
pub fn choose(
    disks: Vec<Disk>,
    choice: Option<&DiskChoice>,
    allow_kernel_name: bool,
    raid: &[String],
) -> Result<DiskIdentity, ChooseError> {
    let disks = one_per_wwn(disks);
    let seen = table(&disks);
    let Some(choice) = choice else { return Err(ChooseError::NotNamed { seen }) };
    let candidates: Vec<&Disk> = disks.iter().filter(|disk| disk.excluded().is_none()).collect();
    let wanted = match choice {
        DiskChoice::Path(path) => path.clone(),
        DiskChoice::Hints(hints) => serde_json::to_string(hints).unwrap_or_default(),
    };
    if let DiskChoice::Path(path) = choice
        && let Some(disk) = disks.iter().find(|disk| disk.is_named(path))
        && let Some(reason) = disk.excluded()
    {
        return Err(ChooseError::Excluded { wanted, reason, seen });
    }
    if candidates.is_empty() {
        let raid = match raid {
            [] => String::new(),
            names => format!(
                " There is a RAID controller ({}): create a volume on it, or switch it to pass its disks through.",
                names.join(", ")
            ),
        };
        return Err(ChooseError::NoCandidate { raid, seen });
    }
    match choice {
        DiskChoice::Path(path) => {
            let Some(disk) = candidates.iter().find(|disk| disk.is_named(path)) else {
                return Err(ChooseError::NoMatch { wanted, seen });
            };
            if !path.starts_with("/dev/disk/") && candidates.len() > 1 && !allow_kernel_name {
                return Err(ChooseError::KernelName { wanted, count: candidates.len(), seen });
            }
            Ok(disk.identity())
        }
        DiskChoice::Hints(hints) => {
            let limits = Limits::read(hints)?;
            let mut matching: Vec<&Disk> =
                candidates.into_iter().filter(|disk| matches(disk, hints, &limits)).collect();
            if hints.smallest {
                let least = matching.iter().map(|disk| disk.size_bytes).min();
                matching.retain(|disk| Some(disk.size_bytes) == least);
            }
            match matching.as_slice() {
                [] => Err(ChooseError::NoMatch { wanted, seen }),
                [disk] => Ok(disk.identity()),
                several => Err(ChooseError::Ambiguous { count: several.len(), wanted, seen }),
            }
        }
    }
}

/// The chosen disk among those that are there now, by everything that was known of it.
pub fn confirm(disks: Vec<Disk>, wanted: &DiskIdentity) -> Result<Disk, ChooseError> {
    let disks = one_per_wwn(disks);
    let same = |disk: &&Disk| {
        let by =
            |link: &Option<String>, links: &[String]| link.as_ref().is_none_or(|link| links.contains(link));
        // Without any name that survives a change of kernel names, the kernel name must be the same.
        let nameless = wanted.wwn.is_none() && wanted.serial.is_none() && wanted.by_path.is_none();
        disk.size_bytes == wanted.size_bytes
            && disk.sector_bytes == wanted.sector_bytes
            && disk.wwn == wanted.wwn
            && disk.serial == wanted.serial
            && disk.model == wanted.model
            && by(&wanted.by_path, &disk.by_path)
            && by(&wanted.by_id, &disk.by_id)
            && (!nameless || disk.path == wanted.path)
    };
    let found: Vec<&Disk> = disks.iter().filter(same).collect();
    match found.as_slice() {
        [disk] => Ok((*disk).clone()),
        _ => Err(ChooseError::Vanished { wanted: wanted.path.clone(), seen: table(&disks) }),
    }
}

struct Limits {
    min: u64,
    max: u64,
}

impl Limits {
    fn read(hints: &DiskHints) -> Result<Self, ChooseError> {
        let read = |name, value: &Option<String>, otherwise| match value {
            None => Ok(otherwise),
            Some(text) => match text.parse::<Size>() {
                Ok(Size::Bytes(bytes)) => Ok(bytes),
                _ => Err(ChooseError::HintSize { name, value: text.clone() }),
            },
        };
        Ok(Self {
            min: read("min_size", &hints.min_size, 0)?,
            max: read("max_size", &hints.max_size, u64::MAX)?,
        })
    }
}

fn matches(disk: &Disk, hints: &DiskHints, limits: &Limits) -> bool {
    let lower = |text: &str| text.trim().to_lowercase();
    let equal = |wanted: &Option<String>, found: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| lower(found) == lower(wanted)))
    };
    let model =
        [disk.vendor.as_deref(), disk.model.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    equal(&hints.serial, &disk.serial)
        && hints.wwn.as_ref().is_none_or(|wwn| disk.wwn.as_deref() == Some(plain_wwn(wwn).as_str()))
        && hints.model.as_ref().is_none_or(|part| lower(&model).contains(&lower(part)))
        && hints.by_path.as_ref().is_none_or(|wanted| {
            disk.by_path.iter().any(|link| link == wanted || link.rsplit('/').next() == Some(wanted.as_str()))
        })
        && (limits.min..=limits.max).contains(&disk.size_bytes)
        && hints.rotational.is_none_or(|wanted| disk.rotational == wanted)
        && equal(&hints.transport, &disk.transport)
}

/// One line per disk, for errors.
fn table(disks: &[Disk]) -> String {
    let mut text = String::new();
    for disk in disks {
        let _ = write!(text, "  {} {}", disk.path, size::human(disk.size_bytes));
        for word in [&disk.vendor, &disk.model].into_iter().flatten() {
            let _ = write!(text, " {word}");
        }
        for (name, word) in [("serial", &disk.serial), ("wwn", &disk.wwn), ("transport", &disk.transport)] {
            if let Some(word) = word {
                let _ = write!(text, " {name}={word}");
            }
        }
        if let Some(link) = disk.by_path.first() {
            let _ = write!(text, " by_path={}", link.rsplit('/').next().unwrap_or(link));
        }
        if let Some(reason) = disk.excluded() {
            let _ = write!(text, " (never used: {reason})");
        }
        text.push('\n');
    }
    if text.is_empty() { "  no disk at all".to_owned() } else { text.trim_end().to_owned() }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
