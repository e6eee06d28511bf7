//! A registry that is switched to read-only: what is refused, what goes on, and that nothing is lost.
#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::sync::Arc;
use std::time::Duration;

use controller::registry::{Options, auth::Open};
use registry_support::{MANIFEST, Rig, header, options, refused, rig, rig_at, sha256};
use reqwest::{Method, StatusCode};

async fn switch(rig: &Rig, reason: Option<&str>) {
    rig.registry.set_read_only(reason.map(ToOwned::to_owned), "token ops".to_owned()).await.unwrap();
}

#[tokio::test]
async fn every_change_is_refused_with_the_reason_and_every_read_goes_on() {
    let rig = rig().await;
    let (manifest, text) = rig.push_image("os/debian", "1", b"layer").await;
    let layer = sha256(b"layer");
    let session = rig.begin("os/debian").await;
    assert_eq!(rig.chunk(&session, Some(0), b"abc").await.status(), StatusCode::ACCEPTED);
    switch(&rig, Some("a new disk")).await;

    let whole = sha256(b"whole");
    for (method, path) in [
        (Method::POST, "/v2/os/debian/blobs/uploads/".to_owned()),
        (Method::POST, format!("/v2/os/debian/blobs/uploads/?digest={whole}")),
        (Method::POST, format!("/v2/os/copy/blobs/uploads/?mount={layer}&from=os/debian")),
        (Method::PATCH, session.clone()),
        (Method::PUT, format!("{session}?digest={whole}")),
        (Method::DELETE, session.clone()),
        (Method::DELETE, format!("/v2/os/debian/blobs/{layer}")),
        (Method::DELETE, format!("/v2/os/debian/manifests/{manifest}")),
        (Method::DELETE, "/v2/os/debian/manifests/1".to_owned()),
    ] {
        let answer = rig.request(method.clone(), &path).body("whole").send().await.unwrap();
        let message = refused(answer, 403, "DENIED").await;
        assert!(
            message.contains("read-only") && message.contains("a new disk"),
            "{method} {path}: {message}"
        );
    }
    refused(rig.put_manifest("os/debian", "2", MANIFEST, &text).await, 403, "DENIED").await;
    assert!(rig.registry.collect(false).await.is_err(), "nothing is collected");
    assert!(rig.registry.collect(true).await.unwrap().dry_run);

    for path in [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/os/debian/tags/list".to_owned(),
        "/v2/os/debian/manifests/1".to_owned(),
        format!("/v2/os/debian/blobs/{layer}"),
        format!("/v2/os/debian/referrers/{manifest}"),
    ] {
        assert_eq!(rig.get(&path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(rig.head(&format!("/v2/os/debian/blobs/{layer}")).await.status(), StatusCode::OK);
    assert!(rig.registry.pin(&manifest, "1", None).await.unwrap(), "who needs an image may still say so");
    let status = rig.get(&session).await;
    assert_eq!((status.status(), header(&status, "range").as_str()), (StatusCode::NO_CONTENT, "0-2"));

    switch(&rig, None).await;
    assert_eq!(rig.chunk(&session, Some(3), b"def").await.status(), StatusCode::ACCEPTED);
    let digest = sha256(b"abcdef").to_string();
    assert_eq!(rig.close(&session, &digest, b"").await.status(), StatusCode::CREATED);
    assert_eq!(rig.put_manifest("os/debian", "2", MANIFEST, &text).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn the_switch_lasts_over_restarts_and_uploads_do_not_grow_old_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let short = || Options { upload_lifetime: Duration::from_millis(300), ..options() };
    let session = {
        let rig = rig_at(folder.path(), short(), Arc::new(Open)).await;
        let session = rig.begin("a").await;
        assert_eq!(rig.chunk(&session, Some(0), b"abc").await.status(), StatusCode::ACCEPTED);
        switch(&rig, Some("moving")).await;
        session
    };
    let rig = rig_at(folder.path(), short(), Arc::new(Open)).await;
    assert_eq!(rig.registry.read_only().unwrap().reason, "moving");
    refused(rig.chunk(&session, Some(3), b"def").await, 403, "DENIED").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(rig.registry.expire_uploads().await.unwrap(), 0, "nothing is removed");
    switch(&rig, None).await;
    assert_eq!(rig.registry.expire_uploads().await.unwrap(), 0, "its age begins anew");
    assert_eq!(rig.chunk(&session, Some(3), b"def").await.status(), StatusCode::ACCEPTED);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(rig.registry.expire_uploads().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_when_it_is_switched_is_made_before_or_refused() {
    let rig = Arc::new(rig().await);
    let pushers: Vec<_> = (0..8_u32)
        .map(|pusher| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let mut made = Vec::new();
                for number in 0..200_u32 {
                    let bytes = format!("{pusher} {number}");
                    let digest = sha256(bytes.as_bytes());
                    let path = format!("/v2/r/{pusher}/blobs/uploads/?digest={digest}");
                    let answer = rig.request(Method::POST, &path).body(bytes).send().await.unwrap();
                    match answer.status() {
                        StatusCode::CREATED => made.push(digest),
                        other => {
                            assert_eq!(other, StatusCode::FORBIDDEN);
                            return made;
                        }
                    }
                }
                made
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    switch(&rig, Some("now")).await;
    let usage = rig.registry.usage(String::new(), 100).await.unwrap();
    let mut made = 0;
    for (pusher, task) in pushers.into_iter().enumerate() {
        for digest in task.await.unwrap() {
            made += 1;
            let path = format!("/v2/r/{pusher}/blobs/{digest}");
            assert_eq!(rig.head(&path).await.status(), StatusCode::OK, "it was answered 201");
        }
    }
    let held = rig.registry.usage(String::new(), 100).await.unwrap();
    assert_eq!(held, usage, "nothing was made after the switch was set");
    assert_eq!(held.iter().map(|row| row.blobs).sum::<u64>(), made);
}
