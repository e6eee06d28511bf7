//! The `Range` and `If-Range` headers of RFC 9110 for one range of bytes. Pure.
//!
//! Anything that is not one well-formed byte range is ignored, as the RFC wants: other units, several ranges,
//! nonsense. The answer to those is the whole file.

use std::ops::Range;

/// Longest header value looked at; real ones have under 50 characters.
const HEADER_MAX: usize = 256;

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The whole file: no header, or one that is ignored.
    Whole,
    /// These bytes; never empty, never past the end.
    Part(Range<u64>),
    /// Nothing the file has: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `len` bytes.
pub fn asked(header: Option<&str>, len: u64) -> Asked {
    let Some(spec) = header.filter(|h| h.len() <= HEADER_MAX).and_then(strip_unit) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Asked::Whole;
    };
    match (number(first), number(last)) {
        // `bytes=-n`: the last n bytes.
        (None, Some(count)) if first.is_empty() => {
            if count == 0 || len == 0 {
                Asked::Unsatisfiable
            } else {
                Asked::Part(len.saturating_sub(count)..len)
            }
        }
        (Some(from), None) if last.is_empty() => part(from, len, len),
        (Some(from), Some(to)) if from <= to => part(from, to.saturating_add(1), len),
        _ => Asked::Whole,
    }
}

fn part(from: u64, end: u64, len: u64) -> Asked {
    if from >= len { Asked::Unsatisfiable } else { Asked::Part(from..end.min(len)) }
}

fn strip_unit(header: &str) -> Option<&str> {
    let (unit, spec) = header.trim().split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then(|| spec.trim())
}

/// Decimal digits only; more digits than u64 holds mean "beyond any file".
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Whether `If-Range` lets the range apply: absent, or the very strong tag or date this file has.
pub fn still_current(if_range: Option<&str>, etag: &str, last_modified: &str) -> bool {
    if_range.is_none_or(|validator| {
        let validator = validator.trim();
        validator == etag || validator == last_modified
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_range_table() {
        let len = 1000;
        let table = [
            (None, Asked::Whole),
            (Some("bytes=0-0"), Asked::Part(0..1)),
            (Some("bytes=0-499"), Asked::Part(0..500)),
            (Some("bytes=999-"), Asked::Part(999..1000)),
            (Some("bytes=0-"), Asked::Part(0..1000)),
            (Some("bytes=500-5000"), Asked::Part(500..1000)),
            (Some("bytes=-1"), Asked::Part(999..1000)),
            (Some("bytes=-5000"), Asked::Part(0..1000)),
            (Some("Bytes = 0-9"), Asked::Part(0..10)),
            (Some("bytes=1000-"), Asked::Unsatisfiable),
            (Some("bytes=1000-1001"), Asked::Unsatisfiable),
            (Some("bytes=-0"), Asked::Unsatisfiable),
            (Some("bytes=99999999999999999999999-"), Asked::Unsatisfiable),
            (Some("bytes=0-99999999999999999999999"), Asked::Part(0..1000)),
            (Some("bytes=5-4"), Asked::Whole),
            (Some("bytes=-"), Asked::Whole),
            (Some("bytes="), Asked::Whole),
            (Some("bytes=a-b"), Asked::Whole),
            (Some("bytes=+1-2"), Asked::Whole),
            (Some("bytes=0-1,5-6"), Asked::Whole),
            (Some("lines=0-1"), Asked::Whole),
            (Some("nonsense"), Asked::Whole),
        ];
        for (header, wanted) in table {
            assert_eq!(asked(header, len), wanted, "{header:?}");
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn if_range_wants_the_very_same_file() {
        let (etag, date) = ("\"abc\"", "Sat, 21 Nov 2026 08:45:00 GMT");
        assert!(still_current(None, etag, date));
        assert!(still_current(Some("\"abc\""), etag, date));
        assert!(still_current(Some(date), etag, date));
        assert!(!still_current(Some("W/\"abc\""), etag, date));
        assert!(!still_current(Some("\"abd\""), etag, date));
        assert!(!still_current(Some("Sat, 21 Nov 2026 08:45:01 GMT"), etag, date));
    }

    proptest! {
        #[test]
        fn no_header_yields_bytes_the_file_does_not_have(header in ".{0,60}", len in 0_u64..2000) {
            for header in [header.clone(), format!("bytes={header}")] {
                if let Asked::Part(range) = asked(Some(&header), len) {
                    prop_assert!(range.start < range.end && range.end <= len);
                }
            }
        }

        #[test]
        fn every_proper_range_is_read_as_written(from in 0_u64..3000, size in 1_u64..3000, len in 1_u64..2000) {
            let wanted = if from >= len { Asked::Unsatisfiable } else { Asked::Part(from..(from + size).min(len)) };
            prop_assert_eq!(asked(Some(&format!("bytes={}-{}", from, from + size - 1)), len), wanted);
        }
    }
}
