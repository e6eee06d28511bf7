//! The recipe: what to do to a machine. Types only; what makes a recipe *valid* is in [`crate::validate`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::shown::Environment;
use crate::strictly::{object, objects, present, present_object, present_objects, whole};

/// What to do to a machine, as the operator or CI wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Optional pointer to the JSON Schema; kept, never followed.
    #[serde(
        rename = "$schema",
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub schema: Option<String>,
    /// `1` or `1.N`.
    #[serde(default = "default_schema_version")]
    pub schema_version: String,
    /// The systemd target that does the work, such as `install-linux.target`.
    pub task_target: String,
    /// Which disk is written.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub target_disk: Option<DiskChoice>,
    /// Accept a bare kernel name (`/dev/sda`) even when more than one disk is present.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_kernel_name: bool,
    /// OCI reference of the operating system image in the embedded registry.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub oci_url: Option<String>,
    /// What the image is; default from its media type or annotation, which it must not contradict.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub image_kind: Option<ImageKind>,
    /// Firmware to apply (firmware-update).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub firmware_url: Option<String>,
    /// SHA-256 of the firmware, 64 lower-case hex digits.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub firmware_sha256: Option<String>,
    /// The partitions to make, in disk order.
    #[serde(default, deserialize_with = "present_objects", skip_serializing_if = "Option::is_none")]
    pub partition_layout: Option<Vec<Partition>>,
    /// cloud-init user-data of the installed system.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Payload>,
    /// cloud-init meta-data of the installed system.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<Payload>,
    /// cloud-init network-config of the installed system.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub network_config: Option<Payload>,
    /// Network of the maintenance OS; overrides the machine's own record.
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub host_network: Option<HostNetwork>,
    /// Windows answer file, well-formed XML.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub unattend_xml: Option<Payload>,
    /// Image index inside the WIM, from 1. Not together with `wim_name`.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub wim_index: Option<u32>,
    /// Image name inside the WIM.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub wim_name: Option<String>,
    /// Driver packages to inject (Windows), as OCI references.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub drivers: Option<Vec<String>>,
    /// Scripts run at first boot (Windows).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub first_boot_scripts: Option<Vec<Payload>>,
    /// ESXi kickstart.
    #[serde(
        default,
        alias = "ks.cfg",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub ks_cfg: Option<Payload>,
    /// Name of the vendor's installer ISO in the media library (ESXi).
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub installer: Option<String>,
    /// Environment of the tool containers. Not for secrets.
    #[serde(default, skip_serializing_if = "Environment::is_unset")]
    pub env: Environment,
    /// Step name to image reference with digest: runs that step from another image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
    /// What happens to the old contents of the disk.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub wipe: Option<Wipe>,
    /// What the machine does after success.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub on_success: Option<OnSuccess>,
    /// What the machine does after a failure.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Where the new entry goes in the firmware's boot order.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub boot_order: Option<BootOrder>,
    /// Whether an image without cloud-init is an error when the recipe brings cloud-init data.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// OpenSSH public keys accepted by the maintenance OS while debugging. Off when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debug_ssh_keys: Vec<String>,
    /// Deadlines: step name, phase name or `job` to a duration such as `90m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, String>,
    /// Free text, at most 2000 characters; kept, never interpreted.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Free JSON; kept, never interpreted.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

fn default_schema_version() -> String {
    "1".to_owned()
}

/// Which disk a recipe means: a device path, or hints that must match exactly one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DiskChoice {
    /// `/dev/sda`, `/dev/nvme0n1`, `/dev/disk/by-…`.
    Path(String),
    /// Properties the disk must have; all that are given must match.
    #[serde(deserialize_with = "object")]
    Hints(DiskHints),
}

/// Properties of the wanted disk. Every one that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskHints {
    /// Disk serial number, compared without case.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// World wide name, with or without `0x`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// Part of the model name, compared without case.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name under `/dev/disk/by-path`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub by_path: Option<String>,
    /// Smallest size accepted, such as `400G`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub min_size: Option<String>,
    /// Largest size accepted.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max_size: Option<String>,
    /// `true` for spinning disks only, `false` for solid state only.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// `nvme`, `sata`, `sas`, `virtio`, `scsi`, `mmc`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Of several matches take the smallest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smallest: bool,
}

