//! The records of a pax extended header, as bytes: what they mean is [`super::archive`]'s to say.

/// `LENGTH KEY=VALUE\n` records; `None` when malformed. Values are bytes and may hold anything.
pub fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// `-12.034` as seconds and nanoseconds.
pub fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    // Before 1970 the fraction counts towards the past.
    if whole.starts_with('-') && nanos > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times_are_read_to_the_nanosecond() {
        for (text, expected) in [
            ("12", Some((12, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("1700000000.123456789123", Some((1_700_000_000, 123_456_789))),
            ("-1.25", Some((-2, 750_000_000))),
            ("x", None),
            ("1.x", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn records_are_split_by_their_lengths_alone() {
        let good = b"6 a=b\n12 k=x\ny=z\0\n";
        assert_eq!(records(good), Some(vec![(&b"a"[..], &b"b"[..]), (b"k", b"x\ny=z\0")]));
        for bad in
            [&b"6 a=b"[..], b"7 a=b\n", b"0 a=b\n", b"6 aab\n", b"x a=b\n", b" ", b"99999999999999999999999 "]
        {
            assert_eq!(records(bad), None, "{bad:?}");
        }
    }
}
