//! The hand-off: what steps, `report` and site tools find in `/run/provision` (tmpfs, 0700 root, files 0600).
//!
//! Our tools read the JSON. `recipe.env` is for plain units and site tools, which read it with `EnvironmentFile=`:
//! scalars only, never quoted (systemd and podman read quotes differently), never a secret.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use schema::layout::LayoutPlan;
use schema::recipe::{DiskChoice, Recipe};
use schema::task::TaskJob;
use thiserror::Error;

use crate::controller::Token;
use crate::delivery::Sender;
use crate::verify::TaskMedium;

/// The folder and what is done in it.
pub struct Handoff {
    folder: PathBuf,
}

/// Why the hand-off did not work.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// A file could not be written.
    #[error("writing {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("reading {path}; the dispatcher writes it before any step")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what the dispatcher wrote.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The token file holds no token.
    #[error("{path} holds no token")]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// No randomness for the boot nonce.
    #[error("the kernel gave no random bytes for the boot nonce")]
    Random(#[source] getrandom::Error),
}

/// Payload files that go from the medium into the hand-off, under the same names.
const PAYLOADS: &[&str] = &["user-data", "meta-data", "network-config", "unattend.xml", "ks.cfg"];
/// File with this boot's nonce.
const BOOT_NONCE: &str = "boot-nonce";
/// File that is there once systemd was asked to start the target.
const DISPATCHED: &str = "dispatched";
/// File with the outcome, once the controller knows it.
const OUTCOME: &str = "outcome";
/// Lock file of those who report an outcome.
pub const OUTCOME_LOCK: &str = "outcome.lock";
/// Longest file that is read back, in bytes.
const READ_MAX: u64 = 8 << 20;

/// What was handed over, read back.
pub struct HandedOver {
    /// The job.
    pub job: TaskJob,
    /// Its recipe.
    pub recipe: Recipe,
    /// The session token.
    pub token: Token,
    /// Whose reports are made.
    pub sender: Sender,
}

impl Handoff {
    /// The hand-off in this folder, which is made when it is not there.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where a file of the hand-off is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// This boot's nonce; made once, so that a dispatcher that is started again is still the same boot.
    pub fn boot_nonce(&self) -> Result<String, HandoffError> {
        if let Ok(nonce) = fs::read_to_string(self.path(BOOT_NONCE)) {
            return Ok(nonce.trim().to_owned());
        }
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(HandoffError::Random)?;
        let nonce = hex::encode(bytes);
        self.write(BOOT_NONCE, nonce.as_bytes())?;
        Ok(nonce)
    }

    /// Writes everything that steps need. Returns the variables that did not fit into `recipe.env`.
    pub fn hand_over(
        &self,
        medium: &TaskMedium,
        recipe: &Recipe,
        token: &Token,
    ) -> Result<Vec<String>, HandoffError> {
        let json = |name: &str, value: serde_json::Result<Vec<u8>>| {
            value.map_err(|source| HandoffError::Damaged { path: self.path(name), source })
        };
        self.write("recipe.json", medium.recipe.as_bytes())?;
        self.write("job.json", &json("job.json", serde_json::to_vec_pretty(&medium.job))?)?;
        let layout = LayoutPlan::from_recipe(recipe);
        self.write("layout.json", &json("layout.json", serde_json::to_vec_pretty(&layout))?)?;
        self.write("token", token.reveal().as_bytes())?;
        if let Some(authority) = &medium.job.site_ca {
            self.write("site-ca.pem", authority.as_bytes())?;
        }
        for name in PAYLOADS {
            if let Some(bytes) = medium.file(name) {
                self.write(name, bytes)?;
            }
        }
        let (environment, left_out) = recipe_env(recipe, &medium.job);
        self.write("recipe.env", environment.as_bytes())?;
        Ok(left_out)
    }

