//! Names of media: `/m/<26 characters>/<name>`. The characters are an HMAC over job, attempt, file and content,
//! so that a name cannot be guessed, an attempt has its own, and new bytes never stand under an old one. Pure.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Path prefix of all media.
pub const PREFIX: &str = "/m/";
/// Characters of the derived part: 128 bits in base 32.
pub const TOKEN_LEN: usize = 26;
/// Longest URL of a medium; some BMCs cut longer ones.
pub const URL_MAX: usize = 100;
/// RFC 4648 base 32, lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The files an attempt can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediumFile {
    /// The maintenance medium with the site's keys.
    Maintenance,
    /// The maintenance medium with the site's keys and the job's task medium in it, for machines with one slot.
    Composed,
    /// The task medium as a CD.
    Task,
    /// The same bytes under a name that BMCs take for a USB disk.
    TaskUsb,
}

impl MediumFile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Maintenance, Self::Composed, Self::Task, Self::TaskUsb];

    /// Last part of the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance.iso",
            Self::Composed => "composed.iso",
            Self::Task => "task.iso",
            Self::TaskUsb => "task.img",
        }
    }
}

/// The derived part of a medium's name.
#[derive(Clone, Copy)]
pub struct Token([u8; TOKEN_LEN]);

impl Token {
    /// Derives the token of one file of one attempt with these bytes (named by their ETag).
    pub fn derive(key: &[u8; 32], job_id: &str, attempt: u32, file: MediumFile, etag: &str) -> Self {
        let sum = keyed(
            key,
            &[
                b"slipway media name 1",
                job_id.as_bytes(),
                &attempt.to_be_bytes(),
                file.name().as_bytes(),
                etag.as_bytes(),
            ],
        );
        Self(base32(&sum))
    }

    /// The 26 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Path of the file on the media listener.
    pub fn path(&self, file: MediumFile) -> String {
        format!("{PREFIX}{}/{}", self.as_str(), file.name())
    }

    /// Where to look a token up without telling by time how much of a guess was right.
    pub fn slot(&self, key: &[u8; 32]) -> [u8; 32] {
        keyed(key, &[b"slipway media slot 1", &self.0])
    }

    /// Whether both are the same, in constant time.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Splits a request path. Only the exact form is a name; there is nothing to normalise.
pub fn parse(path: &str) -> Option<(Token, MediumFile)> {
    let (token, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let file = MediumFile::ALL.into_iter().find(|file| file.name() == name)?;
    let token: [u8; TOKEN_LEN] = token.as_bytes().try_into().ok()?;
    token.iter().all(|b| ALPHABET.contains(b)).then_some((Token(token), file))
}

/// HMAC-SHA256 over parts, each preceded by its length.
fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads a short key with zeros to the hash's block of 64 bytes; doing it here cannot go wrong.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn base32(sum: &[u8; 32]) -> [u8; TOKEN_LEN] {
    let mut bits = 0_u32;
    let mut held = 0_u32;
    let mut out = [0; TOKEN_LEN];
    let mut source = sum.iter();
    for slot in &mut out {
        if held < 5 {
            bits = (bits << 8) | source.next().copied().map_or(0, u32::from);
            held += 8;
        }
        held -= 5;
        *slot = ALPHABET[((bits >> held) & 31) as usize];
        bits &= (1 << held) - 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [3; 32];

    #[test]
    fn a_name_is_short_plain_and_reads_back() {
        for file in MediumFile::ALL {
            let token = Token::derive(&KEY, "0190b5a0-0000-7000-8000-000000000001", 1, file, "\"e\"");
            let path = token.path(file);
            assert!(path.len() <= 46, "{path}");
            assert!(
                path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.-".contains(&b))
            );
            let (read, read_file) = parse(&path).unwrap();
            assert!(read.is(&token) && read_file == file);
        }
    }

    #[test]
    fn job_attempt_file_content_and_key_each_change_the_name() {
        let base = Token::derive(&KEY, "j", 1, MediumFile::Task, "\"e\"");
        let others = [
            Token::derive(&KEY, "k", 1, MediumFile::Task, "\"e\""),
            Token::derive(&KEY, "j", 2, MediumFile::Task, "\"e\""),
            Token::derive(&KEY, "j", 1, MediumFile::TaskUsb, "\"e\""),
            Token::derive(&KEY, "j", 1, MediumFile::Task, "\"f\""),
            Token::derive(&[4; 32], "j", 1, MediumFile::Task, "\"e\""),
        ];
        assert!(others.iter().all(|other| !other.is(&base)));
        assert!(Token::derive(&KEY, "j", 1, MediumFile::Task, "\"e\"").is(&base));
    }

    #[test]
    fn only_the_exact_form_is_a_name() {
        let good = "/m/abcdefghijklmnopqrstuvwxyz/task.iso";
        assert!(parse(good).is_some());
        for bad in [
            "/m/abcdefghijklmnopqrstuvwxyz/task.iso/",
            "/m/abcdefghijklmnopqrstuvwxyz//task.iso",
            "/m/ABCDEFGHIJKLMNOPQRSTUVWXYZ/task.iso",
            "/m/abcdefghijklmnopqrstuvwxy/task.iso",
            "/m/abcdefghijklmnopqrstuvwxy1/task.iso",
            "/m/abcdefghijklmnopqrstuvwxyz/../task.iso",
            "/m/abcdefghijklmnopqrstuvwxyz/job.json",
            "/m/",
            "/",
            "",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_does_not_show_in_debug_output() {
        let token = Token::derive(&KEY, "j", 1, MediumFile::Task, "\"e\"");
        assert!(!format!("{token:?}").contains(token.as_str()));
    }

    #[test]
    fn base32_is_rfc_4648() {
        let mut sum = [0_u8; 32];
        sum[..6].copy_from_slice(b"foobar");
        assert!(std::str::from_utf8(&base32(&sum)).unwrap().starts_with("mzxw6ytboi"));
    }
}
