//! The schemas, as they are embedded: what the controller checks by is what it shows.

use axum::http::header;
use axum::response::IntoResponse;

use super::shapes;

const TYPE: &str = "application/schema+json";

/// `GET /api/v1/schema/recipe`.
#[utoipa::path(
    get,
    path = "/schema/recipe",
    tag = "schemas",
    operation_id = "recipe_schema",
    responses((status = 200, description = "JSON Schema of recipes", body = Object, content_type = "application/schema+json"), (status = "default", description = "Refused", body = shapes::Refusal)),
    security(())
)]
pub async fn recipe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TYPE)], ::schema::validate::RECIPE_SCHEMA)
}

/// `GET /api/v1/schema/event`.
#[utoipa::path(
    get,
    path = "/schema/event",
    tag = "schemas",
    operation_id = "event_schema",
    responses((status = 200, description = "JSON Schema of reports", body = Object, content_type = "application/schema+json"), (status = "default", description = "Refused", body = shapes::Refusal)),
    security(())
)]
pub async fn event() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TYPE)], ::schema::validate::EVENT_SCHEMA)
}
