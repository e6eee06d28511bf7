//! Closing an upload: is it what it was said to be? Then it becomes a blob, durably, and visible in its repository.
//! Everything here blocks.

use std::{fs::File, ops::Deref};

use super::{
    receive::Writer,
    session::{self, Held, Session},
};
use crate::registry::{Registry, digest::Digest, error::RegistryError, index::Linked, name::Repository};

/// Closes a session. Content of another digest ends it: nothing that can still be sent would mend it. While nothing is
/// written it stays as it is.
pub(super) fn finish(
    registry: &Registry,
    mut writer: Writer<Held>,
    repository: &Repository,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let session = &mut *writer.session;
    match verify(registry, session, &writer.sink.file, digest) {
        Err(error @ RegistryError::DigestMismatch { .. }) => {
            session::end(registry, session)?;
            return Err(error);
        }
        verified => verified?,
    }
    if let Err(error) = registry.check_room(repository, Some(digest), session.offset) {
        session::end(registry, session)?;
        return Err(error);
    }
    let _turn = registry.switch.begin()?;
    let _held = registry.locks.hold(digest);
    registry.store.commit(&session.id, &writer.sink.file, digest)?;
    if let Err(error) = link(registry, repository, digest, session.offset, Some(&session.id)) {
        if matches!(error, RegistryError::Quota { .. }) {
            session::end(registry, session)?;
        }
        return Err(error);
    }
    session.ended = true;
    registry.uploads.forget(&session.id);
    Ok(())
}

/// Closes an upload that has no session; its file goes, whatever went wrong.
pub(super) fn finish_whole<S: Deref<Target = Session>>(
    registry: &Registry,
    writer: &Writer<S>,
    received: Result<(), RegistryError>,
    repository: &Repository,
    digest: &Digest,
) -> Result<(), RegistryError> {
    let session = &*writer.session;
    let verified = received
        .and_then(|()| verify(registry, session, &writer.sink.file, digest))
        .and_then(|()| registry.check_room(repository, Some(digest), session.offset));
    let turn = verified.and_then(|()| registry.switch.begin());
    let _held = registry.locks.hold(digest);
    let done = turn.and_then(|turn| {
        registry.store.commit(&session.id, &writer.sink.file, digest)?;
        Ok(turn)
    });
    let _turn = match done {
        Ok(turn) => turn,
        Err(error) => {
            registry.store.remove_upload(&session.id)?;
            return Err(error);
        }
    };
    link(registry, repository, digest, session.offset, None)
}

/// Makes the blob visible, or refuses and removes it again: others may have used up the quota meanwhile. The caller holds
/// the lock of its digest.
fn link(
    registry: &Registry,
    repository: &Repository,
    digest: &Digest,
    size: u64,
    upload: Option<&str>,
) -> Result<(), RegistryError> {
    let quotas = registry.quotas(repository);
    match registry.index.link_blob(repository, digest, size, upload, registry.now(), &quotas)? {
        Linked::Yes => Ok(()),
        Linked::Over(room) => {
            registry.drop_unheld(digest)?;
            Err(RegistryError::Quota { room, more: size })
        }
    }
}

/// Compares digests; reads the file again when the running hash is lost or of another kind.
fn verify(registry: &Registry, session: &Session, file: &File, wanted: &Digest) -> Result<(), RegistryError> {
    let found = match session.hash.digest(wanted.algorithm()) {
        Some(digest) => digest,
        None => registry.store.hash_upload(&session.id, file, wanted.algorithm())?,
    };
    if found == *wanted {
        Ok(())
    } else {
        Err(RegistryError::DigestMismatch { wanted: wanted.clone(), found })
    }
}
