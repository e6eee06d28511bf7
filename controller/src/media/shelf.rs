//! The media that can be read now: staged when an attempt begins, forgotten when its job is released. Bounded in
//! memory, nothing on disk (a task medium holds secrets): what was staged is [packed](super::packed). After a restart the same inputs are staged again and give the same names and bytes.
//!
//! ```text
//! stage(inputs) ─▶ 4 names ─▶ open(path) ─▶ Object + Meter ─▶ readings(job)
//!                              forget(job) ─▶ every name is a 404
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use schema::task::COMPOSED_TASK_SIZE;
use sha2::{Digest as _, Sha256};

use super::contents::TaskInputs;
use super::library::MaintenanceMedium;
use super::meter::{Meter, Reading};
use super::object::{self, Object, Source};
use super::overlay::{Overlay, OverlayError, Run};
use super::packed::Packed;
use super::sign::{TrustError, trust_block};
use super::task::{MediumError, TaskMedium};
use super::url::{self, MediumFile, Token};

/// Bounds of a shelf's memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct ShelfLimits {
    /// All packed task media together.
    pub packed: usize,
}

impl Default for ShelfLimits {
    fn default() -> Self {
        Self { packed: 256 << 20 }
    }
}

/// Why a job's media cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// No maintenance medium is configured.
    #[error(
        "there is no maintenance medium, so no machine can be booted; build it with `cargo xtask maintenance-iso`, set \
         maintenance_iso and restart"
    )]
    NoMaintenance,
    /// The task medium cannot be built.
    #[error("building the task medium")]
    Medium(#[from] MediumError),
    /// It does not pack.
    #[error("packing the task medium of job {job}")]
    Pack {
        /// The job.
        job: String,
        /// What zstd says.
        #[source]
        source: std::io::Error,
    },
    /// It does not fit its place on the maintenance medium.
    #[error("laying the task medium of job {job} over the maintenance medium")]
    Overlay {
        /// The job.
        job: String,
        /// Where it does not fit.
        #[source]
        source: OverlayError,
    },
    /// Too much is staged.
    #[error(
        "{staged} bytes of task media are staged and {more} more pass the limit of {limit}; wait for jobs to end"
    )]
    Full {
        /// What is staged.
        staged: usize,
        /// What was to be added.
        more: usize,
        /// The limit.
        limit: usize,
    },
}

/// Where the media of an attempt are read, as paths on the media listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Path by file.
    pub paths: BTreeMap<MediumFile, String>,
    /// SHA-256 of the task medium, hex.
    pub task_sha256: String,
    /// SHA-256 of the maintenance medium, hex.
    pub maintenance_sha256: String,
}

impl Staged {
    /// Path of one file; every file has one.
    pub fn path(&self, file: MediumFile) -> &str {
        self.paths.get(&file).map_or("", String::as_str)
    }
}

/// The media that can be read now.
pub struct Shelf {
    names: [u8; 32],
    signing: SigningKey,
    trust: Bytes,
    trust_sha256: [u8; 32],
    maintenance: Option<Arc<MaintenanceMedium>>,
    limits: ShelfLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_slot: HashMap<[u8; 32], Arc<Entry>>,
    /// In order, so that those of one job are found among those of a thousand.
    attempts: BTreeMap<(String, u32), Attempt>,
    packed_bytes: usize,
}

struct Attempt {
    staged: Staged,
    slots: Vec<[u8; 32]>,
    packed: Arc<Packed>,
    meters: BTreeMap<MediumFile, Arc<Meter>>,
}

pub(super) struct Entry {
    pub token: Token,
    pub file: MediumFile,
    pub etag: String,
    pub date: Timestamp,
    pub packed: Arc<Packed>,
    pub meter: Arc<Meter>,
}

/// A medium opened by its path.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What is read.
    pub object: Object,
    /// Where reading is counted.
    pub meter: Arc<Meter>,
}

