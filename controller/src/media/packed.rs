//! A task medium at rest: packed with zstd in pieces, of which a read unpacks those that it meets. A thousand jobs take
//! the packed bytes of a thousand, and a reader a piece's worth of memory for a moment.
//!
//! ```text
//! Packed::pack(bytes) ─▶ [piece][piece][piece]… ─▶ read_exact_at ─▶ one piece after the other, unpacked and dropped
//! ```

use std::io;
use std::sync::Arc;

use super::directory::ReadAt;

/// zstd level: what is packed is mostly zeros and JSON.
const LEVEL: i32 = 3;
/// Bytes of a piece before it is packed: what BMCs ask for at once, more or less.
const PIECE: usize = 64 << 10;

/// One medium, packed.
pub struct Packed {
    /// No larger than they must be: zstd packs into room for the worst case.
    pieces: Vec<Box<[u8]>>,
    len: usize,
}

impl Packed {
    /// Packs a medium.
    ///
    /// # Errors
    /// What zstd says.
    pub fn pack(medium: &[u8]) -> io::Result<Arc<Self>> {
        let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
        let pack = |piece| Ok(packer.compress(piece)?.into_boxed_slice());
        let pieces = medium.chunks(PIECE).map(pack).collect::<io::Result<_>>()?;
        Ok(Arc::new(Self { pieces, len: medium.len() }))
    }

    /// Bytes of the medium.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes it takes.
    pub fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }
}

impl ReadAt for Packed {
    fn read_exact_at(&self, mut buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        if at.checked_add(buf.len()).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let piece = self.pieces.get(at / PIECE).ok_or(io::ErrorKind::UnexpectedEof)?;
            let piece = zstd::bulk::decompress(piece, PIECE)?;
            let from = piece.get(at % PIECE..).unwrap_or_default();
            let count = from.len().min(buf.len());
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into()); // packed by nobody we know
            }
            let (now, later) = buf.split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            (buf, at) = (later, at + count);
        }
        Ok(())
    }
}

/// Never its bytes: a task medium holds secrets.
impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("len", &self.len).field("size", &self.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_is_that_of_the_medium_and_none_goes_behind_its_end() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 100] {
            let medium: Vec<u8> = (0..len).map(|at| (at / 251 + at).to_le_bytes()[0]).collect();
            let packed = Packed::pack(&medium).unwrap();
            assert_eq!(packed.len(), len);
            for from in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5, len] {
                for count in [0, 1, 100, PIECE, 2 * PIECE + 1] {
                    let mut read = vec![0; count];
                    let done = packed.read_exact_at(&mut read, from as u64);
                    let wanted = medium.get(from..from + count);
                    assert_eq!(done.is_ok(), wanted.is_some(), "{count} from {from} of {len}");
                    assert!(wanted.is_none_or(|wanted| wanted == read), "{count} from {from} of {len}");
                }
            }
            assert!(packed.read_exact_at(&mut [0], u64::MAX).is_err());
        }
    }
}
