//! Is this task medium our site's, whole and unchanged? Decided on a folder; who mounted it is no matter here.
//!
//! ```text
//!   trust block ──▶ site keys ─┐
//!   manifest.sig ──────────────┴▶ manifest.json is the site's ──▶ every file listed, and nothing more ──▶ TaskMedium
//! ```
//!
//! Everything is read once, into memory, and checked there: what was checked is what is used, and the disc can be
//! unmounted (or torn out) right after. A medium is at most 10 MiB.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, VerifyingKey};
use schema::task::{Manifest, TASK_MEDIUM_MAX, TaskJob, Trust};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Name of the list of files.
pub const MANIFEST: &str = "manifest.json";
/// Name of the signature over [`MANIFEST`].
pub const SIGNATURE: &str = "manifest.sig";
/// Largest manifest, in bytes.
const MANIFEST_MAX: u64 = 256 << 10;
/// Size of an Ed25519 signature, in bytes.
const SIGNATURE_SIZE: usize = 64;
/// Most files on a medium; ours have about ten, a few more per NIC.
const FILES_MAX: usize = 256;
/// Deepest folder: `host-network/x.network` is 2.
const DEPTH_MAX: usize = 3;

/// Why a medium is not trusted.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The trust block is not what it should be.
    #[error("the trust block of the maintenance disc is damaged; rebuild or re-fetch the maintenance medium")]
    Trust(#[source] serde_json::Error),
    /// A key in the trust block is no key.
    #[error("site key {index} of the trust block is not an Ed25519 key")]
    Key {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// There is no key at all.
    #[error(
        "this maintenance disc carries no site key; use the maintenance medium that the controller serves"
    )]
    NoKeys,
    /// A file could not be read.
    #[error("reading {path} on the task medium")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than allowed.
    #[error("{path} on the task medium is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The signature has a wrong size.
    #[error("the signature of the task medium has {size} bytes instead of 64")]
    SignatureSize {
        /// Its size.
        size: usize,
    },
    /// No site key made this signature.
    #[error(
        "the task medium is not signed by this site ({keys} key(s) tried); it is stale or belongs to another site"
    )]
    Signature {
        /// How many keys were tried.
        keys: usize,
    },
    /// The signed manifest is not understood.
    #[error(
        "the manifest of the task medium is not understood; controller and maintenance medium differ in version"
    )]
    Manifest(#[source] serde_json::Error),
    /// The manifest is of a version this program does not know.
    #[error(
        "the task medium is of version {version}, this maintenance OS understands 1; update the maintenance medium"
    )]
    Version {
        /// What it says.
        version: u32,
    },
    /// The medium as a whole is too large.
    #[error("the task medium holds more than {TASK_MEDIUM_MAX} bytes")]
    MediumTooLarge,
    /// A file that must be there is not.
    #[error("{name} belongs on the task medium but is not there")]
    Missing {
        /// The file.
        name: String,
    },
    /// A file is there that is not listed.
    #[error("{name} is on the task medium but not in its manifest")]
    Unlisted {
        /// The file.
        name: String,
    },
    /// A listed name could lead out of the medium.
    #[error("{name:?} in the manifest is not a plain path")]
    Name {
        /// The name.
        name: String,
    },
    /// Neither file nor folder, or too many or too deep.
    #[error("{path} on the task medium is not a plain file within bounds")]
    Shape {
        /// What was found.
        path: PathBuf,
    },
    /// The bytes are not the ones listed.
    #[error("{name} on the task medium does not have the digest its manifest lists; the medium is damaged")]
    Digest {
        /// The file.
        name: String,
    },
    /// `job.json` is signed but not understood.
    #[error(
        "job.json of the task medium is not understood; controller and maintenance medium differ in version"
    )]
    Job(#[source] serde_json::Error),
    /// A text file is not UTF-8.
    #[error("{name} on the task medium is not UTF-8 text")]
    Text {
        /// The file.
        name: String,
    },
}

/// A task medium that is the site's own, in memory.
pub struct TaskMedium {
    /// What the host must know.
    pub job: TaskJob,
    /// The recipe as it was accepted; not yet checked here.
    pub recipe: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl TaskMedium {
    /// A file by its path on the medium.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// The files of a folder: name inside it, and bytes.
    pub fn folder(&self, folder: &str) -> impl Iterator<Item = (&str, &[u8])> {
        let prefix = format!("{folder}/");
        self.files
            .iter()
            .filter_map(move |(name, bytes)| Some((name.strip_prefix(prefix.as_str())?, bytes.as_slice())))
    }
}

impl fmt::Debug for TaskMedium {
    /// Names only: contents hold tokens and people's passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.files.keys().collect();
        f.debug_struct("TaskMedium")
            .field("job", &self.job.job_id)
            .field("files", &names)
            .finish_non_exhaustive()
    }
}

