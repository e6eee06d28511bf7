//! A task medium at rest: packed with zstd, unpacked when somebody reads it. Only the few that were read last stay
//! unpacked, so a thousand jobs take the packed bytes of a thousand and the unpacked ones of a few.
//!
//! ```text
//! Recent::pack(bytes) ─▶ Packed ─▶ read_exact_at ─▶ unpacked now ─▶ kept in Recent until others were read since
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::directory::ReadAt;

/// zstd level: what is packed is mostly zeros and JSON.
const LEVEL: i32 = 3;

/// The media that were read last, unpacked.
#[derive(Debug)]
pub struct Recent {
    /// Bytes that may stay unpacked; one medium always may.
    limit: usize,
    numbers: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By number, newest last.
    media: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

/// One medium, packed. Forgotten when dropped.
pub struct Packed {
    /// No larger than it must be: zstd packs into room for the worst case, which is the whole medium.
    bytes: Box<[u8]>,
    len: usize,
    number: u64,
    recent: Arc<Recent>,
}

impl Recent {
    /// Keeps up to `limit` bytes unpacked.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, numbers: AtomicU64::new(0), held: Mutex::default() })
    }

    /// Packs a medium.
    ///
    /// # Errors
    /// What zstd says.
    pub fn pack(self: &Arc<Self>, medium: &[u8]) -> io::Result<Arc<Packed>> {
        Ok(Arc::new(Packed {
            bytes: zstd::bulk::compress(medium, LEVEL)?.into_boxed_slice(),
            len: medium.len(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            recent: Arc::clone(self),
        }))
    }

    /// Bytes that are unpacked now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// A panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn take(&mut self, number: u64) -> Option<Bytes> {
        let at = self.media.iter().position(|(held, _)| *held == number)?;
        let (_, bytes) = self.media.remove(at)?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    fn put(&mut self, number: u64, bytes: Bytes, limit: usize) {
        self.take(number); // somebody else unpacked it meanwhile
        self.bytes += bytes.len();
        self.media.push_back((number, bytes));
        while self.bytes > limit && self.media.len() > 1 {
            if let Some((_, old)) = self.media.pop_front() {
                self.bytes -= old.len();
            }
        }
    }
}

impl Packed {
    /// Bytes of the medium.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes it takes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn unpacked(&self) -> io::Result<Bytes> {
        let held = self.recent.lock().take(self.number);
        let bytes = match held {
            Some(bytes) => bytes,
            None => Bytes::from(zstd::bulk::decompress(&self.bytes, self.len)?),
        };
        self.recent.lock().put(self.number, bytes.clone(), self.recent.limit);
        Ok(bytes)
    }
}

impl ReadAt for Packed {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.unpacked()?[..].read_exact_at(buf, offset)
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        self.recent.lock().take(self.number);
    }
}

/// Never its bytes: a task medium holds secrets.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("len", &self.len)
            .field("size", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_read_last_stay_unpacked_and_go_with_their_owner() {
        let recent = Recent::new(2500);
        let media: Vec<_> = (0..4_u8).map(|n| recent.pack(&[n; 1000]).unwrap()).collect();
        assert_eq!(recent.bytes(), 0);
        let mut byte = [9];
        for round in 0..2 {
            for (n, medium) in (0_u8..).zip(&media) {
                medium.read_exact_at(&mut byte, 999).unwrap();
                assert_eq!(byte, [n], "round {round}");
            }
            assert_eq!(recent.bytes(), 2000);
        }
        media[3].read_exact_at(&mut byte, 0).unwrap();
        assert!(media[3].read_exact_at(&mut byte, 1000).is_err(), "behind its end");
        drop(media);
        assert_eq!(recent.bytes(), 0);
    }
}
