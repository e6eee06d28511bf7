//! Disks of the virtual machine, looked at and prepared from outside while it is off.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// Size of every disk here: Debian, and room.
pub const SIZE: u64 = 6 << 30;
const MIB: u64 = 1 << 20;

pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A disk with a former life: a GPT with an ESP that boots something else, a member of an md array (1.2 at 4 KiB
/// and 0.90 at the end), an LVM physical volume, and an ext4.
pub fn make_a_mess(disk: &Path) -> Result<()> {
    File::create(disk)?.set_len(SIZE)?;
    let path = disk.to_str().context("a disk's path is text")?;
    run(
        "sgdisk",
        &[
            "-n1:2048:+64M",
            "-t1:ef00",
            "-n2:0:+512M",
            "-t2:fd00",
            "-n3:0:+512M",
            "-t3:8e00",
            "-n4:0:+256M",
            "-t4:8300",
            path,
        ],
    )?;
    run("mkfs.vfat", &["-F", "32", "--offset", "2048", "-n", "OLDESP", path, "65536"])?;
    let offset = |partition: u64| MIB + [0, 64, 576, 1088][usize::try_from(partition - 1).unwrap_or(0)] * MIB;
    run("mkfs.ext4", &["-q", "-F", "-L", "old", "-E", &format!("offset={}", offset(4)), path, "256M"])?;
    let mut file = OpenOptions::new().read(true).write(true).open(disk)?;
    // md 1.2: magic, major version 1, at 4 KiB of the member (Documentation/admin-guide/md.rst).
    let mut superblock = vec![0u8; 256];
    superblock[..4].copy_from_slice(&0xa92b_4efcu32.to_le_bytes());
    superblock[4..8].copy_from_slice(&1u32.to_le_bytes());
    file.seek(SeekFrom::Start(offset(2) + 4096))?;
    file.write_all(&superblock)?;
    // md 0.90 of a whole-disk member: 64 KiB below the end, rounded to 64 KiB.
    file.seek(SeekFrom::Start((SIZE & !0xffff) - 0x1_0000))?;
    file.write_all(&0xa92b_4efcu32.to_le_bytes())?;
    // LVM2 physical volume label in its second sector.
    let mut label = vec![0u8; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8..16].copy_from_slice(&1u64.to_le_bytes());
    label[24..32].copy_from_slice(b"LVM2 001");
    file.seek(SeekFrom::Start(offset(3) + 512))?;
    file.write_all(&label)?;
    file.sync_all()?;
    Ok(())
}

/// A disk as an image to push: Zstandard, made fast.
pub fn compress(disk: &Path, image: &Path) -> Result<()> {
    let (disk, image) = (disk.to_str().context("text")?, image.to_str().context("text")?);
    run("zstd", &["-q", "-f", "-1", "-T2", "-o", image, disk]).map(drop)
}

/// SHA-256 of the whole disk.
pub fn digest(disk: &Path) -> Result<String> {
    digest_of(File::open(disk)?)
}

/// SHA-256 of all that can be read.
pub fn digest_of(mut source: impl Read) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 4 << 20];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Where the EFI system partition begins, for mtools.
fn esp(disk: &Path) -> Result<String> {
    let path = disk.to_str().context("a disk's path is text")?;
    let info = run("sgdisk", &["-i", "1", path])?;
    let first = info
        .lines()
        .find_map(|line| line.strip_prefix("First sector: "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse::<u64>().ok())
        .with_context(|| format!("no first partition on {path}: {info}"))?;
    Ok(format!("{path}@@{}", first * 512))
}

/// Deletes the removable path (`\EFI\BOOT\BOOTX64.EFI`), and returns what it was.
pub fn take_removable_path(disk: &Path, keep: &Path) -> Result<()> {
    let esp = esp(disk)?;
    run("mcopy", &["-n", "-i", &esp, "::EFI/BOOT/BOOTX64.EFI", keep.to_str().context("text")?])?;
    run("mdel", &["-i", &esp, "::EFI/BOOT/BOOTX64.EFI"])?;
    Ok(())
}

/// Puts it back.
pub fn put_removable_path(disk: &Path, kept: &Path) -> Result<()> {
    run("mcopy", &["-o", "-i", &esp(disk)?, kept.to_str().context("text")?, "::EFI/BOOT/BOOTX64.EFI"])?;
    Ok(())
}

/// Whether firmware would find something to boot on the disk.
pub fn looks_bootable(disk: &Path) -> bool {
    esp(disk).is_ok_and(|esp| run("mdir", &["-i", &esp, "::EFI/BOOT/BOOTX64.EFI"]).is_ok())
}

/// Flips one byte in the middle of a file; the same again puts it back.
pub fn flip_a_byte(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let middle = file.metadata()?.len() / 2;
    let mut byte = [0u8];
    file.seek(SeekFrom::Start(middle))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(middle))?;
    file.write_all(&[byte[0] ^ 0x55])?;
    Ok(())
}
