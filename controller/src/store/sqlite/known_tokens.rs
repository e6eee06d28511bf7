//! Tokens that were looked up since the last change to any of them. Every request carries one; a pull by a thousand machines
//! should not ask the file each time, and a revoked token must be dead at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::ApiToken;

/// Most tokens remembered; beyond them all are looked up again.
const MOST: usize = 1024;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct KnownTokens(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    by_hash: HashMap<[u8; 32], ApiToken>,
    /// Grows with every change.
    version: u64,
}

impl KnownTokens {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, sha256: &[u8; 32]) -> Option<ApiToken> {
        self.lock().by_hash.get(sha256).cloned()
    }

    /// To be asked before a token is read, for [`Self::keep`].
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Remembers a token, unless something changed since it was read.
    pub(super) fn keep(&self, version: u64, sha256: [u8; 32], token: &ApiToken) {
        let mut held = self.lock();
        if held.version != version {
            return;
        }
        if held.by_hash.len() >= MOST {
            held.by_hash.clear();
        }
        held.by_hash.insert(sha256, token.clone());
    }

    /// Forgets all: a change is in the file, and nobody has been told yet.
    pub(super) fn changed(&self) {
        let mut held = self.lock();
        held.version += 1;
        held.by_hash.clear();
    }
}
