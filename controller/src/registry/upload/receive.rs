//! Bodies into files: bounded memory, hashing and writing on a blocking thread while more is being received.
//!
//! ```text
//! body ─▶ batch of ~1 MiB ─▶ blocking thread: write, hash      (one batch in work, one being filled)
//! ```
//! Whatever ends a body, what had come of it is written, so that its client can go on from there.

use std::{
    fs::File,
    io::{self, IoSlice},
    ops::DerefMut,
    sync::Arc,
    time::Duration,
};

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::session::Session;
use crate::registry::numbers;
use crate::registry::{
    error::RegistryError,
    quota::Room,
    store::{Store, StoreError},
};

/// Bytes that are collected before they are written.
const BATCH: usize = 1024 * 1024;
/// Pieces that are collected before they are written, so that many tiny ones cost no more memory than they hold.
const BATCH_PIECES: usize = 512;

/// Pieces of at least so many zeros are not written.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// A session with its file open, about to grow.
pub(super) struct Writer<S> {
    pub session: S,
    pub file: File,
    pub store: Arc<Store>,
}

impl<S: DerefMut<Target = Session>> Writer<S> {
    fn write(&mut self, batch: &[Bytes]) -> Result<(), RegistryError> {
        self.store.check_room()?;
        let session = &mut *self.session;
        if let Err(source) = write_at(&self.file, batch, session.offset) {
            // A part may be in the file. It is cut off; where even that is not possible, the next request settles
            // the session with what the file holds.
            drop(self.file.set_len(session.offset));
            return Err(StoreError::write(&self.store.upload_path(&session.id), source).into());
        }
        numbers::received(batch.iter().map(|bytes| bytes.len() as u64).sum());
        for bytes in batch {
            session.offset += bytes.len() as u64;
            if let Some(hasher) = &mut session.hasher {
                hasher.update(bytes);
            }
        }
        Ok(())
    }
}

/// Writes all of a batch, in as few calls as the system takes. What is all zeros becomes a hole: images of disks are made of
/// that.
fn write_at(file: &File, batch: &[Bytes], mut offset: u64) -> io::Result<()> {
    let mut filled = offset;
    for run in batch.chunk_by(|one, next| is_hole(one) == is_hole(next)) {
        let length: u64 = run.iter().map(|bytes| bytes.len() as u64).sum();
        if !run.first().is_some_and(is_hole) && length > 0 {
            write_run(file, run, offset)?;
            filled = offset + length;
        }
        offset += length;
    }
    // The length of the file is what tells how far the upload is.
    if filled < offset { file.set_len(offset) } else { Ok(()) }
}

/// Zeros, and enough of them.
fn is_hole(bytes: &Bytes) -> bool {
    bytes.len() >= ZEROS.len() && bytes.chunks(ZEROS.len()).all(|piece| piece == &ZEROS[..piece.len()])
}

fn write_run(file: &File, run: &[Bytes], mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<_> = run.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0); // drops empty ones, which would look like a disk that takes nothing
    while !left.is_empty() {
        let position = i64::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match nix::sys::uio::pwritev(file, left, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
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
    let mut pipe = Pipe { at: At::Rest(writer) };
    let mut batch = Vec::new();
    let (mut waiting, mut received) = (0, 0_u64);
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
        waiting += bytes.len();
        batch.push(bytes);
        if waiting >= BATCH || batch.len() >= BATCH_PIECES {
            waiting = 0;
            if let Err(error) = pipe.push(std::mem::take(&mut batch)).await {
                return (pipe.rest().await.0, Err(error));
            }
        }
    }
    if end.is_ok()
        && let Some(announced) = limits.announced.filter(|&announced| received < announced)
    {
        end = Err(RegistryError::Length { announced, received });
    }
    if let Err(error) = pipe.push(batch).await {
        return (pipe.rest().await.0, Err(error));
    }
    let (writer, written) = pipe.rest().await;
    (writer, written.and(end))
}

/// One batch at a time on a blocking thread.
struct Pipe<S> {
    at: At<S>,
}

enum At<S> {
    Rest(Writer<S>),
    Work(JoinHandle<(Writer<S>, Result<(), RegistryError>)>),
    Lost,
}

impl<S: DerefMut<Target = Session> + Send + 'static> Pipe<S> {
    /// Waits for the batch before, then starts on this one.
    async fn push(&mut self, batch: Vec<Bytes>) -> Result<(), RegistryError> {
        self.settle().await?;
        if let At::Rest(mut writer) = std::mem::replace(&mut self.at, At::Lost) {
            self.at = At::Work(tokio::task::spawn_blocking(move || {
                let done = writer.write(&batch);
                (writer, done)
            }));
        }
        Ok(())
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
    use std::os::unix::fs::MetadataExt as _;

    use proptest::prelude::*;

    use super::*;

    /// Pieces of bodies: some of them zeros, some nearly so, some empty.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let size = prop_oneof![Just(0), 1_usize..100, Just(ZEROS.len()), ZEROS.len()..50_000];
        (size, 0_u8..3, any::<u8>()).prop_map(|(size, kind, last)| {
            let mut bytes = vec![if kind == 2 { 7 } else { 0 }; size];
            if let (1, Some(end)) = (kind, bytes.last_mut()) {
                *end = last;
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read_back_with_its_holes(batches in prop::collection::vec(prop::collection::vec(piece(), 0..6), 0..5)) {
            let file = tempfile::tempfile().unwrap();
            let mut whole = Vec::new();
            for batch in &batches {
                let pieces: Vec<Bytes> = batch.iter().cloned().map(Bytes::from).collect();
                write_at(&file, &pieces, whole.len() as u64).unwrap();
                whole.extend(batch.concat());
                prop_assert_eq!(file.metadata().unwrap().len(), whole.len() as u64);
            }
            let mut read = vec![1; whole.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 0).unwrap();
            prop_assert!(read == whole);
        }
    }

    #[test]
    fn zeros_take_no_room_on_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let zeros = vec![Bytes::from(vec![0; 256 * 1024]); 64];
        write_at(&file, &zeros, 0).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.len(), found.blocks()), (16 << 20, 0));
    }
}
