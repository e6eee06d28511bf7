//! `GET /v2/_catalog`: all repositories that have a manifest, by page. Not in the specification; every client expects it.

use axum::{
    Json,
    http::Method,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    auth::Access,
    call::Call,
    error::RegistryError,
    page::{PageQuery, set_link},
};

pub(super) async fn serve(call: &Call) -> Result<Response, RegistryError> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(call.method_error("GET, HEAD"));
    }
    call.service.gate.admit(call.headers(), &Access::Catalog).await?;
    let query = PageQuery::read(call.query("n"), call.query("last"))?;
    let wanted = query.clone();
    let page = call
        .registry()
        .blocking(move |registry| Ok(registry.index.repositories(&wanted.after, wanted.limit)?))
        .await?;
    let link = page.items.last().filter(|_| page.more).map(|last| query.link("/v2/_catalog", last, &[]));
    let mut response = Json(json!({"repositories": page.items})).into_response();
    set_link(&mut response, link);
    Ok(response)
}
