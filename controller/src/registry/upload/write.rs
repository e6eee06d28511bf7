//! The three requests that send content: a chunk, the closing one, and all in one.

use std::{ops::DerefMut, sync::Arc};

use uuid::Uuid;

use super::{
    check_order,
    finish::{finish, finish_whole},
    receive::{Limits, Writer, receive},
    session::{self, Held, Session},
    sink::Sink,
};
use crate::registry::numbers::InFlight;
use crate::registry::{
    Registry, call::Call, digest::Digest, error::RegistryError, name::Repository, quota::Room,
    store::StoreError,
};

/// `PATCH`: adds a chunk; how far the upload is now.
pub(super) async fn append(call: &Call, repository: &Repository, id: &str) -> Result<u64, RegistryError> {
    let (writer, room) = take(call, repository, id, None).await?;
    let writer = fill(call, repository, writer, room).await?;
    Ok(writer.session.offset)
}

/// `PUT`: adds the last chunk, when there is one, and closes the upload.
pub(super) async fn close(
    call: &Call,
    repository: &Repository,
    id: &str,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let (writer, room) = match take(call, repository, id, Some(digest.clone())).await {
        Err(error @ RegistryError::UploadUnknown { .. }) => {
            return closed_before(call, repository, digest, error).await;
        }
        taken => taken?,
    };
    let mut writer = fill(call, repository, writer, room).await?;
    writer.session.hash.catch_up().await;
    let (repository, digest) = (repository.clone(), digest.clone());
    call.registry().blocking(move |registry| finish(registry, writer, &repository, &digest)).await
}

/// `POST ?digest=`: the whole blob in one request, without a session.
pub(super) async fn whole(
    call: &Call,
    repository: &Repository,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let session = Session::new(Uuid::new_v4().to_string(), digest.algorithm());
    let (announced, idle) = (call.content_length(), call.registry().options.body_idle);
    let (wanted, to) = (digest.clone(), repository.clone());
    let (writer, room) = call
        .registry()
        .blocking(move |registry| {
            let room = registry.room(&to, Some(&wanted))?;
            fits(room.as_ref(), announced.unwrap_or(0))?;
            registry.store.check_room()?;
            let file = registry.store.create_upload(&session.id)?;
            let sink = Sink::new(file, registry.store.upload_path(&session.id));
            let writer = Writer { session: Box::new(session), sink, store: Arc::clone(&registry.store) };
            Ok((writer, room))
        })
        .await?;
    let limits = Limits { announced, room, idle };
    let (writer, received) = body_into(call, writer, limits).await;
    let Some(mut writer) = writer else { return received };
    writer.session.hash.catch_up().await;
    let (repository, digest) = (repository.clone(), digest.clone());
    call.registry()
        .blocking(move |registry| finish_whole(registry, &writer, received, &repository, &digest))
        .await
}

/// A closing request that is repeated because its answer was lost has already done its work.
async fn closed_before(
    call: &Call,
    repository: &Repository,
    digest: &Digest,
    error: RegistryError,
) -> Result<(), RegistryError> {
    let (repository, digest) = (repository.clone(), digest.clone());
    let held = move |registry: &Registry| {
        Ok(registry.index.holds_blob(&repository, &digest)? && registry.store.blob_size(&digest)?.is_some())
    };
    if call.registry().blocking(held).await? { Ok(()) } else { Err(error) }
}

/// Takes a session, with the room for its content; content that the repository shows already needs none.
async fn take(
    call: &Call,
    repository: &Repository,
    id: &str,
    of: Option<Digest>,
) -> Result<(Writer<Held>, Option<Room>), RegistryError> {
    let (repository, id) = (repository.clone(), id.to_owned());
    call.registry()
        .blocking(move |registry| {
            let (session, file) = session::take(registry, &repository, &id)?;
            let room = registry.room(&repository, of.as_ref())?;
            let sink = Sink::new(file, registry.store.upload_path(&session.id));
            Ok((Writer { session, sink, store: Arc::clone(&registry.store) }, room))
        })
        .await
}

/// Appends the request's body; what is not taken of it stays with the call.
async fn body_into<S: DerefMut<Target = Session> + Send + 'static>(
    call: &Call,
    writer: Writer<S>,
    limits: Limits,
) -> (Option<Writer<S>>, Result<(), RegistryError>) {
    let _in_flight = InFlight::begin();
    let mut body = call.take_body();
    let received = receive(writer, &mut body, limits).await;
    call.give_back(body);
    received
}

/// Whether that many bytes fit.
fn fits(room: Option<&Room>, more: u64) -> Result<(), RegistryError> {
    match room {
        Some(room) if room.left() < more => Err(RegistryError::Quota { room: room.clone(), more }),
        _ => Ok(()),
    }
}

/// Appends the request's body. On a full disk, or beyond a quota, the session ends, because what it holds is what
/// fills it.
async fn fill(
    call: &Call,
    repository: &Repository,
    writer: Writer<Held>,
    room: Option<Room>,
) -> Result<Writer<Held>, RegistryError> {
    let announced = check_order(call, repository, &writer.session.id, writer.session.offset)?;
    let whole = writer.session.offset.saturating_add(announced.unwrap_or(0));
    let filled = match fits(room.as_ref(), whole) {
        Ok(()) => {
            let limits = Limits { announced, room, idle: call.registry().options.body_idle };
            body_into(call, writer, limits).await
        }
        refused => (Some(writer), refused),
    };
    match filled {
        (Some(writer), Ok(())) => Ok(writer),
        (
            Some(mut writer),
            Err(full @ (RegistryError::Store(StoreError::Full { .. }) | RegistryError::Quota { .. })),
        ) => {
            let ended =
                call.registry().blocking(move |registry| session::end(registry, &mut writer.session)).await;
            if let Err(error) = ended {
                tracing::error!(%error, "an upload that filled its disk or quota could not be ended");
            }
            Err(full)
        }
        (_, Err(error)) => Err(error),
        (None, Ok(())) => {
            Err(RegistryError::UploadUnknown { repository: repository.clone(), id: String::new() })
        }
    }
}
