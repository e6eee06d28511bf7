//! One readable medium: a file or bytes in memory, with an overlay, a fixed length, a fixed ETag and a fixed date.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::overlay::Overlay;

/// Version of how media are put together; part of every ETag.
const LAYOUT_VERSION: &[u8] = b"slipway media layout 1";

/// Where an object's own bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// On disk.
    File(Arc<File>),
    /// In memory.
    Memory(Bytes),
}

/// One readable medium.
#[derive(Debug, Clone)]
pub struct Object {
    /// Length in bytes.
    pub len: u64,
    /// Strong validator, with its quotes.
    pub etag: String,
    /// The date it shows, always the same.
    pub last_modified: Timestamp,
    /// Its own bytes.
    pub source: Source,
    /// What is laid over them.
    pub overlay: Overlay,
}

impl Object {
    /// The file that has these bytes as they are, when nothing is laid over them.
    pub fn file(&self, range: Range<u64>) -> Option<Arc<File>> {
        match &self.source {
            Source::File(file) if !self.overlay.touches(range) => Some(Arc::clone(file)),
            _ => None,
        }
    }

    /// Reads `count` bytes from `offset`. Blocks on the disk.
    pub fn read(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        if let (Source::Memory(bytes), true) = (&self.source, self.overlay == Overlay::default()) {
            let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let end = from.checked_add(count).filter(|end| *end <= bytes.len());
            return Ok(bytes.slice(from..end.ok_or(io::ErrorKind::UnexpectedEof)?));
        }
        let mut buffer = vec![0; count];
        match &self.source {
            Source::File(file) => file.read_exact_at(&mut buffer, offset)?,
            Source::Memory(bytes) => {
                super::directory::ReadAt::read_exact_at(&bytes[..], &mut buffer, offset)?;
            }
        }
        self.overlay.lay(offset, &mut buffer);
        Ok(Bytes::from(buffer))
    }
}

/// The ETag of a medium made of a base and overlays: sha256(base ‖ overlays ‖ layout version), quoted.
pub fn etag(base: &[u8; 32], overlays: &[[u8; 32]]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(base);
    for overlay in overlays {
        hasher.update(overlay);
    }
    hasher.update(LAYOUT_VERSION);
    format!("\"{}\"", hex::encode(hasher.finalize()))
}