impl Shelf {
    /// An empty shelf. `names` derives URLs, `signing` signs task media, `previous` are older site keys that
    /// hosts shall still trust.
    pub fn new(
        names: [u8; 32],
        signing: SigningKey,
        previous: &[ed25519_dalek::VerifyingKey],
        maintenance: Option<Arc<MaintenanceMedium>>,
        limits: ShelfLimits,
    ) -> Result<Self, TrustError> {
        let mut keys = vec![signing.verifying_key()];
        keys.extend_from_slice(previous);
        let trust = trust_block(&keys)?;
        let trust_sha256 = Sha256::digest(&trust).into();
        Ok(Self {
            names,
            signing,
            trust: trust.into(),
            trust_sha256,
            maintenance,
            limits,
            state: Mutex::new(State::default()),
        })
    }

    /// The maintenance medium, when there is one.
    pub fn maintenance(&self) -> Option<&Arc<MaintenanceMedium>> {
        self.maintenance.as_ref()
    }

    /// Builds the task medium and makes all media of the attempt readable. Staging the same inputs again changes
    /// nothing and gives the same answer. Takes milliseconds of processor time and no I/O.
    pub fn stage(&self, inputs: &TaskInputs) -> Result<Staged, ShelfError> {
        let maintenance = self.maintenance.as_ref().ok_or(ShelfError::NoMaintenance)?;
        let job = inputs.job.job_id.clone();
        let key = (job.clone(), inputs.job.attempt);
        let medium = TaskMedium::build(inputs, &self.signing)?;
        let task_sha256 = hex::encode(medium.sha256);
        if let Some(attempt) = self.lock().attempts.get(&key)
            && attempt.staged.task_sha256 == task_sha256
        {
            return Ok(attempt.staged.clone());
        }
        let packed = Self::pack(&job, &medium.bytes)?;
        // Proves now that it fits, so that reading never has to say that it does not.
        self.maintenance_overlay(maintenance, Some(&packed))
            .map_err(|source| ShelfError::Overlay { job, source })?;
        let mut staged = Staged {
            paths: BTreeMap::new(),
            task_sha256,
            maintenance_sha256: hex::encode(maintenance.sha256),
        };
        let mut entries = Vec::new();
        for file in MediumFile::ALL {
            let etag = self.etag(maintenance, file, &medium.sha256);
            let token = Token::derive(&self.names, &key.0, key.1, file, &etag);
            staged.paths.insert(file, token.path(file));
            entries.push(Entry {
                token,
                file,
                etag,
                date: inputs.job.issued_at,
                packed: Arc::clone(&packed),
                meter: Arc::new(Meter::of(match file {
                    MediumFile::Task | MediumFile::TaskUsb => packed.len() as u64,
                    MediumFile::Maintenance | MediumFile::Composed => maintenance.len,
                })),
            });
        }
        self.put(key, staged.clone(), entries, packed)?;
        Ok(staged)
    }

    pub(super) fn pack(job: &str, medium: &[u8]) -> Result<Arc<Packed>, ShelfError> {
        Packed::pack(medium).map_err(|source| ShelfError::Pack { job: job.to_owned(), source })
    }

    /// The key that names are derived by.
    pub(super) fn names(&self) -> &[u8; 32] {
        &self.names
    }

    /// Makes entries readable, in place of those of the same attempt.
    pub(super) fn put(
        &self,
        key: (String, u32),
        staged: Staged,
        entries: Vec<Entry>,
        packed: Arc<Packed>,
    ) -> Result<(), ShelfError> {
        let mut state = self.lock();
        state.drop_attempt(&key);
        if state.packed_bytes.saturating_add(packed.size()) > self.limits.packed {
            let (staged, more, limit) = (state.packed_bytes, packed.size(), self.limits.packed);
            return Err(ShelfError::Full { staged, more, limit });
        }
        state.packed_bytes += packed.size();
        let meters = entries.iter().map(|entry| (entry.file, Arc::clone(&entry.meter))).collect();
        let mut slots = Vec::new();
        for entry in entries {
            let slot = entry.token.slot(&self.names);
            slots.push(slot);
            state.by_slot.insert(slot, Arc::new(entry));
        }
        state.attempts.insert(key, Attempt { staged, slots, packed, meters });
        Ok(())
    }

