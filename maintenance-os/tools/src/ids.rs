//! GUIDs and UUIDs of what is made, derived from the job and its attempt. The same attempt run twice names
//! everything the same, so a step can see that its work is done; another attempt never meets old names.

use schema::recipe::Format;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// What all names of one attempt are derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed(String);

impl Seed {
    /// The seed of one attempt of a job.
    pub fn new(job_id: &str, attempt: u32) -> Self {
        Self(format!("slipway/{job_id}/{attempt}"))
    }

    fn bytes(&self, what: &str) -> [u8; 16] {
        let hash = Sha256::digest(format!("{}/{what}", self.0));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes
    }

    /// A UUID (version 8: made by rules of our own) for that thing.
    pub fn uuid(&self, what: &str) -> Uuid {
        Builder::from_custom_bytes(self.bytes(what)).into_uuid()
    }

    /// The GUID of the disk.
    pub fn disk(&self) -> String {
        self.uuid("disk").to_string()
    }

    /// The GUID of a partition.
    pub fn partition(&self, number: u32) -> String {
        self.uuid(&format!("partition/{number}")).to_string()
    }

    /// The UUID of the filesystem on a partition, as `blkid` shows it; `None` where mkfs lets nobody choose.
    pub fn filesystem(&self, number: u32, format: Format) -> Option<String> {
        let what = format!("filesystem/{number}");
        match format {
            Format::Raw | Format::Ntfs => None,
            Format::Vfat => {
                let [a, b, c, d, ..] = self.bytes(&what);
                Some(format!("{a:02X}{b:02X}-{c:02X}{d:02X}"))
            }
            Format::Ext4 | Format::Xfs | Format::Btrfs | Format::Swap => Some(self.uuid(&what).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_repeat_within_an_attempt_and_never_across_attempts() {
        let (first, second) = (Seed::new("job", 1), Seed::new("job", 2));
        assert_eq!(first.partition(1), Seed::new("job", 1).partition(1));
        assert_ne!(first.partition(1), first.partition(2));
        assert_ne!(first.partition(1), second.partition(1));
        assert_ne!(first.disk(), second.disk());
    }

    #[test]
    fn each_filesystem_gets_a_name_of_its_own_form() {
        let seed = Seed::new("job", 1);
        let vfat = seed.filesystem(1, Format::Vfat).unwrap();
        assert!(vfat.len() == 9 && vfat.as_bytes()[4] == b'-', "{vfat}");
        assert_eq!(seed.filesystem(2, Format::Ext4).unwrap().len(), 36);
        assert_eq!(seed.filesystem(3, Format::Raw), None);
    }
}
