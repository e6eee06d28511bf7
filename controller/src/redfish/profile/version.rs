//! Firmware versions as BMCs write them, compared number by number. Pure.

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;

/// The numbers of a version, and how it was written.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    numbers: Vec<u64>,
    text: String,
}

/// Why a text is no version.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has no number in it; write a version like 6.00")]
pub struct NotAVersion(String);

impl Version {
    /// The version in a text: its first run of digits with dots between them (`iLO 5 v2.72` is 2.72, `TGBT42S 2.83
    /// 2023-07-05` is 2.83), else its first number; none when there is no number at all.
    pub fn find(text: &str) -> Option<Self> {
        let runs = || text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|run| run.trim_matches('.'));
        let run = runs().find(|run| run.contains('.')).or_else(|| runs().find(|run| !run.is_empty()))?;
        // A number beyond what fits is no version that anybody wrote.
        let numbers: Option<Vec<u64>> =
            run.split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect();
        Some(Self { numbers: numbers?, text: run.to_owned() })
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        Self::find(&text).ok_or(NotAVersion(text))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    /// `6.0` and `6.00.00` are the same.
    fn cmp(&self, other: &Self) -> Ordering {
        let most = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, n: usize| version.numbers.get(n).copied().unwrap_or(0);
        (0..most)
            .map(|n| at(self, n).cmp(&at(other, n)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_found_as_vendors_write_them() {
        for (text, wanted) in [
            ("6.00.30.00", Some("6.00.30.00")),
            ("iLO 5 v2.72", Some("2.72")),
            ("iLO 4 v2.80", Some("2.80")),
            ("1.12.00", Some("1.12.00")),
            ("TGBT42S 2.83 2023-07-05", Some("2.83")),
            ("11.01.01", Some("11.01.01")),
            ("9.69F", Some("9.69")),
            ("GB200Nvl-24.10-9", Some("24.10")),
            ("v7", Some("7")),
            ("", None),
            ("unknown", None),
            ("99999999999999999999999999", None),
        ] {
            let got = Version::find(text).map(|version| version.to_string());
            // The first number of a name such as GB200 is passed over for one with dots in it.
            assert_eq!(got.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| Version::find(text).unwrap();
        for (smaller, larger) in
            [("5.10.50.00", "6.00"), ("6.00", "6.00.02"), ("2.9", "2.10"), ("9.08", "9.69F"), ("1.99", "2")]
        {
            assert!(version(smaller) < version(larger), "{smaller} {larger}");
        }
        assert_eq!(version("6.00"), version("6.0.0"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_version_or_none(text in "\\PC{0,40}") {
            let _ = Version::find(&text);
        }

        #[test]
        fn the_order_is_that_of_the_numbers(a in prop::collection::vec(0u64..50, 1..4), b in prop::collection::vec(0u64..50, 1..4)) {
            let text = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            let (left, right) = (Version::find(&text(&a)).unwrap(), Version::find(&text(&b)).unwrap());
            prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
        }
    }
}
