//! Captured trees of real machines, probed as if they were alive. The trees stay outside the project.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use controller::redfish::Bmc;

use super::support::at;

/// Beside the checkout, as the design says.
const TREES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/redfish");
/// For work trees that lie elsewhere.
const TREES_ELSEWHERE: &str = "/work/shared/fixtures/redfish";

fn trees() -> Option<PathBuf> {
    [TREES, TREES_ELSEWHERE].into_iter().map(PathBuf::from).find(|path| path.is_dir())
}

/// Serves one `index.json` per resource path, to anybody.
async fn serve(tree: PathBuf) -> String {
    let router = Router::new().fallback(move |request: Request| {
        let answer = match *request.method() {
            axum::http::Method::GET => resource(&tree, request.uri().path()),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
        std::future::ready(answer)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn resource(tree: &Path, path: &str) -> Response {
    if path.contains("..") {
        return StatusCode::NOT_FOUND.into_response();
    }
    match std::fs::read(tree.join(path.trim_matches('/')).join("index.json")) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The clock of the captures' year, so that skew notes do not change every day.
fn then() -> jiff::Timestamp {
    "2024-08-15T21:43:28Z".parse().unwrap()
}

#[tokio::test]
async fn every_captured_machine_is_probed_as_expected() {
    let Some(trees) = trees() else {
        eprintln!(
            "skipped: no captured trees at {TREES}; they come with the design folder beside the checkout"
        );
        return;
    };
    for maker in ["dell", "hpe", "lenovo", "supermicro"] {
        let bmc = at(&serve(trees.join(maker)).await).with_inventory().with_clock(then);
        let probe = bmc.probe().await.unwrap_or_else(|error| panic!("{maker}: {error}"));
        let first = probe.slots.first().unwrap_or_else(|| panic!("{maker} has slots"));
        assert!(first.boots, "{maker}: the first slot is the one to boot from");
        assert!(probe.slots.len() > 1, "{maker}: two media fit at once");
        insta::assert_json_snapshot!(format!("probe_{maker}"), probe);
    }
}
