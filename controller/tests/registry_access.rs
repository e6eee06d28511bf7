//! Who gets in at the registry of a running controller: with tokens bought at its realm, with Basic, and without anything.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use api_support::World;
use controller::config::Fragment;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

async fn world() -> World {
    let public = Some(vec!["images/*".to_owned(), "tools".to_owned()]);
    World::configured(Fragment { registry_anonymous_pull: public, ..Fragment::default() }).await
}

fn request(world: &World, method: Method, path: &str) -> RequestBuilder {
    world.http.request(method, format!("{}{path}", world.server.api_url))
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Buys a token as clients do that were sent to the realm, with a login or without one.
async fn buy(world: &World, login: Option<&str>) -> Value {
    let path = "/v2/token?service=registry&scope=repository:images/debian:pull";
    let asked = request(world, Method::GET, path);
    let asked = match login {
        Some(password) => asked.basic_auth("anyone", Some(password)),
        None => asked,
    };
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_to_the_token_endpoint_and_basic_works_unasked() {
    let world = world().await;
    let answer = request(&world, Method::GET, "/v2/").send().await.unwrap();
    let challenges: Vec<_> =
        answer.headers().get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    let wanted = format!("Bearer realm=\"{}/v2/token\",service=\"registry\"", world.server.api_url);
    assert_eq!((answer.status(), challenges), (StatusCode::UNAUTHORIZED, vec![wanted.as_str()]));
    let by_name = world.server.api_url.replace("127.0.0.1", "localhost");
    let answer = world.http.get(format!("{by_name}/v2/")).send().await.unwrap();
    let realm = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(realm.contains(&format!("\"{by_name}/v2/token\"")), "back to where it reached us: {realm}");

    let bought = buy(&world, Some(&world.token)).await;
    let token = bought["token"].as_str().unwrap();
    for (method, path, wanted) in [
        (Method::GET, "/v2/", 200),
        (Method::GET, "/v2/_catalog", 200),
        (Method::POST, "/v2/secret/blobs/uploads/", 202),
    ] {
        assert_eq!(status(request(&world, method.clone(), path).bearer_auth(token)).await, wanted, "{path}");
        let basic = request(&world, method.clone(), path).basic_auth("x", Some(&world.token));
        assert_eq!(status(basic).await, wanted, "{path}");
        let direct = request(&world, method, path).bearer_auth(&world.token);
        assert_eq!(status(direct).await, wanted, "an API token is taken as it is: {path}");
    }
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_pulls_what_is_public_and_can_do_nothing_else() {
    let world = world().await;
    world.push_debian().await;
    let copy = world.server.registry.resolve("images/debian", "trixie").await.unwrap().unwrap();
    let blob = format!("/v2/images/debian/blobs/{}", copy.layers[0].digest);
    let mount = format!("/v2/images/own/blobs/uploads/?mount={}&from=images/debian", copy.layers[0].digest);
    let anonymous = buy(&world, None).await;
    let token = anonymous["token"].as_str().unwrap();
    for (method, path, with_token, without) in [
        (Method::GET, "/v2/", 200, 401),
        (Method::GET, "/v2/images/debian/manifests/trixie", 200, 200),
        (Method::GET, "/v2/images/debian/tags/list", 200, 200),
        (Method::GET, blob.as_str(), 200, 200),
        (Method::GET, "/v2/tools/tags/list", 404, 404),
        (Method::GET, "/v2/secret/tags/list", 401, 401),
        (Method::GET, "/v2/_catalog", 401, 401),
        (Method::POST, "/v2/images/debian/blobs/uploads/", 401, 401),
        (Method::POST, mount.as_str(), 401, 401),
        (Method::PUT, "/v2/images/debian/manifests/trixie", 401, 401),
        (Method::DELETE, "/v2/images/debian/manifests/trixie", 401, 401),
        (Method::DELETE, blob.as_str(), 401, 401),
    ] {
        let asked = request(&world, method.clone(), path);
        assert_eq!(status(asked.bearer_auth(token)).await, with_token, "{method} {path}");
        assert_eq!(status(request(&world, method.clone(), path)).await, without, "{method} {path}");
    }
    for _ in 0..40 {
        assert_eq!(status(request(&world, Method::GET, "/v2/_catalog").bearer_auth(token)).await, 401);
    }
    let wrong =
        request(&world, Method::GET, "/v2/images/debian/tags/list").basic_auth("x", Some("slipway_0"));
    assert_eq!(
        status(wrong).await,
        401,
        "a wrong login is told, not passed over; nobody was locked out by then"
    );
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_public_unless_the_site_says_so() {
    let world = World::start(0).await;
    world.push_debian().await;
    let anonymous = buy(&world, None).await;
    let token = anonymous["token"].as_str().unwrap();
    for path in ["/v2/", "/v2/images/debian/manifests/trixie", "/v2/_catalog"] {
        assert_eq!(status(request(&world, Method::GET, path).bearer_auth(token)).await, 401, "{path}");
        assert_eq!(status(request(&world, Method::GET, path)).await, 401, "{path}");
    }
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bought_token_dies_with_its_credentials_and_one_that_has_ended_is_no_guess() {
    let world = world().await;
    let made = world.slipway(&["token", "create", "ci", "--role", "operator"], "").await;
    let bought = buy(&world, Some(made.out.trim())).await;
    let token = bought["token"].as_str().unwrap();
    let enter = || request(&world, Method::GET, "/v2/");
    assert_eq!(status(enter().bearer_auth(token)).await, 200);
    let tokens = world.ask("GET", "/tokens", None).await.body;
    let ci = tokens["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "ci").unwrap();
    let revoked = world.ask("DELETE", &format!("/tokens/{}", ci["id"].as_str().unwrap()), None).await;
    assert!(revoked.status < 300, "{revoked:?}");
    // After a restart every client shows a token that is not known any more, perhaps all from one address.
    let unknown = format!("slr.{}", "0".repeat(64));
    for token in [token, unknown.as_str()] {
        for _ in 0..40 {
            assert_eq!(status(enter().bearer_auth(token)).await, 401);
        }
    }
    assert_eq!(status(enter().basic_auth("x", Some(&world.token))).await, 200);
    world.server.stop().await;
}

/// A client of others, over TLS, as it is without a word about how to log in.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pulls_without_a_login_what_is_public_and_pushes_with_one() {
    let world = world().await;
    world.push_debian().await;
    let host = world.server.api_url.trim_start_matches("https://").to_owned();
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(world.state.path().join("site/ca.pem"), certificates.join("ca.crt")).unwrap();
    let certificates = certificates.to_str().unwrap();
    let logins = folder.path().join("auth.json");
    std::fs::write(&logins, "{}").unwrap();
    let skopeo = async |args: &[&str]| {
        let mut command = std::process::Command::new("skopeo");
        command.arg("--insecure-policy").args(args).env("REGISTRY_AUTH_FILE", &logins);
        api_support::run(command, String::new()).await
    };
    let dir = format!("dir:{}", folder.path().join("out").display());
    let public = format!("docker://{host}/images/debian:trixie");
    let ran = skopeo(&["copy", "--src-cert-dir", certificates, &public, &dir]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let secret = format!("docker://{host}/secret/debian:trixie");
    let ran = skopeo(&["copy", "--dest-cert-dir", certificates, &dir, &secret]).await;
    assert!(ran.code != 0 && ran.err.contains("authentication"), "{ran:?}");
    let login = format!("x:{}", world.token);
    let ran = skopeo(&["copy", "--dest-cert-dir", certificates, "--dest-creds", &login, &dir, &secret]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = skopeo(&["list-tags", "--cert-dir", certificates, &secret[..secret.len() - 7]]).await;
    assert!(ran.code != 0, "{ran:?}");
    let ran =
        skopeo(&["list-tags", "--cert-dir", certificates, "--creds", &login, &secret[..secret.len() - 7]])
            .await;
    assert!(ran.code == 0 && ran.out.contains("trixie"), "{ran:?}");
    world.server.stop().await;
}
