//! Blobs on disk: one file per content, named by its digest.
//!
//! ```text
//! <dir>/blobs/<algorithm>/<hex>   whole, verified, durable
//! <dir>/uploads/<id>              growing, not yet anything
//! ```
//! Commit: the upload's file is synced, renamed to its digest, and the folder is synced; only then may anyone be told.
//! What is in `blobs/` is therefore always whole. Which repository may see a blob is the index's business, not ours.
//! Everything here blocks; callers are on blocking threads.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::digest::{Algorithm, Digest};
use super::private;

/// Files of an interrupted manifest write start so, and are removed at start.
const SCRATCH_PREFIX: &str = "scratch-";
/// How much is read at once when content is hashed again.
const REHASH_CHUNK: usize = 1024 * 1024;

/// One thing the disk did not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error("the registry's disk is full; free space under its folder and push again")]
    Full {
        /// The folder.
        path: PathBuf,
        /// What the disk said, when it was the disk and not the reserve that said no.
        #[source]
        source: Option<io::Error>,
    },
    /// Making a folder.
    #[error("making folder {} is not possible", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Opening or reading a file.
    #[error("reading {} is not possible", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Writing, syncing or renaming a file.
    #[error("writing {} is not possible", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Removing a file.
    #[error("removing {} is not possible", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    /// Writing went wrong; a full disk or quota is told apart, because only that has a simple remedy.
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path: path.to_owned(), source: Some(source) }
            }
            _ => Self::Write { path: path.to_owned(), source },
        }
    }
}

/// The folder of blobs and growing uploads.
#[derive(Debug)]
pub struct Store {
    blobs: PathBuf,
    uploads: PathBuf,
    reserve: u64,
}

