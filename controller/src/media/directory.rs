//! Where a file lies on an ISO 9660 image: just enough of a reader to find `slipway/trust` on a medium somebody
//! else wrote. Bounded: it reads the primary volume descriptor and one directory per path part, each at most
//! [`DIRECTORY_MAX`], and never trusts a length it has not compared with the image's.

use std::io;

/// Logical sector.
const SECTOR: u64 = 2048;
/// The same, for buffers.
const SECTOR_BYTES: usize = 2048;
/// The descriptors begin here.
const FIRST_DESCRIPTOR: u64 = 16;
/// Descriptors looked at before giving up.
const DESCRIPTORS_MAX: u64 = 32;
/// Largest directory read.
const DIRECTORY_MAX: u64 = 1 << 20;
/// Fixed part of a directory record.
const RECORD_MIN: usize = 34;

/// Something that can be read at a place.
pub trait ReadAt {
    /// Fills `buf` from `offset`, or fails.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok();
        let held = from.and_then(|from| self.get(from..from.checked_add(buf.len())?));
        buf.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A contiguous file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What the primary volume descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The label, without trailing spaces.
    pub label: String,
    root: Extent,
    len: u64,
}

/// Why a file is not found.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The image cannot be read there.
    #[error("reading the image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No primary volume descriptor.
    #[error("this is no ISO 9660 image")]
    NotIso,
    /// A record that contradicts itself or the image's length.
    #[error("the image is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// There is no such file.
    #[error("the image holds no {path}")]
    Absent {
        /// The path looked for.
        path: String,
    },
    /// The file is in pieces.
    #[error("{path} is in several pieces on the image; write it as one")]
    Pieces {
        /// The path.
        path: String,
    },
}

impl Volume {
    /// Reads the primary volume descriptor of an image of `len` bytes.
    pub fn read(image: &(impl ReadAt + ?Sized), len: u64) -> Result<Self, DirectoryError> {
        for number in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + DESCRIPTORS_MAX {
            let offset = number * SECTOR;
            if offset + SECTOR > len {
                return Err(DirectoryError::NotIso);
            }
            let mut sector = [0; SECTOR_BYTES];
            read(image, &mut sector, offset)?;
            if &sector[1..6] != b"CD001" || sector[0] == 255 {
                return Err(DirectoryError::NotIso);
            }
            if sector[0] == 1 {
                if u16::from_le_bytes([sector[128], sector[129]]) != 2048 {
                    return Err(DirectoryError::Damaged { what: "its blocks are not 2048 bytes" });
                }
                let record = Record::parse(&sector[156..190])
                    .ok_or(DirectoryError::Damaged { what: "it has no root folder" })?;
                let label = String::from_utf8_lossy(&sector[40..72]).trim_end().to_owned();
                return Ok(Self { label, root: record.extent, len });
            }
        }
        Err(DirectoryError::NotIso)
    }

    /// Finds the file at `path` (`/`-separated, compared without case, as the primary tree has it).
    pub fn find(&self, image: &(impl ReadAt + ?Sized), path: &str) -> Result<Extent, DirectoryError> {
        let mut here = self.root;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            let found = self.entry(image, here, part, path)?;
            if found.is_folder == is_last {
                return Err(DirectoryError::Absent { path: path.to_owned() });
            }
            self.inside(found.extent)?;
            here = found.extent;
        }
        Ok(here)
    }

    fn entry(
        &self,
        image: &(impl ReadAt + ?Sized),
        folder: Extent,
        name: &str,
        path: &str,
    ) -> Result<Record, DirectoryError> {
        self.inside(folder)?;
        if folder.len > DIRECTORY_MAX {
            return Err(DirectoryError::Damaged { what: "a folder is larger than 1 MiB" });
        }
        let mut sector = [0; SECTOR_BYTES];
        let mut read_so_far = 0;
        let mut found: Option<Record> = None;
        while read_so_far < folder.len {
            read(image, &mut sector, folder.offset + read_so_far)?;
            read_so_far += SECTOR;
            let mut at = 0;
            // A record never crosses a sector; a zero length ends the sector.
            while let Some(length) = sector.get(at).map(|b| usize::from(*b)).filter(|length| *length > 0) {
                let record = sector
                    .get(at..at + length)
                    .and_then(Record::parse)
                    .ok_or(DirectoryError::Damaged { what: "a folder entry is cut off" })?;
                at += length;
                if record.is_named(name) {
                    if record.continues || found.is_some() {
                        return Err(DirectoryError::Pieces { path: path.to_owned() });
                    }
                    found = Some(record);
                }
            }
        }
        found.ok_or_else(|| DirectoryError::Absent { path: path.to_owned() })
    }

    fn inside(&self, extent: Extent) -> Result<(), DirectoryError> {
        let ends = extent.offset.checked_add(extent.len);
        if ends.is_some_and(|end| end <= self.len) {
            Ok(())
        } else {
            Err(DirectoryError::Damaged { what: "a file lies behind its end" })
        }
    }
}

