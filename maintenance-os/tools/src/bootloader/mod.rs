//! Step 4: makes the disk bootable, with what the image itself brings.
//!
//! ```text
//!   mount ─▶ Installed (what the image has) ─▶ plan(): fstab ▸ own dev/proc/sys/run ▸ initramfs ▸ grub.cfg ▸
//!                                              ESP last: grub-install twice ▸ machine-id ─▶ unmount
//!         ─▶ nvram: our and dead entries of this disk go, one comes (a failure here is a warning)
//! ```
//! The programs are the target's own, run in a chroot that sees this disk and no other. On UEFI the loader
//! stands at the distribution's path and at the removable path, so the machine boots with its NVRAM wiped.

mod fstab;
mod installed;
pub mod nvram;

use std::path::Path;

use schema::layout::{Firmware, Role, type_guid};
use schema::recipe::ImageKind;

use crate::disk::Disk;
use crate::handoff::{Handoff, HandoffError, PartitionTable};
use crate::image::{ImageError, confirmed};
use crate::partition::partition_path;
use crate::plan::{Action, Command, LONG, Plan, run as program};
use crate::progress::Progress;
use crate::runner::{RunError, Runner};
use crate::target::{self, TARGET, TargetError};
pub use installed::{Installed, Loader};
use nvram::Entry;

/// Device nodes that programs of the image may expect; besides the disk's own.
const NODES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Folders of the image that are written to, and so must be folders.
const WRITTEN: [&str; 6] = ["etc", "dev/disk", "proc", "sys", "run", "boot"];

/// A disk that cannot boot.
#[derive(Debug, thiserror::Error)]
pub enum BootloaderError {
    /// The hand-off.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// The disk is not there, or not as recorded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The mounted system.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Something did not work.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The layout has no root.
    #[error("partitions.json has no partition for /; the layout of an install needs one")]
    NoRoot,
    /// The layout has no ESP.
    #[error(
        "the machine boots by UEFI but the layout has no EFI system partition; preflight should have said so"
    )]
    NoEsp,
    /// The image has no kernel.
    #[error(
        "the image has no kernel (/boot/vmlinuz-* or /usr/lib/modules/*/vmlinuz): build it with a kernel package, such as linux-image-amd64"
    )]
    NoKernel,
    /// The image has no loader for this firmware.
    #[error("the image has no boot loader for {firmware}: build it with {packages}")]
    NoLoader {
        /// `UEFI` or `BIOS`.
        firmware: &'static str,
        /// What would do.
        packages: &'static str,
    },
    /// The image names itself in a way that would leave its folder.
    #[error("the image's os-release has the ID {id:?}, which is no plain word")]
    OsId {
        /// As it stands there.
        id: String,
    },
    /// grub.cfg does not find its root by UUID.
    #[error(
        "{path} does not boot from root=UUID={uuid}: check GRUB_DISABLE_LINUX_UUID and GRUB_CMDLINE_LINUX in the image's /etc/default/grub"
    )]
    RootNotByUuid {
        /// The file.
        path: String,
        /// UUID of the root filesystem.
        uuid: String,
    },
}

/// Everything that is done in the mounted system. The filesystems but the ESP are mounted already.
pub fn plan(
    disk: &Disk,
    table: &PartitionTable,
    installed: &Installed,
    firmware: Firmware,
) -> Result<Vec<Action>, BootloaderError> {
    let root = target::root(table).ok_or(BootloaderError::NoRoot)?;
    let root_uuid = root.uuid.clone().unwrap_or_default();
    if installed.kernels.is_empty() {
        return Err(BootloaderError::NoKernel);
    }
    let loader = installed.loader(firmware)?;
    let write = |place: &str, text: String| Action::Write { path: target::inside(place), mode: 0o644, text };

    let mut actions = vec![write("/etc/fstab", fstab::text(table, &installed.fstab_kept))];
    actions.extend(surroundings(disk, table));
    for kernel in installed.kernels.iter().filter(|kernel| !kernel.has_initrd) {
        if installed.update_initramfs {
            let args = ["update-initramfs", "-c", "-k", &kernel.version];
            actions.push(chroot(&args));
        }
    }
    if let Loader::Grub { mkconfig, config, .. } = &loader {
        // GRUB's own installer makes its folder, but only after the configuration is to be there.
        let folder = config.trim_end_matches("/grub.cfg");
        actions.push(program("mkdir", &["--parents", &target::inside(folder)]));
        actions.push(chroot(&[mkconfig, "-o", config]));
    }
    if firmware == Firmware::Uefi {
        let esp = target::esp(table).ok_or(BootloaderError::NoEsp)?;
        let place = target::esp_mountpoint(esp);
        if installed.esp_content {
            // What the image has below the ESP's mountpoint is on the root filesystem, out of firmware's sight.
            let side = "/mnt/slipway-esp";
            actions.push(program("mkdir", &["--parents", side]));
            let device = partition_path(&disk.path, esp.solved.number);
            actions.push(program("mount", &["-t", "vfat", &device, side]));
            let from = format!("{}/.", target::inside(place));
            actions.push(program("cp", &["--recursive", "--no-preserve=all", &from, side]));
            actions.push(program("umount", &[side]));
        }
        actions.extend(target::mount_one(disk, esp, place));
        actions.extend(uefi(&loader, installed, place, &root_uuid));
    } else if let Loader::Grub { install, .. } = &loader {
        actions.push(chroot(&[install, "--target=i386-pc", &disk.path]));
    }
    actions.push(write("/etc/machine-id", String::new()));
    if installed.dbus_machine_id {
        actions.push(program("rm", &["--force", &target::inside("/var/lib/dbus/machine-id")]));
    }
    actions.push(program("sync", &[]));
    Ok(actions)
}