/// What an operating system image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// A root filesystem as one tar: zstd, gzip or plain.
    Rootfs,
    /// A container image: layers applied in order, with whiteouts.
    Container,
    /// A raw whole-disk image: zstd, gzip or plain.
    Disk,
}

impl ImageKind {
    /// As written in recipes and annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rootfs => "rootfs",
            Self::Container => "container",
            Self::Disk => "disk",
        }
    }
}

/// One entry of `partition_layout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// `512M`, `25%`, `100%` or `rest`; see [`crate::size`].
    pub size: String,
    /// sgdisk alias (`ef00`) or GUID.
    pub type_guid: String,
    /// What is made on it; default `raw`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// GPT name and filesystem label.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Absolute path in the installed system.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<String>,
}

/// What is made on a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// FAT32.
    Vfat,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// NTFS.
    Ntfs,
    /// Linux swap.
    Swap,
    /// Nothing.
    #[default]
    Raw,
}

/// A document carried by a recipe. A plain string is the content itself. Its `Debug` shows sizes only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// The content, as text.
    Plain(String),
    /// The content, as text, spelled out.
    #[serde(deserialize_with = "object")]
    Content(PayloadContent),
    /// The content in standard base64 (RFC 4648 §4).
    #[serde(deserialize_with = "object")]
    Base64(PayloadBase64),
    /// Fetched by the controller when the job is accepted, and pinned by its digest.
    #[serde(deserialize_with = "object")]
    Remote(PayloadRemote),
}

/// `{content}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadContent {
    /// The text.
    pub content: String,
}

/// `{content_base64}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadBase64 {
    /// The bytes in base64.
    pub content_base64: String,
}

/// `{url, sha256}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadRemote {
    /// `http://` or `https://`.
    pub url: String,
    /// SHA-256 of the bytes, 64 lower-case hex digits.
    pub sha256: String,
}

/// How old contents of the disk are destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wipe {
    /// Nothing beyond what partitioning overwrites.
    None,
    /// Signatures, partition tables, md tails.
    #[default]
    Metadata,
    /// Metadata, and discard of every block.
    Discard,
    /// The drive's own secure erase.
    SecureErase,
}

/// What the machine does after success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnSuccess {
    /// Boots its new system.
    #[default]
    Boot,
    /// Stays off.
    PowerOff,
    /// Keeps media and power until an operator ends it.
    Stay,
}

/// What the machine does after a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Goes off and is quarantined if its disk had been touched.
    #[default]
    PowerOff,
    /// Keeps media and power for debugging until an operator ends it.
    Stay,
}

/// Where the new boot entry goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootOrder {
    /// First.
    #[default]
    First,
    /// The order stays as it is (the network first, say); the entry is added at the end.
    Keep,
}

/// What to do when cloud-init data meets an image without cloud-init.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudInit {
    /// Fail.
    #[default]
    Require,
    /// Write the config drive anyway.
    Ignore,
}

/// Network of the maintenance OS, applied before anything is reported.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostNetwork {
    /// The links to configure; links not named get DHCP and RA.
    #[serde(default, deserialize_with = "objects")]
    pub links: Vec<HostLink>,
    /// NTP servers, addresses or names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<String>,
    /// HTTP proxy between the host and its controller: what it reports and what it pulls.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// One link of [`HostNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLink {
    /// MAC address the link is matched by, `aa:bb:cc:dd:ee:ff`. A bond names its members instead.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Addresses with prefix length, `10.0.0.5/24`. Empty: DHCP and RA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Default gateway.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// MTU in bytes, 576 to 9216.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// VLAN id, 1 to 4094: the addresses go on the VLAN.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// A bond over several NICs: the addresses go on the bond.
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
}

/// A bond of several NICs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    /// `active-backup`, `802.3ad`, `balance-xor`.
    pub mode: String,
    /// MAC addresses of the members, two or more.
    pub members: Vec<String>,
}
