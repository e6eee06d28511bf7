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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::super::{Options, auth::Open};
    use super::*;

    #[tokio::test]
    async fn asking_for_what_is_not_there_is_no_pull_and_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path(), Options::default()).unwrap();
        let router = registry.router(Arc::new(Open), None);
        let digest = format!("sha256:{}", "0".repeat(64));
        for number in 0..50 {
            for path in ["manifests/x".to_owned(), format!("manifests/{digest}"), format!("blobs/{digest}")] {
                let request = Request::get(format!("/v2/none/{number}/{path}")).body(Body::empty()).unwrap();
                assert_eq!(router.clone().oneshot(request).await.unwrap().status(), 404, "{path}");
            }
        }
        assert!(registry.pulls.lock().is_empty());
    }
}
