//! What the registry knows about its blobs: which repository holds what, under which tags, since when, for whom.
//!
//! [`Index`] is the edge; [`sqlite::SqliteIndex`] is the one behind it. Every call is one transaction, durable when it
//! returns, and costs no more than the page it answers. All calls block.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    digest::{Algorithm, Digest},
    document::Need,
    immutable::Fixed,
    mode::ReadOnly,
    name::{Reference, Repository, Tag},
    quota::{Quota, Room},
};

mod error;
mod garbage;
mod pushes;
pub mod sqlite;

pub use error::IndexError;
pub use garbage::{Cursor, Dated, Garbage, Swept, Usage};
pub use pushes::{PUSHES_KEPT, Push, Pushes};

/// A manifest as the index knows it; its bytes are a blob of the same digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// Its digest.
    pub digest: Digest,
    /// Its media type, exactly as pushed.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What referrers are filtered by.
    pub artifact_type: Option<String>,
    /// What it is about.
    pub subject: Option<Digest>,
    /// Its annotations, when it has a subject: lists of referrers show them.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest about to be stored.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// Where.
    pub repository: Repository,
    /// The manifest.
    pub row: ManifestRow,
    /// What it names, and whether that must be in the repository.
    pub needs: Vec<(Digest, Need)>,
    /// Tags that point to it from now on.
    pub tags: Vec<Tag>,
    /// This push; no other has it.
    pub id: String,
    /// Who pushes, in the words of the server.
    pub by: String,
    /// Tags of the repository that may not be moved.
    pub fixed: Fixed,
    /// Quotas of the repository.
    pub quotas: Vec<Quota>,
    /// When.
    pub at: Timestamp,
}

/// How storing a manifest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is in.
    Yes,
    /// Nothing was changed, because this is not in the repository.
    Missing(Digest),
    /// Nothing was changed, because this tag may not be moved and points to this.
    Fixed(Tag, Digest),
    /// Nothing was changed, because this quota would be exceeded.
    Over(Room),
}

/// How making a blob visible ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It is visible.
    Yes,
    /// Nothing was changed, because this quota would be exceeded.
    Over(Room),
}

/// An upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Its id.
    pub id: String,
    /// Where to.
    pub repository: Repository,
    /// The hash function that its client announced, or ours by default.
    pub algorithm: Algorithm,
    /// When it began.
    pub started_at: Timestamp,
}

/// A manifest that must be kept with all it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The manifest.
    pub digest: Digest,
    /// Who needs it, in the owner's own words, such as `job 0190…`.
    pub owner: String,
    /// Until when; none is until it is unpinned.
    pub until: Option<Timestamp>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Whether there is more after the last item.
    pub more: bool,
}

/// How removing something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is out.
    Yes,
    /// It was not there.
    Unknown,
    /// It stays: this owner has pinned it.
    Pinned(String),
    /// It stays: this tag may not be removed, and needs it.
    Fixed(Tag),
}

/// How many bytes of annotations one page of referrers may carry before it ends.
pub const ANNOTATIONS_BUDGET: usize = 1024 * 1024;

/// The registry's memory.
pub trait Index: Garbage + Pushes + Send + Sync + 'static {
    /// A number that has grown when anything has changed, before whoever changed it is told.
    fn version(&self) -> u64;

    /// Whether the file answers.
    fn check(&self) -> Result<(), IndexError>;

    /// Makes a durable blob visible in a repository, and forgets the upload that it came by; not when a quota would be
    /// exceeded.
    fn link_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        upload: Option<&str>,
        at: Timestamp,
        quotas: &[Quota],
    ) -> Result<Linked, IndexError>;
    /// Whether a blob is visible in a repository.
    fn holds_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, IndexError>;
    /// Repositories that a blob is visible in, by name, at most `limit`.
    fn blob_holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Repository>, IndexError>;
    /// Makes a blob invisible in a repository, unless it is pinned or a fixed tag needs it.
    fn unlink_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        fixed: &Fixed,
        at: Timestamp,
    ) -> Result<Removed, IndexError>;

    /// Remembers an upload.
    fn begin_upload(&self, upload: &UploadRow) -> Result<(), IndexError>;
    /// The upload of that id.
    fn upload(&self, id: &str) -> Result<Option<UploadRow>, IndexError>;
    /// Forgets an upload; whether there was one.
    fn end_upload(&self, id: &str) -> Result<bool, IndexError>;
    /// Ids of uploads that began before then.
    fn uploads_before(&self, before: Timestamp) -> Result<Vec<String>, IndexError>;

    /// The first of what a manifest names that its repository does not have; none when nothing is missing.
    fn missing(
        &self,
        repository: &Repository,
        needs: &[(Digest, Need)],
    ) -> Result<Option<Digest>, IndexError>;
    /// Stores a manifest, its tags and what it names, or nothing.
    fn put_manifest(&self, manifest: &NewManifest) -> Result<Stored, IndexError>;
    /// The manifest of that reference.
    fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>, IndexError>;
    /// Removes a manifest and the tags that point to it, unless it is pinned or a fixed tag needs it.
    fn delete_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        fixed: &Fixed,
        at: Timestamp,
    ) -> Result<Removed, IndexError>;
    /// Removes a tag; whether there was one.
    fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<bool, IndexError>;
    /// Manifests whose subject is `subject`, by digest after `after`, at most `limit` and not much more than
    /// [`ANNOTATIONS_BUDGET`] bytes of annotations.
    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Page<ManifestRow>, IndexError>;

    /// Tags by name after `after`, at most `limit`; none when the repository is not known.
    fn tags(
        &self,
        repository: &Repository,
        after: &str,
        limit: usize,
    ) -> Result<Option<Page<String>>, IndexError>;
    /// Repositories that have a manifest, by name after `after`, at most `limit`.
    fn repositories(&self, after: &str, limit: usize) -> Result<Page<String>, IndexError>;

    /// How quotas stand, in their order.
    fn rooms(&self, quotas: &[Quota]) -> Result<Vec<Room>, IndexError>;

    /// Why nothing may be written, when that was switched on.
    fn read_only(&self) -> Result<Option<ReadOnly>, IndexError>;
    /// Switches it on or off. Uploads that had to wait begin anew then, as far as their age goes.
    fn set_read_only(&self, to: Option<&ReadOnly>, at: Timestamp) -> Result<(), IndexError>;

    /// Adds a pin, or moves its end, when any repository has the manifest; whether one has.
    fn pin(&self, pin: &Pin) -> Result<bool, IndexError>;
    /// Removes all pins of an owner; how many there were.
    fn unpin(&self, owner: &str) -> Result<usize, IndexError>;
    /// Forgets pins that have ended; how many there were.
    fn expire_pins(&self, now: Timestamp) -> Result<usize, IndexError>;
    /// All pins, expired ones included.
    fn pins(&self) -> Result<Vec<Pin>, IndexError>;
}
