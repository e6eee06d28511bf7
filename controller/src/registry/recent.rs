//! Manifests that were read since the last change, in memory: a rack that boots asks for the same one a hundred times.
//!
//! Nothing here can be out of date. What is remembered counts only while the index has the version that it had before it was
//! read; every change to the index gives it another one before its client is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    index::ManifestRow,
    name::{Reference, Repository},
};

/// Bytes of manifests that are remembered; beyond them all are read again.
const MOST: usize = 8 * 1024 * 1024;
/// Larger manifests are not remembered.
const LARGEST: usize = 256 * 1024;

/// A manifest with its bytes.
#[derive(Debug)]
pub(super) struct Remembered {
    pub row: ManifestRow,
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    manifests: HashMap<(Repository, Reference), Arc<Remembered>>,
    bytes: usize,
    version: u64,
}

impl Held {
    fn forget(&mut self, version: u64) {
        *self = Self { version, ..Self::default() };
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest, if it was read while the index had this version, which it has now.
    pub(super) fn get(&self, version: u64, key: &(Repository, Reference)) -> Option<Arc<Remembered>> {
        let held = self.lock();
        held.manifests.get(key).filter(|_| held.version == version).cloned()
    }

    /// Remembers a manifest that was read after the index had this version.
    pub(super) fn keep(&self, version: u64, key: (Repository, Reference), manifest: &Arc<Remembered>) {
        if manifest.bytes.len() > LARGEST {
            return;
        }
        let mut held = self.lock();
        if held.version > version {
            return;
        }
        if held.version < version || held.bytes + manifest.bytes.len() > MOST {
            held.forget(version);
        }
        if held.manifests.insert(key, Arc::clone(manifest)).is_none() {
            held.bytes += manifest.bytes.len();
        }
    }

    /// Forgets all, for a change that is none of the index.
    pub(super) fn clear(&self) {
        let mut held = self.lock();
        let version = held.version;
        held.forget(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::digest::{Algorithm, Digest};

    fn manifest(size: usize) -> Arc<Remembered> {
        let bytes = Bytes::from(vec![b' '; size]);
        let row = ManifestRow {
            digest: Digest::of(Algorithm::Sha256, &bytes),
            media_type: "a/b".to_owned(),
            size: size as u64,
            artifact_type: None,
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        Arc::new(Remembered { row, bytes })
    }

    fn key(tag: &str) -> (Repository, Reference) {
        ("a".parse().unwrap(), tag.parse().unwrap())
    }

    #[test]
    fn a_manifest_is_remembered_until_anything_changes() {
        let recent = Recent::default();
        recent.keep(1, key("x"), &manifest(10));
        assert!(recent.get(1, &key("x")).is_some() && recent.get(1, &key("y")).is_none());
        assert!(recent.get(2, &key("x")).is_none(), "the index has changed");
        recent.keep(2, key("y"), &manifest(10));
        recent.keep(1, key("x"), &manifest(10));
        assert!(recent.get(2, &key("x")).is_none(), "it was read before the change");
        assert!(recent.get(2, &key("y")).is_some());
        recent.clear();
        assert!(recent.get(2, &key("y")).is_none());
    }

    #[test]
    fn memory_is_bounded_and_one_large_manifest_does_not_throw_out_the_others() {
        let recent = Recent::default();
        recent.keep(1, key("small"), &manifest(10));
        recent.keep(1, key("large"), &manifest(LARGEST + 1));
        assert!(recent.get(1, &key("large")).is_none() && recent.get(1, &key("small")).is_some());
        for number in 0..200 {
            recent.keep(1, key(&format!("t{number}")), &manifest(LARGEST));
            assert!(recent.lock().bytes <= MOST);
        }
        assert!(recent.get(1, &key("t199")).is_some());
    }
}