/// The site's keys from a trust block: JSON padded with newlines. A block that nobody wrote to holds none.
pub fn trusted_keys(block: &[u8]) -> Result<Vec<VerifyingKey>, VerifyError> {
    let text = block.trim_ascii();
    let text: Vec<u8> = text.iter().copied().skip_while(|byte| *byte == 0).collect();
    if text.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let trust: Trust = serde_json::from_slice(&text).map_err(VerifyError::Trust)?;
    keys_from_hex(&trust.keys)
}

/// The site's keys from hex texts, as on the kernel command line.
pub fn keys_from_hex(texts: &[String]) -> Result<Vec<VerifyingKey>, VerifyError> {
    if texts.is_empty() {
        return Err(VerifyError::NoKeys);
    }
    let mut keys = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| VerifyError::Key { index })?;
        keys.push(VerifyingKey::from_bytes(&bytes).map_err(|_| VerifyError::Key { index })?);
    }
    Ok(keys)
}

/// Checks the medium mounted at `root` and takes it into memory.
pub fn medium(root: &Path, keys: &[VerifyingKey]) -> Result<TaskMedium, VerifyError> {
    let manifest = read(root, MANIFEST, MANIFEST_MAX)?;
    let signature = read(root, SIGNATURE, MANIFEST_MAX)?;
    check_signature(&manifest, &signature, keys)?;

    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(VerifyError::Manifest)?;
    if manifest.version != 1 {
        return Err(VerifyError::Version { version: manifest.version });
    }
    if let Some(name) = manifest.files.keys().find(|name| !is_plain_path(name)) {
        return Err(VerifyError::Name { name: name.clone() });
    }
    let mut found = BTreeSet::new();
    walk(root, "", 1, &mut found)?;
    if let Some(name) = found.iter().find(|name| !manifest.files.contains_key(*name)) {
        return Err(VerifyError::Unlisted { name: name.clone() });
    }

    let mut files = BTreeMap::new();
    let mut left = TASK_MEDIUM_MAX;
    for (name, digest) in &manifest.files {
        if !found.contains(name) {
            return Err(VerifyError::Missing { name: name.clone() });
        }
        let bytes = match read(root, name, left) {
            Err(VerifyError::TooLarge { .. }) => return Err(VerifyError::MediumTooLarge),
            other => other?,
        };
        left -= bytes.len() as u64;
        if hex::encode(Sha256::digest(&bytes)) != *digest {
            return Err(VerifyError::Digest { name: name.clone() });
        }
        files.insert(name.clone(), bytes);
    }
    let job = serde_json::from_str::<TaskJob>(text(&files, "job.json")?).map_err(VerifyError::Job)?;
    if job.version != 1 {
        return Err(VerifyError::Version { version: job.version });
    }
    let recipe = text(&files, "recipe.json")?.to_owned();
    Ok(TaskMedium { job, recipe, files })
}

fn check_signature(manifest: &[u8], signature: &[u8], keys: &[VerifyingKey]) -> Result<(), VerifyError> {
    let signature: &[u8; SIGNATURE_SIZE] =
        signature.try_into().map_err(|_| VerifyError::SignatureSize { size: signature.len() })?;
    let signature = Signature::from_bytes(signature);
    if keys.iter().any(|key| key.verify_strict(manifest, &signature).is_ok()) {
        return Ok(());
    }
    Err(VerifyError::Signature { keys: keys.len() })
}

fn text<'a>(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'a str, VerifyError> {
    let bytes = files.get(name).ok_or_else(|| VerifyError::Missing { name: name.to_owned() })?;
    std::str::from_utf8(bytes).map_err(|_| VerifyError::Text { name: name.to_owned() })
}

fn read(root: &Path, name: &str, limit: u64) -> Result<Vec<u8>, VerifyError> {
    let path = root.join(name);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|source| VerifyError::Read { path: path.clone(), source })?;
    if bytes.len() as u64 > limit {
        return Err(VerifyError::TooLarge { path, limit });
    }
    Ok(bytes)
}

/// Collects every file below `folder` but manifest and signature.
fn walk(root: &Path, folder: &str, depth: usize, found: &mut BTreeSet<String>) -> Result<(), VerifyError> {
    let path = root.join(folder);
    let problem = |source| VerifyError::Read { path: path.clone(), source };
    for entry in fs::read_dir(&path).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let shape = || VerifyError::Shape { path: entry.path() };
        let kind = entry.file_type().map_err(problem)?;
        let name = entry.file_name().into_string().map_err(|_| shape())?;
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(root, &name, depth + 1, found)?;
        } else if !kind.is_file() || found.len() >= FILES_MAX {
            return Err(shape());
        } else if name != MANIFEST && name != SIGNATURE {
            found.insert(name);
        }
    }
    Ok(())
}

/// Whether the name stays inside the medium: relative, no `.` or `..`, no empty part, no control character.
fn is_plain_path(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.chars().any(|c| c.is_control() || c == '\\')
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
