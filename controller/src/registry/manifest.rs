//! `PUT`, `GET`, `HEAD` and `DELETE /v2/<name>/manifests/<reference>`.
//!
//! A manifest is acknowledged when its bytes and all it names are durable and its tags are set, in one transaction.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Registry,
    auth::{Action, Identity},
    blob::{CONTENT_DIGEST, etag, matches_tag},
    call::Call,
    digest::{Algorithm, Digest},
    document::{Document, Need},
    error::RegistryError,
    immutable::Fixed,
    index::{ManifestRow, NewManifest, Removed, Stored},
    name::{Reference, Repository, Tag},
    numbers,
    recent::Remembered,
    upload,
};

/// Largest manifest in bytes, the least that the specification asks registries to take.
pub(super) const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// Most `tag=` parameters of one push. Each is answered by a header, and many clients read no more than a hundred.
const TAGS_LIMIT: usize = 50;
/// Says that the subject was understood, so that no tag has to be made for it.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Says which tags were set.
const TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(super) async fn serve(
    call: &Call,
    repository: Repository,
    reference: Reference,
) -> Result<Response, RegistryError> {
    match *call.method() {
        Method::GET | Method::HEAD => get(call, repository, reference).await,
        Method::PUT => put(call, repository, reference).await,
        Method::DELETE => delete(call, repository, reference).await,
        _ => Err(call.method_error("GET, HEAD, PUT, DELETE")),
    }
}

async fn get(call: &Call, repository: Repository, reference: Reference) -> Result<Response, RegistryError> {
    call.admit(&repository, Action::Pull).await?;
    let asked = *call.method() == Method::HEAD;
    let pulled = repository.clone();
    let manifest = find(call.registry(), (repository, reference)).await?;
    if !asked {
        call.registry().pulls.note(&pulled, call.registry().now());
    }
    let tag = etag(&manifest.row.digest);
    if call.header(&header::IF_NONE_MATCH).is_some_and(|held| matches_tag(held, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, manifest.row.media_type.clone()),
        (header::CONTENT_LENGTH, manifest.row.size.to_string()),
        (header::ETAG, tag),
        (CONTENT_DIGEST, manifest.row.digest.to_string()),
    ];
    if !asked {
        numbers::sent(manifest.row.size);
    }
    let body = if asked { Body::empty() } else { Body::from(manifest.bytes.clone()) };
    Ok((headers, body).into_response())
}

/// The manifest, from memory when it was read since the last change.
async fn find(
    registry: &Arc<Registry>,
    key: (Repository, Reference),
) -> Result<Arc<Remembered>, RegistryError> {
    let version = registry.index.version();
    if let Some(manifest) = registry.recent.get(version, &key) {
        return Ok(manifest);
    }
    registry
        .blocking(move |registry| {
            let (repository, reference) = &key;
            let unknown = || RegistryError::manifest_unknown(repository, reference);
            let row = registry.index.manifest(repository, reference)?.ok_or_else(unknown)?;
            let bytes = registry.store.read_small(&row.digest, MANIFEST_LIMIT as u64)?.ok_or_else(unknown)?;
            let manifest = Arc::new(Remembered { row, bytes: bytes.into() });
            registry.recent.keep(version, key, &manifest);
            Ok(manifest)
        })
        .await
}

async fn put(call: &Call, repository: Repository, reference: Reference) -> Result<Response, RegistryError> {
    let by = call.admit(&repository, Action::Push).await?;
    let announced: Option<Digest> = call.query("digest").map(|text| text.parse()).transpose()?;
    let (wanted, tags) = match reference {
        Reference::Tag(tag) => (announced, vec![tag]),
        Reference::Digest(digest) => (Some(digest), tag_parameters(call)?),
    };
    let content_type = call.header(&header::CONTENT_TYPE).map(ToOwned::to_owned);
    let idle = call.registry().options.body_idle;
    let limit = MANIFEST_LIMIT;
    let mut body = call.take_body();
    let received = upload::receive_small(&mut body, limit, idle).await;
    call.give_back(body);
    let bytes = received?.ok_or(RegistryError::ManifestTooLarge { limit })?;

    let id = uuid::Uuid::now_v7().to_string();
    let push = Push { repository, wanted, tags, content_type, bytes, by, id };
    let done = call.registry().blocking(move |registry| store(registry, push)).await?;
    Ok(answer_pushed(&done))
}

