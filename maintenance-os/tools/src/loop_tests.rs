//! The steps on a real block device: a loop device over a sparse file. Needs root, and a kernel with loop and
//! ext4; partitions are made known by `partx`, so not even GPT support in the kernel is needed. The EFI
//! system partition cannot be mounted on every build host; what needs that is shown in a virtual machine.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command as Program;

use schema::recipe::{ImageKind, Recipe};
use schema::task::TaskJob;
use tempfile::TempDir;

use crate::disk::DiskIdentity;
use crate::handoff::Handoff;
use crate::image::ImageError;
use crate::runner::{ProcessRunner, Runner};
use crate::testing::registry::TinyRegistry;
use crate::testing::{self};
use crate::{config_drive, image, lsblk, partition, target};

const MIB: u64 = 1 << 20;

fn sh(script: &str) -> String {
    let output = Program::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A loop device; gone with its file.
struct LoopDisk {
    device: String,
    file: String,
    _folder: TempDir,
}

impl LoopDisk {
    fn new(size: u64) -> Self {
        Self::with_sectors(size, 512)
    }

    fn with_sectors(size: u64, sector_bytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk").to_str().unwrap().to_owned();
        fs::File::create(&file).unwrap().set_len(size).unwrap();
        let device =
            sh(&format!("losetup --sector-size {sector_bytes} --find --show {file}")).trim().to_owned();
        Self { device, file, _folder: folder }
    }

    /// As preflight would have recorded it.
    fn identity(&self) -> DiskIdentity {
        let disks = lsblk::disks(&mut ProcessRunner).unwrap();
        let disk = disks.into_iter().find(|disk| disk.path == self.device).unwrap();
        DiskIdentity {
            path: disk.path,
            by_id: None,
            by_path: None,
            wwn: None,
            serial: disk.serial,
            model: disk.model,
            size_bytes: disk.size_bytes,
            sector_bytes: disk.sector_bytes,
        }
    }

    fn part(&self, number: u32) -> String {
        partition::partition_path(&self.device, number)
    }

    fn sha256(&self) -> String {
        sh(&format!("sync {0}; blockdev --flushbufs {0}; sha256sum < {1}", self.device, self.file))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Program::new("sh")
            .args(["-c", &format!("partx --delete {0}; losetup --detach {0}", self.device)])
            .output();
    }
}

fn recipe() -> Recipe {
    serde_json::from_str(
        r#"{"task_target":"install-linux.target","oci_url":"images/debian:trixie","partition_layout":[
            {"size":"64M","type_guid":"ef00","format":"vfat","label":"ESP","mountpoint":"/boot/efi"},
            {"size":"32M","type_guid":"8200","format":"swap","label":"swap"},
            {"size":"50%","type_guid":"8300","format":"ext4","mountpoint":"/srv"},
            {"size":"rest","type_guid":"8304","format":"ext4","label":"root","mountpoint":"/"}
        ],"user_data":"x"}"#,
    )
    .unwrap()
}

fn provision(disk: &LoopDisk, recipe: &Recipe, job: &TaskJob) -> TempDir {
    let folder = testing::provision_with(recipe, job);
    let handoff = Handoff::read(folder.path()).unwrap();
    handoff.write_disk(&disk.identity()).unwrap();
    folder
}

