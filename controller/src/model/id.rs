//! Identities as types of their own, so that a job id is never handed in where a machine id belongs.
//! All are UUID version 7 in text: sortable by time, made by the controller, never by a client.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what} id; take it from a list or from the answer that made it")]
pub struct NotAnId {
    /// Which kind of id was wanted.
    pub what: &'static str,
    /// What was given, cut to 64 characters.
    pub text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A fresh one, carrying the present time.
            pub fn fresh() -> Self {
                Self(uuid::Uuid::now_v7().to_string())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                match uuid::Uuid::try_parse(text) {
                    Ok(id) => Ok(Self(id.to_string())),
                    Err(_) => Err(NotAnId { what: $what, text: text.chars().take(64).collect() }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One run of a recipe on one machine.
    JobId, "job"
);
id!(
    /// A server, whatever its serial.
    MachineId, "machine"
);
id!(
    /// An API token (not its secret).
    TokenId, "token"
);
id!(
    /// A subscription to outgoing webhooks.
    CallbackId, "callback"
);

id!(
    /// A rule about pushes.
    PushRuleId, "push rule"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_their_text_and_nothing_else_does() {
        let id = JobId::fresh();
        assert_eq!(id.as_str().parse::<JobId>(), Ok(id));
        for wrong in ["", "1", "../../etc/passwd", "0193f0b2-0000-7000-8000-00000000000g"] {
            assert_eq!(wrong.parse::<JobId>(), Err(NotAnId { what: "job", text: wrong.to_owned() }));
        }
    }
}
