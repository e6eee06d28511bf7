//! What the index remembers of pushes, so that whoever acts on them misses none and finds them again after a crash.

use jiff::Timestamp;

use super::IndexError;
use crate::registry::{
    digest::Digest,
    name::{Repository, Tag},
};

/// A tag that was made, or pointed to another manifest. Written in the transaction that does it; a push that leaves
/// a tag as it was (a client that sends a manifest again because it did not hear the answer) is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Its place in the order of pushes; never used again.
    pub seq: i64,
    /// One for each request, so that tags that were set together can be told from others.
    pub id: String,
    /// Where.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points to.
    pub digest: Digest,
    /// The manifest's media type, exactly as pushed.
    pub media_type: String,
    /// Who pushed, in the words of the server.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Pushes that are remembered, about: beyond that the oldest are forgotten, and the log says so.
pub const PUSHES_KEPT: i64 = 100_000;

/// The follower's side of the index.
pub trait Pushes {
    /// Pushes after a number, oldest first, at most `limit`.
    fn pushes_after(&self, seq: i64, limit: usize) -> Result<Vec<Push>, IndexError>;
    /// Forgets pushes up to a number, itself included; how many there were.
    fn forget_pushes(&self, up_to: i64) -> Result<usize, IndexError>;
}
