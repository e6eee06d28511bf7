//! Who may do what. The registry asks; the server that embeds it answers through [`Authorizer`].
//!
//! ```text
//! Authorization header ─▶ Credentials ─▶ (token of ours? the credentials it was made from) ─▶ Authorizer ─▶ Verdict
//! ```
//! Not here: users, roles, passwords. Basic is challenged for by default; with a realm set, Bearer is, and
//! [`Tokens`](super::token::Tokens) serves the token endpoint that such clients then call. Never both: Docker's client,
//! told of both, fails for want of a login where it would have been let in without one. Basic is taken unasked.

use std::{fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    error::RegistryError,
    name::Repository,
    token::{self, Tokens},
};

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

    /// Whether somebody who guesses could have sent this header. A token of the registry's own is none: it cannot be
    /// guessed, and one that has ended, by its time or by a restart, is what honest clients show.
    pub fn may_be_guessed(headers: &HeaderMap) -> bool {
        match Self::from_headers(headers) {
            Self::Anonymous => false,
            Self::Basic { .. } => true,
            Self::Bearer(text) => !token::is_ours(&text),
        }
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
    tokens: Tokens,
    realm: Option<Realm>,
}

/// By which scheme a client called, as a proxy tells it.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where clients buy tokens: at the name by which they called, when it is one of ours, because there they reach us; by
/// TLS when a proxy says that they came so (`X-Forwarded-Proto`), whoever it is: nobody is sent out of TLS by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// Public base URL, such as `https://slipway.example:8443`.
    pub base: String,
    /// Names and addresses of this server, without ports.
    pub names: Vec<String>,
}

impl Realm {
    /// The base URL for who sent these headers.
    fn of(&self, headers: &HeaderMap) -> String {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let base = self.base.trim_end_matches('/');
        let (scheme, own) = base.split_once("://").unwrap_or(("https", base));
        // The first of several proxies is the one that the client met.
        let met = text(X_FORWARDED_PROTO).and_then(|list| list.split(',').next()).unwrap_or_default();
        let scheme = if met.trim().eq_ignore_ascii_case("https") { "https" } else { scheme };
        let is_ours = |host: &&str| self.names.iter().any(|name| name.eq_ignore_ascii_case(bare(host)));
        let host = text(header::HOST).filter(is_ours).unwrap_or(own);
        format!("{scheme}://{host}")
    }
}

/// A host without its port and brackets; nothing, which is no name, for what is no host.
fn bare(host: &str) -> &str {
    let (name, port) = match host.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => (address, port.strip_prefix(':').unwrap_or(port)),
        Some(None) => ("", ""),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { "" }
}

impl Gate {
    /// With a realm, clients are sent to the token endpoint.
    pub(super) fn new(authorizer: Arc<dyn Authorizer>, realm: Option<Realm>) -> Self {
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
            return Err(self.challenge(headers, access));
        }
        let credentials = match &shown {
            Credentials::Bearer(text) if token::is_ours(text) => {
                self.tokens.redeem(text).ok_or_else(|| self.challenge(headers, access))?
            }
            _ => shown,
        };
        match self.authorizer.authorize(&credentials, access).await {
            Verdict::Allowed(identity) => Ok(identity),
            Verdict::Challenge => Err(self.challenge(headers, access)),
            Verdict::Denied => Err(RegistryError::Denied { scope: access.scope().unwrap_or_default() }),
        }
    }

    /// A token for the credentials shown to the token endpoint. They are Basic or none.
    pub(super) async fn sell(&self, headers: &HeaderMap) -> Result<Zeroizing<String>, RegistryError> {
        let credentials = Credentials::from_headers(headers);
        if matches!(credentials, Credentials::Anonymous) {
            return Ok(Zeroizing::new(token::ANONYMOUS.to_owned()));
        }
        match self.authorizer.authorize(&credentials, &Access::Enter).await {
            Verdict::Allowed(_) => {
                self.tokens.issue(credentials, Instant::now()).ok_or(RegistryError::NoToken)
            }
            Verdict::Challenge | Verdict::Denied => {
                Err(RegistryError::Unauthenticated { challenge: basic() })
            }
        }
    }

    fn challenge(&self, headers: &HeaderMap, access: &Access) -> RegistryError {
        let challenge = match &self.realm {
            None => basic(),
            Some(realm) => {
                let base = realm.of(headers);
                let scope = access.scope().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
                format!("Bearer realm=\"{base}/v2/token\",service=\"{SERVICE}\"{scope}")
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

    fn headers(host: Option<&str>, proto: Option<&str>) -> HeaderMap {
        let given = [(header::HOST, host), (X_FORWARDED_PROTO, proto)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?.parse().unwrap())));
        given.collect()
    }

    #[test]
    fn clients_buy_tokens_where_they_reached_us_and_never_elsewhere() {
        let names = ["slipway.example", "192.0.2.5", "::1"].map(ToOwned::to_owned).to_vec();
        let realm = Realm { base: "https://10.0.0.5:8443/".to_owned(), names };
        for (host, wanted) in [
            (None, "https://10.0.0.5:8443"),
            (Some("slipway.example"), "https://slipway.example"),
            (Some("Slipway.example:9443"), "https://Slipway.example:9443"),
            (Some("192.0.2.5:8443"), "https://192.0.2.5:8443"),
            (Some("[::1]:8443"), "https://[::1]:8443"),
            (Some("evil.example:8443"), "https://10.0.0.5:8443"),
            (Some("slipway.example:8443/x"), "https://10.0.0.5:8443"),
            (Some("slipway.example@evil.example"), "https://10.0.0.5:8443"),
            (Some("slipway.example:\",realm=\"x"), "https://10.0.0.5:8443"),
            (Some("[::1"), "https://10.0.0.5:8443"),
            (Some("[::1]x"), "https://10.0.0.5:8443"),
            (Some(""), "https://10.0.0.5:8443"),
        ] {
            assert_eq!(realm.of(&headers(host, None)), wanted, "{host:?}");
        }
    }

    #[test]
    fn who_came_by_tls_is_not_sent_out_of_it() {
        let realm = |base: &str| Realm { base: base.to_owned(), names: vec!["slipway.example".to_owned()] };
        for (base, host, proto, wanted) in [
            ("http://10.0.0.5:5000", "slipway.example", None, "http://slipway.example"),
            ("http://10.0.0.5:5000", "slipway.example", Some("http"), "http://slipway.example"),
            ("http://10.0.0.5:5000", "slipway.example", Some("https"), "https://slipway.example"),
            ("http://10.0.0.5:5000", "slipway.example", Some("HTTPS, http"), "https://slipway.example"),
            ("http://10.0.0.5:5000", "else.example", Some("https"), "https://10.0.0.5:5000"),
            ("https://10.0.0.5:8443", "slipway.example", Some("http"), "https://slipway.example"),
        ] {
            let found = realm(base).of(&headers(Some(host), proto));
            assert_eq!(found, wanted, "{base} {host} {proto:?}");
        }
    }

    #[test]
    fn what_nobody_can_guess_is_no_guess() {
        for (value, guess) in [
            (None, false),
            (Some("Basic YWRtaW46czNjcmV0"), true),
            (Some("Bearer slipway_00"), true),
            (Some("Bearer slr.00"), false),
            (Some("Bearer slr.anonymous"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (header::AUTHORIZATION, value.parse().unwrap())));
            assert_eq!(Credentials::may_be_guessed(&headers), guess, "{value:?}");
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
