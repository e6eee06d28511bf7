//! Sizes and durations as people write them: `512M`, `10GiB`, `25%`, `rest`; `90m`, `30s`, `2h`.
//! Units are binary: `1K`, `1KB` and `1KiB` are all 1024 bytes. What a size means on a disk is the
//! business of [`crate::layout`].

use std::{fmt, str::FromStr, time::Duration};

/// Bytes in a MiB, the grain of every partition.
pub const MIB: u64 = 1 << 20;

/// Longest duration accepted in a recipe: one week.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A size that a recipe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// Exactly so many bytes, before alignment; never 0.
    Bytes(u64),
    /// So many percent (1 to 99) of what the fixed sizes leave.
    Percent(u8),
    /// All that remains: `rest` or `100%`.
    Rest,
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Neither a number with a unit, nor a percentage, nor `rest`.
    #[error("{text:?} is not a size: write it as 512M, 10GiB, 25%, 100% or rest")]
    Syntax {
        /// The text as given, cut after 40 characters.
        text: String,
    },
    /// More bytes than 64 bits count.
    #[error("{text:?} is larger than any disk: at most 16 EiB less one byte can be asked for")]
    TooLarge {
        /// The text as given, cut after 40 characters.
        text: String,
    },
    /// A percentage or `rest` where only bytes make sense.
    #[error("{text:?} is no absolute size: write it as 400G or 2TiB")]
    NotAbsolute {
        /// The text as given, cut after 40 characters.
        text: String,
    },
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let syntax = || SizeError::Syntax { text: cut(text) };
        if text == "rest" || text == "100%" {
            return Ok(Self::Rest);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() || number.starts_with('0') {
            return Err(syntax());
        }
        if unit == "%" {
            return match number.parse::<u8>() {
                Ok(percent @ 1..=99) => Ok(Self::Percent(percent)),
                _ => Err(syntax()),
            };
        }
        let shift = unit_shift(unit).ok_or_else(syntax)?;
        let too_large = || SizeError::TooLarge { text: cut(text) };
        let number: u64 = number.parse().map_err(|_| too_large())?;
        number.checked_mul(1 << shift).map(Self::Bytes).ok_or_else(too_large)
    }
}

/// A size that must be a number of bytes, as `min_size` and `max_size` of the disk hints.
pub fn absolute(text: &str) -> Result<u64, SizeError> {
    match text.parse()? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Percent(_) | Size::Rest => Err(SizeError::NotAbsolute { text: cut(text) }),
    }
}

fn unit_shift(unit: &str) -> Option<u32> {
    let letter = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')) {
        Some("") if unit == "B" => "",
        Some("") => return None,
        Some(letter) => letter,
        None => unit,
    };
    match letter {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        "P" => Some(50),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Bytes for people: the largest binary unit with at most one decimal, rounded down, such as `1.5 GiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole} {name}"),
                (whole, tenth) => format!("{whole}.{tenth} {name}"),
            };
        }
    }
    format!("{bytes} B")
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => out.write_str(&human(*bytes)),
            Self::Percent(percent) => write!(out, "{percent}%"),
            Self::Rest => out.write_str("rest"),
        }
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with one of the units `s`, `m`, `h`.
    #[error("{text:?} is not a duration: write it as 30s, 90m or 2h")]
    Syntax {
        /// The text as given, cut after 40 characters.
        text: String,
    },
    /// Longer than [`DURATION_MAX`].
    #[error("{text:?} is longer than a week: at most 168h can be asked for")]
    TooLong {
        /// The text as given, cut after 40 characters.
        text: String,
    },
}

/// A duration as written in `timeouts`: a whole number of `s`, `m` or `h`, from 1 second to one week.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax { text: cut(text) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || number.starts_with('0') {
        return Err(syntax());
    }
    let seconds_each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(syntax()),
    };
    let too_long = || DurationError::TooLong { text: cut(text) };
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let seconds = number.checked_mul(seconds_each).ok_or_else(too_long)?;
    let duration = Duration::from_secs(seconds);
    if duration > DURATION_MAX { Err(too_long()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_in_binary_units() {
        for (text, size) in [
            ("1", Size::Bytes(1)),
            ("4096B", Size::Bytes(4096)),
            ("1K", Size::Bytes(1 << 10)),
            ("512M", Size::Bytes(512 << 20)),
            ("512MB", Size::Bytes(512 << 20)),
            ("512MiB", Size::Bytes(512 << 20)),
            ("10GiB", Size::Bytes(10 << 30)),
            ("2T", Size::Bytes(2 << 40)),
            ("3P", Size::Bytes(3 << 50)),
            ("1%", Size::Percent(1)),
            ("99%", Size::Percent(99)),
            ("100%", Size::Rest),
            ("rest", Size::Rest),
        ] {
            assert_eq!(text.parse(), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "0",
            "0M",
            "01M",
            "-1M",
            "1.5G",
            "10 G",
            "10g",
            "10iB",
            "10E",
            "0%",
            "101%",
            "999%",
            "%",
            "Rest",
            " rest",
            "1Mi",
            "1MBB",
            "1\u{663}M",
            "10GiBB",
        ] {
            assert_eq!(text.parse::<Size>(), Err(SizeError::Syntax { text: text.to_owned() }), "{text}");
        }
        for text in ["16384P", "99999999999999999999", "18446744073709551616"] {
            assert!(matches!(text.parse::<Size>(), Err(SizeError::TooLarge { .. })), "{text}");
        }
        assert!(matches!(absolute("50%"), Err(SizeError::NotAbsolute { .. })));
    }

    #[test]
    fn durations_run_from_a_second_to_a_week() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("168h"), Ok(DURATION_MAX));
        for text in ["", "0s", "10", "m", "1d", "1.5h", "-1s", "1h30m", " 1s", "1S"] {
            assert!(matches!(duration(text), Err(DurationError::Syntax { .. })), "{text}");
        }
        for text in ["169h", "99999999999999999999999h", "18446744073709551615h"] {
            assert!(matches!(duration(text), Err(DurationError::TooLong { .. })), "{text}");
        }
    }

    #[test]
    fn people_read_sizes_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,24}") {
            let _: Result<Size, _> = text.parse();
            let _: Result<Duration, _> = duration(&text);
        }

        #[test]
        fn any_number_with_a_unit_is_that_many_bytes(number in 1_u64..1 << 13, unit in 0_usize..6, suffix in 0_usize..3) {
            let letter = ["", "K", "M", "G", "T", "P"][unit];
            let suffix = if letter.is_empty() { "" } else { ["", "B", "iB"][suffix] };
            prop_assert_eq!(format!("{number}{letter}{suffix}").parse(), Ok(Size::Bytes(number << (10 * unit))));
        }
    }
}
