//! What can go wrong with the index file.

use std::path::PathBuf;

/// One thing the index did not do.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Opening the file.
    #[error("registry index {} cannot be opened; check its owner and that no other service uses it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Bringing the file's schema up to date.
    #[error("registry index cannot be brought to schema version {version}; restore it from a backup")]
    Migrate {
        /// The version that was tried.
        version: usize,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is from a later release.
    #[error("registry index has schema version {found}, this release knows {known}; run the later release")]
    Newer {
        /// In the file.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// A statement.
    #[error("registry index: {attempt} did not work")]
    Statement {
        /// What was tried.
        attempt: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A row holds what we would never have written.
    #[error("registry index: a row read for {attempt} is damaged; restore the index from a backup")]
    Damaged {
        /// What was tried.
        attempt: &'static str,
        /// What is wrong with the row.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl IndexError {
    /// Whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Migrate { source, .. } | Self::Statement { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            Self::Newer { .. } | Self::Damaged { .. } => false,
        }
    }
}