impl Store {
    /// Opens the folder, making what is missing. `reserve` bytes of the disk are never filled.
    pub fn open(dir: &Path, reserve: u64) -> Result<Self, StoreError> {
        let store = Self { blobs: dir.join("blobs"), uploads: dir.join("uploads"), reserve };
        for algorithm in Algorithm::ALL {
            let path = store.blobs.join(algorithm.name());
            private::folder(&path).map_err(|source| StoreError::Folder { path, source })?;
        }
        private::folder(&store.uploads)
            .map_err(|source| StoreError::Folder { path: store.uploads.clone(), source })?;
        Ok(store)
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm().name()).join(digest.hex())
    }

    /// Where an upload grows. `id` is one that we made.
    pub fn upload_path(&self, id: &str) -> PathBuf {
        self.uploads.join(id)
    }

    /// Size of a blob in bytes, when it is there.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    /// Opens a blob for reading, with its size in bytes.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, StoreError> {
        let path = self.blob_path(digest);
        let opened =
            File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    /// Reads a small blob whole; content beyond `limit` bytes counts as absent.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self.open_blob(digest)? {
            Some((mut file, size)) if size <= limit => {
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
                io::Read::read_to_end(&mut io::Read::take(&mut file, limit), &mut bytes)
                    .map_err(|source| StoreError::read(&self.blob_path(digest), source))?;
                Ok(Some(bytes))
            }
            _ => Ok(None),
        }
    }

    /// Refuses when the disk has no more than the reserve left.
    pub fn check_room(&self) -> Result<(), StoreError> {
        let found = nix::sys::statvfs::statvfs(&self.uploads)
            .map_err(|errno| StoreError::read(&self.uploads, errno.into()))?;
        #[allow(clippy::useless_conversion)] // the C types differ between platforms
        let free = u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size()));
        if free > self.reserve {
            Ok(())
        } else {
            Err(StoreError::Full { path: self.uploads.clone(), source: None })
        }
    }

    /// Opens an upload for writing; `None` when its file is gone.
    pub fn open_upload(&self, id: &str) -> Result<Option<(File, u64)>, StoreError> {
        let path = self.upload_path(id);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path, source }),
        }
    }

    /// Makes the empty file of a new upload.
    pub fn create_upload(&self, id: &str) -> Result<File, StoreError> {
        let path = self.upload_path(id);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(private::FILE)
            .open(&path)
            .map_err(|source| StoreError::write(&path, source))
    }

    /// Removes an upload's file. One that is gone already is a success.
    pub fn remove_upload(&self, id: &str) -> Result<(), StoreError> {
        let path = self.upload_path(id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Makes an upload's file the blob of that digest, durably. The caller has verified the digest.
    pub fn commit(&self, id: &str, file: &File, digest: &Digest) -> Result<(), StoreError> {
        let from = self.upload_path(id);
        let to = self.blob_path(digest);
        file.sync_data().map_err(|source| StoreError::write(&from, source))?;
        fs::rename(&from, &to).map_err(|source| StoreError::write(&to, source))?;
        self.sync_folder(digest.algorithm())
    }

    /// Stores content at hand (a manifest) as a blob, durably. Content that is there already costs a read.
    pub fn put_small(&self, scratch_id: &str, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if self.read_small(digest, bytes.len() as u64)?.is_some_and(|held| held == bytes) {
            return self.sync_folder(digest.algorithm());
        }
        self.check_room()?;
        let id = format!("{SCRATCH_PREFIX}{scratch_id}");
        let mut file = self.create_upload(&id)?;
        let stored = file
            .write_all(bytes)
            .map_err(|source| StoreError::write(&self.upload_path(&id), source))
            .and_then(|()| self.commit(&id, &file, digest));
        if stored.is_err() {
            self.remove_upload(&id)?;
        }
        stored
    }

    /// Ids of the uploads that have a file, scratch files of a past life included.
    pub fn upload_ids(&self) -> Result<Vec<String>, StoreError> {
        fs::read_dir(&self.uploads)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                    .collect()
            })
            .map_err(|source| StoreError::read(&self.uploads, source))
    }

    /// Every blob that is on disk, in no order, read as the walk goes on. Names that are no digest are passed over.
    pub fn blobs(&self) -> Result<impl Iterator<Item = Result<Digest, StoreError>>, StoreError> {
        let mut folders = Vec::new();
        for algorithm in Algorithm::ALL {
            let path = self.blobs.join(algorithm.name());
            let entries = fs::read_dir(&path).map_err(|source| StoreError::read(&path, source))?;
            folders.push((algorithm, path, entries));
        }
        Ok(folders.into_iter().flat_map(|(algorithm, path, entries)| {
            entries.filter_map(move |entry| match entry {
                Ok(entry) => format!("{}:{}", algorithm.name(), entry.file_name().to_string_lossy())
                    .parse()
                    .ok()
                    .map(Ok),
                Err(source) => Some(Err(StoreError::read(&path, source))),
            })
        }))
    }

    /// Removes a blob's file. One that is gone already is a success. The caller knows that nobody holds it.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Moves a blob's file to the folder `quarantine`, from where nothing is served.
    pub fn quarantine(&self, digest: &Digest) -> Result<(), StoreError> {
        let from = self.blob_path(digest);
        let folder = self.blobs.with_file_name("quarantine");
        private::folder(&folder).map_err(|source| StoreError::Folder { path: folder.clone(), source })?;
        let to = folder.join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        fs::rename(&from, &to).map_err(|source| StoreError::write(&to, source))?;
        self.sync_folder(digest.algorithm())
    }

    /// Hashes an upload's file from its start.
    pub fn hash_upload(&self, id: &str, file: &File, algorithm: Algorithm) -> Result<Digest, StoreError> {
        let mut hasher = algorithm.hasher();
        let mut buffer = vec![0; REHASH_CHUNK];
        let mut offset = 0;
        loop {
            let read = std::os::unix::fs::FileExt::read_at(file, &mut buffer, offset)
                .map_err(|source| StoreError::read(&self.upload_path(id), source))?;
            if read == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..read]);
            offset += read as u64;
        }
    }

    fn sync_folder(&self, algorithm: Algorithm) -> Result<(), StoreError> {
        let path = self.blobs.join(algorithm.name());
        File::open(&path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| StoreError::write(&path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_a_broken_one() {
        let path = Path::new("/x");
        for (errno, full) in [(28, true), (122, true), (5, false), (13, false)] {
            let error = StoreError::write(path, io::Error::from_raw_os_error(errno));
            assert_eq!(matches!(error, StoreError::Full { .. }), full, "errno {errno}: {error}");
        }
    }

    #[test]
    fn a_reserve_that_cannot_be_kept_refuses() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Store::open(dir.path(), 0).unwrap().check_room().is_ok());
        let store = Store::open(dir.path(), u64::MAX).unwrap();
        assert!(matches!(store.check_room(), Err(StoreError::Full { source: None, .. })));
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert!(store.put_small("a", &digest, b"x").is_err());
        assert!(store.upload_ids().unwrap().is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_small_blob_is_read_back_and_a_damaged_one_is_healed_by_a_new_push() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap();
        let digest = Digest::of(Algorithm::Sha512, b"content");
        assert_eq!(store.read_small(&digest, 100).unwrap(), None);
        store.put_small("a", &digest, b"content").unwrap();
        assert_eq!(store.read_small(&digest, 100).unwrap().unwrap(), b"content");
        fs::write(store.blob_path(&digest), b"damaged").unwrap();
        store.put_small("b", &digest, b"content").unwrap();
        assert_eq!(store.read_small(&digest, 100).unwrap().unwrap(), b"content");
        assert!(store.upload_ids().unwrap().is_empty());
    }
}
