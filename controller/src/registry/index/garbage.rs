//! What the collection asks of the index. Every call is one short transaction, so that pushes go on meanwhile.

use jiff::Timestamp;

use super::IndexError;
use crate::registry::{
    digest::Digest,
    name::{Repository, Tag},
};

/// Where a walk over all links goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Number of the repository.
    pub repository: i64,
    /// The digest before the next one.
    pub digest: String,
}

/// One page of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Links removed.
    pub count: u64,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
}

/// Something with the time of its last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated<T> {
    /// What.
    pub what: T,
    /// When.
    pub at: Timestamp,
}

/// What one repository holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Its name.
    pub repository: String,
    /// Tags.
    pub tags: u64,
    /// Manifests, tagged or not.
    pub manifests: u64,
    /// Blobs it shows, shared ones included.
    pub blobs: u64,
    /// Bytes of its blobs and manifests; content shared with other repositories counts in each.
    pub bytes: u64,
    /// When something of it was pulled last; none for never.
    pub pulled_at: Option<Timestamp>,
}

/// The collection's side of the index.
pub trait Garbage {
    /// Makes blobs invisible that no manifest of their repository names and whose lease began before `leased_since`.
    /// Looks at `limit` links after `after`.
    fn unlink_unnamed(
        &self,
        after: &Cursor,
        leased_since: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Swept, IndexError>;
    /// Those of the digests that no repository shows and no pin keeps.
    fn unheld(&self, digests: Vec<Digest>, now: Timestamp) -> Result<Vec<Digest>, IndexError>;
    /// Notes that nobody holds this content; since when that has been so. None when somebody does.
    fn note_unheld(&self, digest: &Digest, now: Timestamp) -> Result<Option<Timestamp>, IndexError>;
    /// Forgets that note: the content is gone.
    fn forget_unheld(&self, digest: &Digest) -> Result<(), IndexError>;
    /// Renews the lease of a blob, when it began before `older`.
    fn renew_lease(
        &self,
        repository: &Repository,
        digest: &Digest,
        older: Timestamp,
        now: Timestamp,
    ) -> Result<(), IndexError>;
    /// Tags of a repository, the newest first.
    fn tags_by_age(&self, repository: &Repository) -> Result<Vec<Dated<Tag>>, IndexError>;
    /// Removes manifests pushed before then that no tag, index, subject or pin keeps, at most `limit`; how many.
    fn delete_untagged(
        &self,
        repository: &Repository,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, IndexError>;
    /// Digests that any repository shows, in order after `after`, at most `limit`.
    fn shown(&self, after: &str, limit: usize) -> Result<Vec<Digest>, IndexError>;
    /// Repositories that show this digest, as a blob or as a manifest, by name, at most `limit`.
    fn showing(&self, digest: &Digest, limit: usize) -> Result<Vec<Repository>, IndexError>;
    /// Remembers when repositories were pulled from last; those that are not known are passed over.
    fn note_pulls(&self, pulls: &[(Repository, Timestamp)]) -> Result<(), IndexError>;
    /// What repositories hold, by name after `after`, at most `limit`.
    fn usage(&self, after: &str, limit: usize) -> Result<Vec<Usage>, IndexError>;
    /// A copy of the index as it is now, on which a collection can be tried.
    fn copy_to(&self, path: &std::path::Path) -> Result<Box<dyn super::Index>, IndexError>;
}
