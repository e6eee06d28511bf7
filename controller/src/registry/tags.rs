//! `GET /v2/<name>/tags/list`: the tags of a repository, by page.

use axum::{
    Json,
    http::Method,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    auth::Action,
    call::Call,
    error::RegistryError,
    name::Repository,
    page::{PageQuery, set_link},
};

pub(super) async fn serve(call: &Call, repository: Repository) -> Result<Response, RegistryError> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(call.method_error("GET, HEAD"));
    }
    call.admit(&repository, Action::Pull).await?;
    let query = PageQuery::read(call.query("n"), call.query("last"))?;
    let wanted = (repository.clone(), query.clone());
    let page = call
        .registry()
        .blocking(move |registry| Ok(registry.index.tags(&wanted.0, &wanted.1.after, wanted.1.limit)?))
        .await?
        .ok_or_else(|| RegistryError::RepositoryUnknown { repository: repository.clone() })?;
    let path = format!("/v2/{repository}/tags/list");
    let link = page.items.last().filter(|_| page.more).map(|last| query.link(&path, last, &[]));
    let mut response = Json(json!({"name": repository.as_str(), "tags": page.items})).into_response();
    set_link(&mut response, link);
    Ok(response)
}
