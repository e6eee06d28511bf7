//! The whole process as strangers meet it: two listeners, one identity, and an orderly end.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use controller::config::{Config, Fragment};
use controller::server::{Inherited, Pace, Server, ServerError};

fn config(state: &Path) -> Config {
    Config::check(Fragment {
        state_dir: Some(state.into()),
        api_listen: Some("127.0.0.1:0".into()),
        media_listen: Some("127.0.0.1:0".into()),
        allow_loopback: Some(true),
        ..Fragment::default()
    })
    .unwrap()
}

async fn start(state: &Path) -> Server {
    Server::start_at(config(state), Pace::fast()).await.unwrap()
}

/// A client that trusts this site's authority and nothing else.
fn client(state: &Path) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(state.join("site/ca.pem")).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .no_proxy()
        .build()
        .unwrap()
}

fn admin_token(state: &Path) -> String {
    std::fs::read_to_string(state.join("admin.token")).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_fresh_start_answers_and_says_what_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let client = client(state.path());
    let get = async |path: &str| {
        let response = client.get(format!("{}{path}", server.api_url)).send().await.unwrap();
        let id = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        (response.status().as_u16(), id, response.text().await.unwrap())
    };
    let (status, id, body) = get("/healthz").await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert_eq!(id.unwrap().len(), 36);
    let (status, _, body) = get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("cargo xtask maintenance-iso") && body.contains(r#""store":"ok""#), "{body}");
    assert!(body.contains(r#""registry":"ok""#), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn numbers_are_for_whoever_has_a_token() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let client = client(state.path());
    let get = async |token: &str| {
        let request = client.get(format!("{}/metrics", server.api_url)).bearer_auth(token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, body) = get("slw_wrong").await;
    assert_eq!(status, 401);
    assert!(body.contains("auth.token") && !body.contains("slipway_http"), "{body}");
    let (status, body) = get(&admin_token(state.path())).await;
    assert_eq!(status, 200);
    assert!(body.contains("slipway_http_requests_total{"), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn the_first_admin_token_opens_the_registry_and_no_token_does_not() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let client = client(state.path());
    let url = format!("{}/v2/", server.api_url);
    let ask = |token: Option<&str>| {
        let request = client.get(&url);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let token = admin_token(state.path());
    assert_eq!(ask(Some(&token)).await, 200);
    assert_eq!(ask(None).await, 401);
    assert_eq!(ask(Some("slipway_00")).await, 401);
    assert_eq!(ask(Some("sls.x.1.00")).await, 401);
    let basic = client.get(&url).basic_auth("anyone", Some(&token)).send().await.unwrap();
    assert_eq!(basic.status().as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn the_api_is_behind_the_same_door() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let client = client(state.path());
    let url = format!("{}/api/v1/jobs", server.api_url);
    assert_eq!(client.get(&url).send().await.unwrap().status().as_u16(), 401);
    let answer = client.get(&url).bearer_auth(admin_token(state.path())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_identity_and_makes_no_second_token() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let token = admin_token(state.path());
    let first_client = client(state.path());
    server.stop().await;
    std::fs::remove_file(state.path().join("admin.token")).unwrap();
    let server = start(state.path()).await;
    assert!(!state.path().join("admin.token").exists(), "a token was made although there is one");
    let request = first_client.get(format!("{}/v2/", server.api_url)).bearer_auth(token);
    assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn the_media_listener_knows_media_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let client = client(state.path());
    for path in
        ["/", "/healthz", "/metrics", "/v2/", "/api/v1/jobs", "/m/aaaaaaaaaaaaaaaaaaaaaaaaaa/task.iso"]
    {
        let answer = client.get(format!("{}{path}", server.media_url)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        assert_eq!(answer.text().await.unwrap(), "");
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_secret_is_readable_by_others() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    server.stop().await;
    let mut folders = vec![state.path().to_path_buf()];
    let mut exposed = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.metadata().unwrap();
            let mode = if meta.len() == 0 { 0 } else { meta.permissions().mode() & 0o077 };
            let inside = path.strip_prefix(state.path()).unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if mode != 0 && !inside.starts_with("registry") {
                exposed.push(inside);
            }
        }
    }
    assert!(exposed.is_empty(), "{exposed:?}");
}

#[tokio::test]
async fn a_file_that_is_no_maintenance_medium_is_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("media")).unwrap();
    std::fs::write(state.path().join("media/maintenance.iso"), vec![0; 100_000]).unwrap();
    let refused = Server::start_at(config(state.path()), Pace::fast()).await.err().unwrap();
    let ServerError::Maintenance(cause) = refused else { panic!("{refused}") };
    assert!(cause.to_string().contains("maintenance.iso"), "{cause}");
}

#[tokio::test]
async fn two_controllers_cannot_share_a_state_folder_nor_an_address() {
    let state = tempfile::tempdir().unwrap();
    let server = start(state.path()).await;
    let second = Server::start_at(config(state.path()), Pace::fast()).await;
    assert!(matches!(second, Err(ServerError::Store(_))));
    let other = tempfile::tempdir().unwrap();
    let taken = Config { api_listen: server.api_address, ..config(other.path()) };
    let error = Server::start_at(taken, Pace::fast()).await.err().unwrap();
    assert!(matches!(error, ServerError::Bind(_)), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn with_sockets_that_outlive_it_a_restart_keeps_readers_waiting_and_refuses_none() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state = tempfile::tempdir().unwrap();
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (api, media) = (bind(), bind());
    let kept = || Inherited { api: api.try_clone().ok(), media: media.try_clone().ok() };
    let at = |listener: &std::net::TcpListener| listener.local_addr().unwrap();
    let first = Server::start_on(config(state.path()), Pace::fast(), kept()).await.unwrap();
    assert_eq!((first.api_address, first.media_address), (at(&api), at(&media)));
    first.kill().await;

    let reader = tokio::spawn({
        let url = format!("http://{}/m/nothing/task.iso", at(&media));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        async move { client.get(url).send().await.map(|answer| answer.status().as_u16()) }
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!reader.is_finished(), "nobody can have answered");
    let second = Server::start_on(config(state.path()), Pace::fast(), kept()).await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), 404, "the reader waited and was answered");
    second.stop().await;
}
