//! The hash of what an upload holds. Blocks are hashed beside their way to the disk, and the answer to a request does not
//! wait for it: the hash may be behind the file, also between requests.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::block::Block;
use crate::registry::digest::{Algorithm, Digest, Hasher};

/// How many bytes may wait for it: two blocks of two mebibytes, or one of three.
const BEHIND_MAX: usize = 4 << 20;
/// What the room is counted in, in bytes.
const UNIT: usize = 1 << 20;

/// The hash, and how far it is.
#[derive(Debug)]
pub(super) struct Hash {
    at: At,
    /// Room for what waits for it.
    room: Arc<Semaphore>,
}

#[derive(Debug)]
enum At {
    /// Of every byte in the file.
    Known(Box<Hasher>),
    /// Of all of them when this has ended.
    Behind(JoinHandle<Option<Box<Hasher>>>),
    /// Only the file tells.
    Lost,
}

impl Hash {
    /// Of nothing yet.
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self {
            at: At::Known(Box::new(algorithm.hasher())),
            room: Arc::new(Semaphore::new(BEHIND_MAX / UNIT)),
        }
    }

    /// Only the file tells from now on.
    pub(super) fn lose(&mut self) {
        self.at = At::Lost;
    }

    /// Waits until it is not behind. Whoever stops waiting loses nothing.
    pub(super) async fn catch_up(&mut self) {
        if let At::Behind(hashing) = &mut self.at {
            self.at = hashing.await.ok().flatten().map_or(At::Lost, At::Known);
        }
    }

    /// Hashes the next block, after those before it, without waiting for them; waits while too much is waiting already.
    pub(super) async fn go_on(&mut self, block: &Arc<Block>) {
        let units = block.bytes().len().div_ceil(UNIT).min(BEHIND_MAX / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(units).await else { return self.lose() };
        let before = match std::mem::replace(&mut self.at, At::Lost) {
            At::Known(hasher) => Ok(hasher),
            At::Behind(hashing) => Err(hashing),
            At::Lost => return,
        };
        let block = Arc::clone(block);
        self.at = At::Behind(tokio::spawn(async move {
            let mut hasher = match before {
                Ok(hasher) => hasher,
                Err(hashing) => hashing.await.ok().flatten()?,
            };
            let hashing = tokio::task::spawn_blocking(move || {
                hasher.update(block.bytes());
                drop(block);
                drop(room);
                hasher
            });
            hashing.await.ok()
        }));
    }

    /// The digest, when it is known and of that kind.
    pub(super) fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        match &self.at {
            At::Known(hasher) if hasher.algorithm() == algorithm => Some((**hasher).clone().finish()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &[u8]) -> Arc<Block> {
        let mut block = Block::new(bytes.len());
        block.fill(bytes);
        Arc::new(block)
    }

    #[tokio::test]
    async fn blocks_are_hashed_one_after_the_other_and_a_hash_that_is_behind_is_not_told() {
        let mut hash = Hash::new(Algorithm::Sha256);
        for bytes in [&b"one"[..], b"two", b"three"] {
            hash.go_on(&block(bytes)).await;
            assert_eq!(hash.digest(Algorithm::Sha256), None);
        }
        hash.catch_up().await;
        assert_eq!(hash.digest(Algorithm::Sha256), Some(Digest::of(Algorithm::Sha256, b"onetwothree")));
        assert_eq!(hash.digest(Algorithm::Sha512), None, "of another kind");
        hash.lose();
        assert_eq!(hash.digest(Algorithm::Sha256), None);
    }

    #[tokio::test]
    async fn no_more_waits_to_be_hashed_than_there_is_room_for() {
        let mut hash = Hash::new(Algorithm::Sha512);
        let blocks: Vec<_> = (0..8).map(|number| block(&vec![number; BEHIND_MAX / 2])).collect();
        for block in &blocks {
            hash.go_on(block).await;
            let waiting = blocks.iter().filter(|block| Arc::strong_count(block) > 1).count();
            assert!(waiting <= 2, "{waiting}");
        }
        hash.catch_up().await;
        let whole: Vec<u8> = blocks.iter().flat_map(|block| block.bytes().to_vec()).collect();
        assert_eq!(hash.digest(Algorithm::Sha512), Some(Digest::of(Algorithm::Sha512, &whole)));
    }
}
