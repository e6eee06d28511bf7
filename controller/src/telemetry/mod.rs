//! What the controller tells about itself: log lines and metrics. Leaf module; anyone may use its few types, the
//! server sets it up. Logs are made with `tracing` and counted things with `metrics` everywhere else.
//!
//! ```text
//! tracing events ─▶ lines (text or JSON) ─▶ redact ─▶ stderr
//! metrics        ─▶ numbers ─▶ GET /metrics
//! ```

mod lines;
mod numbers;
mod redact;

pub use numbers::{describe, render};
pub use redact::{is_secret_name, scrub};

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, Logging};
use lines::Lines;

/// Identity of one request, in the logs, in its answer's `x-request-id` and in error bodies. The server puts it
/// into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Longest request id taken over from a client.
const REQUEST_ID_MAX: usize = 64;

impl RequestId {
    /// The client's own id when it is harmless, else a fresh one.
    pub fn given_or_new(given: Option<&str>) -> Self {
        let harmless = |id: &&str| {
            (1..=REQUEST_ID_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        Self(given.filter(harmless).map_or_else(|| uuid::Uuid::now_v7().to_string(), ToOwned::to_owned))
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("log_filter {filter:?} is not tracing's filter syntax")]
    Filter {
        /// The filter.
        filter: String,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Starts logging to stderr. A second call in one process leaves the first one's settings.
pub fn start(logging: &Logging) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&logging.filter)
        .map_err(|source| TelemetryError::Filter { filter: logging.filter.clone(), source })?;
    let is_json = logging.format == LogFormat::Json;
    // An error means that a subscriber is there already: a test, or an embedding program.
    let _ = tracing_subscriber::registry().with(filter).with(Lines::new(is_json, io::stderr)).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_when_harmless() {
        assert_eq!(RequestId::given_or_new(Some("ci-42.a_b")).0, "ci-42.a_b");
        for bad in ["", "a b", "a\nb", "ü", &"a".repeat(65)] {
            let id = RequestId::given_or_new(Some(bad)).0;
            assert!(id != bad && id.len() == 36, "{bad:?} gave {id}");
        }
    }
}
