//! Why the registry did not do what was asked, and the only place where that becomes an HTTP status.
//!
//! Every answer has the JSON body of the OCI specification: `{"errors": [{"code", "message"}]}`, and every refusal one
//! of its fourteen codes, because clients know no others. Faults of our own disk or index are logged with their cause
//! and answered without paths.

use std::{path::PathBuf, time::Duration};

use axum::{
    Json,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde_json::json;

use super::{
    digest::Digest,
    document::DocumentError,
    immutable::{Fixed, Stays},
    index::IndexError,
    name::{NameError, Reference, Repository, Tag},
    quota::Room,
    store::StoreError,
};

/// One refused or broken request.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name in the URL does not follow the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The path is none of ours.
    #[error("{path} is not a path of the registry; see the OCI distribution specification")]
    Path {
        /// The path, shortened.
        path: String,
    },
    /// The path is ours, the method is not.
    #[error("{method} is not possible here; use {allowed}")]
    Method {
        /// What was used.
        method: String,
        /// What can be used.
        allowed: &'static str,
    },
    /// More `tag=` parameters than one push may set.
    #[error("one push sets at most {limit} tags; push the manifest again with the others")]
    TooManyTags {
        /// The limit.
        limit: usize,
    },
    /// `n` or `last` of a list makes no sense.
    #[error("page size n={value:?} is not valid; use a whole number from 0")]
    PageSize {
        /// As sent, shortened.
        value: String,
    },
    /// No such repository.
    #[error("repository {repository} is not known here; push to it first")]
    RepositoryUnknown {
        /// Its name.
        repository: Repository,
    },
    /// No such blob in this repository.
    #[error("blob {digest} is not in repository {repository}; push it or mount it first")]
    BlobUnknown {
        /// Where it was looked for.
        repository: Repository,
        /// What was looked for.
        digest: Digest,
    },
    /// The range is not within the blob.
    #[error("range {range:?} is not within the {size} bytes of blob {digest}")]
    BlobRange {
        /// As sent, shortened.
        range: String,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// No such manifest in this repository.
    #[error("manifest {reference} is not in repository {repository}; push it first")]
    ManifestUnknown {
        /// Where it was looked for.
        repository: Repository,
        /// Tag or digest, shortened.
        reference: String,
    },
    /// A collection is running.
    #[error("a collection is running; wait for its end")]
    Collecting,
    /// The manifest itself is faulty.
    #[error(transparent)]
    Manifest(#[from] DocumentError),
    /// The manifest is larger than the limit.
    #[error("the manifest is larger than {limit} bytes; keep content in blobs and name it by digest")]
    ManifestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The manifest names content that was not pushed.
    #[error("the manifest names {digest}, which is not in repository {repository}; push it first")]
    ReferenceMissing {
        /// Where it was looked for.
        repository: Repository,
        /// What is missing.
        digest: Digest,
    },
    /// The manifest gives another size than the content has.
    #[error("the manifest gives {digest} {declared} bytes, but it has {stored}; build the manifest again")]
    ReferenceSize {
        /// The content.
        digest: Digest,
        /// Size in the manifest.
        declared: u64,
        /// Size in the store.
        stored: u64,
    },
    /// Content does not have the digest that it was announced by.
    #[error("the content has digest {found}, not {wanted}; send it again")]
    DigestMismatch {
        /// Announced.
        wanted: Digest,
        /// Computed.
        found: Digest,
    },
    /// An upload was closed without naming its digest.
    #[error("the parameter digest is missing; close an upload with ?digest=sha256:…")]
    DigestMissing,
    /// No such upload.
    #[error("upload {id:?} is not known in repository {repository}; start a new one")]
    UploadUnknown {
        /// Where it was looked for.
        repository: Repository,
        /// The id, shortened.
        id: String,
    },
    /// Another request is writing to this upload.
    #[error(
        "upload {id} is being written to by another request; wait for it, then ask for the upload's status"
    )]
    UploadBusy {
        /// The upload.
        id: String,
    },
    /// A chunk that does not continue where the upload is.
    #[error("the chunk starts at {start}, but the upload is at {offset}; continue from there")]
    ChunkOrder {
        /// Where the chunk starts.
        start: u64,
        /// Where the upload is.
        offset: u64,
        /// The upload's URL.
        location: String,
    },
    /// A Content-Range that cannot be read.
    #[error("Content-Range {value:?} is not valid; write first-last, both inclusive")]
    ContentRange {
        /// As sent, shortened.
        value: String,
    },
    /// More or fewer bytes than announced.
    #[error(
        "{announced} bytes were announced, {received} came; ask for the upload's status and continue from there"
    )]
    Length {
        /// Announced by Content-Range or Content-Length.
        announced: u64,
        /// Received.
        received: u64,
    },
    /// The request's body broke off.
    #[error("the request's body broke off; ask for the upload's status and continue from there")]
    BodyBroken {
        /// What the transport said.
        #[source]
        source: axum::Error,
    },
    /// The client sent nothing for too long.
    #[error("no byte came for {} s; ask for the upload's status and continue from there", waited.as_secs())]
    BodyStalled {
        /// How long was waited.
        waited: Duration,
    },
    /// A pin keeps it from being deleted.
    #[error("{digest} is pinned by {owner}; delete it when that has ended")]
    Pinned {
        /// What was to be deleted.
        digest: Digest,
        /// Who needs it.
        owner: String,
    },
    /// A rule of the site says that a tag stays as it was made.
    #[error("{0}")]
    Immutable(Box<Stays>),
    /// A quota is used up.
    #[error(
        "{room}, and {more} bytes more do not fit; remove images there and collect, or have the quota raised \
         (registry_quota in the configuration)"
    )]
    Quota {
        /// How it stands.
        room: Room,
        /// Bytes that were to come.
        more: u64,
    },
    /// The registry is switched to read-only.
    #[error(
        "the registry is read-only since {}: {reason}; pulls go on, push or delete again when that is over",
        since.strftime("%F %R UTC")
    )]
    ReadOnly {
        /// Why, in the words of who switched it.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// The caller must say who they are.
    #[error("authentication is required; log in with a user name and an API token")]
    Unauthenticated {
        /// The value of WWW-Authenticate.
        challenge: String,
    },
    /// The caller may not do this.
    #[error("access denied; it needs the scope {scope}")]
    Denied {
        /// What would be needed, such as `repository:os/debian:push`.
        scope: String,
    },
    /// For the embedding server: somebody guesses.
    #[error("too many wrong credentials from this address; wait {} s", wait.as_secs())]
    Guessing {
        /// How long nothing is believed.
        wait: Duration,
    },
    /// The system has no random numbers to make a token of.
    #[error("no token can be made now; try again")]
    NoToken,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index file.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Work on a blocking thread was cut off.
    #[error("the registry is shutting down; try again")]
    Interrupted {
        /// What tokio said.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The registry's folder cannot be used.
    #[error("registry folder {} cannot be used; check that it exists and belongs to the service's user", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    /// The manifest of that reference is not there.
    pub(super) fn manifest_unknown(repository: &Repository, reference: &Reference) -> Self {
        Self::ManifestUnknown { repository: repository.clone(), reference: reference.to_string() }
    }

    /// A tag stays as it was made; `fixed` has the rule that says so.
    pub(super) fn immutable(fixed: &Fixed, repository: Repository, tag: Tag, digest: Digest) -> Self {
        let rule = fixed.rule(tag.as_str()).map(ToString::to_string).unwrap_or_default();
        Self::Immutable(Box::new(Stays { repository, tag, rule, digest }))
    }

    /// HTTP status and OCI error code.
    pub fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(NameError::Repository { .. } | NameError::Tag { .. }) => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID")
            }
            Self::Name(NameError::Digest { .. } | NameError::Algorithm { .. })
            | Self::DigestMismatch { .. }
            | Self::DigestMissing => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::Path { .. } => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::PageSize { .. } => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Self::TooManyTags { .. } => (StatusCode::URI_TOO_LONG, "UNSUPPORTED"),
            Self::RepositoryUnknown { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::BlobRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::Manifest(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Self::ReferenceMissing { .. } => (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            Self::ReferenceSize { .. } | Self::Length { .. } => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
            Self::UploadUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::UploadBusy { .. } => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
            Self::ChunkOrder { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::ContentRange { .. } | Self::BodyBroken { .. } => {
                (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID")
            }
            Self::BodyStalled { .. } => (StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
            Self::Pinned { .. } | Self::Immutable(_) | Self::Collecting => (StatusCode::CONFLICT, "DENIED"),
            Self::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            // Not 503: clients would send a whole push again and again.
            Self::Denied { .. } | Self::ReadOnly { .. } | Self::Quota { .. } => {
                (StatusCode::FORBIDDEN, "DENIED")
            }
            Self::Guessing { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Store(StoreError::Full { .. }) => (StatusCode::INSUFFICIENT_STORAGE, "DENIED"),
            Self::Index(error) if error.is_full() => (StatusCode::INSUFFICIENT_STORAGE, "DENIED"),
            Self::Interrupted { .. } | Self::NoToken => (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN"),
            Self::Store(_) | Self::Index(_) | Self::Folder { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN")
            }
        }
    }

    /// The one header that some answers need.
    fn header(&self) -> Option<(HeaderName, String)> {
        match self {
            Self::Unauthenticated { challenge } => Some((header::WWW_AUTHENTICATE, challenge.clone())),
            Self::Method { allowed, .. } => Some((header::ALLOW, (*allowed).to_owned())),
            Self::BlobRange { size, .. } => Some((header::CONTENT_RANGE, format!("bytes */{size}"))),
            Self::Guessing { wait } => Some((header::RETRY_AFTER, wait.as_secs().to_string())),
            Self::ChunkOrder { offset, .. } => Some((header::RANGE, held(*offset))),
            _ => None,
        }
    }
}

/// What an upload holds, in the form of the `Range` header: `0-<last>`; an empty one is `0-0` by old custom.
pub(super) fn held(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

impl IntoResponse for RegistryError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let message = if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = chain(&self), "registry request broke");
            "the registry's storage is at fault; its log says why".to_owned()
        } else {
            if status == StatusCode::INSUFFICIENT_STORAGE {
                tracing::error!(error = chain(&self), "registry storage is full");
            }
            self.to_string()
        };
        let header = self.header();
        let mut response =
            (status, Json(json!({"errors": [{"code": code, "message": message}]}))).into_response();
        if let Some((name, value)) = header
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        if let Self::ChunkOrder { location, .. } = &self
            && let Ok(value) = location.parse()
        {
            response.headers_mut().insert(header::LOCATION, value);
        }
        response
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
