//! The hand-off folder `/run/provision`: what the dispatcher left for the steps, and what one step leaves
//! for the next. Reads bounded, writes whole files of mode 0600. Decides nothing.
//!
//! ```text
//!   dispatcher ──▶ recipe.json layout.json job.json token user-data … ──▶ every step
//!   preflight  ──▶ disk.json       ──▶ partition, image-linux, …
//!   partition  ──▶ partitions.json ──▶ image-linux, bootloader-linux, config-drive
//!   image-linux──▶ image.json      ──▶ image-linux again (a finished step changes nothing)
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schema::event::PROVISION_DIR;
use schema::layout::{LayoutPlan, SolvedPartition};
use schema::recipe::Recipe;
use schema::task::{TaskImage, TaskJob};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::DiskIdentity;

/// Largest document read from the folder; the task medium itself is at most 10 MiB.
const DOCUMENT_MAX: u64 = 10 << 20;
/// Names of the payload files, as cloud-init knows them.
pub const PAYLOADS: [&str; 3] = ["user-data", "meta-data", "network-config"];

/// The folder and the documents that every step needs.
pub struct Handoff {
    folder: PathBuf,
    /// What to do.
    pub recipe: Recipe,
    /// What is known about the job.
    pub job: TaskJob,
    /// The partitions to make.
    pub layout: LayoutPlan,
}

/// Something in the folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// A document is absent or unreadable.
    #[error("reading {path}: {remedy}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Who should have made it.
        remedy: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A document is larger than anything the dispatcher writes.
    #[error("{path} is larger than {DOCUMENT_MAX} bytes, which nothing in the hand-off is")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A document does not say what it should.
    #[error("reading {path}: not the document this version of the tools knows")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document cannot be written.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The job names no image, but the step needs one.
    #[error("job.json names no image: the recipe's oci_url was not resolved when the job was accepted")]
    NoImage,
    /// The token is not one.
    #[error("{path} holds no usable token: it must be one line of printable ASCII")]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// What `partition` made. Travels as `partitions.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionTable {
    /// GUID of the disk, lower case.
    pub disk_guid: String,
    /// What is on it, in order; empty where a whole-disk image brings its own.
    pub partitions: Vec<PartitionRecord>,
    /// Partition GUIDs found on the disk before it was wiped: boot entries that name them are dead.
    #[serde(default)]
    pub replaced: Vec<String>,
}

/// One partition that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Where it is and what it is for.
    #[serde(flatten)]
    pub solved: SolvedPartition,
    /// GUID of the partition, lower case.
    pub partuuid: String,
    /// UUID of its filesystem in the form `blkid` and fstab use; absent on raw partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

/// What `image-linux` finished. Travels as `image.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The job.
    pub job_id: String,
    /// Digest of the image's manifest.
    pub digest: String,
    /// GUID of the disk it was written to, or of the disk's identity when the image is a whole disk.
    pub disk: String,
}

impl Handoff {
    /// The folder on a real host.
    pub fn default_folder() -> PathBuf {
        PathBuf::from(PROVISION_DIR)
    }

    /// Reads the documents every step needs.
    pub fn read(folder: &Path) -> Result<Self, HandoffError> {
        const BY: &str = "the dispatcher writes it before it starts a step";
        Ok(Self {
            recipe: document(&folder.join("recipe.json"), BY)?,
            job: document(&folder.join("job.json"), BY)?,
            layout: document(&folder.join("layout.json"), BY)?,
            folder: folder.to_owned(),
        })
    }

