//! Bytes laid over a file at read time: the file on disk stays the same for every site and job, what is read of
//! it carries this site's keys and this job's task medium. Pure range arithmetic, no I/O. A packed medium is unpacked
//! when a read meets it, so that a thousand readers of other places cost nothing.
//!
//! ```text
//! file   ··········································
//! patch        TTTT            JJJJJJJJ              (trust, job)
//! read     [··TTTT····)  [··JJJ)                     what `lay` makes of what was read
//! ```

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::ReadAt as _;
use super::packed::Packed;

/// Bytes that can be laid.
#[derive(Debug, Clone)]
pub enum Run {
    /// As they are.
    Bytes(Bytes),
    /// To be unpacked.
    Packed(Arc<Packed>),
}

/// One run of bytes at one place.
#[derive(Debug, Clone)]
struct Patch {
    offset: u64,
    run: Run,
}

/// Runs of bytes that replace a file's own; they neither overlap nor reach past its end.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    patches: Vec<Patch>,
}

/// A patch that cannot be laid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OverlayError {
    /// It ends behind the file.
    #[error("bytes {offset}..{end} do not fit a file of {len} bytes")]
    Outside {
        /// Where it begins.
        offset: u64,
        /// Where it ends.
        end: u64,
        /// Length of the file.
        len: u64,
    },
    /// It meets another patch.
    #[error("bytes {offset}..{end} are laid over already")]
    Overlap {
        /// Where it begins.
        offset: u64,
        /// Where it ends.
        end: u64,
    },
}

impl Overlay {
    /// Which of these bytes are laid over, in order.
    pub fn places(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let within = |patch: &Patch| patch.offset.max(range.start)..patch.end().min(range.end);
        self.patches.iter().map(within).filter(|place| !place.is_empty()).collect()
    }

    /// Adds one patch to an overlay of a file of `len` bytes.
    pub fn with(mut self, len: u64, offset: u64, run: Run) -> Result<Self, OverlayError> {
        let end = offset.saturating_add(run.len());
        if end > len {
            return Err(OverlayError::Outside { offset, end, len });
        }
        if run.len() == 0 {
            return Ok(self);
        }
        let at = self.patches.partition_point(|patch| patch.offset < offset);
        let before = at.checked_sub(1).and_then(|i| self.patches.get(i)).is_some_and(|p| p.end() > offset);
        let after = self.patches.get(at).is_some_and(|p| p.offset < end);
        if before || after {
            return Err(OverlayError::Overlap { offset, end });
        }
        self.patches.insert(at, Patch { offset, run });
        Ok(self)
    }

    /// Lays the patches over `read`, which holds the file's bytes from `offset` on.
    ///
    /// # Errors
    /// A packed patch does not unpack.
    pub fn lay(&self, offset: u64, read: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(read.len() as u64);
        let first = self.patches.partition_point(|patch| patch.end() <= offset);
        for patch in self.patches[first..].iter().take_while(|patch| patch.offset < end) {
            let from = patch.offset.max(offset);
            let to = patch.end().min(end);
            if let Some(target) = slice_mut(read, from - offset, to - offset) {
                patch.run.read(target, from - patch.offset)?;
            }
        }
        Ok(())
    }
}

impl Patch {
    fn end(&self) -> u64 {
        self.offset + self.run.len()
    }
}

impl Run {
    fn len(&self) -> u64 {
        let len = match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Packed(packed) => packed.len(),
        };
        len as u64
    }

    fn read(&self, target: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => bytes[..].read_exact_at(target, offset),
            Self::Packed(packed) => packed.read_exact_at(target, offset),
        }
    }
}

fn slice_mut(bytes: &mut [u8], from: u64, to: u64) -> Option<&mut [u8]> {
    bytes.get_mut(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_read_equals_a_read_of_a_patched_copy(
            len in 1_usize..400,
            patches in proptest::collection::vec((0_u64..420, 0_usize..90), 0..6),
            from in 0_usize..400,
            size in 0_usize..400,
        ) {
            let file: Vec<u8> = (0..len).map(|i| u8::try_from(i % 97).unwrap()).collect();
            let mut copy = file.clone();
            let mut covered = vec![false; len];
            let mut overlay = Overlay::default();
            for (number, (offset, size)) in patches.into_iter().enumerate() {
                let bytes = Bytes::from(vec![200 + u8::try_from(number).unwrap(); size]);
                let start = usize::try_from(offset).unwrap();
                let outside = start + size > len;
                let overlaps = !outside && covered[start..start + size].iter().any(|c| *c);
                let packed = start % 2 == 0;
                let run = if packed {
                    Run::Packed(Packed::pack(&bytes).unwrap())
                } else {
                    Run::Bytes(bytes.clone())
                };
                match overlay.clone().with(len as u64, offset, run) {
                    Ok(next) => {
                        prop_assert!(!outside && !overlaps);
                        copy[start..start + size].copy_from_slice(&bytes);
                        covered[start..start + size].fill(true);
                        overlay = next;
                    }
                    Err(OverlayError::Outside { .. }) => prop_assert!(outside),
                    Err(OverlayError::Overlap { .. }) => prop_assert!(overlaps),
                }
            }
            let from = from.min(len);
            let to = (from + size).min(len);
            let mut read = file[from..to].to_vec();
            overlay.lay(from as u64, &mut read).unwrap();
            prop_assert_eq!(&read, &copy[from..to]);
            let mut places = vec![false; len];
            for place in overlay.places(&(from as u64..to as u64)) {
                places[usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap()].fill(true);
            }
            prop_assert_eq!(&places[from..to], &covered[from..to]);
        }
    }

    #[test]
    fn a_patch_past_the_end_is_refused_even_when_the_sum_overflows() {
        let result = Overlay::default().with(10, u64::MAX, Run::Bytes(Bytes::from_static(b"ab")));
        assert!(matches!(result, Err(OverlayError::Outside { .. })));
    }
}