    /// Notes that systemd was asked to start the target: from now on no dispatcher of this boot asks again.
    pub fn note_dispatched(&self, target: &str) -> Result<(), HandoffError> {
        self.write(DISPATCHED, target.as_bytes())
    }

    /// The target that was started in this boot, if one was.
    pub fn dispatched(&self) -> Option<String> {
        fs::read_to_string(self.path(DISPATCHED)).ok()
    }

    /// Notes the outcome that the controller knows.
    pub fn note_outcome(&self, outcome: &str) -> Result<(), HandoffError> {
        self.write(OUTCOME, format!("{outcome}\n").as_bytes())
    }

    /// The outcome that was reported, if one was.
    pub fn outcome(&self) -> Option<String> {
        fs::read_to_string(self.path(OUTCOME)).ok().map(|text| text.trim().to_owned())
    }

    /// Reads back what was handed over.
    pub fn read_back(&self) -> Result<HandedOver, HandoffError> {
        let job: TaskJob = self.read_json("job.json")?;
        let recipe: Recipe = self.read_json("recipe.json")?;
        let text = self.read("token")?;
        let token =
            Token::new(text.trim()).ok_or_else(|| HandoffError::NoToken { path: self.path("token") })?;
        let sender = Sender {
            job_id: job.job_id.clone(),
            attempt: job.attempt,
            boot_nonce: self.read(BOOT_NONCE)?.trim().to_owned(),
        };
        Ok(HandedOver { job, recipe, token, sender })
    }

    fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, HandoffError> {
        serde_json::from_str(&self.read(name)?)
            .map_err(|source| HandoffError::Damaged { path: self.path(name), source })
    }

    fn read(&self, name: &str) -> Result<String, HandoffError> {
        let path = self.path(name);
        let mut text = String::new();
        fs::File::open(&path)
            .and_then(|file| {
                std::io::Read::read_to_string(&mut std::io::Read::take(file, READ_MAX), &mut text)
            })
            .map_err(|source| HandoffError::Read { path, source })?;
        Ok(text)
    }

    /// Writes a file so that it appears whole and is never readable by others.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HandoffError> {
        let path = self.path(name);
        write_whole(&self.folder, &path, bytes).map_err(|source| HandoffError::Write { path, source })
    }
}

fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

/// The text of `recipe.env` and the names left out because of their characters. Own names win over the recipe's.
pub fn recipe_env(recipe: &Recipe, job: &TaskJob) -> (String, Vec<String>) {
    let mut variables: std::collections::BTreeMap<&str, &str> =
        recipe.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let attempt = job.attempt.to_string();
    let own = [
        ("TASK_TARGET", Some(recipe.task_target.as_str())),
        ("TARGET_DISK", recipe.target_disk.as_ref().and_then(path_of)),
        ("OCI_URL", recipe.oci_url.as_deref()),
        ("OCI_DIGEST", job.image.as_ref().map(|image| image.digest.as_str())),
        ("FIRMWARE_URL", recipe.firmware_url.as_deref()),
        ("FIRMWARE_SHA256", recipe.firmware_sha256.as_deref()),
        ("SERIAL_NUMBER", Some(job.expected.serial.trim())),
        ("JOB_ID", Some(job.job_id.as_str())),
        ("JOB_ATTEMPT", Some(attempt.as_str())),
        ("API_URL", Some(job.api_url.as_str())),
    ];
    variables.extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let (fit, left_out): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|(_, value)| value.chars().all(is_plain));
    let text = fit.into_iter().fold(String::new(), |text, (name, value)| text + name + "=" + value + "\n");
    (text, left_out.into_iter().map(|(name, _)| name.to_owned()).collect())
}

fn path_of(disk: &DiskChoice) -> Option<&str> {
    match disk {
        DiskChoice::Path(path) => Some(path),
        DiskChoice::Hints(_) => None,
    }
}

/// Characters that systemd and podman read the same way without quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./:@=+,-".contains(c)
}
