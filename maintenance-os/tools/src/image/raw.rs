//! A whole-disk image onto a disk. What firmware boots from is written last: the first and the last
//! [`HELD`] bytes of the image stay in memory until the digest has proved right, so a disk whose image was
//! damaged, or whose machine lost power, has no partition table at either end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::pipe::read_full;

/// Bytes held back at each end: boot sector, GPT header and entries, with room for 4Kn.
pub const HELD: usize = 1 << 20;
/// Bytes moved at a time; also what a run of zeros must have to be asked of the disk instead of sent.
const BLOCK: usize = 1 << 20;
/// Bytes after which the disk is made to catch up, so that progress is real and memory stays free.
const CATCH_UP: u64 = 256 << 20;

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// Opening or writing the disk.
    #[error("writing byte {at} of {device}")]
    Write {
        /// The disk.
        device: String,
        /// Where.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image did not come.
    #[error("reading the image")]
    Read(#[source] io::Error),
    /// The image is larger than the disk.
    #[error("the image is larger than the {size} bytes of {device}: choose a larger disk")]
    TooLarge {
        /// The disk.
        device: String,
        /// Its size.
        size: u64,
    },
    /// Its GPT is where firmware does not look for it on this disk (UEFI 2.10 §5.3.1: logical block 1).
    #[error(
        "the image was made for disks of {image}-byte sectors and {device} has {disk}: nothing on it would boot; make the image for {disk}-byte sectors, or use a rootfs or container image"
    )]
    Sectors {
        /// The disk.
        device: String,
        /// Bytes of a logical block where the image was made.
        image: u32,
        /// Bytes of one on this disk.
        disk: u32,
    },
    /// Not a disk image.
    #[error("the image has only {got} bytes, which is no disk image")]
    TooSmall {
        /// Bytes there are.
        got: u64,
    },
}

/// The disk that an image is written to.
#[derive(Clone, Copy)]
pub struct Onto<'a> {
    /// Its device node.
    pub device: &'a str,
    /// Its size.
    pub size: u64,
    /// Bytes of a logical block.
    pub sector_bytes: u32,
}

/// Bytes of a logical block where this image got its GPT, unless it has one for this disk or none.
fn made_for_other_sectors(head: &[u8], sector_bytes: u32) -> Option<u32> {
    let gpt_at = |block: &u32| head.get(*block as usize..).is_some_and(|rest| rest.starts_with(b"EFI PART"));
    if gpt_at(&sector_bytes) { None } else { [512, 4096].into_iter().find(gpt_at) }
}

/// A disk that is being written, with both ends of the image still in memory.
pub struct RawDisk {
    file: File,
    device: String,
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Where `tail` belongs.
    tail_at: u64,
    /// Whether the disk makes zeros itself when asked.
    zeroes: bool,
}

impl RawDisk {
    /// Writes all but the two ends.
    pub fn write(onto: Onto<'_>, image: &mut dyn Read) -> Result<Self, RawError> {
        let Onto { device, size, sector_bytes } = onto;
        let open = std::fs::OpenOptions::new().write(true).open(Path::new(device));
        let file = open.map_err(|source| RawError::Write { device: device.to_owned(), at: 0, source })?;
        let mut head = vec![0; HELD];
        let length = read_full(image, &mut head).map_err(RawError::Read)?;
        if length < HELD {
            return Err(RawError::TooSmall { got: length as u64 });
        }
        if let Some(image) = made_for_other_sectors(&head, sector_bytes) {
            return Err(RawError::Sectors { device: device.to_owned(), image, disk: sector_bytes });
        }
        let mut disk = Self {
            file,
            device: device.to_owned(),
            size,
            head,
            tail: Vec::new(),
            tail_at: HELD as u64,
            zeroes: true,
        };
        disk.body(image)?;
        Ok(disk)
    }

    fn body(&mut self, image: &mut dyn Read) -> Result<(), RawError> {
        let mut block = vec![0; BLOCK];
        let mut caught_up = 0;
        loop {
            let length = read_full(image, &mut block).map_err(RawError::Read)?;
            if length == 0 {
                return Ok(());
            }
            let end = self.tail_at + (self.tail.len() + length) as u64;
            if end > self.size {
                return Err(RawError::TooLarge { device: self.device.clone(), size: self.size });
            }
            // What is older than the last HELD bytes goes to the disk.
            if length == BLOCK {
                let (at, old) = (self.tail_at, std::mem::replace(&mut self.tail, block));
                self.tail_at += old.len() as u64;
                self.put(at, &old)?;
                block = if old.len() == BLOCK { old } else { vec![0; BLOCK] };
            } else {
                // The end of the image: shorter than a block.
                self.tail.extend_from_slice(&block[..length]);
                let excess = self.tail.len().saturating_sub(HELD);
                let old: Vec<u8> = self.tail.drain(..excess).collect();
                self.put(self.tail_at, &old)?;
                self.tail_at += excess as u64;
            }
            if self.tail_at - caught_up >= CATCH_UP {
                caught_up = self.tail_at;
                self.flush(caught_up)?;
            }
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), RawError> {
        let refuse = |source| RawError::Write { device: self.device.clone(), at, source };
        if self.zeroes && bytes.len() == BLOCK && bytes.iter().all(|byte| *byte == 0) {
            let mode = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (offset, length) =
                (i64::try_from(at).unwrap_or(i64::MAX), i64::try_from(bytes.len()).unwrap_or(0));
            match fallocate(&self.file, mode, offset, length) {
                Ok(()) => return Ok(()),
                Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => self.zeroes = false,
                Err(error) => return Err(refuse(error.into())),
            }
        }
        self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(bytes)).map_err(refuse)
    }