    /// Makes every medium of the job unreadable, in all attempts. Forgetting twice changes nothing.
    pub fn forget(&self, job_id: &str) {
        let mut state = self.lock();
        let keys: Vec<_> = state.attempts_of(job_id).map(|(key, _)| key.clone()).collect();
        for key in keys {
            state.drop_attempt(&key);
        }
    }

    /// What has been read of an attempt's media, by file. Nothing when it is not staged.
    pub fn readings(&self, job_id: &str, attempt: u32) -> BTreeMap<MediumFile, Reading> {
        let state = self.lock();
        let found = state.attempts.get(&(job_id.to_owned(), attempt));
        found
            .map(|a| a.meters.iter().map(|(file, meter)| (*file, meter.reading())).collect())
            .unwrap_or_default()
    }

    /// What has been read of all media of a job, in all attempts that are staged.
    pub fn job_readings(&self, job_id: &str) -> Vec<(MediumFile, Reading)> {
        let state = self.lock();
        let read = |(file, meter): (&MediumFile, &Arc<Meter>)| (*file, meter.reading());
        state.attempts_of(job_id).flat_map(|(_, attempt)| attempt.meters.iter().map(read)).collect()
    }

    /// How many attempts are staged, and the bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        let state = self.lock();
        (state.attempts.len(), state.packed_bytes)
    }

    /// Opens the medium at a request path. `None` is a 404, whatever the reason.
    pub fn open(&self, path: &str) -> Option<Opened> {
        let (token, file) = url::parse(path)?;
        let entry = self.lock().by_slot.get(&token.slot(&self.names)).cloned()?;
        if !entry.token.is(&token) || entry.file != file {
            return None;
        }
        let (source, overlay, len) = match file {
            MediumFile::Task | MediumFile::TaskUsb => {
                let len = entry.packed.len() as u64;
                (Source::Packed(Arc::clone(&entry.packed)), Overlay::default(), len)
            }
            MediumFile::Maintenance | MediumFile::Composed => {
                let maintenance = self.maintenance.as_ref()?;
                let task = (file == MediumFile::Composed).then_some(&entry.packed);
                let overlay = self.maintenance_overlay(maintenance, task).ok()?;
                (Source::File(Arc::clone(&maintenance.file)), overlay, maintenance.len)
            }
        };
        let object = Object { len, etag: entry.etag.clone(), last_modified: entry.date, source, overlay };
        Some(Opened { object, meter: Arc::clone(&entry.meter) })
    }

    fn maintenance_overlay(
        &self,
        maintenance: &MaintenanceMedium,
        task: Option<&Arc<Packed>>,
    ) -> Result<Overlay, OverlayError> {
        let overlay = Overlay::default().with(
            maintenance.len,
            maintenance.trust.offset,
            Run::Bytes(self.trust.clone()),
        )?;
        let Some(task) = task else { return Ok(overlay) };
        let size = task.len() as u64;
        if size > COMPOSED_TASK_SIZE {
            let offset = maintenance.task.offset;
            return Err(OverlayError::Outside {
                offset,
                end: offset + size,
                len: offset + COMPOSED_TASK_SIZE,
            });
        }
        overlay.with(maintenance.len, maintenance.task.offset, Run::Packed(Arc::clone(task)))
    }

    fn etag(&self, maintenance: &MaintenanceMedium, file: MediumFile, task: &[u8; 32]) -> String {
        match file {
            MediumFile::Maintenance => object::etag(&maintenance.sha256, &[self.trust_sha256]),
            MediumFile::Composed => object::etag(&maintenance.sha256, &[self.trust_sha256, *task]),
            MediumFile::Task | MediumFile::TaskUsb => object::etag(task, &[]),
        }
    }

    /// A panic elsewhere leaves the maps whole: each change is one insert or remove.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn attempts_of(&self, job: &str) -> impl Iterator<Item = (&(String, u32), &Attempt)> {
        self.attempts.range((job.to_owned(), 0)..=(job.to_owned(), u32::MAX))
    }

    fn drop_attempt(&mut self, key: &(String, u32)) {
        let Some(attempt) = self.attempts.remove(key) else { return };
        self.packed_bytes -= attempt.packed.size();
        for slot in attempt.slots {
            self.by_slot.remove(&slot);
        }
    }
}
