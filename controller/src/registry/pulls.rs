//! When each repository was pulled from last. Noted in memory, because pulls are many; written now and then, because nobody
//! needs it to the second: a crash forgets the last minute.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{Registry, error::RegistryError, name::Repository};

/// Pulls that are not in the index yet. Only of repositories that exist, so it is no larger than their list.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<Repository, Timestamp>>);

impl Pulls {
    fn lock(&self) -> MutexGuard<'_, HashMap<Repository, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of this repository is being sent.
    pub(super) fn note(&self, repository: &Repository, now: Timestamp) {
        let mut pulls = self.lock();
        match pulls.get_mut(repository) {
            Some(at) => *at = now,
            None => drop(pulls.insert(repository.clone(), now)),
        }
    }
}

/// Writes what was noted, unless nothing shall be written; then it is kept.
pub(super) fn write(registry: &Registry) -> Result<(), RegistryError> {
    let pulls: Vec<_> = std::mem::take(&mut *registry.pulls.lock()).into_iter().collect();
    if pulls.is_empty() {
        return Ok(());
    }
    let written = match registry.switch.begin() {
        Ok(_turn) => registry.index.note_pulls(&pulls).map_err(RegistryError::from),
        Err(error) => Err(error),
    };
    if written.is_err() {
        let mut held = registry.pulls.lock();
        for (repository, at) in pulls {
            held.entry(repository).or_insert(at);
        }
    }
    match written {
        Err(RegistryError::ReadOnly { .. }) => Ok(()),
        written => written,
    }
}
