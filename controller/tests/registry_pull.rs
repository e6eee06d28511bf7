//! What the registry is beyond the specification (see `registry_conformance` for its clauses): lost files, restarts,
//! resolving, pins, pushes, and who may do what.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::sync::Arc;

use async_trait::async_trait;
use controller::registry::auth::{Access, Action, Authorizer, Credentials, Identity, Open, Verdict};
use registry_support::{
    INDEX, MANIFEST, header, image, options, refused, rig, rig_at, rig_with, rig_with_realm, sha256,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn body(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_blob_whose_file_was_lost_is_unknown_and_a_new_push_heals_it() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"content").await;
    std::fs::remove_file(rig.registry.blob_path(&digest)).unwrap();
    assert_eq!(rig.head(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::NOT_FOUND);
    rig.push_blob("a", b"content").await;
    assert_eq!(rig.head(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, text) = {
        let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
        rig.push_image("a", "1", b"layer").await
    };
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    let response = rig.get("/v2/a/manifests/1").await;
    assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
    assert_eq!(response.text().await.unwrap(), text);
    assert_eq!(rig.head(&format!("/v2/a/blobs/{}", sha256(b"layer"))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_tag_is_resolved_with_its_layers_and_what_is_missing() {
    let rig = rig().await;
    assert_eq!(rig.registry.resolve("a", "1").await.unwrap(), None);
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let found = rig.registry.resolve("a", "1").await.unwrap().unwrap();
    assert_eq!((&found.digest, found.size), (&digest, text.len() as u64));
    assert_eq!(found.media_type, MANIFEST);
    assert_eq!(found.config_media_type.as_deref(), Some("application/vnd.slipway.test.config"));
    let layers: Vec<_> = found.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
    assert_eq!(layers, [(sha256(b"layer"), 5)]);
    assert!(found.missing.is_empty());
    std::fs::remove_file(rig.registry.blob_path(&sha256(b"layer"))).unwrap();
    let found = rig.registry.resolve("a", &digest.to_string()).await.unwrap().unwrap();
    assert_eq!(found.missing, [sha256(b"layer")]);
    assert!(rig.registry.resolve("../a", "1").await.is_err());
}

#[tokio::test]
async fn what_a_pin_keeps_cannot_be_deleted_until_it_ends() {
    let rig = rig().await;
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let child = json!({"mediaType": MANIFEST, "digest": digest, "size": text.len()});
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).to_string();
    rig.put_manifest("a", "list", INDEX, &list).await;
    let top = sha256(list.as_bytes());

    assert!(
        !rig.registry.pin(&sha256(b"?"), "job 1", None).await.unwrap(),
        "only what is there can be pinned"
    );
    assert!(rig.registry.pin(&top, "job 1", None).await.unwrap());
    let past = jiff::Timestamp::now() - std::time::Duration::from_secs(5);
    assert!(rig.registry.pin(&digest, "job 2", Some(past)).await.unwrap());
    assert_eq!(rig.registry.pins().await.unwrap().len(), 2);
    rig.registry.collect(true).await.unwrap();
    assert_eq!(rig.registry.pins().await.unwrap().len(), 2, "a rehearsal forgets nothing");
    rig.registry.collect(false).await.unwrap();
    let owners: Vec<String> = rig.registry.pins().await.unwrap().into_iter().map(|pin| pin.owner).collect();
    assert_eq!(owners, ["job 1"], "a pin that has ended is forgotten");
    assert!(rig.registry.pin(&digest, "job 2", Some(past)).await.unwrap());

    let layer = format!("/v2/a/blobs/{}", sha256(b"layer"));
    let paths = [format!("/v2/a/manifests/{top}"), format!("/v2/a/manifests/{digest}"), layer];
    for path in &paths {
        let message = refused(rig.delete(path).await, 409, "DENIED").await;
        assert!(message.contains("job 1"), "{message}");
    }
    assert_eq!(rig.delete("/v2/a/manifests/1").await.status(), StatusCode::ACCEPTED, "a tag may go");
    assert_eq!(rig.registry.unpin("job 1").await.unwrap(), 1);
    for path in &paths {
        assert_eq!(
            rig.delete(path).await.status(),
            StatusCode::ACCEPTED,
            "an expired pin keeps nothing: {path}"
        );
    }
    assert_eq!(rig.registry.expire_pins().await.unwrap(), 1);
    assert_eq!(rig.registry.pins().await.unwrap(), []);
}

#[tokio::test]
async fn tags_that_are_made_or_moved_are_remembered_until_they_are_dealt_with() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    let mut pushed = rig.registry.pushed();
    let (first, text) = rig.push_image("a", "1", b"layer").await;
    pushed.changed().await.unwrap();
    // A client that did not hear the answer sends it again; one without a tag moves none.
    for reference in ["1", first.to_string().as_str()] {
        assert_eq!(rig.put_manifest("a", reference, MANIFEST, &text).await.status(), StatusCode::CREATED);
    }
    let (second, _) = rig.push_image("a", "1", b"another layer").await;
    let back = format!("{first}?tag=1&tag=2");
    assert_eq!(rig.put_manifest("a", &back, MANIFEST, &text).await.status(), StatusCode::CREATED);
    rig.push_image("b", "1", b"layer").await;

    let pushes = rig.registry.pushes_after(0, 100).await.unwrap();
    let shown: Vec<_> = pushes
        .iter()
        .map(|push| (push.repository.as_str(), push.tag.as_str(), &push.digest, push.by.as_str()))
        .collect();
    let wanted = [
        ("a", "1", &first, "anonymous"),
        ("a", "1", &second, "anonymous"),
        ("a", "1", &first, "anonymous"),
        ("a", "2", &first, "anonymous"),
        ("b", "1", &first, "anonymous"),
    ];
    assert_eq!(shown, wanted);
    assert!(pushes.iter().all(|push| push.media_type == MANIFEST));
    assert_eq!(pushes[2].id, pushes[3].id, "these tags were set together");
    assert!(pushes[0].id != pushes[2].id && pushes[3].id != pushes[4].id);

    drop(rig);
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    let page = rig.registry.pushes_after(pushes[0].seq, 2).await.unwrap();
    assert_eq!(page, pushes[1..3], "a restart forgets nothing");
    assert_eq!(rig.registry.forget_pushes(pushes[2].seq).await.unwrap(), 3);
    assert_eq!(rig.registry.pushes_after(0, 100).await.unwrap(), pushes[3..]);
    assert_eq!(rig.registry.forget_pushes(pushes[4].seq).await.unwrap(), 2);
    rig.push_image("c", "1", b"layer").await;
    let later = rig.registry.pushes_after(0, 100).await.unwrap();
    assert!(later[0].seq > pushes[4].seq, "a number is never used again");
}

#[tokio::test]
async fn a_refused_push_is_not_remembered() {
    let rig = rig().await;
    let missing = image(&sha256(b"nowhere"), &[], None).to_string();
    assert_eq!(rig.put_manifest("a", "1", MANIFEST, &missing).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(rig.registry.pushes_after(0, 100).await.unwrap(), []);
}

/// Knows `ci` (may push below `os/`) and `host` (may read); nobody else may do anything but read `public`.
struct Site;

#[async_trait]
impl Authorizer for Site {
    async fn authorize(&self, credentials: &Credentials, access: &Access) -> Verdict {
        let who = match credentials {
            Credentials::Anonymous => None,
            Credentials::Basic { user, password } if password.as_str() == "s3cret" => Some(user.clone()),
            Credentials::Bearer(token) if token.as_str() == "host-token" => Some("host".to_owned()),
            _ => return Verdict::Challenge,
        };
        let may = match (who.as_deref(), access) {
            (_, Access::Repository { repository, action: Action::Pull })
                if repository.as_str() == "public" =>
            {
                true
            }
            (None, _) => return Verdict::Challenge,
            (Some(_), Access::Enter) => true,
            (Some("ci"), Access::Repository { repository, .. }) => repository.as_str().starts_with("os/"),
            (Some("host"), Access::Repository { action, .. }) => *action == Action::Pull,
            _ => false,
        };
        if may { Verdict::Allowed(Identity(who.unwrap_or_default())) } else { Verdict::Denied }
    }
}

#[tokio::test]
async fn basic_and_bearer_credentials_open_what_the_authorizer_says() {
    let rig = rig_with(options(), Arc::new(Site)).await;
    let response = rig.get("/v2/").await;
    assert!(header(&response, "www-authenticate").starts_with("Basic realm="));
    refused(response, 401, "UNAUTHORIZED").await;
    let ci = |method: Method, path: &str| rig.request(method, path).basic_auth("ci", Some("s3cret"));
    assert_eq!(ci(Method::GET, "/v2/").send().await.unwrap().status(), StatusCode::OK);
    let started = ci(Method::POST, "/v2/os/debian/blobs/uploads/").send().await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let message =
        refused(ci(Method::POST, "/v2/tools/blobs/uploads/").send().await.unwrap(), 403, "DENIED").await;
    assert!(message.contains("repository:tools:pull,push"), "{message}");
    let wrong = rig.request(Method::GET, "/v2/").basic_auth("ci", Some("guess")).send().await.unwrap();
    refused(wrong, 401, "UNAUTHORIZED").await;
    let digest = sha256(b"content");
    let path = format!("/v2/os/debian/blobs/uploads/?digest={digest}");
    assert_eq!(ci(Method::POST, &path).body("content").send().await.unwrap().status(), StatusCode::CREATED);
    let host = rig.request(Method::GET, &format!("/v2/os/debian/blobs/{digest}")).bearer_auth("host-token");
    assert_eq!(host.send().await.unwrap().status(), StatusCode::OK);
    let host =
        rig.request(Method::DELETE, &format!("/v2/os/debian/blobs/{digest}")).bearer_auth("host-token");
    refused(host.send().await.unwrap(), 403, "DENIED").await;
    refused(rig.get(&format!("/v2/os/debian/blobs/{digest}")).await, 401, "UNAUTHORIZED").await;
    refused(rig.get(&format!("/v2/public/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn a_mount_needs_the_right_to_read_where_it_is_from() {
    let rig = rig_with(options(), Arc::new(Site)).await;
    let digest = sha256(b"content");
    let ci = |path: &str| rig.request(Method::POST, path).basic_auth("ci", Some("s3cret"));
    let path = format!("/v2/os/debian/blobs/uploads/?digest={digest}");
    assert_eq!(ci(&path).body("content").send().await.unwrap().status(), StatusCode::CREATED);
    let mounted =
        ci(&format!("/v2/os/copy/blobs/uploads/?mount={digest}&from=os/debian")).send().await.unwrap();
    assert_eq!(mounted.status(), StatusCode::CREATED);
    std::fs::remove_file(rig.registry.blob_path(&digest)).unwrap();
    let gone = ci(&format!("/v2/os/third/blobs/uploads/?mount={digest}")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::ACCEPTED, "what is lost cannot be mounted");
}

#[tokio::test]
async fn with_a_realm_clients_buy_tokens_that_are_worth_their_credentials() {
    let rig = rig_with_realm(Arc::new(Site)).await;
    let response = rig.get("/v2/").await;
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 1, "one challenge, not two");
    let challenge = header(&response, "www-authenticate");
    let endpoint = format!("http://{}/v2/token", rig.address);
    assert_eq!(challenge, format!("Bearer realm=\"{endpoint}\",service=\"registry\""));
    let challenge = header(&rig.send(Method::POST, "/v2/os/x/blobs/uploads/").await, "www-authenticate");
    assert!(challenge.ends_with(",scope=\"repository:os/x:pull,push\""), "{challenge}");

    let buy = |password: &'static str| {
        rig.request(Method::GET, "/v2/token?service=registry&scope=repository:os/x:pull,push")
            .basic_auth("ci", Some(password))
    };
    let response = buy("s3cret").send().await.unwrap();
    assert_eq!(header(&response, "cache-control"), "no-store");
    let bought = body(response).await;
    assert_eq!(bought["token"], bought["access_token"]);
    assert_eq!(bought["expires_in"], 300);
    let token = bought["token"].as_str().unwrap();
    let push =
        |name: &str| rig.request(Method::POST, &format!("/v2/{name}/blobs/uploads/")).bearer_auth(token);
    assert_eq!(push("os/x").send().await.unwrap().status(), StatusCode::ACCEPTED);
    refused(push("tools").send().await.unwrap(), 403, "DENIED").await;

    let wrong = buy("guess").send().await.unwrap();
    assert!(header(&wrong, "www-authenticate").starts_with("Basic "));
    refused(wrong, 401, "UNAUTHORIZED").await;
    let anonymous = body(rig.get("/v2/token").await).await;
    let token = anonymous["token"].as_str().unwrap();
    let read = |name: &str| rig.request(Method::GET, &format!("/v2/{name}/tags/list")).bearer_auth(token);
    refused(read("public").send().await.unwrap(), 404, "NAME_UNKNOWN").await;
    refused(read("os/x").send().await.unwrap(), 401, "UNAUTHORIZED").await;
    let forged = rig.request(Method::GET, "/v2/public/tags/list").bearer_auth("0".repeat(64));
    refused(forged.send().await.unwrap(), 401, "UNAUTHORIZED").await;
    let ended =
        rig.request(Method::GET, "/v2/public/tags/list").bearer_auth(format!("slr.{}", "0".repeat(64)));
    let ended = ended.send().await.unwrap();
    assert!(header(&ended, "www-authenticate").starts_with("Bearer "), "where to buy another");
    refused(ended, 401, "UNAUTHORIZED").await;
    let basic = rig.request(Method::POST, "/v2/os/x/blobs/uploads/").basic_auth("ci", Some("s3cret"));
    assert_eq!(basic.send().await.unwrap().status(), StatusCode::ACCEPTED, "Basic is taken unasked");
}
