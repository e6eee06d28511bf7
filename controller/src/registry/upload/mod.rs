//! Pushing blobs: `POST /v2/<name>/blobs/uploads/` and what it starts.
//!
//! ```text
//! POST                    ─▶ 202 session ─▶ PATCH* ─▶ PUT ?digest= ─▶ 201        DELETE ─▶ 204
//! POST ?digest=           ─▶ 201 (all in one)
//! POST ?mount= [&from=]   ─▶ 201 (nothing is sent), or 202 session
//! ```
//! A session is a row in the index and a file that grows. The file's length is the session's offset, so a session
//! survives a restart and a broken connection; the hash is then computed again from the file when it is closed.

mod block;
mod finish;
mod hash;
mod receive;
mod session;
mod sink;
mod write;

use axum::{
    http::{HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    Registry,
    auth::Action,
    blob::CONTENT_DIGEST,
    call::Call,
    digest::{Algorithm, Digest},
    error::{RegistryError, held},
    index::{Index, Linked, UploadRow},
    name::{Repository, shown},
    range::{Chunk, chunk},
    store::Store,
};
pub(super) use receive::receive_small;
pub(super) use session::Sessions;

/// The session's id in Docker's way.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Announces the chunk size below which requests cost more than what they carry.
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// That size in bytes: a wish, not a limit. Smaller chunks are taken too.
const CHUNK_MIN: u64 = 64 * 1024;
/// How many repositories are tried for a mount that does not say from where.
const MOUNT_TRIES: usize = 16;

/// `POST /v2/<name>/blobs/uploads/`
pub(super) async fn serve_new(call: &Call, repository: Repository) -> Result<Response, RegistryError> {
    if *call.method() != Method::POST {
        return Err(call.method_error("POST"));
    }
    call.admit(&repository, Action::Push).await?;
    if let Some(digest) = call.query("mount") {
        let digest: Digest = digest.parse()?;
        if mount(call, &repository, &digest).await? {
            return Ok(created(&repository, &digest));
        }
        return begin(call, repository, digest.algorithm()).await;
    }
    if let Some(digest) = call.query("digest") {
        let digest: Digest = digest.parse()?;
        write::whole(call, &repository, &digest).await?;
        return Ok(created(&repository, &digest));
    }
    let algorithm = call.query("digest-algorithm").map(|text| text.parse()).transpose()?;
    begin(call, repository, algorithm.unwrap_or(Algorithm::Sha256)).await
}

/// `…/blobs/uploads/<id>`
pub(super) async fn serve_one(
    call: &Call,
    repository: Repository,
    id: &str,
) -> Result<Response, RegistryError> {
    let allowed = [Method::GET, Method::HEAD, Method::PATCH, Method::PUT, Method::DELETE];
    if !allowed.contains(call.method()) {
        return Err(call.method_error("GET, HEAD, PATCH, PUT, DELETE"));
    }
    call.admit(&repository, Action::Push).await?;
    let Ok(uuid) = Uuid::parse_str(id) else {
        return Err(RegistryError::UploadUnknown { repository, id: shown(id) });
    };
    let id = uuid.to_string();
    match *call.method() {
        Method::PATCH => {
            let offset = write::append(call, &repository, &id).await?;
            Ok(progress(StatusCode::ACCEPTED, &repository, &id, offset))
        }
        Method::PUT => {
            let digest = call.query("digest").ok_or(RegistryError::DigestMissing)?.parse()?;
            write::close(call, &repository, &id, &digest).await?;
            Ok(created(&repository, &digest))
        }
        Method::DELETE => {
            session::cancel(call.registry(), &repository, &id).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => {
            let offset = session::status(call.registry(), &repository, &id).await?;
            Ok(progress(StatusCode::NO_CONTENT, &repository, &id, offset))
        }
    }
}

async fn begin(call: &Call, repository: Repository, algorithm: Algorithm) -> Result<Response, RegistryError> {
    let id = Uuid::new_v4().to_string();
    let started_at = call.registry().now();
    let row = UploadRow { id: id.clone(), repository: repository.clone(), algorithm, started_at };
    call.registry()
        .blocking(move |registry| {
            let _turn = registry.switch.begin()?;
            registry.check_room(&row.repository, None, 1)?;
            registry.store.check_room()?;
            registry.store.create_upload(&row.id)?;
            Ok(registry.index.begin_upload(&row)?)
        })
        .await?;
    let mut response = progress(StatusCode::ACCEPTED, &repository, &id, 0);
    response.headers_mut().insert(CHUNK_MIN_LENGTH, CHUNK_MIN.into());
    Ok(response)
}

/// Makes a blob of another repository visible in this one, when the caller may read it there.
async fn mount(call: &Call, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
    let from = call.query("from").filter(|text| !text.is_empty());
    let from: Option<Repository> = from.map(|text| text.parse()).transpose()?;
    let wanted = digest.clone();
    let holders = call
        .registry()
        .blocking(move |registry| match from {
            Some(from) if registry.index.holds_blob(&from, &wanted)? => Ok(vec![from]),
            Some(_) => Ok(Vec::new()),
            None => Ok(registry.index.blob_holders(&wanted, MOUNT_TRIES)?),
        })
        .await?;
    for holder in holders {
        if call.admit(&holder, Action::Pull).await.is_err() {
            continue; // to who may not read there, the blob is not there
        }
        let (repository, digest) = (repository.clone(), digest.clone());
        let link = move |registry: &Registry| {
            let _turn = registry.switch.begin()?;
            let _held = registry.locks.hold(&digest);
            let Some(size) = registry.store.blob_size(&digest)? else { return Ok(false) };
            let quotas = registry.quotas(&repository);
            match registry.index.link_blob(&repository, &digest, size, None, registry.now(), &quotas)? {
                Linked::Yes => Ok(true),
                Linked::Over(room) => Err(RegistryError::Quota { room, more: size }),
            }
        };
        return call.registry().blocking(link).await;
    }
    Ok(false)
}

/// Reads where a chunk belongs and checks that the upload is there. Without a `Content-Range` it belongs at the end.
fn check_order(
    call: &Call,
    repository: &Repository,
    id: &str,
    offset: u64,
) -> Result<Option<u64>, RegistryError> {
    let Some(text) = call.header(&header::CONTENT_RANGE) else { return Ok(call.content_length()) };
    let Chunk { first, length } =
        chunk(text).ok_or_else(|| RegistryError::ContentRange { value: shown(text) })?;
    if first != offset {
        let location = location(repository, id);
        return Err(RegistryError::ChunkOrder { start: first, offset, location });
    }
    match call.content_length() {
        Some(sent) if sent != length => Err(RegistryError::Length { announced: length, received: sent }),
        _ => Ok(Some(length)),
    }
}

fn location(repository: &Repository, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn progress(status: StatusCode, repository: &Repository, id: &str, offset: u64) -> Response {
    let headers = [
        (header::LOCATION, location(repository, id)),
        (header::RANGE, held(offset)),
        (UPLOAD_UUID, id.to_owned()),
    ];
    (status, headers).into_response()
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}

/// Removes files that no session owns: single-request pushes and manifests that a crash cut off.
pub(super) fn sweep_orphans(store: &Store, index: &dyn Index) -> Result<(), RegistryError> {
    for id in store.upload_ids()? {
        if index.upload(&id)?.is_none() {
            store.remove_upload(&id)?;
        }
    }
    Ok(())
}

/// Removes sessions that began too long ago and that nobody is writing to; how many. None while nothing is written.
pub(super) fn expire(registry: &Registry) -> Result<usize, RegistryError> {
    let lifetime = registry.options.upload_lifetime;
    let Ok(before) = registry.now().checked_sub(lifetime) else { return Ok(0) };
    let mut expired = 0;
    for id in registry.index.uploads_before(before)? {
        let Ok(_turn) = registry.switch.begin() else { break };
        if session::expire(registry, &id)? {
            expired += 1;
        }
    }
    Ok(expired)
}
