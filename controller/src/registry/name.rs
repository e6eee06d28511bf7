//! The grammar of repository names, tags and references.
//!
//! A value of these types is well formed; that is decided here and nowhere else. Repository names are never used as
//! paths in the file system, yet the grammar has no `..`, no empty and no absolute component all the same.

use std::{fmt, str::FromStr};

use super::digest::Digest;

/// Longest repository name, as Docker and the OCI specification suggest (255 with the host name).
const REPOSITORY_LIMIT: usize = 255;
/// Longest tag, by the OCI specification.
const TAG_LIMIT: usize = 128;
/// How much of a bad name is repeated in an error.
const SHOWN_LIMIT: usize = 100;

/// A name that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a repository name.
    #[error(
        "repository name {name:?} is not valid; use lower-case letters, digits and single `.`, `_`, `-` between them, \
         in components parted by `/`, at most 255 characters"
    )]
    Repository {
        /// The name, shortened.
        name: String,
    },
    /// Not a tag.
    #[error(
        "tag {tag:?} is not valid; use letters, digits, `_`, `.` and `-`, not first `.` or `-`, at most 128 characters"
    )]
    Tag {
        /// The tag, shortened.
        tag: String,
    },
    /// Not a digest.
    #[error(
        "digest {digest:?} is not valid; write the algorithm, a colon and the full hash in lower-case hex"
    )]
    Digest {
        /// The digest, shortened.
        digest: String,
    },
    /// A hash function we do not have.
    #[error("digest algorithm {algorithm:?} is not known here; use sha256 or sha512")]
    Algorithm {
        /// Its name, shortened.
        algorithm: String,
    },
}

/// The start of what a client sent, for an error text.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The name of a repository, such as `os/debian`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= REPOSITORY_LIMIT && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Repository { name: shown(text) })
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    is_word(first)
        && is_word(last)
        && bytes.iter().all(|&byte| is_word(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && text.split(|character: char| character.is_ascii_alphanumeric()).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

/// A tag, such as `13` or `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let well_formed = text.len() <= TAG_LIMIT
            && text.bytes().next().is_some_and(is_first)
            && text.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(NameError::Tag { tag: shown(text) }) }
    }
}

/// What names a manifest within a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By tag, which may move.
    Tag(Tag),
    /// By digest, which may not.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    /// A colon decides: tags have none, digests always have one.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(out),
            Self::Digest(digest) => digest.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_repository_names_are_taken() {
        for name in ["a", "os/debian", "a.b", "a_b", "a__b", "a---b", "0/1/2", "my-org/my.repo_x/y"] {
            assert!(name.parse::<Repository>().is_ok(), "{name:?} must be taken");
        }
        assert!("a".repeat(255).parse::<Repository>().is_ok());
    }

    #[test]
    fn bad_repository_names_are_refused() {
        let long = "a".repeat(256);
        for name in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "A", "a..b", "a___b", "a.-b",
            "-a", "a-", "_a", "a_", "a b", "a:b", "a%2fb", "é", "a\0b", "a\\b", "a\nb", &long,
        ] {
            assert!(name.parse::<Repository>().is_err(), "{name:?} must be refused");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        for tag in ["latest", "_", "1.0", "V1", "a-b.c_d", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag:?} must be taken");
        }
        for tag in ["", ".", "..", "-a", ".a", "a/b", "a b", "é", "a+b", &"a".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?} must be refused");
        }
    }

    #[test]
    fn an_error_repeats_only_the_start_of_a_long_name() {
        let error = "é".repeat(5000).parse::<Repository>().unwrap_err();
        assert!(error.to_string().len() < 500);
    }

    proptest! {
        #[test]
        fn a_taken_repository_name_can_never_climb(name in "[a-z0-9._/-]{0,40}|\\PC{0,40}") {
            if let Ok(repository) = name.parse::<Repository>() {
                prop_assert_eq!(repository.as_str(), &name);
                for component in name.split('/') {
                    prop_assert!(!component.is_empty() && component != "." && !component.contains(".."));
                }
            }
        }

        #[test]
        fn names_made_by_the_grammar_are_taken(name in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}(\\.[a-z0-9]{1,3})?){0,3}") {
            prop_assert!(name.parse::<Repository>().is_ok());
        }

        #[test]
        fn tags_made_by_the_grammar_are_taken(tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert!(tag.parse::<Tag>().is_ok());
        }

        #[test]
        fn no_reference_makes_the_parser_panic(text in "\\PC{0,200}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
