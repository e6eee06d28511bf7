//! Making the table and the filesystems. All numbers are explicit: sgdisk and mkfs are left nothing to choose.

use schema::layout::{Role, SolvedPartition};
use schema::recipe::Format;
use schema::size;

use super::settle;
use crate::disk::Disk;
use crate::handoff::{PartitionRecord, PartitionTable};
use crate::plan::{Action, Command, LONG, run};

/// Longest wait for a device node after the table was read again.
const NODE_SECONDS: u64 = 30;
/// Fewest clusters of a FAT32 that every firmware takes for one, with some to spare.
const FAT32_CLUSTERS: u64 = 66_000;
/// What the size named to people is rounded up to.
const LEAST_STEP: u64 = 10 << 20;
/// Features that e2fsprogs 1.47 turns on but GRUB of before 2023 and kernels before 5.15 do not know.
const EXT4_TOO_NEW: &str = "^metadata_csum_seed,^orphan_file";

/// Device node of a partition: `/dev/sda1`, `/dev/nvme0n1p1`.
pub fn partition_path(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

/// From an empty disk to filesystems.
pub fn actions(disk: &Disk, table: &PartitionTable) -> Vec<Action> {
    let mut gpt = vec![
        "--clear".to_owned(),
        // Sectors are exact already; sgdisk must not round them.
        "--set-alignment=1".to_owned(),
        format!("--disk-guid={}", table.disk_guid),
    ];
    for record in &table.partitions {
        let (solved, number) = (&record.solved, record.solved.number);
        gpt.push(format!(
            "--new={number}:{}:{}",
            solved.first_sector(disk.sector_bytes),
            solved.last_sector(disk.sector_bytes)
        ));
        gpt.push(format!("--typecode={number}:{}", solved.type_guid));
        gpt.push(format!("--partition-guid={number}:{}", record.partuuid));
        gpt.push(format!("--change-name={number}:{}", solved.name));
    }
    gpt.push(disk.path.clone());
    let mut actions = vec![
        Action::Run(Command::new("sgdisk").args(gpt)),
        settle(),
        Action::Run(Command::new("partx").args(["--update", &disk.path]).tries(3)),
        settle(),
    ];
    for record in &table.partitions {
        let path = partition_path(&disk.path, record.solved.number);
        actions.push(Action::Await { path, seconds: NODE_SECONDS });
    }
    actions.extend(
        table
            .partitions
            .iter()
            .filter_map(|record| small_esp(&record.solved, disk.sector_bytes))
            .map(Action::Say),
    );
    for record in &table.partitions {
        let path = partition_path(&disk.path, record.solved.number);
        // Whatever lay at this very place before must not shine through.
        actions
            .push(Action::Run(Command::new("wipefs").args(["--all", "--force", "--quiet", &path]).tries(3)));
        actions.extend(mkfs(record, &path, disk.sector_bytes));
    }
    actions.push(settle());
    actions.push(run("sync", &[]));
    actions
}

/// Whether a vfat partition is made FAT32, which firmware expects of an ESP; where it cannot be one, mkfs makes FAT16.
fn is_fat32(solved: &SolvedPartition, sector_bytes: u32) -> bool {
    let clusters = solved.size_bytes / u64::from(sector_bytes.max(512));
    clusters >= FAT32_CLUSTERS && solved.role != Role::ConfigDrive
}

/// What there is to say about an ESP that is too small for FAT32: a cluster has a sector at least, so it takes
/// 260 MiB on a disk with sectors of 4096 bytes. UEFI reads FAT16 (UEFI 2.10, 13.3.1.1), but some firmware does not
/// boot from it.
pub fn small_esp(solved: &SolvedPartition, sector_bytes: u32) -> Option<String> {
    let small = solved.role == Role::Esp && solved.format == Format::Vfat && !is_fat32(solved, sector_bytes);
    let least = (FAT32_CLUSTERS * u64::from(sector_bytes.max(512))).next_multiple_of(LEAST_STEP);
    small.then(|| {
        format!(
            "warning: partition {} (EFI system, {}) becomes FAT16: with sectors of {sector_bytes} bytes FAT32 begins at {}; \
             make it that large if this firmware does not boot from it",
            solved.number,
            size::human(solved.size_bytes),
            size::human(least)
        )
    })
}

/// The filesystem of one partition; nothing for raw ones.
pub fn mkfs(record: &PartitionRecord, path: &str, sector_bytes: u32) -> Option<Action> {
    let uuid = record.uuid.clone().unwrap_or_default();
    let label = |option: &str| {
        record.solved.label.iter().flat_map(|label| [option.to_owned(), label.clone()]).collect::<Vec<_>>()
    };
    let command = match record.solved.format {
        Format::Raw => return None,
        Format::Ext4 => {
            Command::new("mkfs.ext4").args(["-F", "-q", "-O", EXT4_TOO_NEW, "-U", &uuid]).args(label("-L"))
        }
        Format::Xfs => {
            Command::new("mkfs.xfs").args(["-f", "-q", "-m", &format!("uuid={uuid}")]).args(label("-L"))
        }
        Format::Btrfs => Command::new("mkfs.btrfs").args(["-f", "-q", "-U", &uuid]).args(label("-L")),
        Format::Swap => Command::new("mkswap").args(["--force", "--uuid", &uuid]).args(label("-L")),
        Format::Ntfs => Command::new("mkfs.ntfs").args(["--quick", "--force", "--quiet"]).args(label("-L")),
        Format::Vfat => {
            let mut command =
                Command::new("mkfs.vfat").args(["-i", &uuid.replace('-', "")]).args(label("-n"));
            if is_fat32(&record.solved, sector_bytes) {
                command = command.args(["-F", "32"]);
            }
            command
        }
    };
    Some(Action::Run(command.args([path]).within(LONG).tries(3)))
}