/// An md 1.2 superblock with a right checksum, 4 KiB into the partition.
fn md_superblock() -> Vec<u8> {
    let mut block = vec![0_u8; 256];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(16, &[7; 16]);
    put(32, b"any:0");
    put(72, &1_u32.to_le_bytes());
    put(80, &100_000_u64.to_le_bytes());
    put(92, &1_u32.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(136, &100_000_u64.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    let sum: u64 =
        block.chunks_exact(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    let folded = u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap();
    block[216..220].copy_from_slice(&folded.to_le_bytes());
    block
}

/// What years of use leave on a disk: an old table, an ESP, md, LVM, ext4, swap on the bare disk's tail.
fn mess(disk: &LoopDisk) {
    let device = &disk.device;
    sh(&format!(
        "sgdisk --new=1:0:+40M --typecode=1:ef00 --new=2:0:+60M --new=3:0:+60M --new=4:0:+200M {device} >/dev/null
         partx --update {device}
         mkfs.vfat -n OLDESP {0} >/dev/null
         mkfs.ext4 -q -F -L OLDROOT {1}",
        disk.part(1),
        disk.part(4)
    ));
    let write = |path: &str, at: u64, bytes: &[u8]| {
        OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
    };
    write(&disk.part(2), 4096, &md_superblock());
    let mut label = b"LABELONE".to_vec();
    label.extend(1_u64.to_le_bytes());
    label.resize(24, 0);
    label.extend(b"LVM2 001");
    label.resize(512, 0);
    // The checksum of an LVM label covers what follows it.
    let crc = label[20..].iter().fold(0xf597_a6cf_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    label[16..20].copy_from_slice(&crc.to_le_bytes());
    write(&disk.part(3), 512, &label);
    write(device, 0, &[0xeb; 440]);
    sh(&format!("sync; blockdev --flushbufs {device}"));
}

/// The archive of a small system.
fn system(extra: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    sh(&format!(
        "cd {}; mkdir -p usr/bin usr/lib etc boot/efi/EFI srv/data; echo debian > etc/hostname
         echo x > boot/efi/EFI/from-image; echo served > srv/data/file; ln -s usr/bin bin; {extra}
         tar --create --file ../$$.tar .; mv ../$$.tar all.tar",
        folder.path().display()
    ));
    fs::read(folder.path().join("all.tar")).unwrap()
}

fn said(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Mounts the installed system in this thread's own namespace and looks at it.
fn look<T>(handoff: &Handoff, at: impl FnOnce(&Path) -> T) -> T {
    let (disk, table) = image::confirmed(handoff, &mut ProcessRunner).unwrap();
    ProcessRunner.run_actions(&target::mount_all(&disk, &table)).unwrap();
    let found = at(Path::new(target::TARGET));
    ProcessRunner.run_undo(&target::unmount_all()).unwrap();
    found
}

#[test]
fn a_mess_becomes_the_layout_and_a_second_run_changes_nothing() {
    let disk = LoopDisk::new(600 * MIB);
    mess(&disk);
    let seen = sh(&format!("for part in {}p?; do blkid -p -s TYPE -o value $part; done", disk.device));
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["vfat", "linux_raid_member", "LVM2_member", "ext4"]
    );
    let folder = provision(&disk, &recipe(), &testing::job(ImageKind::Rootfs, "http://127.0.0.1:1"));
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();

    let table = handoff.partitions().unwrap();
    assert_eq!(table.partitions.len(), 5);
    assert_eq!(table.replaced.len(), 4);
    let check = sh(&format!("sgdisk --verify {}", disk.device));
    assert!(check.contains("No problems found"), "{check}");
    let kinds = sh(&format!("for part in {}p?; do blkid -p -s TYPE -o value $part; done", disk.device));
    assert_eq!(kinds.split_whitespace().collect::<Vec<_>>(), ["vfat", "swap", "ext4", "ext4", "vfat"]);
    let mut boot_code = [1; 440];
    fs::File::open(&disk.file).unwrap().read_exact_at(&mut boot_code, 0).unwrap();
    assert!(boot_code.iter().all(|byte| *byte == 0), "boot code");
    // The last one is the beginning of the md superblock.
    for old in ["OLDESP", "OLDROOT", "LABELONE", r"\xfc\x4e\x2b\xa9\x01\x00\x00\x00"] {
        let found = Program::new("grep").args(["-qaP", old, &disk.file]).env("LC_ALL", "C").status().unwrap();
        assert_eq!(found.code(), Some(1), "{old} is still there");
    }

    let before = disk.sha256();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    assert_eq!(disk.sha256(), before);
    assert_eq!(handoff.partitions().unwrap(), table);
}

#[test]
fn a_disk_of_4096_byte_sectors_gets_an_esp_of_the_kind_that_fits_and_a_config_drive() {
    for (esp, kind) in [("100M", "msdos"), ("300M", "vfat")] {
        let disk = LoopDisk::with_sectors(700 * MIB, 4096);
        assert_eq!(sh(&format!("blockdev --getss {}", disk.device)).trim(), "4096");
        let mut recipe = recipe();
        recipe.partition_layout.as_mut().unwrap()[0].size = esp.to_owned();
        let registry = TinyRegistry::start();
        let folder = provision(&disk, &recipe, &registry.job(ImageKind::Rootfs, &[b"x"]));
        fs::write(folder.path().join("user-data"), "#cloud-config\n").unwrap();
        let handoff = Handoff::read(folder.path()).unwrap();
        partition::run(&handoff, &mut ProcessRunner).unwrap();
        let fat = sh(&format!("dd if={} bs=4096 count=1 status=none | od -A n -c", disk.part(1)));
        let fat: String = fat.split_whitespace().collect();
        assert_eq!(fat.contains("FAT32"), kind == "vfat", "{esp}");
        assert_eq!(fat.contains("FAT16"), kind == "msdos", "{esp}");
        // The config drive is read back with mtools; this kernel may not mount FAT.
        let table = handoff.partitions().unwrap();
        let files = config_drive::files(&handoff).unwrap().unwrap();
        let last = table.partitions.last().unwrap().solved.number;
        let scratch = folder.path().join("config-drive");
        fs::create_dir(&scratch).unwrap();
        for name in ["user-data", "meta-data"] {
            fs::write(scratch.join(name), "#cloud-config\n").unwrap();
        }
        let plan = config_drive::plan(&disk.part(last), &scratch.to_string_lossy(), &files);
        ProcessRunner.run_actions(&plan).unwrap();
        assert_eq!(sh(&format!("mtype -i {} ::user-data", disk.part(last))), "#cloud-config\n");
    }
}

#[test]
fn another_disk_in_its_place_is_not_touched() {
    let disk = LoopDisk::new(64 * MIB);
    let folder = provision(&disk, &recipe(), &testing::job(ImageKind::Rootfs, "http://127.0.0.1:1"));
    let handoff = Handoff::read(folder.path()).unwrap();
    handoff.write_disk(&DiskIdentity { size_bytes: 65 * MIB, ..disk.identity() }).unwrap();
    let before = disk.sha256();
    let error = said(partition::run(&handoff, &mut ProcessRunner).unwrap_err());
    assert!(error.contains("is not there any more, or not the same"), "{error}");
    assert_eq!(disk.sha256(), before);
}

#[test]
fn a_system_is_installed_on_the_disk_and_gets_its_config_drive() {
    target::own_namespace().unwrap();
    let disk = LoopDisk::new(600 * MIB);
    let registry = TinyRegistry::start();
    let packed = zstd::encode_all(system("touch usr/bin/cloud-init").as_slice(), 3).unwrap();
    let folder = provision(&disk, &recipe(), &registry.job(ImageKind::Rootfs, &[&packed]));
    fs::write(folder.path().join("user-data"), "#cloud-config\nhostname: web1\n").unwrap();
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    image::run(&handoff, &mut ProcessRunner).unwrap();

    let digest = &handoff.image().unwrap().digest;
    look(&handoff, |root| {
        assert_eq!(fs::read_to_string(root.join("etc/hostname")).unwrap(), "debian\n");
        assert_eq!(fs::read_to_string(root.join("srv/data/file")).unwrap(), "served\n");
        assert!(fs::read_to_string(root.join("etc/slipway/install.json")).unwrap().contains(digest.as_str()));
    });
    // /srv is a filesystem of its own, and the image's file is on it.
    let on_srv = sh(&format!("debugfs -R 'ls -p /data' {} 2>/dev/null", disk.part(3)));
    assert!(on_srv.contains("/file/"), "{on_srv}");
    let esp = sh(&format!("mdir -b -i {} ::", disk.part(1)));
    assert_eq!(esp, "", "the ESP is filled by the boot loader's step alone");

    let asked = registry.requests.lock().unwrap().len();
    image::run(&handoff, &mut ProcessRunner).unwrap();
    assert_eq!(registry.requests.lock().unwrap().len(), asked, "a finished step asks nobody");

    for _ in 0..2 {
        config_drive::run(&handoff, &mut ProcessRunner).unwrap();
    }
    let drive = disk.part(5);
    assert_eq!(sh(&format!("blkid -p -s LABEL -o value {drive}")), "CIDATA\n");
    assert_eq!(sh(&format!("mtype -i {drive} ::user-data")), "#cloud-config\nhostname: web1\n");
    assert_eq!(
        sh(&format!("mtype -i {drive} ::meta-data")),
        format!("instance-id: {}\n", handoff.job.job_id)
    );
    assert!(!folder.path().join("config-drive").exists(), "no copy of secrets stays behind");
}

#[test]
fn a_damaged_image_leaves_nothing_to_boot_and_no_record() {
    target::own_namespace().unwrap();
    let disk = LoopDisk::new(600 * MIB);
    let registry = TinyRegistry::start();
    let layer = system("");
    let folder = provision(&disk, &recipe(), &registry.job(ImageKind::Rootfs, &[&layer]));
    registry.damage(&layer);
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    let error = said(image::run(&handoff, &mut ProcessRunner).unwrap_err());
    assert!(
        error.contains("the disk is left unable to boot")
            && error.contains("does not hold what its digest says"),
        "{error}"
    );
    assert!(handoff.image_record().unwrap().is_none());
    assert_eq!(sh(&format!("mdir -b -i {} ::", disk.part(1))), "");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(target::TARGET), "unmounted again");
}

#[test]
fn an_image_without_cloud_init_is_an_error_unless_it_may_be_ignored() {
    target::own_namespace().unwrap();
    let disk = LoopDisk::new(600 * MIB);
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Rootfs, &[&system("")]);
    let folder = provision(&disk, &recipe(), &job);
    fs::write(folder.path().join("user-data"), "x").unwrap();
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    image::run(&handoff, &mut ProcessRunner).unwrap();
    let error = said(config_drive::run(&handoff, &mut ProcessRunner).unwrap_err());
    assert!(error.contains("the image has no cloud-init"), "{error}");
    let ignore = Recipe { cloud_init: Some(schema::recipe::CloudInit::Ignore), ..recipe() };
    fs::write(folder.path().join("recipe.json"), serde_json::to_string(&ignore).unwrap()).unwrap();
    config_drive::run(&Handoff::read(folder.path()).unwrap(), &mut ProcessRunner).unwrap();
    assert_eq!(sh(&format!("mtype -i {} ::user-data", disk.part(5))), "x");
}

/// A disk image with a GPT and a boot sector.
fn disk_image() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image").to_str().unwrap().to_owned();
    fs::File::create(&path).unwrap().set_len(64 * MIB).unwrap();
    sh(&format!(
        "sgdisk --new=1:0:+8M --typecode=1:ef00 --new=2:0:+40M --change-name=2:system {path} >/dev/null"
    ));
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0xeb; 440], 0).unwrap();
    fs::read(&path).unwrap()
}

