//! Bends recorded inputs: flips, cuts, repeats, swaps, and splices of one into another, from a seed, the same ones
//! every time. Knows no parser.

use std::path::{Path, PathBuf};

/// Bent inputs per parser when nothing else is asked for.
const RUNS: u64 = 4000;
/// Asks for another number.
const RUNS_VARIABLE: &str = "SLIPWAY_FUZZ_RUNS";
/// Longest bent input, in bytes.
const LONGEST: usize = 256 << 10;
/// Words that parsers find hard.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"9223372036854775808",
    b"1e999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"\"",
    b"..",
    b"../../etc/passwd",
    b"/",
    b"\\u0000",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\n",
    b"\r\n",
    b"%00",
    b"sha256:",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\"",
    b",",
    b":",
    b"=",
    b"-",
    b" ",
    b"99999999999999999999 path=x\n",
];

/// A source of numbers that is the same for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % end).unwrap_or(0)
    }
}

/// How many inputs are bent for each parser.
pub fn runs() -> u64 {
    std::env::var(RUNS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

/// Every file of a folder below the repository's root, by name.
pub fn recorded(folder: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let read =
        |path: &PathBuf| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inputs: Vec<_> = files.iter().map(read).collect();
    assert!(!inputs.is_empty(), "{} is empty", path.display());
    inputs
}

/// One of the inputs, bent in one to four places.
pub fn bent(inputs: &[Vec<u8>], seeded: &mut Seeded) -> Vec<u8> {
    let mut bytes = inputs[seeded.below(inputs.len())].clone();
    for _ in 0..=seeded.below(4) {
        bend(&mut bytes, inputs, seeded);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn bend(bytes: &mut Vec<u8>, inputs: &[Vec<u8>], seeded: &mut Seeded) {
    let at = seeded.below(bytes.len() + 1);
    let span = |bytes: &[u8], seeded: &mut Seeded| {
        let from = seeded.below(bytes.len() + 1);
        let most = if seeded.below(4) == 0 { bytes.len() } else { 24 };
        from..bytes.len().min(from + seeded.below(most + 1))
    };
    match seeded.below(9) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << seeded.below(8),
        2 if at < bytes.len() => bytes[at] = u8::try_from(seeded.below(256)).unwrap_or(0),
        3 => bytes.truncate(at),
        4 => {
            let gone = span(bytes, seeded);
            bytes.drain(gone);
        }
        5 => {
            let again = bytes[span(bytes, seeded)].to_vec();
            let times = if seeded.below(8) == 0 { 200 } else { 1 };
            for _ in 0..times {
                bytes.splice(at..at, again.iter().copied());
            }
        }
        6 => {
            let other = &inputs[seeded.below(inputs.len())];
            let piece = other[span(other, seeded)].to_vec();
            bytes.splice(at..at, piece);
        }
        7 => {
            let word = WORDS[seeded.below(WORDS.len())];
            let end = if seeded.below(2) == 0 { at } else { bytes.len().min(at + word.len()) };
            bytes.splice(at..end, word.iter().copied());
        }
        _ => {
            // A number becomes another one.
            if let Some(digits) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) {
                let end = bytes[digits..]
                    .iter()
                    .position(|b| !b.is_ascii_digit())
                    .map_or(bytes.len(), |n| digits + n);
                let number = seeded.draw() >> seeded.below(64);
                bytes.splice(digits..end, number.to_string().into_bytes());
            }
        }
    }
}

/// Gives every recorded input, and then bent ones, to `parse`. Where it panics, the input is kept and named.
pub fn throw(parser: &str, inputs: &[Vec<u8>], parse: impl Fn(&[u8])) {
    let seeds = (0..runs()).map(Some);
    let whole = std::iter::repeat_n(None, inputs.len());
    for (number, seed) in whole.chain(seeds).enumerate() {
        let input = match seed {
            None => inputs[number].clone(),
            Some(seed) => bent(inputs, &mut Seeded::new(seed)),
        };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| parse(&input)));
        if let Err(panic) = caught {
            let file = std::env::temp_dir().join(format!("slipway-fuzz-{parser}-{number}"));
            let kept = std::fs::write(&file, &input)
                .map_or_else(|error| error.to_string(), |()| file.display().to_string());
            eprintln!("{parser}: input {number} (seed {seed:?}), kept in {kept}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_bends_the_same_way_and_others_do_not() {
        let inputs = vec![b"{\"number\": 12, \"text\": \"abc\"}".to_vec(), b"other".to_vec()];
        let once: Vec<_> = (0..200).map(|seed| bent(&inputs, &mut Seeded::new(seed))).collect();
        let again: Vec<_> = (0..200).map(|seed| bent(&inputs, &mut Seeded::new(seed))).collect();
        assert_eq!(once, again);
        let different: std::collections::BTreeSet<_> = once.iter().collect();
        assert!(different.len() > 150, "{}", different.len());
    }

    #[test]
    fn a_panic_is_not_swallowed() {
        let thrown = std::panic::catch_unwind(|| {
            throw("test", &[b"abc".to_vec()], |input| assert!(input.len() < 200, "long"));
        });
        assert!(thrown.is_err());
    }
}