fn tag_parameters(call: &Call) -> Result<Vec<Tag>, RegistryError> {
    let texts = call.queries("tag");
    if texts.len() > TAGS_LIMIT {
        return Err(RegistryError::TooManyTags { limit: TAGS_LIMIT });
    }
    Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

struct Push {
    repository: Repository,
    wanted: Option<Digest>,
    tags: Vec<Tag>,
    content_type: Option<String>,
    bytes: Vec<u8>,
    by: Identity,
    /// Unlike that of any other push.
    id: String,
}

struct Done {
    repository: Repository,
    digest: Digest,
    tags: Vec<Tag>,
    subject: Option<Digest>,
}

fn store(registry: &Registry, push: Push) -> Result<Done, RegistryError> {
    let algorithm = push.wanted.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, &push.bytes);
    if let Some(wanted) = push.wanted.filter(|wanted| *wanted != digest) {
        return Err(RegistryError::DigestMismatch { wanted, found: digest });
    }
    let document = Document::read(push.content_type.as_deref(), &push.bytes)?;
    check_pieces(registry, &push.repository, &document)?;
    let needs: Vec<_> = document.needs().map(|(piece, need)| (piece.digest.clone(), need)).collect();
    // Looked at once more when it is stored; but what is refused here leaves no bytes behind.
    if let Some(digest) = registry.index.missing(&push.repository, &needs)? {
        return Err(RegistryError::ReferenceMissing { repository: push.repository, digest });
    }
    let fixed = registry.fixed(&push.repository);
    for tag in &push.tags {
        if let Some(held) = stays(registry, &push.repository, tag, &fixed)?.filter(|held| *held != digest) {
            return Err(RegistryError::immutable(&fixed, push.repository, tag.clone(), held));
        }
    }
    let quotas = registry.quotas(&push.repository);
    if !quotas.is_empty()
        && registry.index.manifest(&push.repository, &Reference::Digest(digest.clone()))?.is_none()
    {
        registry.check_room(&push.repository, None, push.bytes.len() as u64)?;
    }
    let _turn = registry.switch.begin()?;
    let _held = registry.locks.hold(&digest);
    registry.store.put_small(&push.id, &digest, &push.bytes)?;

    let size = push.bytes.len() as u64;
    let at = registry.now();
    // Only lists of referrers show annotations, and reading a manifest should not read megabytes of them twice.
    let annotations = if document.subject.is_some() { document.annotations.clone() } else { BTreeMap::new() };
    let manifest = NewManifest {
        repository: push.repository.clone(),
        row: ManifestRow {
            digest: digest.clone(),
            media_type: document.media_type.clone(),
            size,
            artifact_type: document.referrer_type().map(ToOwned::to_owned),
            subject: document.subject.clone(),
            annotations,
        },
        needs,
        tags: push.tags.clone(),
        id: push.id,
        by: push.by.0,
        fixed,
        quotas,
        at,
    };
    match registry.index.put_manifest(&manifest)? {
        Stored::Missing(digest) => {
            Err(RegistryError::ReferenceMissing { repository: push.repository, digest })
        }
        Stored::Fixed(tag, held) => {
            Err(RegistryError::immutable(&manifest.fixed, push.repository, tag, held))
        }
        Stored::Over(room) => {
            registry.drop_unheld(&digest)?;
            Err(RegistryError::Quota { room, more: size })
        }
        Stored::Yes => {
            if !push.tags.is_empty() {
                registry.pushed.send_replace(());
            }
            Ok(Done { repository: push.repository, digest, tags: push.tags, subject: document.subject })
        }
    }
}

/// What a tag that may not be moved or removed points to; none when it may, or is not there.
fn stays(
    registry: &Registry,
    repository: &Repository,
    tag: &Tag,
    fixed: &Fixed,
) -> Result<Option<Digest>, RegistryError> {
    if fixed.rule(tag.as_str()).is_none() {
        return Ok(None);
    }
    let row = registry.index.manifest(repository, &Reference::Tag(tag.clone()))?;
    Ok(row.map(|row| row.digest))
}

/// All that must be here is on disk, with the size that the manifest gives.
fn check_pieces(
    registry: &Registry,
    repository: &Repository,
    document: &Document,
) -> Result<(), RegistryError> {
    for (piece, need) in document.needs() {
        if need == Need::Elsewhere {
            continue;
        }
        let digest = piece.digest.clone();
        match registry.store.blob_size(&digest)? {
            None => return Err(RegistryError::ReferenceMissing { repository: repository.clone(), digest }),
            Some(stored) if stored != piece.size => {
                return Err(RegistryError::ReferenceSize { digest, declared: piece.size, stored });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn answer_pushed(done: &Done) -> Response {
    let Done { repository, digest, tags, .. } = done;
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/manifests/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let mut response = (StatusCode::CREATED, headers).into_response();
    let headers = response.headers_mut();
    if let Some(value) =
        done.subject.as_ref().and_then(|subject| HeaderValue::try_from(subject.to_string()).ok())
    {
        headers.insert(SUBJECT, value);
    }
    for tag in tags {
        if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
            headers.append(TAG, value);
        }
    }
    response
}

async fn delete(
    call: &Call,
    repository: Repository,
    reference: Reference,
) -> Result<Response, RegistryError> {
    call.admit(&repository, Action::Delete).await?;
    call.registry()
        .blocking(move |registry| {
            let _turn = registry.switch.begin()?;
            let fixed = registry.fixed(&repository);
            if let Reference::Tag(tag) = &reference
                && let Some(held) = stays(registry, &repository, tag, &fixed)?
            {
                return Err(RegistryError::immutable(&fixed, repository, tag.clone(), held));
            }
            let removed = match &reference {
                Reference::Tag(tag) if registry.index.delete_tag(&repository, tag)? => Removed::Yes,
                Reference::Tag(_) => Removed::Unknown,
                Reference::Digest(digest) => {
                    registry.index.delete_manifest(&repository, digest, &fixed, registry.now())?
                }
            };
            match (removed, reference) {
                (Removed::Yes, _) => Ok(StatusCode::ACCEPTED.into_response()),
                (Removed::Pinned(owner), Reference::Digest(digest)) => {
                    Err(RegistryError::Pinned { digest, owner })
                }
                (Removed::Fixed(tag), Reference::Digest(digest)) => {
                    Err(RegistryError::immutable(&fixed, repository, tag, digest))
                }
                (_, reference) => Err(RegistryError::manifest_unknown(&repository, &reference)),
            }
        })
        .await
}
