//! Quotas over HTTP: every way in is refused at its earliest, nothing is ever exceeded, and refused content leaves no bytes.
#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use controller::registry::{Options, Quota, auth::Open};
use registry_support::{MANIFEST, Rig, header, image, options, refused, rig_at, sha256};
use reqwest::{Method, StatusCode};

/// Room of the namespace `team`.
const SIZE: u64 = 1000;

struct Site {
    folder: tempfile::TempDir,
    rig: Rig,
}

async fn site() -> Site {
    site_with(Options::default()).await
}

async fn site_with(more: Options) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let quotas = vec![Quota { namespace: "team".to_owned(), size: SIZE }];
    let rig = rig_at(folder.path(), Options { quotas, reserve: 0, ..more }, Arc::new(Open)).await;
    Site { folder, rig }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

impl Site {
    async fn used(&self) -> u64 {
        self.rig.registry.rooms().await.unwrap()[0].used
    }

    /// Nothing of a refused push is left.
    fn is_clean(&self, blobs: usize) {
        assert_eq!(files(&self.folder.path().join("uploads")), 0, "unfinished uploads");
        assert_eq!(files(&self.folder.path().join("blobs/sha256")), blobs);
    }
}

#[tokio::test]
async fn what_is_announced_too_large_is_refused_before_it_is_sent() {
    let site = site().await;
    let rig = &site.rig;
    rig.push_blob("team/app", &[1; 900]).await;
    let large = vec![2; 101];
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", sha256(&large));
    let answer = rig.request(Method::POST, &path).body(large.clone()).send().await.unwrap();
    let message = refused(answer, 403, "DENIED").await;
    for said in ["team hold 900 B of 1000 B", "101 bytes more", "registry_quota"] {
        assert!(message.contains(said), "{said}: {message}");
    }
    let session = rig.begin("team/other").await;
    refused(rig.chunk(&session, Some(0), &large).await, 403, "DENIED").await;
    refused(rig.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let session = rig.begin("team").await;
    refused(rig.close(&session, &sha256(&large).to_string(), &large).await, 403, "DENIED").await;
    site.is_clean(1);
    rig.push_blob("teamwork", &large).await;
    rig.push_blob("team/app", &[3; 100]).await;
    assert_eq!(site.used().await, SIZE, "to the last byte");
    let answer = rig.send(Method::POST, "/v2/team/app/blobs/uploads/").await;
    refused(answer, 403, "DENIED").await;
    assert_eq!(rig.push_blob("team/app", &[1; 900]).await, sha256(&[1; 900]), "what is there adds nothing");
}

#[tokio::test]
async fn a_stream_that_grows_beyond_its_quota_is_cut_and_its_space_is_free_again() {
    let site = site().await;
    let stream = || {
        let pieces = (0..11).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 100]));
        reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
    };
    let session = site.rig.begin("team/app").await;
    let answer = site.rig.request(Method::PATCH, &session).body(stream()).send().await.unwrap();
    refused(answer, 403, "DENIED").await;
    refused(site.rig.get(&session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", sha256(&[7; 1100]));
    let answer = site.rig.request(Method::POST, &path).body(stream()).send().await.unwrap();
    refused(answer, 403, "DENIED").await;
    // Chunk by chunk it is the same: what the session has counts.
    let session = site.rig.begin("team/app").await;
    assert_eq!(site.rig.chunk(&session, Some(0), &[7; 600]).await.status(), StatusCode::ACCEPTED);
    let held = site.rig.chunk(&session, Some(600), &[7; 400]).await;
    assert_eq!((held.status(), header(&held, "range").as_str()), (StatusCode::ACCEPTED, "0-999"));
    refused(site.rig.chunk(&session, Some(1000), &[7; 1]).await, 403, "DENIED").await;
    site.is_clean(0);
    assert_eq!(site.used().await, 0);
}

#[tokio::test]
async fn an_upload_that_others_have_overtaken_is_refused_when_it_is_closed() {
    let site = site().await;
    let session = site.rig.begin("team/app").await;
    assert_eq!(site.rig.chunk(&session, Some(0), &[7; 600]).await.status(), StatusCode::ACCEPTED);
    site.rig.push_blob("team/other", &[8; 500]).await;
    let answer = site.rig.close(&session, &sha256(&[7; 600]).to_string(), b"").await;
    refused(answer, 403, "DENIED").await;
    site.is_clean(1);
    assert_eq!(site.used().await, 500);
}

#[tokio::test]
async fn mounts_and_manifests_count_and_are_refused_too() {
    let site = site().await;
    let rig = &site.rig;
    let large = rig.push_blob("elsewhere", &[1; 950]).await;
    let config = rig.push_blob("team/app", b"{}").await;
    rig.push_blob("team/app", &[2; 60]).await;
    let mount = |to: &str| format!("/v2/{to}/blobs/uploads/?mount={large}&from=elsewhere");
    let message = refused(rig.send(Method::POST, &mount("team/copy")).await, 403, "DENIED").await;
    assert!(message.contains("950 bytes more"), "{message}");
    refused(rig.head(&format!("/v2/team/copy/blobs/{large}")).await, 404, "").await;
    assert_eq!(rig.send(Method::POST, &mount("other/copy")).await.status(), StatusCode::CREATED);

    let manifest = image(&config, &[], None).to_string();
    let put = |rig: &Rig, tag: &str, text: &str| {
        let (tag, text) = (tag.to_owned(), text.to_owned());
        let request = rig.request(Method::PUT, &format!("/v2/team/app/manifests/{tag}"));
        request.header("content-type", MANIFEST).body(text).send()
    };
    assert_eq!(put(rig, "1", &manifest).await.unwrap().status(), StatusCode::CREATED);
    let used = 62 + manifest.len() as u64;
    assert_eq!(site.used().await, used);
    rig.push_blob("team/app", &vec![3; usize::try_from(SIZE - used).unwrap()]).await;
    assert_eq!(put(rig, "2", &manifest).await.unwrap().status(), StatusCode::CREATED, "another tag is free");
    let other = manifest.replace("\"layers\":[]", "\"layers\":[],\"annotations\":{\"a\":\"b\"}");
    assert_ne!(other, manifest);
    refused(put(rig, "2", &other).await.unwrap(), 403, "DENIED").await;
    assert!(!rig.registry.has_blob(&sha256(other.as_bytes())).await.unwrap(), "nothing is left of it");

    // Removing gives room; what no manifest names is counted until a collection unlinks it.
    let path = format!("/v2/team/app/manifests/{}", sha256(manifest.as_bytes()));
    assert_eq!(rig.delete(&path).await.status(), StatusCode::ACCEPTED);
    assert_eq!(site.used().await, SIZE - manifest.len() as u64);
}

#[tokio::test]
async fn a_collection_gives_room_back() {
    let site = site_with(Options { lease: Duration::ZERO, ..options() }).await;
    site.rig.push_blob("team/app", &[1; 1000]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    refused(site.rig.send(Method::POST, "/v2/team/app/blobs/uploads/").await, 403, "DENIED").await;
    site.rig.registry.collect(true).await.unwrap();
    assert_eq!(site.used().await, SIZE, "a rehearsal gives nothing");
    site.rig.registry.collect(false).await.unwrap();
    assert_eq!(site.used().await, 0);
    site.rig.push_blob("team/app", &[2; 1000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_at_once_never_exceed_a_quota_and_leave_nothing_of_the_refused() {
    let site = Arc::new(site().await);
    let pushes: Vec<_> = (0..40_u8)
        .map(|number| {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let bytes = vec![number; 90];
                let digest = sha256(&bytes);
                let repository = format!("team/{}", number % 4);
                let answer = if number % 2 == 0 {
                    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                    site.rig.request(Method::POST, &path).body(bytes).send().await.unwrap()
                } else {
                    let begun =
                        site.rig.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/")).await;
                    if begun.status() == StatusCode::FORBIDDEN {
                        return 0;
                    }
                    site.rig.close(&header(&begun, "location"), &digest.to_string(), &bytes).await
                };
                match answer.status() {
                    StatusCode::CREATED => 90,
                    other => {
                        assert_eq!(other, StatusCode::FORBIDDEN);
                        0
                    }
                }
            })
        })
        .collect();
    let mut made = 0;
    for push in pushes {
        made += push.await.unwrap();
    }
    assert_eq!((made, site.used().await), (990, 990), "as many as fit, and no more");
    site.is_clean(11);
}
