//! The OpenAPI document: made of the very routes that are served, shown at `/api/v1/openapi.json`, checked in as
//! `docs/openapi.json` and tested to be the same.

use axum::Json;
use axum::extract::Extension;
use std::sync::Arc;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};

/// The document before the routes are in it.
pub fn base() -> OpenApi {
    let scheme = |scheme, what: &str| {
        let mut http = Http::new(scheme);
        http.description = Some(what.to_owned());
        SecurityScheme::Http(http)
    };
    let components = ComponentsBuilder::new()
        .security_scheme("token", scheme(HttpAuthScheme::Bearer, "An API token: `slipway token create`."))
        .security_scheme("host", scheme(HttpAuthScheme::Bearer, "A token of one job, from its task medium."))
        .security_scheme(
            "token_as_password",
            scheme(HttpAuthScheme::Basic, "The same token as a password, with any user name."),
        );
    let either =
        ["token", "token_as_password"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Slipway")
                .version("1")
                .description(Some(
                    "Provisions bare metal through BMC virtual media, without PXE. Every refusal has one shape; its \
                     code is stable, its message is for people. Bodies are at most 4 MiB; unknown keys are refused.",
                ))
                .build(),
        )
        .components(Some(components.build()))
        .security(Some(either))
        .build()
}

/// Shows the document.
pub async fn show(Extension(document): Extension<Arc<OpenApi>>) -> Json<OpenApi> {
    Json(OpenApi::clone(&document))
}
