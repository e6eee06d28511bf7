//! Secret files: whole or absent, 0600 from their first byte, refused when others may read them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Largest secret file; ours have a few hundred bytes.
const SIZE_MAX: u64 = 64 << 10;

/// One attempt at a secret file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The folder cannot be made.
    #[error("making folder {path}; check that its parent exists and is writable")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "{path} has mode {mode:o}, others may read it; run chmod 600 on it and consider its secret known"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be written.
    #[error("writing {path}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What others must not have of anything here.
const OTHERS: u32 = 0o077;

/// Makes a folder with mode 0700 (and its parents) unless it is there; one that is open to others is closed.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    let made = (|| {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if fs::metadata(path)?.mode() & OTHERS != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        Ok(())
    })();
    made.map_err(|source| FileError::Folder { path: path.to_owned(), source })
}

/// The text of a secret file; `None` when there is none.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mode = file.metadata().map_err(read)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(SIZE_MAX).read_to_string(&mut text).map_err(read)?;
    Ok(Some(text))
}

/// Writes a secret file: temporary file, fsync, rename, fsync of the folder.
pub fn write_secret(path: &Path, text: &str) -> Result<(), FileError> {
    let write = |source| FileError::Write { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let folder = path.parent().unwrap_or(Path::new("."));
    let result = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        // Best effort: what is left behind is overwritten by the next attempt.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(write)
}
