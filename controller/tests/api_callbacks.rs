//! Callbacks through the API: made, tried, delivered signed, listed, replayed, rotated, removed.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_support::World;
use api_support::host::Script;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// What a receiver got, newest last.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        *receiver.answer.lock().unwrap() = 200;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let take = async |State(receiver): State<Receiver>, headers: HeaderMap, body: String| {
            receiver.got.lock().unwrap().push((headers, body));
            StatusCode::from_u16(*receiver.answer.lock().unwrap()).unwrap()
        };
        let routes =
            axum::Router::new().route("/hook", axum::routing::post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (receiver, url)
    }

    fn kinds(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|(_, body)| {
                serde_json::from_str::<Value>(body).unwrap()["type"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    async fn hears(&self, kind: &str) {
        for _ in 0..200 {
            if self.kinds().iter().any(|heard| heard == kind) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{kind} is never told: {:?}", self.kinds());
    }
}

/// Whether `secret` made one of the signatures.
fn is_signed(headers: &HeaderMap, body: &str, secret: &str) -> bool {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let engine = base64::engine::general_purpose::STANDARD;
    let key = engine.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.{body}", text("webhook-id"), text("webhook-timestamp")).as_bytes());
    let wanted = format!("v1,{}", engine.encode(mac.finalize().into_bytes()));
    text("webhook-signature").split(' ').any(|one| one == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_what_it_wants_signed_by_its_secret() {
    let world = World::start(1).await;
    world.add(0).await;
    let (receiver, url) = Receiver::start().await;
    let made = world
        .ask("POST", "/callbacks", Some(json!({ "url": url, "kinds": ["job.succeeded", "job.complete"] })))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.headers["location"], format!("/api/v1/callbacks/{id}"));
    for path in ["/callbacks".to_owned(), format!("/callbacks/{id}")] {
        let shown = world.ask("GET", &path, None).await;
        assert!(shown.status == 200 && !shown.body.to_string().contains(&secret), "{shown:?}");
    }

    let tried = world.ask("POST", &format!("/callbacks/{id}/test"), None).await;
    assert_eq!(tried.body, json!({ "delivered": true, "status": 200 }), "{tried:?}");
    let job = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.complete(&job).await;
    receiver.hears("job.complete").await;
    assert_eq!(receiver.kinds(), ["slipway.test", "job.succeeded", "job.complete"]);
    for (headers, body) in receiver.got.lock().unwrap().iter() {
        assert!(is_signed(headers, body, &secret), "{body}");
    }

    let rotated = world.ask("POST", &format!("/callbacks/{id}/rotate"), None).await;
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, secret);
    world.ask("POST", &format!("/callbacks/{id}/test"), None).await;
    let (headers, body) = receiver.got.lock().unwrap().last().unwrap().clone();
    assert!(
        is_signed(&headers, &body, &new) && is_signed(&headers, &body, &secret),
        "rotation breaks receivers"
    );
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_and_can_be_sent_again() {
    let world = World::start(1).await;
    world.add(0).await;
    let (receiver, url) = Receiver::start().await;
    let made = world.ask("POST", "/callbacks", Some(json!({ "url": url, "kinds": ["job.complete"] }))).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let job = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.complete(&job).await;
    receiver.hears("job.complete").await;
    let list = async || {
        world.ask("GET", &format!("/callbacks/{id}/deliveries"), None).await.body["deliveries"].clone()
    };
    for _ in 0..100 {
        if list().await[0]["state"] == "delivered" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let deliveries = list().await;
    assert_eq!(
        (&deliveries[0]["state"], &deliveries[0]["kind"]),
        (&json!("delivered"), &json!("job.complete"))
    );
    let seq = deliveries[0]["seq"].as_i64().unwrap();
    let again = world.ask("POST", &format!("/callbacks/{id}/deliveries/{seq}/replay"), None).await;
    assert_eq!(again.status, 202, "{again:?}");
    for _ in 0..100 {
        if receiver.kinds().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let got = receiver.got.lock().unwrap().clone();
    assert_eq!(got.len(), 2);
    assert_eq!(
        got[0].0["webhook-id"], got[1].0["webhook-id"],
        "a receiver could not tell that it is a repeat"
    );
    let missing = world.ask("POST", &format!("/callbacks/{id}/deliveries/999999/replay"), None).await;
    assert_eq!(missing.status, 404);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_or_removed_subscriber_hears_nothing_and_a_bad_one_is_refused() {
    let world = World::start(1).await;
    world.add(0).await;
    let (receiver, url) = Receiver::start().await;
    let made = world.ask("POST", "/callbacks", Some(json!({ "url": url }))).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let paused =
        world.ask("PUT", &format!("/callbacks/{id}"), Some(json!({ "url": url, "enabled": false }))).await;
    assert_eq!((paused.status, &paused.body["enabled"]), (200, &json!(false)), "{paused:?}");
    let job = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.complete(&job).await;
    assert_eq!(world.ask("DELETE", &format!("/callbacks/{id}"), None).await.status, 204);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.kinds(), Vec::<String>::new());

    let make = async |body: Value| world.ask("POST", "/callbacks", Some(body)).await.refusal();
    insta::assert_snapshot!(make(json!({ "url": "ftp://example.org/" })).await, @"400 callback.url: callback url ftp://example.org/ is not allowed: scheme ftp is not allowed; use http or https");
    insta::assert_snapshot!(make(json!({ "url": "http://169.254.169.254/" })).await, @"400 callback.url: callback url http://169.254.169.254/ is not allowed: 169.254.169.254 is at 169.254.169.254, a link-local address; allow it in the configuration if that is meant");
    insta::assert_snapshot!(
        make(json!({ "url": url, "kinds": ["job.exploded"] })).await.replace(&url, "<url>")
    );
    *receiver.answer.lock().unwrap() = 500;
    let made = world.ask("POST", "/callbacks", Some(json!({ "url": url }))).await;
    let id = made.body["id"].as_str().unwrap();
    let tried = world.ask("POST", &format!("/callbacks/{id}/test"), None).await;
    assert_eq!(tried.body, json!({ "delivered": false, "status": 500 }));
    insta::assert_snapshot!(world.ask("GET", "/callbacks/nope", None).await.refusal(), @r#"404 callback.unknown: there is no callback "nope""#);
    world.server.stop().await;
}
