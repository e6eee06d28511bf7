//! Who may do what. The registry asks; the server that embeds it answers through [`Authorizer`].
//!
//! ```text
//! Authorization header ─▶ Credentials ─▶ (token of ours? the credentials it was made from) ─▶ Authorizer ─▶ Verdict
//! ```
//! Not here: users, roles, passwords. Basic is challenged for by default; with a realm set, Bearer is, and
//! [`Tokens`](super::token::Tokens) serves the token endpoint that such clients then call.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{error::RegistryError, name::Repository, token::Tokens};

/// The name of this service in challenges.
const SERVICE: &str = "registry";

/// What a caller showed. Its `Debug` hides the secret.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing, or a header that cannot be read.
    Anonymous,
    /// User name and password; podman, skopeo and oras log in so, with an API token as password.
    Basic {
        /// Not secret.
        user: String,
        /// Secret.
        password: Zeroizing<String>,
    },
    /// A token that is not one of the registry's own.
    Bearer(Zeroizing<String>),
}

impl Credentials {
    /// Reads the `Authorization` header.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(Self::parse)
            .unwrap_or(Self::Anonymous)
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, value) = text.trim().split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!value.is_empty()).then(|| Self::Bearer(Zeroizing::new(value.to_owned())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(value).ok()?);
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        // Clients without a login answer a Basic challenge with an empty one.
        (!user.is_empty() || !password.is_empty())
            .then(|| Self::Basic { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => out.write_str("Anonymous"),
            Self::Basic { user, .. } => write!(out, "Basic({user:?}, ***)"),
            Self::Bearer(_) => out.write_str("Bearer(***)"),
        }
    }
}

/// What is done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Add blobs and manifests, move tags.
    Push,
    /// Remove blobs, manifests and tags.
    Delete,
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// To be somebody: `GET /v2/` and the token endpoint.
    Enter,
    /// To list all repositories.
    Catalog,
    /// To act on one repository.
    Repository {
        /// Which.
        repository: Repository,
        /// How.
        action: Action,
    },
}

impl Access {
    /// The scope in the words of the Docker token specification; none for [`Access::Enter`].
    pub fn scope(&self) -> Option<String> {
        match self {
            Self::Enter => None,
            Self::Catalog => Some("registry:catalog:*".to_owned()),
            Self::Repository { repository, action } => {
                let actions = match action {
                    Action::Pull => "pull",
                    Action::Push => "pull,push",
                    Action::Delete => "delete",
                };
                Some(format!("repository:{repository}:{actions}"))
            }
        }
    }
}

/// Who is let in, in the server's words, for push events and logs. Never secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity(pub String);

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on, as this identity.
    Allowed(Identity),
    /// Log in (first, or properly): 401.
    Challenge,
    /// Known, but not allowed: 403.
    Denied,
}

/// The server's rules.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Whether these credentials may do that. Asked for every request, so it must be quick.
    async fn authorize(&self, credentials: &Credentials, access: &Access) -> Verdict;
}

/// Lets everybody do everything: for tests, and for a registry that only loopback can reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

#[async_trait]
impl Authorizer for Open {
    async fn authorize(&self, _credentials: &Credentials, _access: &Access) -> Verdict {
        Verdict::Allowed(Identity("anonymous".to_owned()))
    }
}

/// The authorizer with the tokens that stand for credentials.
pub(super) struct Gate {
    authorizer: Arc<dyn Authorizer>,
    pub(super) tokens: Tokens,
    realm: Option<String>,
}

impl Gate {
    /// `realm` is the public base URL; with it clients are sent to the token endpoint.
    pub(super) fn new(authorizer: Arc<dyn Authorizer>, realm: Option<String>) -> Self {
        Self { authorizer, tokens: Tokens::default(), realm }
    }

    /// Lets the request in, or says what to answer.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        access: &Access,
    ) -> Result<Identity, RegistryError> {
        let shown = Credentials::from_headers(headers);
        // Clients that know a token endpoint only learn of it from a 401, also where anonymous reading is allowed.
        if self.realm.is_some() && *access == Access::Enter && matches!(shown, Credentials::Anonymous) {
            return Err(self.challenge(access));
        }
        let credentials = match &shown {
            Credentials::Bearer(token) => self.tokens.redeem(token).unwrap_or(shown),
            _ => shown,
        };
        match self.authorizer.authorize(&credentials, access).await {
            Verdict::Allowed(identity) => Ok(identity),
            Verdict::Challenge => Err(self.challenge(access)),
            Verdict::Denied => Err(RegistryError::Denied { scope: access.scope().unwrap_or_default() }),
        }
    }

    /// Checks the credentials shown to the token endpoint and hands them back. They are Basic or none.
    pub(super) async fn enter(&self, headers: &HeaderMap) -> Result<Credentials, RegistryError> {
        let credentials = Credentials::from_headers(headers);
        if matches!(credentials, Credentials::Anonymous) {
            return Ok(credentials); // worth what an anonymous request is worth, no more
        }
        match self.authorizer.authorize(&credentials, &Access::Enter).await {
            Verdict::Allowed(_) => Ok(credentials),
            Verdict::Challenge | Verdict::Denied => {
                Err(RegistryError::Unauthenticated { challenge: basic() })
            }
        }
    }

    fn challenge(&self, access: &Access) -> RegistryError {
        let challenge = match &self.realm {
            None => basic(),
            Some(base) => {
                let scope = access.scope().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
                format!(
                    "Bearer realm=\"{}/v2/token\",service=\"{SERVICE}\"{scope}",
                    base.trim_end_matches('/')
                )
            }
        };
        RegistryError::Unauthenticated { challenge }
    }
}

fn basic() -> String {
    format!("Basic realm=\"{SERVICE}\", charset=\"UTF-8\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorization_header_is_read_and_never_shown() {
        let table = [
            ("Basic YWRtaW46czNjcmV0", "Basic(\"admin\", ***)"),
            ("basic YWRtaW46czNjcmV0", "Basic(\"admin\", ***)"),
            ("Bearer s3cret", "Bearer(***)"),
            ("Basic Og==", "Anonymous"),
            ("Basic ???", "Anonymous"),
            ("Bearer ", "Anonymous"),
            ("Digest x", "Anonymous"),
            ("", "Anonymous"),
        ];
        for (value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(format!("{:?}", Credentials::from_headers(&headers)), expected, "{value}");
        }
    }

    #[test]
    fn a_password_may_hold_colons() {
        let Some(Credentials::Basic { user, password }) = Credentials::parse("Basic dTphOmI=") else {
            panic!("must be read")
        };
        assert_eq!((user.as_str(), password.as_str()), ("u", "a:b"));
    }
}