    /// The session token, for the registry.
    pub fn token(&self) -> Result<Token, HandoffError> {
        let path = self.folder.join("token");
        let bytes = bounded(&path, "the dispatcher writes it once the controller says proceed")?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.is_empty() || text.len() > 8192 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HandoffError::Token { path });
        }
        Ok(Token(text))
    }

    /// The authority that the registry's certificate must come from: job.json's, else `site-ca.pem`.
    pub fn site_ca(&self) -> Result<Option<String>, HandoffError> {
        if let Some(pem) = &self.job.site_ca {
            return Ok(Some(pem.clone()));
        }
        let path = self.folder.join("site-ca.pem");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = bounded(&path, "the dispatcher writes it")?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The image to install.
    pub fn image(&self) -> Result<&TaskImage, HandoffError> {
        self.job.image.as_ref().ok_or(HandoffError::NoImage)
    }

    /// A payload by its file name, if the recipe brought it.
    pub fn payload(&self, name: &str) -> Result<Option<Vec<u8>>, HandoffError> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        bounded(&path, "the dispatcher writes it").map(Some)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the dispatcher listens for progress.
    pub fn progress_socket(&self) -> PathBuf {
        self.folder.join("progress.sock")
    }

    /// The disk that preflight chose.
    pub fn disk(&self) -> Result<DiskIdentity, HandoffError> {
        document(&self.folder.join("disk.json"), "preflight writes it")
    }

    /// Records the chosen disk.
    pub fn write_disk(&self, disk: &DiskIdentity) -> Result<(), HandoffError> {
        self.write("disk.json", disk)
    }

    /// The partitions that were made.
    pub fn partitions(&self) -> Result<PartitionTable, HandoffError> {
        document(&self.folder.join("partitions.json"), "the partition step writes it")
    }

    /// The partitions that were made, if the partition step has run in this boot.
    pub fn partitions_if_made(&self) -> Result<Option<PartitionTable>, HandoffError> {
        if self.folder.join("partitions.json").exists() { self.partitions().map(Some) } else { Ok(None) }
    }

    /// Records the partitions that were made.
    pub fn write_partitions(&self, table: &PartitionTable) -> Result<(), HandoffError> {
        self.write("partitions.json", table)
    }

    /// The image that was written, if one was finished in this boot.
    pub fn image_record(&self) -> Result<Option<ImageRecord>, HandoffError> {
        let path = self.folder.join("image.json");
        if path.exists() { document(&path, "image-linux writes it").map(Some) } else { Ok(None) }
    }

    /// Records the image that was written.
    pub fn write_image_record(&self, record: &ImageRecord) -> Result<(), HandoffError> {
        self.write("image.json", record)
    }

    fn write<T: Serialize>(&self, name: &str, document: &T) -> Result<(), HandoffError> {
        let path = self.folder.join(name);
        let text = serde_json::to_string_pretty(document)
            .map_err(|source| HandoffError::Parse { path: path.clone(), source })?;
        crate::runner::write_file(&path, 0o600, &(text + "\n"))
            .map_err(|source| HandoffError::Write { path, source })
    }
}

/// The session token. Never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Wraps a token; for tests.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The value of an `Authorization` header.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

fn bounded(path: &Path, remedy: &'static str) -> Result<Vec<u8>, HandoffError> {
    let refuse = |source| HandoffError::Read { path: path.to_owned(), remedy, source };
    let mut bytes = Vec::new();
    File::open(path).map_err(refuse)?.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(HandoffError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn document<T: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<T, HandoffError> {
    serde_json::from_slice(&bounded(path, remedy)?)
        .map_err(|source| HandoffError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing;

    #[test]
    fn the_token_is_read_without_its_newline_and_never_printed() {
        let folder = testing::provision();
        fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let handoff = Handoff::read(folder.path()).unwrap();
        let token = handoff.token().unwrap();
        assert_eq!(token.bearer(), "Bearer s3cret");
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn a_token_that_could_break_a_header_is_refused() {
        let folder = testing::provision();
        for bad in ["", "a b", "a\r\nX: y", "ümlaut"] {
            fs::write(folder.path().join("token"), bad).unwrap();
            let error = Handoff::read(folder.path()).unwrap().token().unwrap_err();
            assert!(matches!(error, HandoffError::Token { .. }), "{bad:?}: {error}");
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
    }

    #[test]
    fn what_a_step_leaves_is_for_root_alone_and_reads_back() {
        let folder = testing::provision();
        let handoff = Handoff::read(folder.path()).unwrap();
        assert!(handoff.image_record().unwrap().is_none());
        let record = ImageRecord { job_id: "j".into(), digest: "sha256:0".into(), disk: "d".into() };
        handoff.write_image_record(&record).unwrap();
        assert_eq!(handoff.image_record().unwrap(), Some(record));
        let mode = fs::metadata(folder.path().join("image.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_document_names_who_should_have_written_it() {
        let folder = testing::provision();
        let error = Handoff::read(folder.path()).unwrap().disk().unwrap_err().to_string();
        assert!(error.contains("disk.json") && error.contains("preflight"), "{error}");
    }

    #[test]
    fn an_endless_document_is_refused() {
        let folder = testing::provision();
        let file = File::create(folder.path().join("recipe.json")).unwrap();
        file.set_len(DOCUMENT_MAX + 1).unwrap();
        let error = Handoff::read(folder.path()).err().unwrap();
        assert!(matches!(error, HandoffError::TooLarge { .. }), "{error}");
    }
}
