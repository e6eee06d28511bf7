//! Pushing blobs over HTTP beyond the specification (see `registry_conformance` for its clauses): retries, restarts, faults.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::{io::Write, sync::Arc, time::Duration};

use controller::registry::{Options, auth::Open, digest::Algorithm};
use registry_support::{header, options, refused, rig, rig_at, rig_with, sha256};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn a_blob_pushed_in_one_request_can_be_pulled() {
    let rig = rig().await;
    let digest = rig.push_blob("os/debian", b"content").await;
    let response = rig.get(&format!("/v2/os/debian/blobs/{digest}")).await;
    assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
    assert_eq!(response.bytes().await.unwrap(), "content");
    assert!(rig.registry.has_blob(&digest).await.unwrap());
    assert_eq!(std::fs::read(rig.registry.blob_path(&digest)).unwrap(), b"content");
}

#[tokio::test]
async fn a_stream_that_outgrows_its_content_range_is_refused_and_what_fitted_is_kept() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>("abcdef"), Ok("ghi")]);
    let request = rig.request(Method::PATCH, &location).header("content-range", "0-6");
    let response = request.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    refused(response, 400, "SIZE_INVALID").await;
    assert!(rig.close(&location, &sha256(b"abcdef").to_string(), b"").await.status().is_success());
}

#[tokio::test]
async fn content_of_another_digest_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    let wrong = sha256(b"something else");
    let location = rig.begin("a").await;
    rig.chunk(&location, None, b"content").await;
    let message = refused(rig.close(&location, &wrong.to_string(), b"").await, 400, "DIGEST_INVALID").await;
    assert!(message.contains(&sha256(b"content").to_string()), "{message}");
    let path = format!("/v2/a/blobs/uploads/?digest={wrong}");
    refused(rig.request(Method::POST, &path).body("content").send().await.unwrap(), 400, "DIGEST_INVALID")
        .await;
    refused(rig.get(&format!("/v2/a/blobs/{wrong}")).await, 404, "BLOB_UNKNOWN").await;
    assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_repeated_closing_request_is_answered_like_the_first() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let digest = sha256(b"content").to_string();
    assert_eq!(rig.close(&location, &digest, b"content").await.status(), StatusCode::CREATED);
    assert_eq!(rig.close(&location, &digest, b"content").await.status(), StatusCode::CREATED);
    let other = sha256(b"never pushed").to_string();
    refused(rig.close(&location, &other, b"").await, 404, "BLOB_UPLOAD_UNKNOWN").await;
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let location = {
        let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
        let location = rig.begin("a").await;
        rig.chunk(&location, Some(0), b"before ").await;
        std::fs::write(folder.path().join("uploads/orphan"), b"left by a crash").unwrap();
        location
    };
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    assert!(!folder.path().join("uploads/orphan").exists(), "what no session owns is swept");
    assert_eq!(header(&rig.get(&location).await, "range"), "0-6");
    assert_eq!(rig.chunk(&location, Some(7), b"and ").await.status(), StatusCode::ACCEPTED);
    let digest = sha256(b"before and after");
    assert_eq!(rig.close(&location, &digest.to_string(), b"after").await.status(), StatusCode::CREATED);
    assert_eq!(rig.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), "before and after");
}