fn whole_disk_recipe(user_data: bool) -> Recipe {
    let user_data = user_data.then(|| schema::recipe::Payload::Plain("x".into()));
    Recipe { partition_layout: None, user_data, ..recipe() }
}

#[test]
fn a_disk_image_is_written_fitted_to_the_disk_and_given_a_config_drive() {
    let disk = LoopDisk::new(200 * MIB);
    mess_small(&disk);
    let registry = TinyRegistry::start();
    let image = disk_image();
    let packed = zstd::encode_all(image.as_slice(), 3).unwrap();
    let folder = provision(&disk, &whole_disk_recipe(true), &registry.job(ImageKind::Disk, &[&packed]));
    fs::write(folder.path().join("user-data"), "x: y\n").unwrap();
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    image::run(&handoff, &mut ProcessRunner).unwrap();
    config_drive::run(&handoff, &mut ProcessRunner).unwrap();

    let check = sh(&format!("sgdisk --verify {}", disk.device));
    assert!(check.contains("No problems found"), "{check}");
    let print = sh(&format!("sgdisk --print {}", disk.device));
    assert!(print.contains("system") && print.contains("CIDATA"), "{print}");
    assert_eq!(sh(&format!("mtype -i {} ::user-data", disk.part(3))), "x: y\n");
    let bytes = fs::read(&disk.file).unwrap();
    assert!(bytes[..440] == [0xeb; 440]);
    let end = usize::try_from(48 * MIB).unwrap();
    assert!(bytes[usize::try_from(MIB).unwrap()..end] == image[usize::try_from(MIB).unwrap()..end]);
}

