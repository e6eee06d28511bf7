//! `GET`, `HEAD` and `DELETE /v2/<name>/blobs/<digest>`, with ranges.
//!
//! Content is read in large pieces on blocking threads, one piece ahead of the one being sent; no more is ever held.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::task::JoinHandle;

use super::{
    auth::Action,
    call::Call,
    digest::Digest,
    error::RegistryError,
    index::Removed,
    name::{Repository, shown},
    numbers,
    range::{Wanted, wanted},
};

/// How much is read at once. Smaller pieces cost system calls, larger ones memory per client.
const PIECE: u64 = 256 * 1024;
/// Names the content in Docker's way.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Content under a digest never changes.
const FOREVER: &str = "max-age=31536000, immutable";

pub(super) async fn serve(
    call: &Call,
    repository: Repository,
    digest: Digest,
) -> Result<Response, RegistryError> {
    match *call.method() {
        Method::GET | Method::HEAD => get(call, repository, digest).await,
        Method::DELETE => delete(call, repository, digest).await,
        _ => Err(call.method_error("GET, HEAD, DELETE")),
    }
}

async fn get(call: &Call, repository: Repository, digest: Digest) -> Result<Response, RegistryError> {
    call.admit(&repository, Action::Pull).await?;
    let (name, named) = (digest.clone(), repository.clone());
    let asked = *call.method() == Method::HEAD;
    let (file, size) = call
        .registry()
        .blocking(move |registry| {
            if asked {
                // Before looking: whoever is told that it is here has a whole lease to name it in a manifest.
                let (now, lease) = (registry.now(), registry.options.lease);
                let half = now.checked_sub(lease / 2).unwrap_or(now);
                registry.index.renew_lease(&repository, &digest, half, now)?;
            }
            let opened = if registry.index.holds_blob(&repository, &digest)? {
                registry.store.open_blob(&digest)?
            } else {
                None
            };
            opened.ok_or(RegistryError::BlobUnknown { repository, digest })
        })
        .await?;

    let tag = etag(&name);
    if call.header(&header::IF_NONE_MATCH).is_some_and(|held| matches_tag(held, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    // If-Range: a range only of the content that the client already has a part of.
    let same = call.header(&header::IF_RANGE).is_none_or(|held| held == tag);
    // By RFC 9110 a range is something of GET alone.
    let range = call.header(&header::RANGE).filter(|_| same && *call.method() == Method::GET);
    let (status, first, length) = match range.map(|text| (text, wanted(text, size))) {
        None | Some((_, Wanted::Whole)) => (StatusCode::OK, 0, size),
        Some((_, Wanted::Part { first, last })) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Some((text, Wanted::Unsatisfiable)) => {
            return Err(RegistryError::BlobRange { range: shown(text), digest: name, size });
        }
    };
    if *call.method() == Method::GET {
        call.registry().pulls.note(&named, call.registry().now());
    }
    let content = Content { file: Arc::new(file), first, length };
    let body = if *call.method() == Method::HEAD { Body::empty() } else { body(&content) };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, FOREVER.to_owned()),
        (CONTENT_DIGEST, name.to_string()),
    ];
    let mut response = (status, headers, body).into_response();
    response.extensions_mut().insert(content);
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {first}-{}/{size}", first + length - 1).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

async fn delete(call: &Call, repository: Repository, digest: Digest) -> Result<Response, RegistryError> {
    call.admit(&repository, Action::Delete).await?;
    call.registry()
        .blocking(move |registry| {
            let _turn = registry.switch.begin()?;
            let fixed = registry.fixed(&repository);
            match registry.index.unlink_blob(&repository, &digest, &fixed, registry.now())? {
                Removed::Yes => Ok(StatusCode::ACCEPTED.into_response()),
                Removed::Unknown => Err(RegistryError::BlobUnknown { repository, digest }),
                Removed::Pinned(owner) => Err(RegistryError::Pinned { digest, owner }),
                Removed::Fixed(tag) => Err(RegistryError::immutable(&fixed, repository, tag, digest)),
            }
        })
        .await
}

/// The entity tag of content: its digest, strong.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether an `If-None-Match` names this tag.
pub(super) fn matches_tag(header: &str, tag: &str) -> bool {
    header.split(',').map(|held| held.trim().trim_start_matches("W/")).any(|held| held == tag || held == "*")
}

/// Where a body's bytes are, for a server that can send a file without reading it; among the extensions of an answer whose
/// body is read if nobody does.
#[derive(Debug, Clone)]
pub struct Content {
    /// The blob.
    pub file: Arc<File>,
    /// The first byte.
    pub first: u64,
    /// How many.
    pub length: u64,
}

impl Content {
    /// To be told of bytes that were sent without reading the body.
    pub fn sent(bytes: u64) {
        numbers::sent(bytes);
    }
}

/// A body on its way.
struct Reader {
    file: Arc<File>,
    buffers: Arc<Buffers>,
    /// The piece that is being read before it is wanted.
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    next: u64,
    end: u64,
}

impl Reader {
    fn read(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let length = PIECE.min(self.end - self.next);
        if length == 0 {
            return None;
        }
        let (file, buffers, from) = (Arc::clone(&self.file), Arc::clone(&self.buffers), self.next);
        self.next += length;
        Some(tokio::task::spawn_blocking(move || {
            let mut piece = buffers.take(usize::try_from(length).unwrap_or_default());
            file.read_exact_at(&mut piece.bytes[..piece.length], from)?;
            Ok(Bytes::from_owner(piece))
        }))
    }
}

/// Buffers of one body, used again and again: new ones cost more than what is read into them.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer that goes back when its bytes have been sent.
struct Piece {
    bytes: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    fn take(self: &Arc<Self>, length: usize) -> Piece {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Piece { bytes, length, home: Arc::clone(self) }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// The body of that content; nothing is read before it is asked for. A file that ends early breaks the connection, so that
/// nobody takes the part for the whole.
fn body(content: &Content) -> Body {
    let reader = Reader {
        file: Arc::clone(&content.file),
        buffers: Arc::default(),
        ahead: None,
        next: content.first,
        end: content.first + content.length,
    };
    Body::from_stream(stream::try_unfold(reader, |mut reader| async move {
        let Some(piece) = reader.ahead.take().or_else(|| reader.read()) else {
            return Ok::<_, io::Error>(None);
        };
        let piece = piece.await.map_err(io::Error::other)??;
        Content::sent(piece.len() as u64);
        reader.ahead = reader.read();
        Ok(Some((piece, reader)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_if_none_match_may_list_several_tags() {
        let tag = "\"sha256:a\"";
        for (header, expected) in [
            ("\"sha256:a\"", true),
            ("\"x\", \"sha256:a\"", true),
            ("W/\"sha256:a\"", true),
            ("*", true),
            ("sha256:a", false),
            ("\"sha256:ab\"", false),
            ("", false),
        ] {
            assert_eq!(matches_tag(header, tag), expected, "{header}");
        }
    }
}
