//! Bodies into files: bounded memory, hashing and writing on blocking threads while more is being received.
//!
//! ```text
//!                           ┌▶ write
//! body ─▶ block, ≤ 3 MiB ─▶─┤           (one being written, one being filled, and what waits to be hashed)
//!                           └▶ hash
//! ```
//! Whatever ends a body, what had come of it is written, so that its client can go on from there.

use std::{ops::DerefMut, sync::Arc, time::Duration};

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::{
    block::{BLOCK, Block, PAGE},
    session::Session,
    sink::Sink,
};
use crate::registry::numbers;
use crate::registry::{
    error::RegistryError,
    quota::Room,
    store::{Store, StoreError},
};

/// Least room of a block, in bytes, if its body has that much.
const FEW: usize = 1 << 20;

/// A session with its file open, about to grow.
pub(super) struct Writer<S> {
    pub session: S,
    pub sink: Sink,
    pub store: Arc<Store>,
}

impl<S: DerefMut<Target = Session>> Writer<S> {
    fn write(&mut self, block: &Block) -> Result<(), RegistryError> {
        let (session, bytes) = (&mut *self.session, block.bytes());
        let written = self.store.check_room().and_then(|()| {
            let path = || self.store.upload_path(&session.id);
            self.sink.write(bytes, session.offset).map_err(|source| StoreError::write(&path(), source))
        });
        if let Err(error) = written {
            // A part may be in the file. It is cut off; where even that is not possible, the next request settles
            // the session with what the file holds. The hash is beyond it.
            drop(self.sink.file.set_len(session.offset));
            session.hash.lose();
            return Err(error.into());
        }
        numbers::received(bytes.len() as u64);
        session.offset += bytes.len() as u64;
        Ok(())
    }
}

/// How much may come, and how slowly.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Exactly this many bytes, when the client announced it.
    pub announced: Option<u64>,
    /// Room for the whole session, when there is a bound.
    pub room: Option<Room>,
    /// Longest silence.
    pub idle: Duration,
}

/// Appends a body to a session, as far as it may. The writer comes back whatever happens, unless the process is shutting down.
pub(super) async fn receive<S>(
    writer: Writer<S>,
    stream: &mut BodyDataStream,
    limits: Limits,
) -> (Option<Writer<S>>, Result<(), RegistryError>)
where
    S: DerefMut<Target = Session> + Send + 'static,
{
    let held = writer.session.offset;
    let (first, room) = rooms(held, limits.announced);
    let mut block = Block::new(first);
    let mut pipe = Pipe { at: At::Rest(writer), last: None, room };
    let mut received = 0_u64;
    let mut end = Ok(());
    loop {
        let bytes = match tokio::time::timeout(limits.idle, stream.next()).await {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(None) => break,
            Ok(Some(Err(source))) => {
                end = Err(RegistryError::BodyBroken { source });
                break;
            }
            Err(_) => {
                end = Err(RegistryError::BodyStalled { waited: limits.idle });
                break;
            }
        };
        received += bytes.len() as u64;
        if let Some(announced) = limits.announced.filter(|&announced| received > announced) {
            end = Err(RegistryError::Length { announced, received });
            break;
        }
        let more = held + received;
        if let Some(room) = limits.room.as_ref().filter(|room| more > room.left()) {
            end = Err(RegistryError::Quota { room: room.clone(), more });
            break;
        }
        let mut left = &bytes[..];
        while !left.is_empty() {
            left = block.fill(left);
            if block.is_full() {
                block = match pipe.push(block).await {
                    Ok(empty) => empty,
                    Err(error) => return (pipe.rest().await.0, Err(error)),
                };
            }
        }
    }
    if end.is_ok()
        && let Some(announced) = limits.announced.filter(|&announced| received < announced)
    {
        end = Err(RegistryError::Length { announced, received });
    }
    if !block.bytes().is_empty()
        && let Err(error) = pipe.push(block).await
    {
        return (pipe.rest().await.0, Err(error));
    }
    let (writer, written) = pipe.rest().await;
    (writer, written.and(end))
}

