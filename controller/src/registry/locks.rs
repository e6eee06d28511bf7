//! One writer per content: making a blob visible and removing its file exclude each other, and nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::digest::Digest;

/// Locks that all digests share; two that meet in one only wait for each other.
const STRIPES: usize = 64;

/// The locks of all content. They guard no data, only an order, so a panic while one is held breaks nothing.
#[derive(Debug)]
pub(super) struct DigestLocks([Mutex<()>; STRIPES]);

impl Default for DigestLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl DigestLocks {
    /// Waits until nobody else adds or removes this content. Blocks; a caller holds one at a time.
    pub(super) fn hold(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let hex = digest.hex().as_bytes();
        let stripe = hex.iter().take(8).fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
        self.0[stripe % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
