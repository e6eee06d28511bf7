//! One request on its way to an endpoint, with what every endpoint needs of it.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::Body,
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
    /// Only ever taken; the lock makes a call shareable, which bodies are not.
    body: Mutex<Body>,
}

impl Call {
    pub(super) fn new(service: Arc<Service>, parts: Parts, body: Body) -> Self {
        Self { service, parts, body: Mutex::new(body) }
    }

    /// The body, for whoever reads it; empty when it was taken before.
    pub(super) fn take_body(&self) -> Body {
        std::mem::take(&mut *self.body.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.service.gate.admit(self.headers(), &access).await
    }

    /// The error for a method that this endpoint does not have.
    pub(super) fn method_error(&self, allowed: &'static str) -> RegistryError {
        RegistryError::Method { method: self.method().to_string(), allowed }
    }
}
