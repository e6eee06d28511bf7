//! Who may do what: API tokens with a role and registry scopes, and the audit log's entries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::TokenId;

/// What a token may do. Each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Start, cancel and repeat jobs; power machines.
    Operator,
    /// Everything, secrets and force included.
    Admin,
}

impl Role {
    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// What a token may do in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryScope {
    /// Repositories whose name starts with this; empty means all.
    pub prefix: String,
    /// May read.
    #[serde(default)]
    pub pull: bool,
    /// May write.
    #[serde(default)]
    pub push: bool,
    /// May delete.
    #[serde(default)]
    pub delete: bool,
}

/// An API token. Its secret was shown once; only the SHA-256 is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it may do in the registry, beyond what its role gives.
    #[serde(default)]
    pub scopes: Vec<RegistryScope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether it opens anything at that time.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// One line of the audit log. Lines are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: name of a token, `host:<serial>`, `controller`.
    pub actor: String,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What: `job.create`, `machine.update`, `job.recipe.read` …
    pub action: String,
    /// To what.
    pub object: String,
    /// Details, never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
