//! The three requests that send content: a chunk, the closing one, and all in one.

use std::{ops::DerefMut, sync::Arc};

use uuid::Uuid;

use super::{
    check_order,
    finish::{finish, finish_whole},
    receive::{Limits, Writer, receive},
    session::{self, Held, Session},
};
use crate::registry::{
    Registry, call::Call, digest::Digest, error::RegistryError, name::Repository, store::StoreError,
};

/// `PATCH`: adds a chunk; how far the upload is now.
pub(super) async fn append(call: &Call, repository: &Repository, id: &str) -> Result<u64, RegistryError> {
    let writer = take(call, repository, id).await?;
    let writer = fill(call, repository, writer).await?;
    Ok(writer.session.offset)
}

/// `PUT`: adds the last chunk, when there is one, and closes the upload.
pub(super) async fn close(
    call: &Call,
    repository: &Repository,
    id: &str,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let writer = match take(call, repository, id).await {
        Err(error @ RegistryError::UploadUnknown { .. }) => {
            return closed_before(call, repository, digest, error).await;
        }
        taken => taken?,
    };
    let writer = fill(call, repository, writer).await?;
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
    let limits = Limits { announced: call.content_length(), idle: call.registry().options.body_idle };
    let writer = call
        .registry()
        .blocking(move |registry| {
            registry.store.check_room()?;
            let file = registry.store.create_upload(&session.id)?;
            Ok(Writer { session: Box::new(session), file, store: Arc::clone(&registry.store) })
        })
        .await?;
    let (writer, received) = body_into(call, writer, limits).await;
    let Some(writer) = writer else { return received };
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

async fn take(call: &Call, repository: &Repository, id: &str) -> Result<Writer<Held>, RegistryError> {
    let (repository, id) = (repository.clone(), id.to_owned());
    call.registry()
        .blocking(move |registry| {
            let (session, file) = session::take(registry, &repository, &id)?;
            Ok(Writer { session, file, store: Arc::clone(&registry.store) })
        })
        .await
}

/// Appends the request's body; what is not taken of it stays with the call.
async fn body_into<S: DerefMut<Target = Session> + Send + 'static>(
    call: &Call,
    writer: Writer<S>,
    limits: Limits,
) -> (Option<Writer<S>>, Result<(), RegistryError>) {
    let mut body = call.take_body();
    let received = receive(writer, &mut body, limits).await;
    call.give_back(body);
    received
}

/// Appends the request's body. On a full disk the session ends, because what it holds is what fills the disk.
async fn fill(
    call: &Call,
    repository: &Repository,
    writer: Writer<Held>,
) -> Result<Writer<Held>, RegistryError> {
    let announced = check_order(call, repository, &writer.session.id, writer.session.offset)?;
    let limits = Limits { announced, idle: call.registry().options.body_idle };
    match body_into(call, writer, limits).await {
        (Some(writer), Ok(())) => Ok(writer),
        (Some(mut writer), Err(full @ RegistryError::Store(StoreError::Full { .. }))) => {
            let ended =
                call.registry().blocking(move |registry| session::end(registry, &mut writer.session)).await;
            if let Err(error) = ended {
                tracing::error!(%error, "an upload that filled the disk could not be ended");
            }
            Err(full)
        }
        (_, Err(error)) => Err(error),
        (None, Ok(())) => {
            Err(RegistryError::UploadUnknown { repository: repository.clone(), id: String::new() })
        }
    }
}
