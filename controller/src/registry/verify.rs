//! Verification: every file is hashed again, and every name in the index must have its file. Content that is not what
//! its name says is moved out of reach, so that it is never served; a new push of it heals whoever needs it.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use serde::Serialize;

use super::{Registry, digest::Digest, error::RegistryError, store::StoreError};

/// Read at once.
const PIECE: usize = 1 << 20;
/// Names asked of the index at once.
const PAGE: usize = 500;
/// Findings that are told one by one; more are only counted.
const TOLD: usize = 1000;
/// Repositories that are named with a finding.
const HOLDERS: usize = 10;

/// What is wrong with some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// Its bytes are not those of its digest. They are in the folder `quarantine` now.
    Corrupt,
    /// A repository shows it, and there is no file.
    Missing,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The content.
    pub digest: Digest,
    /// What is wrong.
    pub damage: Damage,
    /// Some of the repositories that need it.
    pub repositories: Vec<String>,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verification {
    /// Files hashed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not what they should be.
    pub corrupt: u64,
    /// Names without a file.
    pub missing: u64,
    /// The findings, at most a thousand.
    pub findings: Vec<Finding>,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// Looks at everything; blocks until it is done or stopped.
pub(super) fn verify(registry: &Registry) -> Result<Verification, RegistryError> {
    let mut done = Verification::default();
    let mut quarantined = HashSet::new();
    for digest in registry.store.blobs()? {
        if registry.collector.stopped() {
            done.stopped = true;
            return Ok(done);
        }
        let digest = digest?;
        let Some((file, size)) = registry.store.open_blob(&digest)? else { continue };
        done.files += 1;
        done.bytes += size;
        if hash(registry, &digest, &file)? == digest {
            continue;
        }
        if registry.quarantine(&digest, &file)? {
            done.corrupt += 1;
            quarantined.insert(digest.clone());
            find(registry, &mut done, digest, Damage::Corrupt)?;
        }
    }
    let mut after = String::new();
    while !registry.collector.stopped() {
        let names = registry.index.shown(&after, PAGE)?;
        for digest in &names {
            if !quarantined.contains(digest) && registry.store.blob_size(digest)?.is_none() {
                done.missing += 1;
                find(registry, &mut done, digest.clone(), Damage::Missing)?;
            }
        }
        match names.last().filter(|_| names.len() == PAGE) {
            Some(last) => after = last.to_string(),
            None => return Ok(done),
        }
    }
    done.stopped = true;
    Ok(done)
}

fn find(
    registry: &Registry,
    done: &mut Verification,
    digest: Digest,
    damage: Damage,
) -> Result<(), RegistryError> {
    if done.findings.len() < TOLD {
        let holders = registry.index.showing(&digest, HOLDERS)?;
        let repositories = holders.iter().map(ToString::to_string).collect();
        done.findings.push(Finding { digest, damage, repositories });
    }
    Ok(())
}

fn hash(registry: &Registry, digest: &Digest, file: &File) -> Result<Digest, RegistryError> {
    let mut hasher = digest.algorithm().hasher();
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let read = file
            .read_at(&mut piece, offset)
            .map_err(|source| StoreError::Read { path: registry.store.blob_path(digest), source })?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..read]);
        offset += read as u64;
    }
}

impl Registry {
    /// Moves this very file out of reach; false when a push has put another in its place meanwhile.
    fn quarantine(&self, digest: &Digest, file: &File) -> Result<bool, RegistryError> {
        let _held = self.locks.hold(digest);
        let path = self.store.blob_path(digest);
        let number = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
        let read = |source| StoreError::Read { path: path.clone(), source };
        let Some((now, _)) = self.store.open_blob(digest)? else { return Ok(false) };
        if number(&now).map_err(read)? != number(file).map_err(read)? {
            return Ok(false);
        }
        self.store.quarantine(digest)?;
        self.recent.clear();
        tracing::error!(%digest, "content of the registry was not what its digest says; it is in quarantine");
        Ok(true)
    }
}
