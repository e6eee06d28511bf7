//! Byte ranges: which part of a blob a reader wants, and where a chunk of an upload belongs. Pure.

/// What of a blob to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: no range, one in another unit, or several at once (which nobody needs and RFC 9110 lets us ignore).
    Whole,
    /// The bytes `first..=last`, both within the blob.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// A range that no byte of the blob is in, or that runs backwards.
    Unsatisfiable,
}

/// Reads a `Range` header against a blob of `size` bytes.
pub fn wanted(header: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = header.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Unsatisfiable };
    let Some(end) = size.checked_sub(1) else { return Wanted::Unsatisfiable };
    match (Bound::read(first.trim()), Bound::read(last.trim())) {
        (Bound::At(first), Bound::Open) if first <= end => Wanted::Part { first, last: end },
        (Bound::At(first), Bound::At(last)) if first <= last && first <= end => {
            Wanted::Part { first, last: last.min(end) }
        }
        (Bound::Open, Bound::At(length)) if length > 0 => {
            Wanted::Part { first: size.saturating_sub(length), last: end }
        }
        _ => Wanted::Unsatisfiable,
    }
}

/// One side of a range.
enum Bound {
    /// Not given.
    Open,
    /// A number, as large as numbers go.
    At(u64),
    /// No number.
    Nonsense,
}

impl Bound {
    fn read(text: &str) -> Self {
        match text {
            "" => Self::Open,
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Self::At(text.parse().unwrap_or(u64::MAX)),
            _ => Self::Nonsense,
        }
    }
}

/// Where a chunk belongs: bytes `first..=last` of the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// First byte.
    pub first: u64,
    /// How many bytes, at least 1.
    pub length: u64,
}

/// Reads a chunk's `Content-Range`: `<first>-<last>` as OCI writes it, or `bytes <first>-<last>/<any>` as HTTP does.
pub fn chunk(header: &str) -> Option<Chunk> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split('/').next()?;
    let (first, last) = text.split_once('-')?;
    let read = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (first, last) = (read(first)?, read(last)?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some(Chunk { first, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, size, expected) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=0-", 10, part(0, 9)),
            ("bytes=3-5", 10, part(3, 5)),
            ("bytes=3-500", 10, part(3, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("Bytes=1-2", 10, part(1, 2)),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Wanted::Unsatisfiable),
            ("bytes=5000-10000", 10, Wanted::Unsatisfiable),
            ("bytes=500-0", 1000, Wanted::Unsatisfiable),
            ("bytes=-0", 10, Wanted::Unsatisfiable),
            ("bytes=-", 10, Wanted::Unsatisfiable),
            ("bytes=a-b", 10, Wanted::Unsatisfiable),
            ("bytes=+1-2", 10, Wanted::Unsatisfiable),
            ("bytes=0-", 0, Wanted::Unsatisfiable),
            ("bytes=0-1,4-5", 10, Wanted::Whole),
            ("lines=0-1", 10, Wanted::Whole),
            ("nonsense", 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(header, size), expected, "{header} of {size}");
        }
    }

    #[test]
    fn chunks_are_read_in_both_notations() {
        for (header, expected) in [
            ("0-9", Some((0, 10))),
            ("5-5", Some((5, 1))),
            ("bytes 0-9/*", Some((0, 10))),
            ("bytes=4-9", Some((4, 6))),
            ("9-5", None),
            ("-5", None),
            ("5-", None),
            ("a-b", None),
            ("", None),
            ("0-18446744073709551615", None),
            ("0-99999999999999999999999", None),
        ] {
            assert_eq!(chunk(header).map(|chunk| (chunk.first, chunk.length)), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_always_lies_within_the_blob(header in "(bytes=)?[0-9 ,a-]{0,24}|\\PC{0,40}", size in any::<u64>()) {
            if let Wanted::Part { first, last } = wanted(&header, size) {
                prop_assert!(first <= last && last < size);
            }
            if let Some(chunk) = chunk(&header) {
                prop_assert!(chunk.length > 0 && chunk.first.checked_add(chunk.length - 1).is_some());
            }
        }

        #[test]
        fn a_well_formed_range_is_taken_literally(first in 0_u64..1000, extra in 0_u64..1000, size in 1_u64..3000) {
            let last = first + extra;
            let expected = if first < size { Wanted::Part { first, last: last.min(size - 1) } } else { Wanted::Unsatisfiable };
            prop_assert_eq!(wanted(&format!("bytes={first}-{last}"), size), expected);
        }
    }
}
