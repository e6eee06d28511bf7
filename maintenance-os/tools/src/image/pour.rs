//! The image, streamed from the registry into its place. Three things happen at once: bytes arrive and are
//! hashed, compression is undone, files are written. Nothing is stored in between.
//!
//! ```text
//!   registry ─▶ Fetch (resume, sha256) ─pipe─▶ Decoder ─pipe─▶ Archive ─▶ Tree      rootfs, container
//!                                                       └────▶ RawDisk              disk
//! ```
//! A layer counts as written only when its digest is right; the caller writes what makes a disk bootable
//! afterwards.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::manifest::{Layer, Manifest};
use crate::progress::Progress;

use super::archive::Archive;
use super::codec::Decoder;
use super::fetch::{Fetch, FetchError, Source};
use super::layer::{self, LayerError, Role};
use super::pipe::pipe;
use super::raw::{Onto, RawDisk, RawError};
use super::tree::Tree;

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PourError {
    /// It did not arrive, or not as its digest says.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its compression is damaged although its digest is right.
    #[error("undoing the compression of {digest}: the image was pushed damaged, make it anew")]
    Decode {
        /// The blob.
        digest: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be unpacked.
    #[error("unpacking {digest}")]
    Layer {
        /// The blob.
        digest: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// It could not be written to the disk.
    #[error("writing {digest}")]
    Raw {
        /// The blob.
        digest: String,
        /// Why.
        #[source]
        source: RawError,
    },
    /// A thread ended in a panic; nothing it did can be relied on.
    #[error("a worker thread ended unexpectedly; this is a fault of the tools")]
    Worker,
}

/// How far it is, for people.
pub struct Meter<'a> {
    /// Where progress is told.
    pub progress: &'a mut Progress,
    /// Stored bytes of the whole image.
    pub total: u64,
    done: AtomicU64,
}

impl<'a> Meter<'a> {
    /// At nothing of `total`.
    pub fn new(progress: &'a mut Progress, total: u64) -> Self {
        Self { progress, total, done: AtomicU64::new(0) }
    }
}

/// Reads and tells progress on the way.
struct Metered<'a, R> {
    input: R,
    progress: &'a mut Progress,
    done: &'a AtomicU64,
    total: u64,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.progress.tick(self.done.load(Ordering::Relaxed), Some(self.total), None);
        Ok(length)
    }
}

/// Writes every layer of the image below `root`. Returns the names of attributes that got lost.
pub fn into_tree(
    source: &dyn Source,
    manifest: &Manifest,
    role: Role,
    root: &Path,
    meter: &mut Meter<'_>,
) -> Result<Vec<String>, PourError> {
    let mut lost = Vec::new();
    for layer in &manifest.layers {
        let digest = || layer.digest.clone();
        let unpack = |input: &mut dyn Read| {
            let mut tree = Tree::open(root)
                .map_err(|source| PourError::Layer { digest: digest(), source: source.into() })?;
            let mut archive = Archive::new(input);
            let outcome = layer::apply(&mut tree, &mut archive, role);
            if matches!(outcome, Ok(_) | Err(LayerError::Archive(_))) {
                // What follows the archive's end, or is left after a damaged header, still counts for the digest.
                let _ = io::copy(archive.into_inner(), &mut io::sink());
            }
            lost.append(&mut tree.unsupported);
            outcome.map(drop).map_err(|source| PourError::Layer { digest: digest(), source })
        };
        stream(source, layer, meter, unpack)?;
    }
    meter.progress.tell(meter.total, Some(meter.total), Some("image written"));
    lost.sort();
    lost.dedup();
    Ok(lost)
}

/// Writes the image to the disk, its two ends last. Returns the bytes written.
pub fn onto_disk(
    source: &dyn Source,
    layer: &Layer,
    onto: Onto<'_>,
    meter: &mut Meter<'_>,
) -> Result<u64, PourError> {
    let refuse = |source| PourError::Raw { digest: layer.digest.clone(), source };
    let mut written = None;
    stream(source, layer, meter, |input| {
        written = Some(RawDisk::write(onto, input).map_err(refuse)?);
        Ok(())
    })?;
    let disk = written.ok_or(PourError::Worker)?;
    let length = disk.finish().map_err(refuse)?;
    meter.progress.tell(meter.total, Some(meter.total), Some("image written"));
    Ok(length)
}

/// Runs one blob through fetch, decoder and `consume`, and judges all three: a wrong digest explains
/// every other error.
fn stream(
    source: &dyn Source,
    layer: &Layer,
    meter: &mut Meter<'_>,
    consume: impl FnOnce(&mut dyn Read) -> Result<(), PourError>,
) -> Result<(), PourError> {
    let Meter { progress, total, done } = meter;
    let done: &AtomicU64 = done;
    let (packed_in, packed_out) = pipe();
    let (plain_in, plain_out) = pipe();
    let (consumed, decoded, fetched) = thread::scope(|scope| {
        let fetch = scope.spawn(move || {
            let mut fetch = Fetch::new(source, layer, done);
            let complete = packed_in.fill_from(&mut fetch) == Ok(true);
            fetch.error.map_or(Ok(complete), Err)
        });
        let decode = scope.spawn(move || -> Result<(), io::Error> {
            let mut decoder = Decoder::new(packed_out)?;
            let mut watched = Watched { input: &mut decoder, error: None };
            let all = plain_in.fill_from(&mut watched);
            let error = watched.error.take();
            if all != Ok(false) {
                // After the end, or an error, the rest still counts for the digest.
                decoder.drain();
            }
            error.map_or(Ok(()), Err)
        });
        let consumed = {
            let mut input = Metered { input: plain_out, progress, done, total: *total };
            consume(&mut input)
        };
        (consumed, decode.join(), fetch.join())
    });
    let complete = fetched.map_err(|_| PourError::Worker)??;
    let decoded = decoded.map_err(|_| PourError::Worker)?;
    let of_the_disk = matches!(
        &consumed,
        Err(PourError::Raw {
            source: RawError::Write { .. } | RawError::TooLarge { .. } | RawError::Sectors { .. },
            ..
        } | PourError::Layer { source: LayerError::Tree(_), .. })
    );
    match (decoded, consumed) {
        (_, Err(error)) if of_the_disk => Err(error),
        (Err(source), _) => Err(PourError::Decode { digest: layer.digest.clone(), source }),
        (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) if complete => Ok(()),
        (Ok(()), Ok(())) => Err(PourError::Worker),
    }
}

/// Keeps a copy of the first error that passes.
struct Watched<'a> {
    input: &'a mut dyn Read,
    error: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.error = Some(io::Error::new(error.kind(), error.to_string()));
            }
        })
    }
}
