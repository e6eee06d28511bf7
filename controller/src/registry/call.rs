//! One request on its way to an endpoint, with what every endpoint needs of it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, HeaderName, Method, header, request::Parts},
};
use url::form_urlencoded;

use super::{
    Registry,
    auth::{Access, Action, Gate, Identity},
    error::RegistryError,
    name::Repository,
};

/// The registry with its gate: what a router's handlers share.
pub(super) struct Service {
    pub registry: Arc<Registry>,
    pub gate: Gate,
}

/// A request.
pub(super) struct Call {
    pub service: Arc<Service>,
    pub parts: Parts,
    /// The lock makes a call shareable, which bodies are not.
    body: Mutex<Held>,
}

/// The body as far as it has not been read.
struct Held {
    stream: Option<BodyDataStream>,
    begun: bool,
}

impl Call {
    pub(super) fn new(service: Arc<Service>, mut parts: Parts, body: Body) -> Self {
        // HTTP/2 says it elsewhere.
        if !parts.headers.contains_key(header::HOST)
            && let Some(host) = parts.uri.authority()
            && let Ok(host) = host.as_str().parse()
        {
            parts.headers.insert(header::HOST, host);
        }
        let held = Held { stream: Some(body.into_data_stream()), begun: false };
        Self { service, parts, body: Mutex::new(held) }
    }

    /// The body, for whoever reads it and then [gives it back](Self::give_back); empty when it was taken before.
    pub(super) fn take_body(&self) -> BodyDataStream {
        let mut held = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        held.begun = true;
        held.stream.take().unwrap_or_else(|| Body::empty().into_data_stream())
    }

    /// What was not read of the body. Once the request is decided, it is [what is left](Self::rest).
    pub(super) fn give_back(&self, stream: BodyDataStream) {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).stream = Some(stream);
    }

    /// What is left of a body that its client sends or has begun to send. One that waits for `100 Continue` has not, and
    /// shall not for nothing.
    pub(super) fn rest(&self) -> Option<BodyDataStream> {
        let mut held = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = !held.begun && self.headers().contains_key(header::EXPECT);
        held.stream.take().filter(|_| !waits)
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.service.registry
    }

    pub(super) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// A header, when it is there once and readable.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Length`, when there is one.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// The first value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    /// All values of a query parameter, in order.
    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// Lets the request act on a repository, or not.
    pub(super) async fn admit(
        &self,
        repository: &Repository,
        action: Action,
    ) -> Result<Identity, RegistryError> {
        let access = Access::Repository { repository: repository.clone(), action };
        let identity = self.service.gate.admit(self.headers(), &access).await?;
        // Whoever may write may always ask how far an upload is.
        if action != Action::Pull && !matches!(*self.method(), Method::GET | Method::HEAD) {
            self.registry().switch.allow()?;
        }
        Ok(identity)
    }

    /// The error for a method that this endpoint does not have.
    pub(super) fn method_error(&self, allowed: &'static str) -> RegistryError {
        RegistryError::Method { method: self.method().to_string(), allowed }
    }
}
