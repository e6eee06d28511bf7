//! What the site decides about jobs, and the key that its tokens come from.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::Deadlines;

/// What the site decides about jobs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base URL of the API as hosts reach it, without a trailing slash.
    pub api_url: String,
    /// Base URL of media as BMCs reach it, without a trailing slash.
    pub media_url: String,
    /// PEM certificate of the site's authority, put on every task medium.
    pub site_ca: Option<String>,
    /// URLs on loopback are accepted: tests, and BMCs that run on this very machine.
    pub allow_loopback: bool,
    /// Deadlines of phases.
    pub deadlines: Deadlines,
    /// Between heartbeats of a host.
    pub heartbeat: Duration,
    /// Silence after which the BMC is asked what the machine does.
    pub silence: Duration,
    /// Silence after which the job fails with `lost_contact`.
    pub lost: Duration,
    /// How long a host may take to power itself off before the controller does it.
    pub power_off_grace: Duration,
    /// Between looks at the BMC while waiting for it.
    pub poll: Duration,
    /// How long a lease lasts; renewed at a third of it.
    pub lease: Duration,
    /// How often what lives in memory is flushed at most.
    pub flush: Duration,
    /// How long recipes are kept after a job's release.
    pub keep_inputs: Duration,
}

impl Settings {
    /// Everything but the two URLs as the design has it.
    pub fn new(api_url: impl Into<String>, media_url: impl Into<String>) -> Self {
        Self {
            api_url: api_url.into(),
            media_url: media_url.into(),
            site_ca: None,
            allow_loopback: false,
            deadlines: Deadlines::default(),
            heartbeat: Duration::from_secs(15),
            silence: Duration::from_secs(3 * 60),
            lost: Duration::from_secs(10 * 60),
            power_off_grace: Duration::from_secs(60),
            poll: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            flush: Duration::from_secs(10),
            keep_inputs: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// The site's HMAC key. Tokens and callback signatures are derived from it, each under its own purpose.
#[derive(Clone)]
pub struct SiteKeys {
    hmac: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for SiteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteKeys(***)")
    }
}

impl SiteKeys {
    /// From 32 bytes of the key file.
    pub fn new(hmac: [u8; 32]) -> Self {
        Self { hmac: Zeroizing::new(hmac) }
    }

    /// HMAC-SHA256 over the parts, each with its length in front, so that no two lists of parts collide.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        use hmac::{KeyInit, Mac};
        // HMAC takes keys of any length, so the error cannot happen; a key of zeros would be wrong, so say nothing at all.
        let Ok(mut mac) = hmac::Hmac::<sha2::Sha256>::new_from_slice(self.hmac.as_ref()) else {
            unreachable!("HMAC takes keys of any length")
        };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}
