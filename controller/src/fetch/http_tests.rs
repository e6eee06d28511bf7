//! Outbound requests against a real server on loopback.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};

use super::*;

type IsIt = fn(&FetchError) -> bool;

fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
}

fn local() -> HttpFetch {
    install_tls();
    HttpFetch::new(AddressRules { allow: vec!["127.0.0.0/8".parse().unwrap()] })
}

async fn server() -> String {
    let app = Router::new()
        .route("/data", get(|| async { "hello" }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/data")]).into_response() }))
        .route("/loop", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/loop")]).into_response() }))
        .route(
            "/to-metadata",
            get(|| async {
                (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest/")]).into_response()
            }),
        )
        .route(
            "/to-file",
            get(|| async { (StatusCode::FOUND, [(header::LOCATION, "file:///etc/passwd")]).into_response() }),
        )
        .route(
            "/echo",
            post(|headers: axum::http::HeaderMap, body: String| async move {
                if headers.get("webhook-id").is_some() && body == "{}" {
                    StatusCode::ACCEPTED
                } else {
                    StatusCode::BAD_REQUEST
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

fn sha(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[tokio::test]
async fn what_was_meant_is_fetched_within_bounds_and_nothing_else() {
    let (base, fetch) = (server().await, local());
    let hello = sha("hello");
    assert_eq!(fetch.get(&format!("{base}/data"), &hello, 5).await.unwrap(), "hello");
    assert_eq!(fetch.get(&format!("{base}/moved"), &hello, 5).await.unwrap(), "hello");
    let cases: [(&str, usize, IsIt); 6] = [
        ("/data", 4, |e| matches!(e, FetchError::TooLarge { max: 4, .. })),
        ("/missing", 5, |e| matches!(e, FetchError::Status { status: 404, .. })),
        ("/loop", 5, |e| matches!(e, FetchError::Redirects { .. })),
        ("/to-metadata", 5, |e| matches!(e, FetchError::Denied { kind: "link-local", .. })),
        ("/to-file", 5, |e| matches!(e, FetchError::Scheme { .. })),
        ("/data?token=geheim", 4, |e| !format!("{e:?}").contains("geheim")),
    ];
    for (path, max, is_it) in cases {
        let error = fetch.get(&format!("{base}{path}"), &hello, max).await.unwrap_err();
        assert!(is_it(&error), "{path}: {error:?}");
    }
    let error = fetch.get(&format!("{base}/data"), &sha("other"), 5).await.unwrap_err();
    assert!(matches!(error, FetchError::Digest { .. }), "{error:?}");
}

#[tokio::test]
async fn loopback_is_refused_unless_it_is_meant_also_by_name() {
    install_tls();
    let (base, fetch) = (server().await, HttpFetch::default());
    for url in [
        base.clone(),
        base.replace("127.0.0.1", "localhost"),
        base.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
    ] {
        let error = fetch.check(&url).await.unwrap_err();
        assert!(matches!(error, FetchError::Denied { kind: "loopback", .. }), "{url}: {error:?}");
    }
    assert!(matches!(fetch.check("ftp://example.org/").await, Err(FetchError::Scheme { .. })));
    assert!(matches!(fetch.check("not a url").await, Err(FetchError::NotAUrl(_))));
}

#[tokio::test]
async fn a_callback_arrives_with_its_headers() {
    let (base, fetch) = (server().await, local());
    let headers = [("webhook-id", "msg_1".to_owned())];
    assert_eq!(fetch.post(&format!("{base}/echo"), &headers, "{}".to_owned()).await.unwrap(), 202);
    let gone = fetch.post("http://127.0.0.1:1/", &headers, "{}".to_owned()).await.unwrap_err();
    assert!(matches!(gone, FetchError::Unreachable { .. }), "{gone:?}");
}
