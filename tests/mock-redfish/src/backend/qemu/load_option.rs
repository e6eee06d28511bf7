//! Boot entries as the firmware keeps them: `EFI_LOAD_OPTION` with a device path. Pure.
//! (UEFI specification §3.1.3 and §10.3.)

use super::config::DiskBus;

/// PCI slot of the first disk on virtio or NVMe; the others follow.
pub(crate) const FIRST_DISK_SLOT: u8 = 0x10;
/// PCI slot of the first network card; the others follow.
pub(crate) const FIRST_NIC_SLOT: u8 = 0x3;
/// Port of the first SATA disk; the two virtual drives are on 0 and 1.
pub(crate) const FIRST_SATA_PORT: u8 = 2;
/// PCI slot and function of q35's AHCI controller.
const AHCI: (u8, u8) = (0x1f, 2);
/// First EUI-64 of NVMe disks; the position is added.
pub(crate) const FIRST_EUI64: u64 = 0x5254_0000_0000_0001;

/// What an entry boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Device {
    /// The disk of that place on its bus.
    Disk { index: u8, bus: DiskBus },
    /// The virtual drive of that position.
    Drive { index: u8 },
    /// PXE over IPv4 from the network card of that position.
    Pxe { index: u8, mac: [u8; 6] },
    /// UEFI HTTP boot from that URI by whatever card reaches it.
    Http { uri: String },
}

/// The load option of a device.
pub(crate) fn load_option(description: &str, device: &Device) -> Vec<u8> {
    let path = device_path(device);
    let mut option = Vec::new();
    option.extend_from_slice(&1_u32.to_le_bytes()); // LOAD_OPTION_ACTIVE
    option.extend_from_slice(&u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    option.extend(description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    option.extend_from_slice(&path);
    option
}

fn device_path(device: &Device) -> Vec<u8> {
    let mut path = Vec::new();
    match device {
        Device::Disk { index, bus: DiskBus::Virtio } => pci(&mut path, FIRST_DISK_SLOT + index, 0),
        Device::Disk { index, bus: DiskBus::Nvme } => {
            pci(&mut path, FIRST_DISK_SLOT + index, 0);
            let mut name = 1_u32.to_le_bytes().to_vec();
            name.extend_from_slice(&(FIRST_EUI64 + u64::from(*index)).to_be_bytes());
            node(&mut path, 3, 0x17, &name);
        }
        Device::Disk { index, bus: DiskBus::Sata } => sata(&mut path, FIRST_SATA_PORT + index),
        Device::Drive { index } => sata(&mut path, *index),
        Device::Pxe { index, mac } => {
            pci(&mut path, FIRST_NIC_SLOT + index, 0);
            let mut address = [0; 33];
            address[..6].copy_from_slice(mac);
            address[32] = 1; // Ethernet
            node(&mut path, 3, 0x0b, &address);
            node(&mut path, 3, 0x0c, &[0; 23]); // IPv4, everything from DHCP
        }
        Device::Http { uri } => node(&mut path, 3, 0x18, uri.as_bytes()),
    }
    node(&mut path, 0x7f, 0xff, &[]);
    path
}

fn pci(path: &mut Vec<u8>, slot: u8, function: u8) {
    // ACPI PNP0A03, UID 0: the first PCI root bridge.
    node(path, 2, 1, &[0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]);
    node(path, 1, 1, &[function, slot]);
}

fn sata(path: &mut Vec<u8>, port: u8) {
    pci(path, AHCI.0, AHCI.1);
    node(path, 3, 0x12, &[port, 0, 0xff, 0xff, 0, 0]);
}

fn node(path: &mut Vec<u8>, kind: u8, sub: u8, data: &[u8]) {
    let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
    path.extend_from_slice(&[kind, sub]);
    path.extend_from_slice(&length.to_le_bytes());
    path.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_bytes_the_specification_says() {
        let root = "02010c00d041030a00000000";
        let end = "7fff0400";
        let table = [
            (Device::Drive { index: 1 }, format!("{root}01010600021f03120a000100ffff0000{end}")),
            (Device::Disk { index: 0, bus: DiskBus::Virtio }, format!("{root}010106000010{end}")),
            (
                Device::Disk { index: 1, bus: DiskBus::Sata },
                format!("{root}01010600021f03120a000300ffff0000{end}"),
            ),
            (
                Device::Disk { index: 0, bus: DiskBus::Nvme },
                format!("{root}01010600001003171000010000005254000000000001{end}"),
            ),
            (
                Device::Pxe { index: 1, mac: [0x52, 0x54, 0, 1, 2, 3] },
                format!(
                    "{root}010106000004030b2500525400010203{}01030c1b00{}{end}",
                    "00".repeat(26),
                    "00".repeat(23)
                ),
            ),
            (Device::Http { uri: "http://a".into() }, format!("03180c00687474703a2f2f61{end}")),
        ];
        for (device, bytes) in table {
            assert_eq!(hex::encode(device_path(&device)), bytes, "{device:?}");
        }
        let option = load_option("Cd", &Device::Drive { index: 0 });
        assert_eq!(hex::encode(&option[..12]), "010000002000430064000000");
    }
}