fn uefi(loader: &Loader, installed: &Installed, esp: &str, root_uuid: &str) -> Vec<Action> {
    match loader {
        Loader::Grub { install, .. } => {
            let directory = format!("--efi-directory={esp}");
            let id = format!("--bootloader-id={}", installed.os_id);
            let common = [install.as_str(), "--target=x86_64-efi", &directory, "--no-nvram"];
            vec![
                chroot(&[&common[..], &[id.as_str()]].concat()),
                chroot(&[&common[..], &["--removable"]].concat()),
            ]
        }
        Loader::SystemdBoot => {
            let path = format!("--esp-path={esp}");
            let write =
                |place: &str, text: String| Action::Write { path: target::inside(place), mode: 0o644, text };
            let mut actions = vec![
                write("/etc/kernel/cmdline", format!("root=UUID={root_uuid} ro\n")),
                write("/etc/kernel/entry-token", format!("{}\n", installed.os_id)),
                chroot(&["bootctl", "install", "--no-variables", &path]),
            ];
            for kernel in &installed.kernels {
                actions.push(chroot(&["kernel-install", "add", &kernel.version, &kernel.image]));
            }
            actions
        }
    }
}

/// The chroot's own /dev, /proc, /sys and /run: this disk's nodes and no other's.
fn surroundings(disk: &Disk, table: &PartitionTable) -> Vec<Action> {
    let dev = target::inside("/dev");
    let on = |kind: &str, options: &str, place: &str| {
        let place = target::inside(place);
        vec![
            program("mkdir", &["--parents", &place]),
            program("mount", &["-t", kind, "-o", options, kind, &place]),
        ]
    };
    let mut actions = on("tmpfs", "mode=0755,nosuid", "/dev");
    let nodes: Vec<String> =
        table.partitions.iter().map(|record| partition_path(&disk.path, record.solved.number)).collect();
    let copy = Command::new("cp")
        .args(["--archive", "--target-directory", &dev])
        .args(NODES)
        .args([disk.path.clone()])
        .args(nodes);
    actions.push(Action::Run(copy));
    let by_uuid = format!("{dev}/disk/by-uuid");
    actions.push(program("mkdir", &["--parents", &by_uuid]));
    for record in &table.partitions {
        if let Some(uuid) = &record.uuid {
            let node = partition_path(&disk.path, record.solved.number).replacen("/dev/", "../../", 1);
            actions.push(program("ln", &["--symbolic", &node, &format!("{by_uuid}/{uuid}")]));
        }
    }
    actions.push(program("ln", &["--symbolic", "/proc/self/fd", &format!("{dev}/fd")]));
    actions.extend(on("proc", "nosuid,nodev,noexec", "/proc"));
    actions.extend(on("sysfs", "nosuid,nodev,noexec,ro", "/sys"));
    actions.extend(on("tmpfs", "nosuid,nodev,mode=0755", "/run"));
    actions
}

