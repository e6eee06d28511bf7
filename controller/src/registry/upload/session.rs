//! Upload sessions: finding them, one writer at a time, ending them.
//!
//! What is in memory is only a running hash and a lock; it can be lost at any time. The file is the truth.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use super::hash::Hash;
use crate::registry::{
    Registry, digest::Algorithm, error::RegistryError, index::UploadRow, name::Repository,
};

/// One upload as far as it has come.
#[derive(Debug)]
pub(super) struct Session {
    /// Its id, which is its file's name too.
    pub id: String,
    /// Bytes in its file.
    pub offset: u64,
    /// The hash of those bytes.
    pub hash: Hash,
    /// It was closed or cancelled while we waited for it.
    pub ended: bool,
}

impl Session {
    /// A session that has nothing yet.
    pub(super) fn new(id: String, algorithm: Algorithm) -> Self {
        Self { id, offset: 0, hash: Hash::new(algorithm), ended: false }
    }

    /// Believes the file: what was written by a past life, or half written before a fault, counts; its hash is not known.
    pub(super) fn settle(&mut self, length: u64) {
        if self.offset != length {
            self.offset = length;
            self.hash.lose();
        }
    }
}

/// The right to write to a session. Dropping it gives it back.
pub(super) type Held = OwnedMutexGuard<Session>;

/// The sessions that have been written to since the start.
#[derive(Debug, Default)]
pub(in crate::registry) struct Sessions {
    live: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Session>>>>,
}

impl Sessions {
    /// Takes the right to write. `Ok(None)` when another request has it.
    fn take(&self, row: &UploadRow) -> Option<Held> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let session = live.entry(row.id.clone()).or_insert_with(|| {
            Arc::new(tokio::sync::Mutex::new(Session::new(row.id.clone(), row.algorithm)))
        });
        Arc::clone(session).try_lock_owned().ok()
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&self, id: &str) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

fn row(registry: &Registry, repository: &Repository, id: &str) -> Result<UploadRow, RegistryError> {
    let unknown = || RegistryError::UploadUnknown { repository: repository.clone(), id: id.to_owned() };
    registry.index.upload(id)?.filter(|row| row.repository == *repository).ok_or_else(unknown)
}

/// Takes a session for writing, with its file.
pub(super) fn take(
    registry: &Registry,
    repository: &Repository,
    id: &str,
) -> Result<(Held, std::fs::File), RegistryError> {
    let unknown = || RegistryError::UploadUnknown { repository: repository.clone(), id: id.to_owned() };
    let row = row(registry, repository, id)?;
    let mut session =
        registry.uploads.take(&row).ok_or_else(|| RegistryError::UploadBusy { id: id.to_owned() })?;
    let file = if session.ended { None } else { registry.store.open_upload(id)? };
    let Some((file, length)) = file else {
        session.ended = true;
        registry.uploads.forget(id);
        registry.index.end_upload(id)?;
        return Err(unknown());
    };
    session.settle(length);
    Ok((session, file))
}

/// Ends a session: its file, its row, its memory.
pub(super) fn end(registry: &Registry, session: &mut Session) -> Result<(), RegistryError> {
    session.ended = true;
    registry.uploads.forget(&session.id);
    registry.store.remove_upload(&session.id)?;
    registry.index.end_upload(&session.id)?;
    Ok(())
}

/// How far an upload is. Also while it is being written to.
pub(super) async fn status(
    registry: &Arc<Registry>,
    repository: &Repository,
    id: &str,
) -> Result<u64, RegistryError> {
    let (repository, id) = (repository.clone(), id.to_owned());
    registry
        .blocking(move |registry| {
            row(registry, &repository, &id)?;
            let opened = registry.store.open_upload(&id)?;
            opened.map(|(_, length)| length).ok_or(RegistryError::UploadUnknown { repository, id })
        })
        .await
}

/// Ends an upload that its client no longer wants.
pub(super) async fn cancel(
    registry: &Arc<Registry>,
    repository: &Repository,
    id: &str,
) -> Result<(), RegistryError> {
    let (repository, id) = (repository.clone(), id.to_owned());
    registry
        .blocking(move |registry| {
            let _turn = registry.switch.begin()?;
            let (mut session, _) = take(registry, &repository, &id)?;
            end(registry, &mut session)
        })
        .await
}

/// Ends an upload that is too old; not when somebody is writing to it.
pub(super) fn expire(registry: &Registry, id: &str) -> Result<bool, RegistryError> {
    let Some(row) = registry.index.upload(id)? else { return Ok(false) };
    let Some(mut session) = registry.uploads.take(&row) else { return Ok(false) };
    end(registry, &mut session)?;
    Ok(true)
}
