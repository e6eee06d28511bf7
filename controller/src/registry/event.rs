//! What the registry tells the rest of the process: that a manifest was pushed.
//!
//! A broadcast, not a queue: who needs every push asks the registry for its tags after a `Lagged`.

use jiff::Timestamp;

use super::{
    auth::Identity,
    digest::Digest,
    name::{Repository, Tag},
};

/// Pushes that a slow listener may be behind before it misses one.
pub(super) const BACKLOG: usize = 1024;

/// A manifest is stored, durably, under these tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where.
    pub repository: Repository,
    /// Its digest.
    pub digest: Digest,
    /// Its media type, exactly as pushed.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Tags that point to it since this push; none when it was pushed by digest.
    pub tags: Vec<Tag>,
    /// Who pushed.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
}
