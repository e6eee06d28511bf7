//! Writes maintenance.iso: UEFI by the distribution's signed shim, GRUB and kernel, BIOS by GRUB, from a CD or a
//! USB stick, and the two files that the controller lays bytes over at read time.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cache;
use crate::packages::sudo;
use crate::run::Run;

/// Keep these four in step with `schema::task`.
const LABEL: &str = "SLIPWAY_MAINT";
const TRUST_SIZE: u64 = 4096;
const TASK_SIZE: u64 = 12 << 20;
/// El Torito and USB boot image: shim, GRUB and MokManager need 5 MiB.
const EFI_IMAGE_SIZE: u64 = 6 << 20;
/// All time stamps of the ISO, so that equal input gives an equal file.
const SOURCE_DATE_EPOCH: &str = "1700000000";
/// Modules of the BIOS core image: reading the disc, the menu and both consoles.
const BIOS_MODULES: &str = "biosdisk iso9660 part_gpt part_msdos normal linux search search_label search_fs_file serial terminal configfile test echo minicmd all_video";

/// Assembles the ISO from a root folder (for shim and GRUB) and the netboot files.
pub fn assemble(rootfs: &Path, netboot: &Path, iso: &Path) -> Result<()> {
    let tree = cache::folder("iso-tree")?;
    fs::remove_dir_all(&tree)?;
    for folder in ["LiveOS", "boot/grub", ".disk", "slipway"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    // Debian's signed GRUB for discs looks for its root by this file.
    fs::write(tree.join(".disk/info"), "Slipway maintenance OS\n")?;
    fs::copy(cache::repository().join("maintenance-os/grub/grub.cfg"), tree.join("boot/grub/grub.cfg"))?;
    for (from, to) in [
        ("vmlinuz", "boot/vmlinuz"),
        ("initramfs.img", "boot/initramfs.img"),
        ("rootfs.squashfs", "LiveOS/squashfs.img"),
    ] {
        link_or_copy(&netboot.join(from), &tree.join(to))?;
    }
    // `slipway doctor` shows it.
    fs::write(tree.join("slipway/version"), format!("{}\n", env!("CARGO_PKG_VERSION")))?;
    fs::write(tree.join("slipway/trust"), vec![b'\n'; usize::try_from(TRUST_SIZE)?])?;
    fs::File::create(tree.join("slipway/task.img"))?.set_len(TASK_SIZE)?;

    let efi = cache::folder("iso")?.join("efi.img");
    efi_image(rootfs, &efi)?;
    Run::new("grub-mkimage")
        .args(["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-d"])
        .arg(rootfs.join("usr/lib/grub/i386-pc"))
        .arg("-o")
        .arg(tree.join("boot/grub/bios.img"))
        .args(BIOS_MODULES.split(' '))
        .quiet("grub-mkimage")?;
    let part = iso.with_extension("part");
    Run::new("xorriso")
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .args(["-as", "mkisofs", "-r", "-J", "-V", LABEL, "-o"])
        .arg(&part)
        .args(["-b", "boot/grub/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
        .args(["--grub2-boot-info", "--grub2-mbr"])
        .arg(rootfs.join("usr/lib/grub/i386-pc/boot_hybrid.img"))
        .args(["-append_partition", "2", "0xef"])
        .arg(&efi)
        .args(["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"])
        .arg(&tree)
        .quiet("xorriso")?;
    fs::rename(&part, iso).with_context(|| format!("placing {}", iso.display()))?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// The FAT image firmware boots from, with names that firmware and shim look for.
fn efi_image(rootfs: &Path, image: &Path) -> Result<()> {
    let _ = fs::remove_file(image);
    fs::File::create(image)?.set_len(EFI_IMAGE_SIZE)?;
    Run::new("mkfs.vfat")
        .args(["-i", "534C4950", "-n", "SLIPWAY_EFI", "--invariant"])
        .arg(image)
        .quiet("efi-mkfs")?;
    Run::new("mmd").arg("-i").arg(image).args(["::EFI", "::EFI/BOOT"]).quiet("efi-mmd")?;
    for (from, to) in [
        ("usr/lib/shim/shimx64.efi.signed", "::EFI/BOOT/BOOTX64.EFI"),
        ("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed", "::EFI/BOOT/grubx64.efi"),
        ("usr/lib/shim/mmx64.efi.signed", "::EFI/BOOT/mmx64.efi"),
    ] {
        sudo("mcopy")
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .arg("-i")
            .arg(image)
            .arg(rootfs.join(from))
            .arg(to)
            .quiet("efi-mcopy")?;
    }
    Ok(())
}

fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}
