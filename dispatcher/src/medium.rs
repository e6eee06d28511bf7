//! Finds the task medium, wherever it is, and brings it into memory checked.
//!
//! ```text
//!   maintenance disc (SLIPWAY_MAINT) ─▶ slipway/trust ─────────────┐ keys
//!                                    └▶ slipway/task.img ─┐        ▼
//!   second disc or stick (SLIPWAY_TASK) ──────────────────┼▶ mount ─▶ verify ─▶ TaskMedium
//!   slipway.task=<url> ─▶ download ───────────────────────┘
//! ```
//!
//! Several candidates may be present (an old disc in another drive, say): the first that verifies is taken. Each is
//! mounted, read into memory and unmounted before the next step, so media may be ejected at any time after.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use schema::task::{COMPOSED_TASK_FILE, MAINTENANCE_LABEL, TASK_LABEL, TRUST_FILE, TRUST_SIZE};
use thiserror::Error;

use crate::cmdline::KernelCommandLine;
use crate::exit::Exit;
use crate::verify::{self, TaskMedium, VerifyError};
use crate::volume;

/// The edge: drives, mounts and downloads.
pub trait Media {
    /// Devices and folders that hold a disc of this label now, likeliest first.
    fn labelled(&self, label: &str) -> Vec<PathBuf>;
    /// Makes the files of a device, an image file or a folder readable, until the guard is dropped.
    fn mount(&self, source: &Path) -> Result<Mounted, MediumError>;
    /// Downloads a task medium into a file.
    fn fetch(&self, url: &str) -> Result<PathBuf, MediumError>;
}

/// A mounted disc.
pub struct Mounted {
    root: PathBuf,
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl Mounted {
    /// A folder that needs no unmounting.
    pub fn folder(root: PathBuf) -> Self {
        Self { root, release: None }
    }

    /// A folder that is given back by `release`.
    pub fn guarded(root: PathBuf, release: impl FnOnce() + Send + 'static) -> Self {
        Self { root, release: Some(Box::new(release)) }
    }

    /// Where the files are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

/// Why there is no task medium to work with.
#[derive(Debug, Error)]
pub enum MediumError {
    /// Nothing with our labels anywhere.
    #[error("no disc labelled SLIPWAY_TASK; it comes when the controller inserts it")]
    NoTask,
    /// There is nothing to check a task medium against.
    #[error(
        "no disc labelled SLIPWAY_MAINT and no slipway.trust= on the kernel command line to check the task medium by"
    )]
    NoTrust,
    /// A disc could not be mounted.
    #[error("mounting {path}")]
    Mount {
        /// Device or image file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The trust block could not be read.
    #[error("reading the trust block {path}")]
    ReadTrust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The download did not work.
    #[error("downloading the task medium from {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL cannot be used.
    #[error(
        "{url} is no http:// URL; the medium is signed, so it travels without TLS: no authority is known yet"
    )]
    Url {
        /// The URL.
        url: String,
    },
    /// The medium is not the site's, or damaged.
    #[error("refusing the task medium in {path}")]
    Refused {
        /// Where it was found.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifyError,
    },
}

impl MediumError {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoTask | Self::Fetch { .. } | Self::Url { .. } => Exit::NoTaskMedium,
            Self::Mount { .. } | Self::ReadTrust { .. } => Exit::MountFailed,
            Self::NoTrust | Self::Refused { .. } => Exit::MediumRefused,
        }
    }
}

/// Looks once at every place. With several faults the most telling is returned: a medium that was refused says more
/// than a drive that was empty.
pub fn find(media: &dyn Media, words: &KernelCommandLine) -> Result<TaskMedium, MediumError> {
    let (mut places, mut problems) = (media.labelled(TASK_LABEL), Vec::new());
    let maintenance = maintenance_disc(media, &mut problems);
    if let Some(disc) = &maintenance {
        let composed = disc.root().join(COMPOSED_TASK_FILE);
        if volume::label(&composed).as_deref() == Some(TASK_LABEL) {
            places.push(composed);
        }
    }
    if let Some(url) = &words.task_url {
        match media.fetch(url) {
            Ok(file) => places.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if !places.is_empty() {
        match site_keys(maintenance.as_ref(), words) {
            Ok(keys) => {
                for place in &places {
                    match take(media, place, &keys) {
                        Ok(medium) => return Ok(medium),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    Err(problems.into_iter().max_by_key(|problem| problem.exit().code()).unwrap_or(MediumError::NoTask))
}

fn maintenance_disc(media: &dyn Media, problems: &mut Vec<MediumError>) -> Option<Mounted> {
    let mut failed = Vec::new();
    for place in media.labelled(MAINTENANCE_LABEL) {
        match media.mount(&place) {
            // The same disc shows twice, whole and as its first partition, where it is a stick or a RAM disk; the one
            // that is in use as the other cannot be mounted, and that is no problem.
            Ok(disc) => return Some(disc),
            Err(problem) => failed.push(problem),
        }
    }
    problems.append(&mut failed);
    None
}

/// The kernel command line is as trustworthy as the kernel that carries it, and comes first: without it a boot by
/// iPXE would trust whatever old maintenance disc lies in a drive.
fn site_keys(
    maintenance: Option<&Mounted>,
    words: &KernelCommandLine,
) -> Result<Vec<VerifyingKey>, MediumError> {
    let refused = |path: &Path, source| MediumError::Refused { path: path.to_owned(), source };
    if !words.trust.is_empty() {
        return verify::keys_from_hex(&words.trust)
            .map_err(|source| refused(Path::new("/proc/cmdline"), source));
    }
    let path = maintenance.ok_or(MediumError::NoTrust)?.root().join(TRUST_FILE);
    let mut block = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(TRUST_SIZE).read_to_end(&mut block))
        .map_err(|source| MediumError::ReadTrust { path: path.clone(), source })?;
    verify::trusted_keys(&block).map_err(|source| refused(&path, source))
}

fn take(media: &dyn Media, place: &Path, keys: &[VerifyingKey]) -> Result<TaskMedium, MediumError> {
    let disc = media.mount(place)?;
    verify::medium(disc.root(), keys)
        .map_err(|source| MediumError::Refused { path: place.to_owned(), source })
}
