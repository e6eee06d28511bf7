//! Files with holes: where their data belongs, in the three ways that tars say it.

use std::io::Read;

use tar::Header;

use super::super::pipe;
use super::{Archive, ArchiveError};

/// Most pieces of one sparse file.
const PIECES_MAX: usize = 1 << 20;

impl<R: Read> Archive<R> {
    /// The map of a GNU sparse member: in its header, and in blocks after it.
    pub(super) fn gnu_sparse(&mut self, header: &Header) -> Result<(u64, Vec<(u64, u64)>), ArchiveError> {
        let gnu = header.as_gnu().ok_or_else(|| self.wrong("a sparse file without a GNU header"))?;
        let real = gnu.real_size().map_err(|_| self.wrong("a sparse file without its size"))?;
        let mut pieces = Vec::new();
        let mut add = |block: &tar::GnuSparseHeader| -> Option<()> {
            if !block.is_empty() {
                pieces.push((block.offset().ok()?, block.length().ok()?));
            }
            Some(())
        };
        let malformed = "a malformed sparse map";
        for block in &gnu.sparse {
            add(block).ok_or_else(|| self.wrong(malformed))?;
        }
        let mut extended = gnu.is_extended();
        let mut blocks = 0;
        while extended {
            blocks += 1;
            let mut block = tar::GnuExtSparseHeader::new();
            let length =
                pipe::read_full(&mut self.input, block.as_mut_bytes()).map_err(ArchiveError::Read)?;
            if length < 512 || blocks > PIECES_MAX / 21 {
                return Err(self.wrong(malformed));
            }
            for piece in block.sparse() {
                add(piece).ok_or_else(|| self.wrong(malformed))?;
            }
            extended = block.is_extended();
        }
        Ok((real, pieces))
    }

    /// The map of a pax 1.0 sparse member: decimal lines before its data, filled up to a whole block.
    pub(super) fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, ArchiveError> {
        let mut buffer = Vec::new();
        let mut at = 0;
        let mut line = |archive: &mut Self| -> Result<u64, ArchiveError> {
            let mut value: Option<u64> = None;
            loop {
                if at == buffer.len() {
                    let mut block = [0; 512];
                    let mut filled = 0;
                    while filled < block.len() {
                        match archive.read(&mut block[filled..])? {
                            0 => return Err(archive.wrong("a malformed sparse map")),
                            length => filled += length,
                        }
                    }
                    (buffer, at) = (block.to_vec(), 0);
                }
                let byte = buffer[at];
                at += 1;
                match (byte, value) {
                    (b'\n', Some(value)) => return Ok(value),
                    (b'0'..=b'9', old) => {
                        value = old
                            .unwrap_or(0)
                            .checked_mul(10)
                            .and_then(|value| value.checked_add(u64::from(byte - b'0')));
                        if value.is_none() {
                            return Err(archive.wrong("a malformed sparse map"));
                        }
                    }
                    _ => return Err(archive.wrong("a malformed sparse map")),
                }
            }
        };
        let count = line(self)?;
        if count > PIECES_MAX as u64 {
            return Err(self.wrong("a sparse map with too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push((line(self)?, line(self)?));
        }
        Ok(pieces)
    }

    /// Pieces are in order, inside the file, and as long as the data.
    pub(super) fn check_pieces(&self, pieces: &[(u64, u64)], size: u64) -> Result<(), ArchiveError> {
        let (mut end, mut data) = (0_u64, 0_u64);
        for (offset, length) in pieces {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(|| self.wrong("a sparse map whose pieces overlap or leave the file"))?;
            data += length;
        }
        if data == self.left { Ok(()) } else { Err(self.wrong("a sparse map that does not match the data")) }
    }
}
