//! Reading back what was made: every partition where it should be, with the GUID, the filesystem and the
//! UUID that were asked for. Not what the tools said they did, but what is on the disk.

use schema::recipe::Format;

use super::partition_path;
use crate::blkid;
use crate::disk::Disk;
use crate::handoff::PartitionTable;
use crate::runner::{RunError, Runner};

/// Sectors of blkid and the kernel are always of this size.
const SECTOR: u64 = 512;

/// The disk does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// It could not be read.
    #[error("reading back {path}")]
    Probe {
        /// The partition.
        path: String,
        /// Why.
        #[source]
        source: RunError,
    },
    /// It is something else.
    #[error(
        "{path} has {what} {found:?}, but {wanted:?} was made: the disk does not keep what is written, or something else writes to it"
    )]
    Differs {
        /// The partition.
        path: String,
        /// Which property.
        what: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
}

/// Compares the disk with the table and returns the table with the UUIDs that mkfs chose itself.
pub fn read_back(
    runner: &mut dyn Runner,
    disk: &Disk,
    table: &PartitionTable,
) -> Result<PartitionTable, ReadBackError> {
    let mut table = table.clone();
    for record in &mut table.partitions {
        let path = partition_path(&disk.path, record.solved.number);
        let found = blkid::probe(runner, &path)
            .map_err(|source| ReadBackError::Probe { path: path.clone(), source })?;
        let get = |name: &str| found.get(name).cloned().unwrap_or_default();
        let same = |what, found: String, wanted: &str| {
            if found.eq_ignore_ascii_case(wanted) {
                Ok(())
            } else {
                Err(ReadBackError::Differs { path: path.clone(), what, found, wanted: wanted.to_owned() })
            }
        };
        let solved = &record.solved;
        same("partition GUID", get("PART_ENTRY_UUID"), &record.partuuid)?;
        same("type", get("PART_ENTRY_TYPE"), &solved.type_guid)?;
        same("first sector", get("PART_ENTRY_OFFSET"), &(solved.start_bytes / SECTOR).to_string())?;
        same("length in sectors", get("PART_ENTRY_SIZE"), &(solved.size_bytes / SECTOR).to_string())?;
        same("filesystem", get("TYPE"), blkid_type(solved.format))?;
        match &record.uuid {
            Some(uuid) => same("UUID", get("UUID"), uuid)?,
            None if solved.format == Format::Raw => {}
            None => record.uuid = Some(get("UUID")).filter(|uuid| !uuid.is_empty()),
        }
    }
    Ok(table)
}

fn blkid_type(format: Format) -> &'static str {
    match format {
        Format::Vfat => "vfat",
        Format::Ext4 => "ext4",
        Format::Xfs => "xfs",
        Format::Btrfs => "btrfs",
        Format::Ntfs => "ntfs",
        Format::Swap => "swap",
        Format::Raw => "",
    }
}
