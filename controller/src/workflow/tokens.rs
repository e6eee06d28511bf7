//! The host's two tokens. Nothing about them is stored: each is an HMAC of the site's key over what it is for, so
//! a restart, or another controller of the site, derives the very same ones.
//!
//! ```text
//!   slb.<job>.<attempt>.<mac>   on the medium; buys one `started`
//!   sls.<job>.<attempt>.<mac>   in its answer; bound to the boot that asked; everything after
//! ```
//! Whether a token is *alive* is not decided here: that depends on the job's state.

use subtle::ConstantTimeEq;

use super::settings::SiteKeys;
use crate::model::{JobId, Secret};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Asking to go on, and saying why one cannot even ask.
    Bootstrap,
    /// Reports, logs and pulls of the boot that was told to go on.
    Session,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Bootstrap => "slb",
            Self::Session => "sls",
        }
    }
}

/// A token as presented: what it claims. Nothing of it is proven before [`Presented::is_genuine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// What it claims to be for.
    pub purpose: Purpose,
    /// The job it claims.
    pub job: JobId,
    /// The attempt it claims.
    pub attempt: u32,
    mac: [u8; 32],
}

/// Longest text looked at.
const TOKEN_MAX: usize = 160;

/// The token that goes onto the medium of an attempt.
pub fn bootstrap(keys: &SiteKeys, job: &JobId, attempt: u32) -> Secret<String> {
    make(keys, Purpose::Bootstrap, job, attempt, "")
}

/// The token for the boot that was told to go on.
pub fn session(keys: &SiteKeys, job: &JobId, attempt: u32, nonce: &str) -> Secret<String> {
    make(keys, Purpose::Session, job, attempt, nonce)
}

fn make(keys: &SiteKeys, purpose: Purpose, job: &JobId, attempt: u32, nonce: &str) -> Secret<String> {
    let mac = hex::encode(mac(keys, purpose, job, attempt, nonce));
    Secret::new(format!("{}.{job}.{attempt}.{mac}", purpose.prefix()))
}

fn mac(keys: &SiteKeys, purpose: Purpose, job: &JobId, attempt: u32, nonce: &str) -> [u8; 32] {
    keys.mac(&[
        b"host token 1",
        purpose.prefix().as_bytes(),
        job.as_str().as_bytes(),
        &attempt.to_be_bytes(),
        nonce.as_bytes(),
    ])
}

impl Presented {
    /// Takes a token apart. None: it is not of our making.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > TOKEN_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let purpose = match parts.next()? {
            "slb" => Purpose::Bootstrap,
            "sls" => Purpose::Session,
            _ => return None,
        };
        let job = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.parse().ok()?;
        let mut mac = [0; 32];
        hex::decode_to_slice(parts.next()?, &mut mac).ok()?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self { purpose, job, attempt, mac })
    }

    /// Whether this site made it for what it claims, and a session's for the boot with this nonce. Constant time.
    pub fn is_genuine(&self, keys: &SiteKeys, nonce: Option<&str>) -> bool {
        let nonce = match self.purpose {
            Purpose::Bootstrap => "",
            Purpose::Session => match nonce {
                Some(nonce) => nonce,
                None => return false,
            },
        };
        mac(keys, self.purpose, &self.job, self.attempt, nonce).ct_eq(&self.mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_proves_its_job_attempt_purpose_and_boot_and_nothing_else() {
        let keys = SiteKeys::new([1; 32]);
        let job = JobId::fresh();
        let boot = bootstrap(&keys, &job, 1);
        assert_eq!(boot, bootstrap(&keys, &job, 1), "it is the same after a restart");
        let read = Presented::read(boot.expose()).unwrap();
        assert!(read.is_genuine(&keys, None) && read.purpose == Purpose::Bootstrap);
        assert!(!read.is_genuine(&SiteKeys::new([2; 32]), None), "another site");

        let other = |change: fn(&mut Presented)| {
            let mut other = read.clone();
            change(&mut other);
            other.is_genuine(&keys, Some("n1"))
        };
        assert!(!other(|t| t.attempt = 2));
        assert!(!other(|t| t.job = JobId::fresh()));
        assert!(!other(|t| t.purpose = Purpose::Session));

        let session = Presented::read(session(&keys, &job, 1, "n1").expose()).unwrap();
        assert!(session.is_genuine(&keys, Some("n1")));
        assert!(!session.is_genuine(&keys, Some("n2")) && !session.is_genuine(&keys, None));
    }

    #[test]
    fn what_is_not_a_token_is_not_taken_apart() {
        let genuine = bootstrap(&SiteKeys::new([1; 32]), &JobId::fresh(), 1).expose().clone();
        let wrong = [
            String::new(),
            "slb".to_owned(),
            format!("{genuine}.x"),
            genuine.replace("slb", "slx"),
            genuine[..genuine.len() - 1].to_owned(),
            "x".repeat(10_000),
        ];
        for text in wrong {
            assert_eq!(Presented::read(&text), None, "{text:.40}");
        }
    }
}
