//! Why a BMC did not do what was asked, in terms an operator can act on.

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
    /// Whether trying again later may help without anyone doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotObserved { .. } | Self::Nonsense { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429 || *status == 409,
            Self::Address { .. }
            | Self::Credentials { .. }
            | Self::Certificate { .. }
            | Self::Missing { .. } => false,
        }
    }
}