    fn flush(&self, at: u64) -> Result<(), RawError> {
        self.file.sync_data().map_err(|source| RawError::Write { device: self.device.clone(), at, source })
    }

    /// Writes both ends, the first one last. To be called once the digest has proved right.
    pub fn finish(mut self) -> Result<u64, RawError> {
        let (head, tail) = (std::mem::take(&mut self.head), std::mem::take(&mut self.tail));
        let written = self.tail_at + tail.len() as u64;
        self.flush(self.tail_at)?;
        self.zeroes = false;
        self.put(self.tail_at, &tail)?;
        self.flush(self.tail_at)?;
        self.put(0, &head)?;
        self.flush(0)?;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onto(device: &str, size: u64) -> Onto<'_> {
        Onto { device, size, sector_bytes: 512 }
    }

    fn disk(folder: &Path, size: u64) -> String {
        let path = folder.join("disk");
        std::fs::write(&path, vec![0xee; usize::try_from(size).unwrap()]).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn image(length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (1..=253).cycle().take(length).collect();
        if length > 5 << 20 {
            bytes[2 << 20..4 << 20].fill(0);
        }
        bytes
    }

    #[test]
    fn the_disk_holds_the_image_and_what_is_beyond_it_stays() {
        for length in [HELD, HELD + 1, 2 * HELD, 2 * HELD + 700, 6 * HELD, 7 * HELD + 12345] {
            let folder = tempfile::tempdir().unwrap();
            let device = disk(folder.path(), 8 << 20);
            let image = image(length);
            let raw = RawDisk::write(onto(&device, 8 << 20), &mut image.as_slice()).unwrap();
            assert_eq!(raw.finish().unwrap(), length as u64);
            let got = std::fs::read(&device).unwrap();
            assert!(got[..length] == image[..], "{length}");
            assert!(got[length..].iter().all(|byte| *byte == 0xee), "{length}");
        }
    }

    #[test]
    fn before_finish_both_ends_are_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let device = disk(folder.path(), 6 << 20);
        let image = image(6 << 20);
        drop(RawDisk::write(onto(&device, 6 << 20), &mut image.as_slice()).unwrap());
        let got = std::fs::read(&device).unwrap();
        assert!(got[..HELD].iter().chain(&got[5 << 20..]).all(|byte| *byte == 0xee));
        assert!(got[HELD..5 << 20] == image[HELD..5 << 20]);
    }

    #[test]
    fn an_image_that_does_not_fit_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let device = disk(folder.path(), 3 << 20);
        let error = RawDisk::write(onto(&device, 3 << 20), &mut image(4 << 20).as_slice()).err().unwrap();
        assert!(matches!(error, RawError::TooLarge { size: 3_145_728, .. }), "{error}");
        let error = RawDisk::write(onto(&device, 3 << 20), &mut image(1000).as_slice()).err().unwrap();
        assert!(matches!(error, RawError::TooSmall { got: 1000 }), "{error}");
    }
    #[test]
    fn a_gpt_of_other_sectors_is_refused_before_a_byte_is_written() {
        for (gpt_at, sector_bytes, refused) in [
            (&[512][..], 512, None),
            (&[512], 4096, Some(512)),
            (&[4096], 4096, None),
            (&[4096], 512, Some(4096)),
            (&[512, 4096], 4096, None),
            (&[], 4096, None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let device = disk(folder.path(), 4 << 20);
            let mut image = image(3 << 20);
            for at in gpt_at {
                image[*at..at + 8].copy_from_slice(b"EFI PART");
            }
            let onto = Onto { device: &device, size: 4 << 20, sector_bytes };
            let made_for = match RawDisk::write(onto, &mut image.as_slice()) {
                Ok(_) => None,
                Err(RawError::Sectors { image, .. }) => Some(image),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(made_for, refused, "GPT at {gpt_at:?} on a disk of {sector_bytes}-byte sectors");
            let untouched = std::fs::read(&device).unwrap().iter().all(|byte| *byte == 0xee);
            assert_eq!(untouched, refused.is_some());
        }
    }
}