#[test]
fn a_disk_image_without_config_drive_has_its_backup_table_at_the_end_and_room_for_growpart() {
    let disk = LoopDisk::new(200 * MIB);
    mess_small(&disk);
    let registry = TinyRegistry::start();
    let folder =
        provision(&disk, &whole_disk_recipe(false), &registry.job(ImageKind::Disk, &[&disk_image()]));
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    image::run(&handoff, &mut ProcessRunner).unwrap();
    let check = sh(&format!("sgdisk --verify {}", disk.device));
    assert!(check.contains("No problems found"), "{check}");
    // The backup header is the disk's very last sector, and the last usable one has moved with it.
    let bytes = fs::read(&disk.file).unwrap();
    assert_eq!(&bytes[bytes.len() - 512..][..8], b"EFI PART");
    let last_usable = u64::from_le_bytes(bytes[512 + 48..][..8].try_into().unwrap());
    assert_eq!(last_usable, bytes.len() as u64 / 512 - 34);
    // What growpart does in the new system: the last partition takes what is behind it.
    sh(&format!("sgdisk --delete=2 --new=2:9M:0 {} >/dev/null", disk.device));
    let grown = sh(&format!(r"sgdisk --info=2 {} | sed -n 's/^Last sector: \([0-9]*\).*/\1/p'", disk.device));
    // sgdisk ends on a whole MiB.
    assert!(grown.trim().parse::<u64>().unwrap() + 2048 > last_usable, "{grown} of {last_usable}");
}

