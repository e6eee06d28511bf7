//! What kind of machine this is, read from /sys and /proc: firmware, memory, RAID controllers. Facts only.

use std::fs;
use std::path::Path;

use schema::layout::Firmware;

/// PCI classes of controllers that may hide disks: RAID, and SAS that may be a RAID controller.
const RAID_CLASSES: [&str; 2] = ["0x0104", "0x0107"];
/// Longest file of /proc or /sys that is looked at.
const FACT_MAX: usize = 64 << 10;

/// The machine, as far as preflight asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// How it was booted, and so how it will boot its disk.
    pub firmware: Firmware,
    /// All of its memory in bytes, without what firmware and kernel keep.
    pub memory_bytes: u64,
    /// Controllers of RAID class, as `0000:03:00.0 1000:005d megaraid_sas`.
    pub raid: Vec<String>,
}

impl Hardware {
    /// Reads the facts below `/` (or a folder that looks like it, in tests).
    pub fn read(root: &Path) -> Self {
        let firmware = if root.join("sys/firmware/efi").is_dir() { Firmware::Uefi } else { Firmware::Bios };
        Self {
            firmware,
            memory_bytes: memory(&text(&root.join("proc/meminfo"))),
            raid: raid(&root.join("sys/bus/pci/devices")),
        }
    }
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(FACT_MAX)]).trim().to_owned()
}

/// `MemTotal` of /proc/meminfo in bytes; 0 when it is not there.
fn memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn raid(devices: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(devices).into_iter().flatten().flatten() {
        let path = entry.path();
        let class = text(&path.join("class"));
        if RAID_CLASSES.iter().any(|raid| class.starts_with(raid)) {
            let hex = |name| text(&path.join(name)).trim_start_matches("0x").to_owned();
            let driver = fs::read_link(path.join("driver")).ok();
            let driver = driver
                .as_deref()
                .and_then(Path::file_name)
                .map_or_else(|| "without a driver".to_owned(), |name| name.to_string_lossy().into_owned());
            found.push(format!(
                "{} {}:{} {driver}",
                entry.file_name().to_string_lossy(),
                hex("vendor"),
                hex("device")
            ));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:03:00.0");
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(root.path().join("sys/firmware/efi")).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(device.join("class"), "0x010400\n").unwrap();
        fs::write(device.join("vendor"), "0x1000\n").unwrap();
        fs::write(device.join("device"), "0x005d\n").unwrap();
        std::os::unix::fs::symlink("/x/drivers/megaraid_sas", device.join("driver")).unwrap();
        fs::write(root.path().join("proc/meminfo"), "MemTotal:  8048484 kB\nMemFree: 1 kB\n").unwrap();
        let hardware = Hardware::read(root.path());
        assert_eq!(hardware.firmware, Firmware::Uefi);
        assert_eq!(hardware.memory_bytes, 8_048_484 * 1024);
        assert_eq!(hardware.raid, ["0000:03:00.0 1000:005d megaraid_sas"]);
    }

    #[test]
    fn a_machine_without_efi_is_a_bios_machine() {
        let root = tempfile::tempdir().unwrap();
        let hardware = Hardware::read(root.path());
        assert_eq!((hardware.firmware, hardware.memory_bytes, hardware.raid.len()), (Firmware::Bios, 0, 0));
    }
}
