//! Tags that are made once, over HTTP: what may still be done to their repository, and what may not.
#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::sync::Arc;
use std::time::Duration;

use controller::registry::{Immutable, Options, Rule, auth::Open};
use glob::Pattern;
use registry_support::{INDEX, MANIFEST, Rig, image, options, refused, rig_at, rig_with, sha256};
use reqwest::StatusCode;
use serde_json::json;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn settings() -> Options {
    let rule = Immutable { repository: pattern("images/*"), tags: pattern("v*") };
    Options { immutable: vec![rule], ..options() }
}

async fn rig() -> Rig {
    rig_with(settings(), Arc::new(Open)).await
}

#[tokio::test]
async fn an_immutable_tag_is_made_once_and_the_same_push_succeeds_again() {
    let rig = rig().await;
    let (first, text) = rig.push_image("images/debian", "v1", b"one").await;
    let again = rig.put_manifest("images/debian", "v1", MANIFEST, &text).await;
    assert_eq!(again.status(), StatusCode::CREATED, "a client that did not hear the answer");
    let (second, other) = rig.push_image("images/debian", "latest", b"two").await;

    let answer = rig.put_manifest("images/debian", "v1", MANIFEST, &other).await;
    let message = refused(answer, 409, "DENIED").await;
    for said in
        ["tag v1 of repository images/debian", "images/*:v*", &first.to_string(), "registry_immutable"]
    {
        assert!(message.contains(said), "{said}: {message}");
    }
    // All or nothing: the tag that could have been set is not.
    let both = format!("{second}?tag=v2&tag=v1");
    refused(rig.put_manifest("images/debian", &both, MANIFEST, &other).await, 409, "DENIED").await;
    refused(rig.get("/v2/images/debian/manifests/v2").await, 404, "MANIFEST_UNKNOWN").await;
    let resolved = rig.registry.resolve("images/debian", "v1").await.unwrap().unwrap();
    assert_eq!(resolved.digest, first);

    assert_eq!(
        rig.put_manifest("images/debian", "latest", MANIFEST, &text).await.status(),
        StatusCode::CREATED
    );
    assert_eq!(rig.put_manifest("images/debian", "v2", MANIFEST, &other).await.status(), StatusCode::CREATED);
    rig.push_image("tools/x", "v1", b"one").await;
    rig.push_image("tools/x", "v1", b"two").await;
}

#[tokio::test]
async fn what_an_immutable_tag_needs_cannot_be_deleted_however_deep_it_is() {
    let rig = rig().await;
    let (child, text) = rig.push_image("images/debian", "latest", b"layer").await;
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": text.len()},
    ]})
    .to_string();
    assert_eq!(rig.put_manifest("images/debian", "v1", INDEX, &list).await.status(), StatusCode::CREATED);
    let (layer, list) = (sha256(b"layer"), sha256(list.as_bytes()));
    for path in [
        "/v2/images/debian/manifests/v1".to_owned(),
        format!("/v2/images/debian/manifests/{list}"),
        format!("/v2/images/debian/manifests/{child}"),
        format!("/v2/images/debian/blobs/{layer}"),
    ] {
        let message = refused(rig.delete(&path).await, 409, "DENIED").await;
        assert!(message.contains("tag v1 of repository images/debian is immutable"), "{path}: {message}");
    }
    assert_eq!(rig.delete("/v2/images/debian/manifests/latest").await.status(), StatusCode::ACCEPTED);
    refused(rig.delete("/v2/images/debian/manifests/v9").await, 404, "MANIFEST_UNKNOWN").await;
    // The same content elsewhere is not this tag's business, nor is what is only about it.
    let (elsewhere, _) = rig.push_image("tools/x", "v1", b"layer").await;
    let path = format!("/v2/tools/x/manifests/{elsewhere}");
    assert_eq!(rig.delete(&path).await.status(), StatusCode::ACCEPTED);
    let about = image(&sha256(b"{}"), &[], Some(&list)).to_string();
    let about_digest = sha256(about.as_bytes());
    let put = rig.put_manifest("images/debian", &about_digest.to_string(), MANIFEST, &about).await;
    assert_eq!(put.status(), StatusCode::CREATED);
    let path = format!("/v2/images/debian/manifests/{about_digest}");
    assert_eq!(rig.delete(&path).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn retention_leaves_immutable_tags_and_a_changed_configuration_is_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let none = Rule {
        repository: pattern("*"),
        tags: pattern("*"),
        keep_last: Some(0),
        untagged_after: Some(Duration::ZERO),
    };
    {
        let with_retention = Options { retention: vec![none.clone()], ..settings() };
        let rig = rig_at(folder.path(), with_retention, Arc::new(Open)).await;
        let (_, text) = rig.push_image("images/debian", "v1", b"one").await;
        assert_eq!(
            rig.put_manifest("images/debian", "old", MANIFEST, &text).await.status(),
            StatusCode::CREATED
        );
        assert_eq!(rig.registry.collect(true).await.unwrap().tags, 1);
        let done = rig.registry.collect(false).await.unwrap();
        assert_eq!((done.tags, done.manifests), (1, 0));
        assert!(rig.registry.resolve("images/debian", "v1").await.unwrap().is_some());
    }
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    assert_eq!(rig.delete("/v2/images/debian/manifests/v1").await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_make_the_same_tag_at_once_one_wins() {
    let rig = Arc::new(rig().await);
    let config = rig.push_blob("images/race", b"{}").await;
    for round in 0..10 {
        let pushes: Vec<_> = (0..8)
            .map(|number| {
                let (rig, mut body) = (Arc::clone(&rig), image(&config, &[], None));
                body["annotations"] = json!({"number": format!("{round} {number}")});
                let tag = format!("v{round}");
                tokio::spawn(async move {
                    let body = body.to_string();
                    let answer = rig.put_manifest("images/race", &tag, MANIFEST, &body).await;
                    (answer.status(), sha256(body.as_bytes()))
                })
            })
            .collect();
        let mut made = Vec::new();
        for push in pushes {
            match push.await.unwrap() {
                (StatusCode::CREATED, digest) => made.push(digest),
                (status, _) => assert_eq!(status, StatusCode::CONFLICT),
            }
        }
        let held = rig.registry.resolve("images/race", &format!("v{round}")).await.unwrap().unwrap();
        assert_eq!(made, [held.digest]);
    }
}
