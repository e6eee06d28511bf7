//! Where a BMC is, how far its certificate is trusted, and who we are to it.
//!
//! Plain values: nothing here talks to anybody. [`super::RedfishBmc::connect`] checks them.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

/// How one machine's BMC is reached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BmcAddress {
    /// `https://10.0.0.7`, `https://bmc.example:8443` or, where allowed, `http://…`. No path but `/redfish/v1`.
    pub url: String,
    /// `Id` or path of the computer system, for a BMC that serves several.
    #[serde(default)]
    pub system: Option<String>,
    /// Whom to believe on HTTPS.
    pub tls: TlsTrust,
    /// Whether `http://` is accepted at all: the password then travels in the clear.
    #[serde(default)]
    pub plain_http_allowed: bool,
}

/// Whom to believe about a BMC's certificate. There is no "believe anybody".
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsTrust {
    /// Exactly the certificate with this fingerprint, whatever it says about names and dates.
    Pinned(Fingerprint),
    /// Certificates that the controller host's own trust store vouches for.
    SystemRoots,
    /// Certificates under one of these authorities (PEM, one or more).
    Authorities(String),
}

/// SHA-256 of a certificate in DER form. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why a text is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a SHA-256 fingerprint; write 64 hex digits, with or without colons between the bytes")]
pub struct NotAFingerprint(String);

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Accepts upper or lower case, with or without colons, with or without a `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAFingerprint(text.chars().take(100).collect());
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.strip_prefix("sha256:").unwrap_or(&lower).replace(':', "");
        let bytes = hex::decode(digits).map_err(|_| wrong())?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who we are to a BMC.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Account name.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// A BMC account's password. Prints as `***`, is wiped when dropped, and cannot be serialised.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes charge of a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The password itself, for the one request that carries it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_form_people_paste() {
        let hex = "00ff".repeat(16);
        let plain: Fingerprint = hex.parse().unwrap();
        let colons = "00:FF:".repeat(16);
        for form in [colons.trim_end_matches(':').to_owned(), format!("sha256:{hex}"), format!(" {hex} ")] {
            assert_eq!(form.parse::<Fingerprint>().unwrap(), plain, "{form}");
        }
        assert_eq!(plain.to_string(), hex);
        for wrong in ["", "00ff", "zz", &hex[1..], &format!("{hex}00")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let who = Credentials { user: "root".into(), password: Password::new("calvin") };
        assert_eq!(format!("{who:?}"), r#"Credentials { user: "root", password: *** }"#);
    }
}
