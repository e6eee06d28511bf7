//! What a QEMU machine is made of.

use serde::{Deserialize, Serialize};

/// A QEMU machine: q35, OVMF, TCG, two CD drives, a serial console.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QemuConfig {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// Enforce Secure Boot with Microsoft's keys enrolled; needs SMM, which makes the machine slower.
    pub secure_boot: bool,
    /// The disks, in the order the firmware tries them.
    pub disks: Vec<DiskConfig>,
    /// How the first network card is connected.
    pub network: Network,
    /// `tcg` (works everywhere) or `kvm`.
    pub accel: String,
    /// Let the firmware try PXE and HTTP boot when nothing else boots; costs minutes.
    pub network_boot: bool,
    /// More arguments for QEMU, after ours.
    pub extra_args: Vec<String>,
}

impl Default for QemuConfig {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpus: 2,
            secure_boot: false,
            disks: vec![DiskConfig::default()],
            network: Network::default(),
            accel: "tcg".into(),
            network_boot: false,
            extra_args: Vec::new(),
        }
    }
}

impl QemuConfig {
    /// Where a disk hangs: its place among the SATA disks, which have few ports, or among all for the other buses.
    pub(crate) fn place(&self, index: usize) -> usize {
        let sata = |disk: &&DiskConfig| disk.bus == DiskBus::Sata;
        match self.disks.get(index) {
            Some(disk) if disk.bus == DiskBus::Sata => self.disks[..index].iter().filter(sata).count(),
            _ => index,
        }
    }
}

/// One disk, kept as a file in the machine's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskConfig {
    /// File; relative names are in the machine's folder. An absent file is made, sparse.
    pub file: String,
    /// `raw` or `qcow2`.
    pub format: DiskFormat,
    /// Size in MiB of a file that is made.
    pub size_mib: u64,
    /// Serial number the guest sees, at most 20 characters.
    pub serial: String,
    /// What it hangs on.
    pub bus: DiskBus,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            file: "disk0.raw".into(),
            format: DiskFormat::Raw,
            size_mib: 8192,
            serial: "MOCKDISK0".into(),
            bus: DiskBus::Virtio,
        }
    }
}

/// Format of a disk file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Every byte as the guest sees it; sparse.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl DiskFormat {
    /// Its name for QEMU.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// What a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// virtio-blk: `/dev/vda`.
    Virtio,
    /// AHCI: `/dev/sda`.
    Sata,
    /// NVMe: `/dev/nvme0n1`.
    Nvme,
}

/// How the network card is connected. In every case the guest reaches our loopback as 10.0.2.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// QEMU's user network with DHCP.
    #[default]
    User,
    /// The same, but DHCP never answers; for machines with static addresses (use 10.0.2.15/24).
    NoDhcp,
    /// No card at all.
    None,
}
