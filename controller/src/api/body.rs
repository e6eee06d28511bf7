//! Request bodies: JSON read strictly, with the fault's place in the refusal, within the size limit.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON body. Unlike axum's own it does not insist on a content type, and refuses in our shape.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = raw(request, state).await?;
        read(&bytes).map(Self)
    }
}

/// The bytes of a body, or 413.
pub async fn raw<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| ApiError::broken_body(&rejection, super::BODY_MAX))
}

/// JSON from bytes. The error says where, never what: values may be secret.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => error.to_string(),
            _ => format!("not JSON at line {}, column {}", error.line(), error.column()),
        };
        ApiError::bad_request(format!("the request body cannot be read: {what}"))
    })
}