/// A program of the installed system, run inside it with a plain environment.
fn chroot(args: &[&str]) -> Action {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let fixed = [TARGET, "/usr/bin/env", "-i", path, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"];
    Action::Run(Command::new("chroot").args(fixed).args(args.iter().copied()).within(LONG))
}

/// Makes the disk bootable.
pub fn run(handoff: &Handoff, runner: &mut dyn Runner, firmware: Firmware) -> Result<(), BootloaderError> {
    let mut progress = Progress::new("bootloader-linux", &handoff.progress_socket());
    let (disk, table) = confirmed(handoff, runner)?;
    let loader = if handoff.image()?.kind == ImageKind::Disk {
        runner.say("the image is a whole disk and brings its own boot loader");
        None
    } else {
        progress.say("installing the boot loader");
        let mounts = Plan { actions: target::mount_all(&disk, &table), undo: target::unmount_all() };
        let outcome = runner
            .run_actions(&mounts.actions)
            .map_err(BootloaderError::from)
            .and_then(|()| in_target(&disk, &table, firmware, runner));
        let undone = runner.run_undo(&mounts.undo);
        let loader = outcome?;
        undone?;
        Some(loader)
    };
    if firmware == Firmware::Uefi {
        progress.say("writing the boot entry");
        let warning = boot_entry(handoff, &disk, &table, loader, runner);
        if let Some(warning) = &warning {
            runner.say(&format!("warning: {warning}"));
        }
        progress.say(warning.as_deref().unwrap_or("bootable"));
    } else {
        progress.say("bootable");
    }
    Ok(())
}

/// The name and loader path for a boot entry, once the mounted system is bootable.
fn in_target(
    disk: &Disk,
    table: &PartitionTable,
    firmware: Firmware,
    runner: &mut dyn Runner,
) -> Result<(String, String), BootloaderError> {
    let root = Path::new(TARGET);
    target::check_folders(root, &WRITTEN)?;
    let esp = target::esp(table).map_or(target::ESP_DEFAULT, target::esp_mountpoint);
    let installed = Installed::read(root, esp)?;
    let actions = plan(disk, table, &installed, firmware)?;
    runner.run_actions(&actions)?;
    let loader = installed.loader(firmware)?;
    if let (Loader::Grub { config, .. }, Some(record)) = (&loader, target::root(table)) {
        let uuid = record.uuid.clone().unwrap_or_default();
        let text = std::fs::read_to_string(target::inside(config)).unwrap_or_default();
        // Distributions with boot loader specification entries keep the kernel arguments elsewhere.
        if text.contains("vmlinuz") && !text.contains(&format!("root=UUID={uuid}")) {
            return Err(BootloaderError::RootNotByUuid { path: config.clone(), uuid });
        }
    }
    Ok((installed.os_id.clone(), installed.efi_path(&loader)))
}

/// The efibootmgr stage. A firmware that does not cooperate is a warning: the removable path boots.
fn boot_entry(
    handoff: &Handoff,
    disk: &Disk,
    table: &PartitionTable,
    loader: Option<(String, String)>,
    runner: &mut dyn Runner,
) -> Option<String> {
    let (name, path) = loader.unwrap_or_else(|| ("disk".to_owned(), r"\EFI\BOOT\BOOTX64.EFI".to_owned()));
    let Some((number, guid)) = find_esp(disk, table) else {
        return Some("no EFI system partition was found, so no boot entry was made".to_owned());
    };
    if !Path::new(nvram::EFIVARS).join("..").exists() {
        return Some("the firmware's variables are not visible; the removable path boots".to_owned());
    }
    let mounted = std::fs::read_dir(nvram::EFIVARS).is_ok_and(|mut entries| entries.next().is_some());
    if !mounted {
        let mount = Command::new("mount").args(["-t", "efivarfs", "efivarfs", nvram::EFIVARS]);
        if let Err(error) = runner.output(&mount) {
            return Some(format!("the firmware's variables cannot be mounted: {error}"));
        }
    }
    let listing = match runner.output(&Command::new("efibootmgr").args(["--verbose"])) {
        Ok(listing) => listing,
        Err(error) => return Some(format!("the firmware's boot entries cannot be read: {error}")),
    };
    let mut ours = vec![guid];
    ours.extend(table.partitions.iter().map(|record| record.partuuid.clone()));
    ours.extend(table.replaced.clone());
    let entry = Entry { name, path, disk: disk.path.clone(), partition: number, guids: ours };
    let actions = nvram::plan(&nvram::parse(&listing), &entry, handoff.recipe.boot_order.unwrap_or_default());
    runner.run_actions(&actions).err().map(|error| {
        format!("the firmware did not take the boot entry (NVRAM full or read-only?); the removable path boots: {error}")
    })
}

/// Number and GUID of the ESP: as made by us, or as the image brought it.
fn find_esp(disk: &Disk, table: &PartitionTable) -> Option<(u32, String)> {
    if let Some(esp) = table.partitions.iter().find(|record| record.solved.role == Role::Esp) {
        return Some((esp.solved.number, esp.partuuid.clone()));
    }
    let is_esp =
        |kind: &Option<String>| kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(type_guid::ESP));
    let node = disk.nodes.iter().find(|node| is_esp(&node.parttype))?;
    let at = node.path.rfind(|c: char| !c.is_ascii_digit())? + 1;
    Some((node.path[at..].parse().ok()?, node.partuuid.clone()?))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
