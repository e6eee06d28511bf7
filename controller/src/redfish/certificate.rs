//! What a BMC's certificate says of itself, for the person who decides whether to pin it. Pure.
//!
//! Whoever answers at the BMC's address wrote these words: they are cut short and cleaned of everything that a
//! terminal would obey, and nothing but the fingerprint proves anything.

use jiff::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::address::Fingerprint;
use super::tls::fingerprint;

/// Longest name that is shown, in characters.
const NAME_MAX: usize = 200;

/// A certificate as it was shown. Only the fingerprint is a fact; the rest is what it claims.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Certificate {
    /// SHA-256 of the DER form.
    pub sha256: Fingerprint,
    /// Whom it names; none when it cannot be read.
    pub subject: Option<String>,
    /// Who signed it, as it says; the subject again when it signed itself.
    pub issuer: Option<String>,
    /// Valid from.
    pub not_before: Option<Timestamp>,
    /// Valid until.
    pub not_after: Option<Timestamp>,
}

impl Certificate {
    /// Reads DER. A certificate that cannot be read can still be pinned: BMCs have been seen to make such.
    pub fn read(der: &[u8]) -> Self {
        let parsed = X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed);
        let at = |seconds: i64| Timestamp::from_second(seconds).ok();
        Self {
            sha256: fingerprint(der),
            subject: parsed.as_ref().map(|parsed| name(parsed.subject())),
            issuer: parsed.as_ref().map(|parsed| name(parsed.issuer())),
            not_before: parsed.as_ref().and_then(|parsed| at(parsed.validity().not_before.timestamp())),
            not_after: parsed.as_ref().and_then(|parsed| at(parsed.validity().not_after.timestamp())),
        }
    }
}

fn name(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    let visible = |c: char| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c };
    text.chars().take(NAME_MAX).map(visible).collect()
}

/// Characters that change how others are shown: directions, joiners, marks without width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(common_name: &str) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["bmc.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.not_before = rcgen::date_time_ymd(2024, 1, 2);
        params.not_after = rcgen::date_time_ymd(2034, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_shown_with_names_and_dates() {
        let shown = Certificate::read(&made("idrac-ABC1234"));
        assert_eq!(shown.subject.as_deref(), Some("CN=idrac-ABC1234"));
        assert_eq!(shown.issuer, shown.subject);
        assert_eq!(shown.not_before.unwrap().to_string(), "2024-01-02T00:00:00Z");
        assert_eq!(shown.not_after.unwrap().to_string(), "2034-01-02T00:00:00Z");
    }

    #[test]
    fn names_cannot_play_with_the_terminal_nor_flood_it() {
        let shown = Certificate::read(&made("a\u{1b}[2Jb\u{202e}c")).subject.unwrap();
        assert_eq!(shown, "CN=a\u{fffd}[2Jb\u{fffd}c");
        let long = Certificate::read(&made(&"x".repeat(5000))).subject.unwrap();
        assert_eq!(long.chars().count(), NAME_MAX);
    }

    #[test]
    fn bytes_that_are_no_certificate_have_a_fingerprint_all_the_same() {
        let shown = Certificate::read(b"nonsense");
        assert_eq!(shown.sha256, fingerprint(b"nonsense"));
        assert_eq!((shown.subject, shown.not_after), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..600, with in any::<u8>()) {
            let _ = Certificate::read(&bytes);
            let mut bent = made("bent");
            let at = at % bent.len();
            bent[at] = with;
            let shown = Certificate::read(&bent);
            prop_assert!(shown.subject.is_none_or(|name| name.chars().all(|c| !c.is_control())));
        }
    }
}