/// Room of the first block and of those after it. A small body comes in three, so that the next one comes while one is
/// written and one is hashed. The first one has no more than is to come, and ends where a page of the file begins.
fn rooms(held: u64, announced: Option<u64>) -> (usize, usize) {
    let announced = announced.and_then(|announced| usize::try_from(announced).ok()).unwrap_or(usize::MAX);
    let room = announced.div_ceil(3).clamp(FEW, BLOCK).next_multiple_of(PAGE);
    let behind = usize::try_from(held % PAGE as u64).unwrap_or(0);
    ((room - behind).min(announced).max(1), room)
}

/// One block at a time on blocking threads.
struct Pipe<S> {
    at: At<S>,
    /// The block that came last, which may still be hashed.
    last: Option<Arc<Block>>,
    /// Room of the next ones.
    room: usize,
}

enum At<S> {
    Rest(Writer<S>),
    Work(JoinHandle<(Writer<S>, Result<(), RegistryError>)>),
    Lost,
}

impl<S: DerefMut<Target = Session> + Send + 'static> Pipe<S> {
    /// Waits for the block before, then starts on this one; an empty one to go on with.
    async fn push(&mut self, block: Block) -> Result<Block, RegistryError> {
        self.settle().await?;
        let block = Arc::new(block);
        if let At::Rest(mut writer) = std::mem::replace(&mut self.at, At::Lost) {
            writer.session.hash.go_on(&block).await;
            let block = Arc::clone(&block);
            self.at = At::Work(tokio::task::spawn_blocking(move || {
                let done = writer.write(&block);
                (writer, done)
            }));
        }
        let spare = self.last.replace(block).and_then(Arc::into_inner);
        Ok(spare.map_or_else(|| Block::new(self.room), |spare| spare.again(self.room)))
    }

    async fn settle(&mut self) -> Result<(), RegistryError> {
        match std::mem::replace(&mut self.at, At::Lost) {
            At::Work(work) => {
                let (writer, done) = work.await.map_err(|source| RegistryError::Interrupted { source })?;
                self.at = At::Rest(writer);
                done
            }
            at => {
                self.at = at;
                Ok(())
            }
        }
    }

    async fn rest(mut self) -> (Option<Writer<S>>, Result<(), RegistryError>) {
        let done = self.settle().await;
        match self.at {
            At::Rest(writer) => (Some(writer), done),
            At::Work(_) | At::Lost => (None, done),
        }
    }
}

/// Reads a small body whole; none when it is larger than `limit` bytes.
pub(in crate::registry) async fn receive_small(
    stream: &mut BodyDataStream,
    limit: usize,
    idle: Duration,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let mut whole = Vec::new();
    loop {
        match tokio::time::timeout(idle, stream.next()).await {
            Ok(Some(Ok(bytes))) if whole.len() + bytes.len() <= limit => whole.extend_from_slice(&bytes),
            Ok(Some(Ok(_))) => return Ok(None),
            Ok(Some(Err(source))) => return Err(RegistryError::BodyBroken { source }),
            Ok(None) => return Ok(Some(whole)),
            Err(_) => return Err(RegistryError::BodyStalled { waited: idle }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_large_as_their_body_is_worth_and_begin_at_pages_of_the_file() {
        const MIB: u64 = 1 << 20;
        for (held, announced, first, later) in [
            (0, None, BLOCK, BLOCK),
            (0, Some(1024 * MIB), BLOCK, BLOCK),
            (0, Some(6 * MIB), 2 << 20, 2 << 20),
            (0, Some(4 * MIB), 342 * PAGE, 342 * PAGE),
            (0, Some(100), 100, FEW),
            (0, Some(0), 1, FEW),
            (4 * MIB + 1, Some(1024 * MIB), BLOCK - 1, BLOCK),
            (4095, Some(100), 100, FEW),
        ] {
            assert_eq!(rooms(held, announced), (first, later), "{held} {announced:?}");
        }
    }
}
