//! The disks of this machine, as `lsblk --json` and the links below /dev/disk tell them. Facts only; which
//! disk is meant is decided in [`crate::disk`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::disk::{Disk, Node};
use crate::plan::Command;
use crate::runner::{RunError, Runner};

/// Columns asked for; all of them are in util-linux 2.37 and later.
const COLUMNS: &str = "NAME,KNAME,PATH,TYPE,SIZE,MODEL,VENDOR,SERIAL,WWN,TRAN,RM,RO,ROTA,LOG-SEC,START,\
                       DISC-MAX,FSTYPE,LABEL,UUID,PARTUUID,PARTTYPE,MOUNTPOINTS";

/// An answer of lsblk that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LsblkError {
    /// It did not run.
    #[error("listing the disks")]
    Run(#[from] RunError),
    /// It said something else than expected.
    #[error("reading what lsblk says")]
    Parse(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Answer {
    blockdevices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    kname: String,
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: Option<u64>,
    model: Option<String>,
    vendor: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
    tran: Option<String>,
    #[serde(default)]
    rm: Option<bool>,
    #[serde(default)]
    ro: Option<bool>,
    #[serde(default)]
    rota: Option<bool>,
    #[serde(rename = "log-sec")]
    sector: Option<u32>,
    #[serde(default)]
    start: Option<u64>,
    #[serde(rename = "disc-max", default)]
    discard: Option<u64>,
    fstype: Option<String>,
    label: Option<String>,
    uuid: Option<String>,
    partuuid: Option<String>,
    parttype: Option<String>,
    #[serde(default)]
    mountpoints: Vec<Option<String>>,
    #[serde(default)]
    children: Vec<Device>,
}

/// The command that lists everything.
pub fn command() -> Command {
    Command::new("lsblk").args(["--json", "--bytes", "--output", COLUMNS])
}

/// All block devices of the machine, with the links that point to them.
pub fn disks(runner: &mut dyn Runner) -> Result<Vec<Disk>, LsblkError> {
    let answer = runner.output(&command())?;
    parse(&answer, &links(Path::new("/dev/disk/by-id")), &links(Path::new("/dev/disk/by-path")))
}

/// One disk, by its path; for steps that know which one it is.
pub fn parse(
    answer: &str,
    by_id: &BTreeMap<String, Vec<String>>,
    by_path: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Disk>, LsblkError> {
    let answer: Answer = serde_json::from_str(answer)?;
    let disks = answer.blockdevices.into_iter().map(|device| {
        let linked =
            |links: &BTreeMap<String, Vec<String>>| links.get(&device.kname).cloned().unwrap_or_default();
        let (by_id, by_path) = (linked(by_id), linked(by_path));
        let nodes = device.children.into_iter().map(node).collect();
        Disk {
            kind: device.kind,
            size_bytes: device.size.unwrap_or(0),
            sector_bytes: device.sector.unwrap_or(512),
            model: tidy(device.model),
            vendor: tidy(device.vendor),
            serial: tidy(device.serial),
            wwn: tidy(device.wwn).map(|wwn| plain_wwn(&wwn)),
            transport: transport(device.tran, &device.kname),
            removable: device.rm.unwrap_or(false),
            read_only: device.ro.unwrap_or(false),
            rotational: device.rota.unwrap_or(false),
            discards: device.discard.unwrap_or(0) > 0,
            fstype: device.fstype,
            label: device.label,
            mountpoints: device.mountpoints.into_iter().flatten().collect(),
            nodes,
            name: device.kname,
            path: device.path,
            also: Vec::new(),
            by_id,
            by_path,
        }
    });
    Ok(disks.collect())
}

fn node(device: Device) -> Node {
    Node {
        path: device.path,
        kind: device.kind,
        start_bytes: device.start.map(|sector| sector * 512),
        size_bytes: device.size.unwrap_or(0),
        fstype: device.fstype,
        label: device.label,
        uuid: device.uuid,
        partuuid: device.partuuid.map(|guid| guid.to_ascii_lowercase()),
        parttype: device.parttype.map(|guid| guid.to_ascii_lowercase()),
        mountpoints: device.mountpoints.into_iter().flatten().collect(),
        nodes: device.children.into_iter().map(node).collect(),
    }
}

fn tidy(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// World wide names are written with and without prefix; here always without, in lower case.
pub fn plain_wwn(wwn: &str) -> String {
    let wwn = wwn.trim().to_ascii_lowercase();
    for prefix in ["0x", "eui.", "naa.", "uuid.", "nvme."] {
        if let Some(rest) = wwn.strip_prefix(prefix) {
            return rest.to_owned();
        }
    }
    wwn
}

/// lsblk names no transport for disks behind RAID controllers and paravirtual ones; the kernel name does.
fn transport(tran: Option<String>, kname: &str) -> Option<String> {
    match tran.as_deref() {
        Some("spi" | "fc" | "iscsi") => return Some("scsi".into()),
        Some("ata") => return Some("sata".into()),
        Some(_) => return tran,
        None => {}
    }
    let by_name = [("vd", "virtio"), ("nvme", "nvme"), ("mmcblk", "mmc"), ("sd", "scsi"), ("xvd", "xen")];
    by_name.iter().find(|(prefix, _)| kname.starts_with(prefix)).map(|(_, name)| (*name).to_owned())
}

/// Links in a folder, by the kernel name they lead to.
fn links(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Absent without udev: then there are no such links to name a disk by.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(target) = entry.path().canonicalize()
            && let (Some(kname), Some(link)) = (target.file_name(), entry.path().to_str())
        {
            found.entry(kname.to_string_lossy().into_owned()).or_default().push(link.to_owned());
        }
    }
    for links in found.values_mut() {
        links.sort();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_from_their_prefixes() {
        assert_eq!(plain_wwn("0x5000C500A1B2C3D4"), "5000c500a1b2c3d4");
        assert_eq!(plain_wwn("eui.0025388b91b0a1f2"), "0025388b91b0a1f2");
        assert_eq!(transport(None, "vda").as_deref(), Some("virtio"));
        assert_eq!(transport(Some("sas".into()), "sda").as_deref(), Some("sas"));
        assert_eq!(transport(None, "loop0"), None);
    }
}