fn read(image: &(impl ReadAt + ?Sized), buf: &mut [u8], offset: u64) -> Result<(), DirectoryError> {
    image.read_exact_at(buf, offset).map_err(|source| DirectoryError::Read { offset, source })
}

/// One directory record.
#[derive(Debug, Clone)]
struct Record {
    extent: Extent,
    is_folder: bool,
    continues: bool,
    name: Vec<u8>,
}

impl Record {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < RECORD_MIN {
            return None;
        }
        let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let name_len = usize::from(bytes[32]);
        Some(Self {
            extent: Extent { offset: u64::from(word(2)?) * SECTOR, len: u64::from(word(10)?) },
            is_folder: bytes[25] & 0x02 != 0,
            continues: bytes[25] & 0x80 != 0,
            name: bytes.get(33..33 + name_len)?.to_vec(),
        })
    }

    /// `TRUST.;1`, `TRUST;1` and `trust` are all `trust`.
    fn is_named(&self, wanted: &str) -> bool {
        let name = self.name.split(|b| *b == b';').next().unwrap_or_default();
        let name = name.strip_suffix(b".").unwrap_or(name);
        name.eq_ignore_ascii_case(wanted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contents::Files;
    use super::super::iso;
    use super::*;
    use proptest::prelude::*;

    fn image() -> Vec<u8> {
        let files = Files::from([
            ("slipway/trust".to_owned(), vec![b'T'; 4096]),
            ("slipway/task.img".to_owned(), vec![b'J'; 10_000]),
            ("readme".to_owned(), b"hello".to_vec()),
        ]);
        iso::image("SLIPWAY_MAINT", &files, "2026-01-01T00:00:00Z".parse().unwrap(), 1 << 20).unwrap()
    }

    #[test]
    fn files_are_found_where_they_lie() {
        let image = image();
        let volume = Volume::read(&image[..], image.len() as u64).unwrap();
        assert_eq!(volume.label, "SLIPWAY_MAINT");
        let trust = volume.find(&image[..], "slipway/trust").unwrap();
        let at = usize::try_from(trust.offset).unwrap();
        assert_eq!((trust.len, &image[at..at + 4096]), (4096, &[b'T'; 4096][..]));
        assert_eq!(volume.find(&image[..], "slipway/task.img").unwrap().len, 10_000);
        for absent in ["trust", "slipway", "slipway/none", "slipway/trust/x", "readme/x", ""] {
            let result = volume.find(&image[..], absent);
            assert!(matches!(result, Err(DirectoryError::Absent { .. })), "{absent:?}: {result:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_called_that() {
        for bytes in [vec![], vec![0; 100], vec![0; 100_000]] {
            let result = Volume::read(&bytes[..], bytes.len() as u64);
            assert!(matches!(result, Err(DirectoryError::NotIso)), "{result:?}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_image_never_panics_nor_points_behind_its_end(
            hits in proptest::collection::vec((32_768_usize..60_000, any::<u8>()), 1..40),
            cut in 0_usize..60_000,
        ) {
            let mut image = image();
            for (at, byte) in hits {
                if let Some(slot) = image.get_mut(at) { *slot = byte; }
            }
            image.truncate(image.len().saturating_sub(cut));
            let len = image.len() as u64;
            if let Ok(volume) = Volume::read(&image[..], len)
                && let Ok(extent) = volume.find(&image[..], "slipway/trust") {
                prop_assert!(extent.offset + extent.len <= len);
            }
        }
    }
}