#[tokio::test]
async fn bytes_of_a_broken_connection_are_kept_and_the_session_is_free_again() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let address = rig.address;
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it");
    tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.flush().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    })
    .await
    .unwrap();
    let mut range = String::new();
    for _ in 0..100 {
        range = header(&rig.get(&location).await, "range");
        if range == "0-9" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(range, "0-9");
    let digest = sha256(b"half of it and the rest");
    let mut response = rig.chunk(&location, Some(10), b" and the rest").await;
    while response.status() == StatusCode::CONFLICT {
        tokio::time::sleep(Duration::from_millis(20)).await;
        response = rig.chunk(&location, Some(10), b" and the rest").await;
    }
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(rig.close(&location, &digest.to_string(), b"").await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn only_one_request_writes_to_an_upload_and_a_silent_one_is_given_up() {
    let settings = Options { body_idle: Duration::from_millis(300), ..options() };
    let rig = rig_with(settings, Arc::new(Open)).await;
    let location = rig.begin("a").await;
    let stalled = {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&str, std::io::Error>>(1);
        sender.send(Ok("first")).await.unwrap();
        let stream = futures_util::stream::unfold((receiver, sender), |(mut receiver, sender)| async move {
            receiver.recv().await.map(|bytes| (bytes, (receiver, sender)))
        });
        let request = rig.request(Method::PATCH, &location).body(reqwest::Body::wrap_stream(stream));
        tokio::spawn(request.send())
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let message = refused(rig.chunk(&location, None, b"second").await, 409, "BLOB_UPLOAD_INVALID").await;
    assert!(message.contains("another request"), "{message}");
    refused(stalled.await.unwrap().unwrap(), 408, "BLOB_UPLOAD_INVALID").await;
    assert_eq!(rig.chunk(&location, Some(5), b"second").await.status(), StatusCode::ACCEPTED);
    let digest = sha256(b"firstsecond").to_string();
    assert_eq!(rig.close(&location, &digest, b"").await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn many_clients_push_the_same_blob_at_once() {
    let rig = Arc::new(rig().await);
    let bytes: Arc<Vec<u8>> = Arc::new((0..3_000_000_u32).map(|number| (number % 251) as u8).collect());
    let digest = sha256(&bytes);
    let pushes = (0..8).map(|number| {
        let (rig, bytes, digest) = (Arc::clone(&rig), Arc::clone(&bytes), digest.clone());
        tokio::spawn(async move {
            let repository = format!("r{}", number % 2);
            let location = rig.begin(&repository).await;
            assert!(rig.chunk(&location, Some(0), &bytes[..1_500_000]).await.status().is_success());
            rig.close(&location, &digest.to_string(), &bytes[1_500_000..]).await.status()
        })
    });
    for push in pushes {
        assert_eq!(push.await.unwrap(), StatusCode::CREATED);
    }
    for repository in ["r0", "r1"] {
        let pulled = rig.get(&format!("/v2/{repository}/blobs/{digest}")).await.bytes().await.unwrap();
        assert_eq!(sha256(&pulled), digest);
    }
}

#[tokio::test]
async fn a_disk_without_room_refuses_with_a_remedy_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig_at(folder.path(), Options { reserve: u64::MAX, ..options() }, Arc::new(Open)).await;
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"x"));
    for path in ["/v2/a/blobs/uploads/", &path] {
        let response = rig.request(Method::POST, path).body("x").send().await.unwrap();
        let message = refused(response, 507, "DENIED").await;
        assert!(message.contains("free space"), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
    assert!(rig.registry.check().await.is_err(), "and is not ready");
}

/// A file system of 4 MiB, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_push_is_free_again_afterwards() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let rig = rig_at(disk.0.path(), options(), Arc::new(Open)).await;
    let large = vec![7; 6 * 1024 * 1024];
    let location = rig.begin("a").await;
    refused(rig.chunk(&location, None, &large).await, 507, "DENIED").await;
    refused(rig.get(&location).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(&large));
    let response = rig.request(Method::POST, &path).body(large).send().await.unwrap();
    refused(response, 507, "DENIED").await;
    assert_eq!(std::fs::read_dir(disk.0.path().join("uploads")).unwrap().count(), 0);
    rig.push_image("a", "fits", &vec![1; 1024 * 1024]).await;
    assert_eq!(rig.get("/v2/a/manifests/fits").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn uploads_that_nobody_finishes_expire() {
    fn tomorrow() -> jiff::Timestamp {
        jiff::Timestamp::now() + Duration::from_secs(2 * 24 * 3600)
    }
    let folder = tempfile::tempdir().unwrap();
    let location = {
        let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
        let location = rig.begin("a").await;
        rig.chunk(&location, None, b"x").await;
        assert_eq!(rig.registry.expire_uploads().await.unwrap(), 0, "not yet");
        location
    };
    let rig = rig_at(folder.path(), Options { clock: tomorrow, ..options() }, Arc::new(Open)).await;
    let fresh = rig.begin("a").await;
    assert_eq!(rig.registry.expire_uploads().await.unwrap(), 1);
    refused(rig.get(&location).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    assert_eq!(rig.get(&fresh).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_large_push_needs_little_memory() {
    const SIZE: usize = 256 * 1024 * 1024;
    let rig = rig().await;
    let piece: &'static [u8] = vec![3; 1024 * 1024].leak();
    let mut hasher = Algorithm::Sha256.hasher();
    (0..SIZE / piece.len()).for_each(|_| hasher.update(piece));
    let digest = hasher.finish();
    let location = rig.begin("a").await;
    let before = resident();
    let stream =
        futures_util::stream::iter((0..SIZE / piece.len()).map(move |_| Ok::<_, std::io::Error>(piece)));
    let path = format!("{location}?digest={digest}");
    let response =
        rig.request(Method::PUT, &path).body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let response = rig.get(&format!("/v2/a/blobs/{digest}")).await;
    let mut pulled = Algorithm::Sha256.hasher();
    let mut stream = response.bytes_stream();
    while let Some(bytes) = futures_util::StreamExt::next(&mut stream).await {
        pulled.update(&bytes.unwrap());
    }
    assert_eq!(pulled.finish(), digest);
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more than before a push and pull of 256 MiB");
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
