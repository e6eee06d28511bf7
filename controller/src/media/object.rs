//! One readable medium: a file or a packed task medium, with an overlay, a fixed length, a fixed ETag and a fixed date.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::directory::ReadAt as _;
use super::overlay::Overlay;
use super::packed::Packed;

/// Version of how media are put together; part of every ETag.
const LAYOUT_VERSION: &[u8] = b"slipway media layout 1";

/// Where an object's own bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// On disk.
    File(Arc<File>),
    /// In memory.
    Packed(Arc<Packed>),
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
    /// The file that has its bytes, but for those that are laid over.
    pub fn file(&self) -> Option<Arc<File>> {
        match &self.source {
            Source::File(file) => Some(Arc::clone(file)),
            Source::Packed(_) => None,
        }
    }

    /// Reads `count` bytes from `offset`. Blocks on the disk. The bytes are a copy: a slow reader keeps no medium
    /// unpacked.
    pub fn read(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; count];
        match &self.source {
            Source::File(file) => file.read_exact_at(&mut buffer, offset)?,
            Source::Packed(packed) => packed.read_exact_at(&mut buffer, offset)?,
        }
        self.overlay.lay(offset, &mut buffer)?;
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
