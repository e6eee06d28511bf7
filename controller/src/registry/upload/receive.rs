//! Bodies into files: bounded memory, hashing and writing on a blocking thread while more is being received.
//!
//! ```text
//! body ─▶ block of 3 MiB ─▶ blocking thread: write, hash      (one block in work, one being filled)
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

/// A session with its file open, about to grow.
pub(super) struct Writer<S> {
    pub session: S,
    pub sink: Sink,
    pub store: Arc<Store>,
}

impl<S: DerefMut<Target = Session>> Writer<S> {
    fn write(&mut self, block: &Block) -> Result<(), RegistryError> {
        self.store.check_room()?;
        let (session, bytes) = (&mut *self.session, block.bytes());
        if let Err(source) = self.sink.write(bytes, session.offset) {
            // A part may be in the file. It is cut off; where even that is not possible, the next request settles
            // the session with what the file holds.
            drop(self.sink.file.set_len(session.offset));
            return Err(StoreError::write(&self.store.upload_path(&session.id), source).into());
        }
        numbers::received(bytes.len() as u64);
        session.offset += bytes.len() as u64;
        if let Some(hasher) = &mut session.hasher {
            hasher.update(bytes);
        }
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
    let mut block = Block::new(first_room(held, limits.announced));
    let mut pipe = Pipe { at: At::Rest(writer), spare: None };
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

/// Room of the first block: no more than is to come, and so that the second one begins at a page of the file.
fn first_room(held: u64, announced: Option<u64>) -> usize {
    let behind = usize::try_from(held % PAGE as u64).unwrap_or(0);
    let announced = announced.and_then(|announced| usize::try_from(announced).ok());
    (BLOCK - behind).min(announced.unwrap_or(BLOCK)).max(1)
}

/// One block at a time on a blocking thread.
struct Pipe<S> {
    at: At<S>,
    /// The block that was written last.
    spare: Option<Block>,
}

enum At<S> {
    Rest(Writer<S>),
    Work(JoinHandle<(Writer<S>, Block, Result<(), RegistryError>)>),
    Lost,
}

impl<S: DerefMut<Target = Session> + Send + 'static> Pipe<S> {
    /// Waits for the block before, then starts on this one; an empty one to go on with.
    async fn push(&mut self, block: Block) -> Result<Block, RegistryError> {
        self.settle().await?;
        if let At::Rest(mut writer) = std::mem::replace(&mut self.at, At::Lost) {
            self.at = At::Work(tokio::task::spawn_blocking(move || {
                let done = writer.write(&block);
                (writer, block, done)
            }));
        }
        Ok(self.spare.take().map_or_else(|| Block::new(BLOCK), Block::again))
    }

    async fn settle(&mut self) -> Result<(), RegistryError> {
        match std::mem::replace(&mut self.at, At::Lost) {
            At::Work(work) => {
                let (writer, block, done) =
                    work.await.map_err(|source| RegistryError::Interrupted { source })?;
                (self.at, self.spare) = (At::Rest(writer), Some(block));
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
