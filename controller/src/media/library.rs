//! The maintenance medium as it lies on disk: the same file for every site and job, opened once, hashed once, and
//! never written. Where the overlay goes is read from its own directory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schema::task::{COMPOSED_TASK_FILE, COMPOSED_TASK_SIZE, MAINTENANCE_LABEL, TRUST_FILE, TRUST_SIZE};
use sha2::{Digest as _, Sha256};

use super::directory::{DirectoryError, Extent, Volume};

/// Where a medium says which version of Slipway it was built from.
pub const VERSION_FILE: &str = "slipway/version";
/// Longest version that is read.
const VERSION_MAX: u64 = 64;
/// Bytes hashed per read.
const HASH_CHUNK: usize = 1 << 20;

/// An opened `maintenance.iso`.
#[derive(Debug)]
pub struct MaintenanceMedium {
    /// Where it was opened.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// What it says it was built from, in [`VERSION_FILE`]; older ones do not say.
    pub version: Option<String>,
    /// SHA-256 of the whole file as it lies on disk.
    pub sha256: [u8; 32],
    /// Where [`TRUST_FILE`] lies.
    pub trust: Extent,
    /// Where [`COMPOSED_TASK_FILE`] lies.
    pub task: Extent,
    /// The open file: replacing the path leaves readers on the old bytes.
    pub(super) file: Arc<File>,
}

/// Why a file is not a maintenance medium.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Not to be opened.
    #[error(
        "opening the maintenance medium {path}; build it with `cargo xtask maintenance-iso` and set maintenance_iso"
    )]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not to be read.
    #[error("reading the maintenance medium {path}")]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its directory does not hold what it must.
    #[error("{path} is not a maintenance medium")]
    Directory {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: DirectoryError,
    },
    /// Another disc.
    #[error("{path} is labelled {label:?}, a maintenance medium is labelled {MAINTENANCE_LABEL}")]
    Label {
        /// The path.
        path: PathBuf,
        /// The label found.
        label: String,
    },
    /// A reserved file has another size than the contract says.
    #[error(
        "{path}: {file} has {found} bytes, {wanted} are reserved; the medium was built for another version"
    )]
    Reserved {
        /// The path.
        path: PathBuf,
        /// The file on the medium.
        file: &'static str,
        /// Its size.
        found: u64,
        /// The size the contract says.
        wanted: u64,
    },
}

impl MaintenanceMedium {
    /// Opens and hashes the file: about a second per gigabyte, so not on an async thread.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        let path = path.to_path_buf();
        let read = |source| LibraryError::Read { path: path.clone(), source };
        let mut file =
            File::open(&path).map_err(|source| LibraryError::Open { path: path.clone(), source })?;
        let len = file.metadata().map_err(read)?.len();
        let directory = |source| LibraryError::Directory { path: path.clone(), source };
        let volume = Volume::read(&file, len).map_err(directory)?;
        if volume.label != MAINTENANCE_LABEL {
            return Err(LibraryError::Label { path, label: volume.label });
        }
        let mut reserved = [
            (TRUST_FILE, TRUST_SIZE, Extent { offset: 0, len: 0 }),
            (COMPOSED_TASK_FILE, COMPOSED_TASK_SIZE, Extent { offset: 0, len: 0 }),
        ];
        for (name, wanted, extent) in &mut reserved {
            *extent = volume.find(&file, name).map_err(directory)?;
            if extent.len != *wanted {
                return Err(LibraryError::Reserved { path, file: name, found: extent.len, wanted: *wanted });
            }
        }
        let version = volume.find(&file, VERSION_FILE).ok().and_then(|extent| version(&file, extent));
        let sha256 = hash(&mut file).map_err(read)?;
        Ok(Self {
            len,
            version,
            sha256,
            trust: reserved[0].2,
            task: reserved[1].2,
            file: Arc::new(file),
            path,
        })
    }
}

/// Printable text, or nothing: whoever made the medium wrote it.
fn version(file: &File, extent: Extent) -> Option<String> {
    let mut bytes = vec![0; usize::try_from(extent.len.min(VERSION_MAX)).ok()?];
    file.read_exact_at(&mut bytes, extent.offset).ok()?;
    let text = String::from_utf8(bytes).ok()?.trim().to_owned();
    (!text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())).then_some(text)
}

fn hash(file: &mut File) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&chunk[..count]),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::contents::Files;
    use super::super::iso;
    use super::*;

    /// A file that is a maintenance medium in everything but its operating system.
    pub(crate) fn medium(label: &str, trust: usize, task: usize) -> tempfile::NamedTempFile {
        let files = Files::from([
            ("boot/vmlinuz".to_owned(), (0..100_000_u32).flat_map(u32::to_le_bytes).collect()),
            ("slipway/trust".to_owned(), vec![b'\n'; trust]),
            ("slipway/version".to_owned(), b"1.2.3\n".to_vec()),
            ("slipway/task.img".to_owned(), vec![0; task]),
        ]);
        let bytes = iso::image(label, &files, "2026-01-01T00:00:00Z".parse().unwrap(), 64 << 20).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_maintenance_medium_is_opened_with_its_reserved_places() {
        let file = medium("SLIPWAY_MAINT", 4096, 12 << 20);
        let medium = MaintenanceMedium::open(file.path()).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(medium.len, bytes.len() as u64);
        assert_eq!(medium.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        let at = usize::try_from(medium.trust.offset).unwrap();
        assert_eq!(bytes[at..at + 4096], [b'\n'; 4096]);
        assert_eq!(medium.task.len, 12 << 20);
        assert_eq!(medium.version.as_deref(), Some("1.2.3"));
    }

    #[test]
    fn other_discs_are_refused_by_name() {
        let other = medium("DEBIAN", 4096, 12 << 20);
        assert!(matches!(MaintenanceMedium::open(other.path()), Err(LibraryError::Label { .. })));
        let small = medium("SLIPWAY_MAINT", 4096, 1 << 20);
        assert!(matches!(MaintenanceMedium::open(small.path()), Err(LibraryError::Reserved { .. })));
        let missing = MaintenanceMedium::open(Path::new("/nonexistent/m.iso")).unwrap_err();
        assert!(missing.to_string().contains("cargo xtask maintenance-iso"));
    }
}
