//! What the installed system brings for booting: kernels, boot loaders, its name. Facts read from the
//! mounted target, links followed no further than its top.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use schema::layout::Firmware;

use super::{BootloaderError, fstab};

/// Largest text file of the image that is read.
const TEXT_MAX: u64 = 256 << 10;
/// Where GRUB's programs may be.
const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// A kernel of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `6.12.1-amd64`.
    pub version: String,
    /// Path inside the system.
    pub image: String,
    /// Whether an initramfs stands beside it.
    pub has_initrd: bool,
}

/// The installed system, as far as booting it goes.
#[expect(clippy::struct_excessive_bools, reason = "facts as they were read, each independent of the others")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// `ID` of os-release: `debian`.
    pub os_id: String,
    /// Kernels, oldest name first.
    pub kernels: Vec<Kernel>,
    /// `grub-install` or `grub2-install`.
    pub grub_install: Option<String>,
    /// `grub-mkconfig` or `grub2-mkconfig`.
    pub grub_mkconfig: Option<String>,
    /// GRUB's modules for UEFI are there.
    pub grub_efi: bool,
    /// GRUB's modules for BIOS are there.
    pub grub_pc: bool,
    /// Signed shim and signed GRUB are there.
    pub signed: bool,
    /// systemd-boot is there.
    pub systemd_boot: bool,
    /// `update-initramfs` is there.
    pub update_initramfs: bool,
    /// Something lies below the ESP's mountpoint.
    pub esp_content: bool,
    /// D-Bus keeps a machine id of its own, not a link.
    pub dbus_machine_id: bool,
    /// Lines of its fstab that stay.
    pub fstab_kept: Vec<String>,
}

/// The boot loader that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loader {
    /// GRUB.
    Grub {
        /// Its installer.
        install: String,
        /// What makes its configuration.
        mkconfig: String,
        /// Its configuration, inside the system.
        config: String,
    },
    /// systemd-boot.
    SystemdBoot,
}

impl Installed {
    /// Reads the facts from the system mounted at `root`.
    pub fn read(root: &Path, esp: &str) -> Result<Self, BootloaderError> {
        let there = |path: &str| fs::symlink_metadata(root.join(path)).is_ok();
        let program = |names: [&str; 2]| {
            let found = |name: &&str| PROGRAMS.iter().any(|folder| there(&format!("{folder}/{name}")));
            names.iter().find(|name| found(name)).map(|name| (*name).to_owned())
        };
        let os_id =
            os_id(&text(root, "usr/lib/os-release").or(text(root, "etc/os-release")).unwrap_or_default());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !os_id.chars().all(plain) || os_id.starts_with('.') {
            return Err(BootloaderError::OsId { id: os_id.chars().take(100).collect() });
        }
        let dbus = fs::symlink_metadata(root.join("var/lib/dbus/machine-id"));
        Ok(Self {
            os_id,
            kernels: kernels(root),
            grub_install: program(["grub-install", "grub2-install"]),
            grub_mkconfig: program(["grub-mkconfig", "grub2-mkconfig"]),
            grub_efi: there("usr/lib/grub/x86_64-efi"),
            grub_pc: there("usr/lib/grub/i386-pc"),
            signed: there("usr/lib/shim/shimx64.efi.signed")
                && there("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
            systemd_boot: program(["bootctl", "bootctl"]).is_some()
                && there("usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
            update_initramfs: program(["update-initramfs", "update-initramfs"]).is_some(),
            esp_content: fs::read_dir(root.join(esp.trim_start_matches('/')))
                .is_ok_and(|mut entries| entries.next().is_some()),
            dbus_machine_id: dbus.is_ok_and(|found| found.is_file()),
            fstab_kept: fstab::kept(&text(root, "etc/fstab").unwrap_or_default()),
        })
    }

    /// The loader for that firmware: GRUB where the image has it, else systemd-boot.
    pub fn loader(&self, firmware: Firmware) -> Result<Loader, BootloaderError> {
        let modules = match firmware {
            Firmware::Uefi => self.grub_efi,
            Firmware::Bios => self.grub_pc,
        };
        match (&self.grub_install, &self.grub_mkconfig) {
            (Some(install), Some(mkconfig)) if modules => Ok(Loader::Grub {
                install: install.clone(),
                mkconfig: mkconfig.clone(),
                config: format!(
                    "/boot/{}/grub.cfg",
                    if install.starts_with("grub2") { "grub2" } else { "grub" }
                ),
            }),
            _ if firmware == Firmware::Uefi && self.systemd_boot => Ok(Loader::SystemdBoot),
            _ => Err(match firmware {
                Firmware::Uefi => BootloaderError::NoLoader {
                    firmware: "UEFI",
                    packages: "grub-efi-amd64 (with grub-efi-amd64-signed and shim-signed for Secure Boot) or systemd-boot",
                },
                Firmware::Bios => {
                    BootloaderError::NoLoader { firmware: "BIOS", packages: "grub-pc-bin and grub2-common" }
                }
            }),
        }
    }

    /// Where firmware finds the loader on the ESP.
    pub fn efi_path(&self, loader: &Loader) -> String {
        match loader {
            Loader::Grub { .. } => {
                format!(r"\EFI\{}\{}", self.os_id, if self.signed { "shimx64.efi" } else { "grubx64.efi" })
            }
            Loader::SystemdBoot => r"\EFI\systemd\systemd-bootx64.efi".to_owned(),
        }
    }
}

/// A text file of the image, bounded; not through links, which may lead out of it.
fn text(root: &Path, path: &str) -> Option<String> {
    let path: PathBuf = root.join(path);
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(&path).ok()?.take(TEXT_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn os_id(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.trim().strip_prefix("ID="));
    match value.map(|value| value.trim().trim_matches(['"', '\''])) {
        None | Some("") => "linux".to_owned(),
        Some(id) => id.to_owned(),
    }
}

fn kernels(root: &Path) -> Vec<Kernel> {
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let boot = names("boot");
    let has_initrd = |version: &str| {
        let known = [
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}"),
        ];
        known.iter().any(|name| boot.contains(name))
    };
    let mut found: Vec<Kernel> = boot
        .iter()
        .filter_map(|name| name.strip_prefix("vmlinuz-"))
        .map(|version| Kernel {
            image: format!("/boot/vmlinuz-{version}"),
            has_initrd: has_initrd(version),
            version: version.to_owned(),
        })
        .collect();
    for version in names("usr/lib/modules") {
        let image = format!("/usr/lib/modules/{version}/vmlinuz");
        if !found.iter().any(|kernel| kernel.version == version) && root.join(&image[1..]).is_file() {
            let beside = root.join(format!("usr/lib/modules/{version}/initramfs.img")).is_file();
            found.push(Kernel { has_initrd: beside || has_initrd(&version), image, version });
        }
    }
    found.sort_by(|a, b| a.version.cmp(&b.version));
    found
}
