//! What the embedding server may set.

use std::time::Duration;

use jiff::Timestamp;

use super::{Immutable, Quota, gc::Rule};

/// Settings of a registry. [`Options::default`] suits a service behind TLS with an authorizer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of its disk that the registry never fills, so that the index, logs and the rest can go on.
    pub reserve: u64,
    /// How long a request body may send nothing before it is given up. Never a limit on the whole upload.
    pub body_idle: Duration,
    /// How old an unfinished upload may get before [`Registry::expire_uploads`](super::Registry::expire_uploads)
    /// removes it.
    pub upload_lifetime: Duration,
    /// How long a blob that no manifest names stays after a client was told that it is here. At least an hour, so that
    /// a slow push finds its first layers when it comes to its manifest.
    pub lease: Duration,
    /// How long a file that no repository shows stays on disk.
    pub grace: Duration,
    /// Which tags and untagged manifests go by themselves; without a rule, none.
    pub retention: Vec<Rule>,
    /// Tags that are made once; without a rule, none.
    pub immutable: Vec<Immutable>,
    /// How much namespaces may hold; without one, the disk is the bound.
    pub quotas: Vec<Quota>,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve: 256 * 1024 * 1024,
            body_idle: Duration::from_secs(60),
            upload_lifetime: Duration::from_secs(24 * 3600),
            lease: Duration::from_secs(6 * 3600),
            grace: Duration::from_secs(3600),
            retention: Vec::new(),
            immutable: Vec::new(),
            quotas: Vec::new(),
            clock: Timestamp::now,
        }
    }
}
