//! OCI image references, `[host[:port]/]repository[:tag][@digest]`, by the grammar of the OCI
//! distribution specification 1.1. Parsing only: whether a host is the embedded registry, and what a
//! tag points to, is for the controller to say.

use std::{fmt, str::FromStr};

/// Longest repository name, host included, in bytes.
const NAME_MAX: usize = 255;
/// Longest tag in bytes.
const TAG_MAX: usize = 128;

/// A parsed reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry as `host` or `host:port`; absent for the embedded registry.
    pub host: Option<String>,
    /// Repository name, such as `images/debian`.
    pub repository: String,
    /// Tag, when one was given.
    pub tag: Option<String>,
    /// Digest, when one was given; it wins over the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }
}

/// A content digest, `sha256:` with 64 or `sha512:` with 128 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The algorithm: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A scheme such as `oci://` in front.
    #[error("a reference has no scheme: leave out everything up to ://")]
    Scheme,
    /// The registry part is no host name or address with an optional port.
    #[error("the registry {host:?} is no host name or address with an optional port")]
    Host {
        /// The part as given.
        host: String,
    },
    /// The repository name breaks the grammar.
    #[error(
        "{repository:?} is no repository name: use lower-case letters and digits, parted by one . or _ or by dashes, and / between the parts"
    )]
    Repository {
        /// The name as given.
        repository: String,
    },
    /// The name is too long.
    #[error("the name has {length} characters: at most {NAME_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The tag breaks the grammar.
    #[error("{tag:?} is no tag: use up to {TAG_MAX} letters, digits, _ . and -, not starting with . or -")]
    Tag {
        /// The tag as given.
        tag: String,
    },
    /// The digest breaks the grammar.
    #[error("the digest is not sha256: with 64 or sha512: with 128 lower-case hex digits")]
    Digest,
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Digest)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(ReferenceError::Digest),
        };
        if hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Digest)
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains("://") {
            return Err(ReferenceError::Scheme);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, rest) = match rest.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => {
                (Some(first), rest)
            }
            _ => (None, rest),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        let length = host.map_or(0, |host| host.len() + 1) + repository.len();
        if length > NAME_MAX {
            return Err(ReferenceError::TooLong { length });
        }
        if let Some(host) = host.filter(|host| !is_host(host)) {
            return Err(ReferenceError::Host { host: host.to_owned() });
        }
        if !is_repository(repository) {
            return Err(ReferenceError::Repository { repository: repository.to_owned() });
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag { tag: tag.chars().take(TAG_MAX).collect() });
        }
        Ok(Self {
            host: host.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether a text is a repository name of the distribution specification.
pub fn is_repository(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('/').all(is_component)
}

/// Whether a text is a tag of the distribution specification.
pub fn is_tag(text: &str) -> bool {
    text.len() <= TAG_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    word(*first)
        && word(*last)
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'_' | b'-'))
        && text.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit()).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                None if rest.is_empty() => return true,
                None => return false,
                Some(port) => ("localhost", Some(port)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    port_fits && host.split('.').all(label)
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(out, "{host}/")?;
        }
        out.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_taken_apart() {
        let sha = format!("sha256:{}", "0a".repeat(32));
        for (text, host, repository, tag, digest) in [
            ("debian", None, "debian", None, None),
            ("images/debian:trixie", None, "images/debian", Some("trixie"), None),
            ("images/debian@SHA", None, "images/debian", None, Some(())),
            ("images/debian:13@SHA", None, "images/debian", Some("13"), Some(())),
            ("localhost/a/b", Some("localhost"), "a/b", None, None),
            ("10.0.0.5:8443/a:b", Some("10.0.0.5:8443"), "a", Some("b"), None),
            ("[fd00::1]:5000/a", Some("[fd00::1]:5000"), "a", None, None),
            ("[fd00::1]/a", Some("[fd00::1]"), "a", None, None),
            (
                "registry.example.com/a.b/c__d/e--f:V1",
                Some("registry.example.com"),
                "a.b/c__d/e--f",
                Some("V1"),
                None,
            ),
        ] {
            let text = text.replace("SHA", &sha);
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.host.as_deref(), host, "{text}");
            assert_eq!(reference.repository, repository, "{text}");
            assert_eq!(reference.tag.as_deref(), tag, "{text}");
            assert_eq!(reference.digest.is_some(), digest.is_some(), "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn the_digest_wins_over_the_tag_and_latest_is_the_last_resort() {
        let sha = format!("sha256:{}", "0a".repeat(32));
        let selector = |text: &str| text.parse::<Reference>().unwrap().selector().to_owned();
        assert_eq!(selector(&format!("a:b@{sha}")), sha);
        assert_eq!(selector("a:b"), "b");
        assert_eq!(selector("a"), "latest");
        let digest: Digest = sha.parse().unwrap();
        assert_eq!((digest.algorithm(), digest.hex().len()), ("sha256", 64));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let short = format!("a@sha256:{}", "0".repeat(63));
        let upper = format!("a@sha256:{}", "A".repeat(64));
        let long = "a".repeat(256);
        for text in [
            "",
            "A",
            "a//b",
            "/a",
            "a/",
            "a b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a:",
            "a:.b",
            "a:b/",
            "a@",
            "a@sha256:",
            "a@md5:00",
            "oci://a",
            "ho st.x/a",
            "host.x:0/a",
            "host.x:99999/a",
            "host.x:/a",
            "a.b:80:90/c",
            "[::g]/a",
            "[::1]x/a",
            "-h.x/a",
            ".x/a",
            "images/deb\u{e9}",
            &short,
            &upper,
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_parses_prints_as_it_was(text in "[a-z0-9./:@_\\[\\]A-Z-]{0,60}|\\PC{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
