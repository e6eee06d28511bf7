//! Why a rule is not made, found or tried.

use crate::store::StoreError;
use crate::workflow::AcceptError;

/// Why something that was asked about a push rule is not done.
#[derive(Debug, thiserror::Error)]
pub enum PushRuleError {
    /// A field cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong, with the remedy.
        problem: String,
    },
    /// The name is taken.
    #[error("there is a push rule {name} already; remove it first, or take another name")]
    Exists {
        /// As given.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {most} push rules already; remove one")]
    TooMany {
        /// How many there may be.
        most: usize,
    },
    /// No such rule.
    #[error("there is no push rule {name:?}; `slipway push-rule list` shows all")]
    Unknown {
        /// As given.
        name: String,
    },
    /// Its jobs, or its callbacks, would be refused.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PushRuleError {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "push_rule.invalid",
            Self::Exists { .. } => "push_rule.exists",
            Self::TooMany { .. } => "push_rule.too_many",
            Self::Unknown { .. } => "push_rule.unknown",
            Self::Accept(error) => error.code(),
            Self::Store(error) => crate::workflow::error::store_code(error),
        }
    }
}
