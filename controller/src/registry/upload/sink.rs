//! The file of an upload while it grows.
//!
//! ```text
//! whole pages, many ─▶ past the page cache (O_DIRECT)        anything else ─▶ through it        zeros ─▶ a hole
//! ```
//! A push of tens of gigabytes through the page cache costs a copy of each byte, and drives out of it what machines are
//! being sent. Where the file system has no such writes, everything goes through the cache.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use nix::libc::{EINVAL, O_DIRECT};

use super::block::PAGE;

/// From so many bytes on a write past the page cache costs less than the copy into it, though it waits for the disk.
const MANY: usize = 1 << 20;

/// So many zeros are not written: images of disks are made of them. Whole pages of every disk there is.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// An upload's file.
pub(super) struct Sink {
    /// Through the page cache.
    pub file: File,
    path: PathBuf,
    past: Past,
}

/// The same file, for writes past the page cache.
enum Past {
    Untried,
    Open(File),
    Refused,
}

impl Sink {
    /// The file at `path`, open for writing.
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, past: Past::Untried }
    }

    /// Writes all of `bytes`. After an error a part of them may be in the file.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let pages = offset.is_multiple_of(PAGE as u64) && bytes.len().is_multiple_of(PAGE);
        let past = if pages && bytes.len() >= MANY {
            self.past().map(|file| write_at(file, bytes, offset))
        } else {
            None
        };
        match past {
            Some(Err(error)) if error.raw_os_error() == Some(EINVAL) => self.past = Past::Refused,
            Some(done) => return done,
            None => {}
        }
        write_at(&self.file, bytes, offset)
    }

    fn past(&mut self) -> Option<&File> {
        if matches!(self.past, Past::Untried) {
            let opened = OpenOptions::new().write(true).custom_flags(O_DIRECT).open(&self.path);
            self.past = opened.map_or(Past::Refused, Past::Open);
        }
        match &self.past {
            Past::Open(file) => Some(file),
            Past::Untried | Past::Refused => None,
        }
    }
}

/// Writes all of `bytes` but the zeros among them, and makes the file end where they end.
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (mut at, mut filled) = (0, 0);
    let pieces: Vec<&[u8]> = bytes.chunks(ZEROS.len()).collect();
    for run in pieces.chunk_by(|one, next| is_hole(one) == is_hole(next)) {
        let length: usize = run.iter().map(|piece| piece.len()).sum();
        if !run.first().is_some_and(|piece| is_hole(piece)) {
            file.write_all_at(&bytes[at..at + length], offset + at as u64)?;
            filled = at + length;
        }
        at += length;
    }
    // The length of the file is what tells how far the upload is.
    if filled < at { file.set_len(offset + at as u64) } else { Ok(()) }
}

/// Zeros, and enough of them.
fn is_hole(piece: &[u8]) -> bool {
    piece == ZEROS
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use proptest::prelude::*;

    use super::super::block::{BLOCK, Block};
    use super::*;

    fn sink() -> (tempfile::NamedTempFile, Sink) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = Sink::new(file.reopen().unwrap(), file.path().to_owned());
        (file, sink)
    }

    fn content(file: &tempfile::NamedTempFile) -> Vec<u8> {
        std::fs::read(file.path()).unwrap()
    }

    /// Pieces of bodies: some of them zeros, some nearly so, some empty, some larger than a block.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let size = prop_oneof![
            1 => Just(0),
            3 => 1_usize..100,
            1 => Just(ZEROS.len()),
            3 => ZEROS.len()..50_000,
            3 => BLOCK - 5..2 * BLOCK + 5,
        ];
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
        fn what_is_written_is_read_back_with_its_holes(
            first in 0_usize..9000,
            pieces in prop::collection::vec(piece(), 0..8),
        ) {
            let (file, mut sink) = sink();
            let mut written = 0;
            let mut block = Block::new(first.max(1));
            for piece in &pieces {
                let mut left = &piece[..];
                while !left.is_empty() {
                    left = block.fill(left);
                    if block.is_full() {
                        sink.write(block.bytes(), written).unwrap();
                        written += block.bytes().len() as u64;
                        prop_assert_eq!(file.as_file().metadata().unwrap().len(), written);
                        block = block.again(BLOCK);
                    }
                }
            }
            sink.write(block.bytes(), written).unwrap();
            prop_assert!(content(&file) == pieces.concat());
        }
    }

    #[test]
    fn zeros_take_no_room_on_the_disk() {
        let (file, mut sink) = sink();
        let zeros = vec![0; BLOCK + 5 * ZEROS.len()];
        for n in 0..8 {
            sink.write(&zeros, n * zeros.len() as u64).unwrap();
        }
        let found = file.as_file().metadata().unwrap();
        assert_eq!((found.len(), found.blocks()), (8 * zeros.len() as u64, 0));
    }

    #[test]
    fn where_nothing_goes_past_the_page_cache_all_goes_through_it() {
        let (file, mut sink) = sink();
        let mut block = Block::new(BLOCK);
        block.fill(&vec![7; BLOCK]);
        sink.write(block.bytes(), 0).unwrap();
        let direct = matches!(sink.past, Past::Open(_));
        // As a disk with other pages than ours would find it.
        let crooked = [&[0], block.bytes()].concat();
        let crooked = if crooked.as_ptr().align_offset(512) == 0 { &crooked[1..] } else { &crooked[..BLOCK] };
        sink.write(crooked, BLOCK as u64).unwrap();
        assert!(!direct || matches!(sink.past, Past::Refused));
        assert!(content(&file) == [block.bytes(), crooked].concat());
    }
}
