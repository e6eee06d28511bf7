//! `GET /v2/<name>/referrers/<digest>`: the manifests that are about another one, as an index. A subject that nobody
//! refers to, or that does not exist, has an empty index: 200.

use axum::{
    http::{HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    auth::Action,
    call::Call,
    digest::Digest,
    document::OCI_INDEX,
    error::RegistryError,
    index::ManifestRow,
    name::Repository,
    page::{PageQuery, set_link},
};

/// Says which filters were applied.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The only filter there is.
const ARTIFACT_TYPE: &str = "artifactType";

pub(super) async fn serve(
    call: &Call,
    repository: Repository,
    subject: Digest,
) -> Result<Response, RegistryError> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(call.method_error("GET, HEAD"));
    }
    call.admit(&repository, Action::Pull).await?;
    let query = PageQuery::read(call.query("n"), call.query("last"))?;
    let filter = call.query(ARTIFACT_TYPE).filter(|text| !text.is_empty());

    let path = format!("/v2/{repository}/referrers/{subject}");
    let (wanted, of_type) = (query.clone(), filter.clone());
    let page = call
        .registry()
        .blocking(move |registry| {
            let index = &registry.index;
            Ok(index.referrers(&repository, &subject, of_type.as_deref(), &wanted.after, wanted.limit)?)
        })
        .await?;

    let extra: Vec<(&str, &str)> = filter.iter().map(|text| (ARTIFACT_TYPE, text.as_str())).collect();
    let last = page.items.last().filter(|_| page.more).map(|row| row.digest.to_string());
    let link = last.map(|last| query.link(&path, &last, &extra));
    let manifests: Vec<Value> = page.items.iter().map(descriptor).collect();
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let mut response = ([(header::CONTENT_TYPE, OCI_INDEX)], body.to_string()).into_response();
    set_link(&mut response, link);
    if filter.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static(ARTIFACT_TYPE));
    }
    Ok(response)
}

fn descriptor(row: &ManifestRow) -> Value {
    let mut value = json!({"mediaType": row.media_type, "digest": row.digest, "size": row.size});
    if let Some(artifact_type) = &row.artifact_type {
        value[ARTIFACT_TYPE] = json!(artifact_type);
    }
    if !row.annotations.is_empty() {
        value["annotations"] = json!(row.annotations);
    }
    value
}