#[test]
fn a_disk_that_slipway_installed_is_an_image_whose_config_drive_is_made_anew() {
    let registry = TinyRegistry::start();
    let install = |disk: &LoopDisk, image: &[u8], user_data: &str| {
        let folder = provision(disk, &whole_disk_recipe(true), &registry.job(ImageKind::Disk, &[image]));
        fs::write(folder.path().join("user-data"), user_data).unwrap();
        let handoff = Handoff::read(folder.path()).unwrap();
        partition::run(&handoff, &mut ProcessRunner).unwrap();
        image::run(&handoff, &mut ProcessRunner).unwrap();
        config_drive::run(&handoff, &mut ProcessRunner).unwrap();
    };
    let golden = LoopDisk::new(100 * MIB);
    install(&golden, &disk_image(), "old: 1\n");
    sh(&format!("sync; blockdev --flushbufs {}", golden.device));
    let image = fs::read(&golden.file).unwrap();

    let same = LoopDisk::new(100 * MIB);
    install(&same, &image, "new: 1\n");
    let print = sh(&format!("sgdisk --print {}", same.device));
    assert_eq!(print.matches("CIDATA").count(), 1, "{print}");
    assert_eq!(sh(&format!("mtype -i {} ::user-data", same.part(3))), "new: 1\n");
}

#[test]
fn a_disk_image_without_room_for_a_config_drive_says_so() {
    let registry = TinyRegistry::start();
    let disk = LoopDisk::new(64 * MIB);
    let folder = provision(&disk, &whole_disk_recipe(true), &registry.job(ImageKind::Disk, &[&disk_image()]));
    fs::write(folder.path().join("user-data"), "x: y\n").unwrap();
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    let error = image::run(&handoff, &mut ProcessRunner).unwrap_err();
    assert!(matches!(error, ImageError::NoRoom { mib: 16, .. }), "{error}");
}

#[test]
fn a_disk_image_for_other_sectors_is_refused_in_words_and_leaves_no_partition_table() {
    let registry = TinyRegistry::start();
    let disk = LoopDisk::with_sectors(200 * MIB, 4096);
    let folder =
        provision(&disk, &whole_disk_recipe(false), &registry.job(ImageKind::Disk, &[&disk_image()]));
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    let error = said(image::run(&handoff, &mut ProcessRunner).unwrap_err());
    assert!(error.contains("made for disks of 512-byte sectors"), "{error}");
    sh(&format!("sync; blockdev --flushbufs {}", disk.device));
    assert!(fs::read(&disk.file).unwrap().iter().all(|byte| *byte == 0));
}

fn mess_small(disk: &LoopDisk) {
    sh(&format!("sgdisk --new=1:0:+20M --typecode=1:ef00 {0} >/dev/null; partx --update {0}", disk.device));
}

#[test]
fn a_damaged_disk_image_leaves_no_partition_table() {
    let disk = LoopDisk::new(64 * MIB);
    mess_small(&disk);
    let registry = TinyRegistry::start();
    let image = disk_image();
    let folder = provision(&disk, &whole_disk_recipe(false), &registry.job(ImageKind::Disk, &[&image]));
    registry.damage(&image);
    let handoff = Handoff::read(folder.path()).unwrap();
    partition::run(&handoff, &mut ProcessRunner).unwrap();
    let error = image::run(&handoff, &mut ProcessRunner).unwrap_err();
    assert!(matches!(error, ImageError::Pour(_)), "{error}");
    sh(&format!("sync; blockdev --flushbufs {}", disk.device));
    let bytes = fs::read(&disk.file).unwrap();
    let end = usize::try_from(MIB).unwrap();
    assert!(bytes[..end].iter().chain(&bytes[bytes.len() - end..]).all(|byte| *byte == 0));
}
