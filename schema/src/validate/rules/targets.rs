//! Rules by target: what each workflow needs before it can begin.

use super::{Faults, LINUX};
use crate::layout::{Role, type_guid};
use crate::recipe::{Format, ImageKind, Partition, Recipe, Wipe};

pub(super) fn check(recipe: &Recipe, faults: &mut Faults) {
    let mut need = |present: bool, field: &str, why: &str| {
        faults.unless(present, format!("/{field}"), "required", &format!("{field} is missing: {why}"));
    };
    let disk_image = recipe.image_kind == Some(ImageKind::Disk);
    match recipe.task_target.as_str() {
        LINUX => {
            let why = "install-linux needs a disk and an image";
            need(recipe.target_disk.is_some(), "target_disk", why);
            need(recipe.oci_url.is_some(), "oci_url", why);
            let why = "install-linux needs a layout, unless image_kind is disk";
            need(recipe.partition_layout.is_some() || disk_image, "partition_layout", why);
        }
        "install-windows.target" => {
            let why = "install-windows needs a disk and an image";
            need(recipe.target_disk.is_some(), "target_disk", why);
            need(recipe.oci_url.is_some(), "oci_url", why);
        }
        "install-esxi.target" => {
            let why = "install-esxi needs a kickstart and the vendor's installer";
            need(recipe.ks_cfg.is_some(), "ks_cfg", why);
            need(recipe.installer.is_some(), "installer", why);
        }
        "wipe.target" => {
            need(recipe.target_disk.is_some(), "target_disk", "wipe needs a disk");
            let message =
                "wipe.target with wipe none would do nothing: choose metadata, discard or secure-erase";
            faults.unless(recipe.wipe != Some(Wipe::None), "/wipe", "conflict", message);
        }
        "firmware-update.target" => {
            let why = "firmware-update needs the firmware and its checksum";
            need(recipe.firmware_url.is_some(), "firmware_url", why);
            need(recipe.firmware_sha256.is_some(), "firmware_sha256", why);
        }
        _ => {}
    }
    if let Some(layout) = &recipe.partition_layout {
        layout_of(recipe, layout, disk_image, faults);
    }
}

fn layout_of(recipe: &Recipe, layout: &[Partition], disk_image: bool, faults: &mut Faults) {
    const PATH: &str = "/partition_layout";
    if disk_image {
        let message = "a whole-disk image brings its own partitions: leave partition_layout out";
        faults.add(PATH, "conflict", message);
    }
    let is =
        |partition: &Partition, guid: &str| type_guid::resolve(&partition.type_guid).as_deref() == Some(guid);
    let esp = layout.iter().any(|partition| is(partition, type_guid::ESP));
    let bios = layout.iter().any(|partition| is(partition, type_guid::BIOS_BOOT));
    match recipe.task_target.as_str() {
        LINUX if !disk_image => {
            let roots =
                layout.iter().filter(|partition| partition.mountpoint.as_deref() == Some("/")).count();
            let message = "exactly one partition must have the mountpoint /";
            faults.unless(roots == 1, PATH, "contains", message);
            let message = "the machine needs something to boot from: an EFI system partition (ef00, vfat) for UEFI or a BIOS boot partition (ef02) for BIOS";
            faults.unless(esp || bios, PATH, "contains", message);
        }
        "install-windows.target" => {
            let message = "Windows boots from an EFI system partition: add one (ef00, vfat, 300M)";
            faults.unless(esp, PATH, "contains", message);
            let ntfs = layout.iter().any(|partition| partition.format == Some(Format::Ntfs));
            let message = "Windows is installed on an NTFS partition: add one (0700, ntfs, rest)";
            faults.unless(ntfs, PATH, "contains", message);
        }
        _ => {}
    }
}

/// What the partition is for, as far as its type can be read.
pub(super) fn role(partition: &Partition) -> Option<Role> {
    let guid = type_guid::resolve(&partition.type_guid)?;
    Some(crate::layout::role(&guid, partition.format.unwrap_or_default(), partition.mountpoint.as_deref()))
}
