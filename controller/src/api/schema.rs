//! The schemas, as they are embedded: what the controller checks by is what it shows.

use axum::http::header;
use axum::response::IntoResponse;

const TYPE: &str = "application/schema+json";

/// `GET /api/v1/schema/recipe`.
pub async fn recipe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TYPE)], ::schema::validate::RECIPE_SCHEMA)
}

/// `GET /api/v1/schema/event`.
pub async fn event() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TYPE)], ::schema::validate::EVENT_SCHEMA)
}
