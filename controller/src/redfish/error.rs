//! Why a BMC did not do what was asked, in terms an operator can act on.

use jiff::Timestamp;

use super::classify::Kind as RefusalKind;

/// One failed attempt at a BMC.
#[derive(Debug, thiserror::Error)]
pub enum BmcError {
    /// The address itself cannot be used; nothing was sent.
    #[error("BMC address {url} cannot be used: {reason}")]
    Address {
        /// The address as given, without a password in it.
        url: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// No connection, or it broke.
    #[error("BMC {endpoint} does not answer; check its address, its power and the route to it")]
    Unreachable {
        /// scheme://host:port
        endpoint: String,
        /// What the transport said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// User name or password refused.
    #[error(
        "BMC {endpoint} refuses the stored credentials; set new ones with `slipway machine add --replace`"
    )]
    Credentials {
        /// scheme://host:port
        endpoint: String,
    },
    /// Its certificate is not the pinned one, or not valid.
    #[error(
        "BMC {endpoint} shows a certificate that is not trusted: {found}; if the BMC was replaced, run `slipway machine repin`"
    )]
    Certificate {
        /// scheme://host:port
        endpoint: String,
        /// SHA-256 of the certificate shown, hex.
        found: String,
    },
    /// The BMC said no, in its own words.
    #[error("BMC {endpoint} refuses {what}: {message}")]
    Refused {
        /// scheme://host:port
        endpoint: String,
        /// What was asked, such as `inserting http://… into /redfish/v1/…/Cd`.
        what: String,
        /// HTTP status.
        status: u16,
        /// What it means.
        kind: RefusalKind,
        /// MessageId, when there was one.
        message_id: Option<String>,
        /// Message and Resolution, verbatim.
        message: String,
    },
    /// It accepted the call, but was never seen in the wanted state.
    #[error("BMC {endpoint} accepted {what}, but after {seconds} s still shows {seen}")]
    NotObserved {
        /// scheme://host:port
        endpoint: String,
        /// What was asked.
        what: String,
        /// What it shows instead.
        seen: String,
        /// How long it was watched.
        seconds: u64,
    },
    /// It lacks something a job needs.
    #[error("BMC {endpoint} has no {what}; {remedy}")]
    Missing {
        /// scheme://host:port
        endpoint: String,
        /// What is missing, such as `virtual media slot that takes remote images`.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
    /// It failed so often in a row that nothing is sent to it for a while.
    #[error(
        "BMC {endpoint} is left alone since {since}: {failures} requests in a row failed, the last with {reason}; {}; check its power and network, or restart it", tried_again(.retry_at.as_ref())
    )]
    CircuitOpen {
        /// scheme://host:port
        endpoint: String,
        /// Since when.
        since: Timestamp,
        /// Failures in a row.
        failures: u32,
        /// The last of them.
        reason: String,
        /// When it is tried again; none while somebody does.
        retry_at: Option<Timestamp>,
    },
    /// It links to another host. Following that would take its password there.
    #[error(
        "BMC {endpoint} answers with the link {link}, which leads away from it and is not followed; correct the host name or the proxy that it makes its links with, or give its record the address that they name"
    )]
    ForeignLink {
        /// scheme://host:port
        endpoint: String,
        /// The link.
        link: String,
    },
    /// Its answer makes no sense.
    #[error("BMC {endpoint} answers {what} in a form that cannot be read")]
    Nonsense {
        /// scheme://host:port
        endpoint: String,
        /// What was asked.
        what: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BmcError {
    /// Stable code for programs, documented in docs/operations.md.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "bmc.address",
            Self::Unreachable { source, .. } if timed_out(source.as_ref()) => "bmc.timeout",
            Self::Unreachable { .. } => "bmc.unreachable",
            Self::Credentials { .. } => "bmc.credentials",
            Self::Certificate { .. } => "bmc.certificate",
            Self::Refused { .. } => "bmc.refused",
            Self::NotObserved { .. } => "bmc.not_observed",
            Self::Missing { .. } => "bmc.missing",
            Self::Nonsense { .. } => "bmc.nonsense",
            Self::ForeignLink { .. } => "bmc.foreign_link",
            Self::CircuitOpen { .. } => "bmc.circuit_open",
        }
    }

    /// Whether trying again later may help without anyone doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NotObserved { .. }
            | Self::Nonsense { .. }
            | Self::CircuitOpen { .. } => true,
            Self::Refused { status, message_id, .. } => {
                *status >= 500
                    || matches!(status, 409 | 412 | 429)
                    || message_id.as_deref().is_some_and(names_full_table)
            }
            Self::Address { .. }
            | Self::Credentials { .. }
            | Self::Certificate { .. }
            | Self::ForeignLink { .. }
            | Self::Missing { .. } => false,
        }
    }
}

impl BmcError {
    /// Before when it is of no use to ask again.
    pub fn not_before(&self) -> Option<Timestamp> {
        match self {
            Self::CircuitOpen { retry_at, .. } => *retry_at,
            _ => None,
        }
    }
}

fn tried_again(at: Option<&Timestamp>) -> String {
    at.map_or_else(
        || "one request finds out now whether it is back".into(),
        |at| format!("it is tried again at {at}"),
    )
}

/// Whether a `MessageId` says that no more sessions fit; they time out.
fn names_full_table(id: &str) -> bool {
    let suffix = id.rsplit('.').next().unwrap_or(id);
    matches!(suffix, "SessionLimitExceeded" | "CreateLimitReachedForResource")
}

/// Whether an answer was awaited too long, rather than no connection made.
fn timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    let reqwest = error.downcast_ref::<reqwest::Error>();
    reqwest.is_some_and(|error| error.is_timeout() && !error.is_connect())
        || error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_and_in_the_operators_table() {
        let page = include_str!("../../../docs/operations.md");
        let endpoint = || "https://10.0.0.20".to_owned();
        let what = || "inserting".to_owned();
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let errors = [
            BmcError::Address { url: endpoint(), reason: what() },
            BmcError::Unreachable { endpoint: endpoint(), source: "connection refused".into() },
            BmcError::Unreachable { endpoint: endpoint(), source: late.into() },
            BmcError::Credentials { endpoint: endpoint() },
            BmcError::Certificate { endpoint: endpoint(), found: "ab".repeat(32) },
            BmcError::Refused {
                endpoint: endpoint(),
                what: what(),
                status: 400,
                kind: RefusalKind::Other,
                message_id: None,
                message: "no".to_owned(),
            },
            BmcError::NotObserved { endpoint: endpoint(), what: what(), seen: "Off".to_owned(), seconds: 5 },
            BmcError::Missing { endpoint: endpoint(), what: what(), remedy: "buy one".to_owned() },
            BmcError::Nonsense { endpoint: endpoint(), what: what(), source: "not JSON".into() },
            BmcError::ForeignLink { endpoint: endpoint(), link: "https://elsewhere/".to_owned() },
            BmcError::CircuitOpen {
                endpoint: endpoint(),
                since: Timestamp::UNIX_EPOCH,
                failures: 5,
                reason: "HTTP 503".to_owned(),
                retry_at: None,
            },
        ];
        let mut codes: Vec<&str> = errors.iter().map(BmcError::code).collect();
        for code in &codes {
            assert!(page.contains(&format!("`{code}`")), "docs/operations.md does not explain {code}");
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), errors.len());
    }
}
