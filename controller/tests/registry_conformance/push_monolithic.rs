//! Push: a blob in one piece. end-4a with end-6 (POST, then PUT) and end-4b (one POST).

use reqwest::Method;

use crate::{
    registry_support::{rig, sha256},
    support::{Answer, DIGEST, Way, ask, both, content, get},
};

/// end-4a MUST: 202 and a Location with a UUID of its own for each session.
#[tokio::test]
async fn a_session_is_202_with_a_location_of_its_own() {
    let rig = rig().await;
    let mut seen = Vec::new();
    for path in ["/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads", "/v2/a/b/blobs/uploads/?unknown=1"] {
        let answer = ask(&rig, Method::POST, path, &[], b"").await;
        assert_eq!(
            (answer.status, answer.header("range"), answer.header("content-length")),
            (202, "0-0", "0")
        );
        let location = answer.header("location").to_owned();
        let id = location.strip_prefix("/v2/a/b/blobs/uploads/").unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{location}");
        assert_eq!(answer.header("docker-upload-uuid"), id);
        seen.push(location);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

/// end-4b, end-5, end-6 MUST: 201 and the Location of a blob that can be pulled; by every way and algorithm.
#[tokio::test]
async fn every_way_to_push_ends_in_a_blob_at_its_location() {
    let rig = rig().await;
    for bytes in [content(512), content(3 * 64 * 1024 - 5)] {
        for digest in both(&bytes) {
            for way in Way::ALL {
                let repository = format!("{way:?}").to_lowercase();
                let answer = way.push(&rig, &repository, &digest, &bytes).await;
                assert_eq!(answer.status, 201, "{way:?} {digest}");
                assert_eq!(answer.header(DIGEST), digest.to_string());
                assert_eq!(answer.header("location"), format!("/v2/{repository}/blobs/{digest}"));
                let pulled = get(&rig, answer.header("location")).await;
                assert!((pulled.status, pulled.body) == (200, bytes.clone()), "{way:?} {digest}");
            }
        }
    }
}

/// end-4b, end-6: content of another digest MUST NOT be taken: 400 `DIGEST_INVALID`, and nothing is there.
#[tokio::test]
async fn content_that_is_not_its_digest_is_400_by_every_way() {
    let rig = rig().await;
    for digest in both(b"something else") {
        for way in Way::ALL {
            let answer = way.push(&rig, "a", &digest, &content(3000)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"), "{way:?} {digest}");
            assert_eq!(get(&rig, &format!("/v2/a/blobs/{digest}")).await.status, 404, "{way:?} {digest}");
        }
    }
}

/// end-4b, end-6: a digest that is none is 400 `DIGEST_INVALID`; closing MUST name one. The session outlives the mistake.
#[tokio::test]
async fn a_digest_that_is_none_is_400_and_the_session_lives() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let hex = "a".repeat(64);
    for digest in
        ["", "x", "sha256", "sha256:", "sha256:abc", "md5:00", "sha999:00", &hex, &format!("sha512:{hex}")]
    {
        for (method, path) in [(Method::PUT, location.as_str()), (Method::POST, "/v2/a/blobs/uploads/")] {
            let answer = ask(&rig, method, &format!("{path}?digest={digest}"), &[], b"content").await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"), "{digest:?}");
        }
    }
    let unnamed = ask(&rig, Method::PUT, &location, &[], b"content").await;
    assert_eq!((unnamed.status, unnamed.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(rig.close(&location, &sha256(b"content").to_string(), b"content").await.status(), 201);
}

/// A session may be told its algorithm; it stands for nothing else, and each blob is known by the digest it was pushed by.
#[tokio::test]
async fn a_blob_is_known_by_the_algorithm_that_it_was_pushed_by() {
    let rig = rig().await;
    let [sha256, sha512] = both(b"content");
    for (number, query) in ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"].iter().enumerate() {
        let begun = ask(&rig, Method::POST, &format!("/v2/a{number}/blobs/uploads/{query}"), &[], b"").await;
        assert_eq!(begun.status, 202);
        let closed = rig.close(begun.header("location"), &sha512.to_string(), b"content").await;
        assert_eq!(closed.status(), 201, "{query}");
        assert_eq!(get(&rig, &format!("/v2/a{number}/blobs/{sha512}")).await.status, 200);
        assert_eq!(get(&rig, &format!("/v2/a{number}/blobs/{sha256}")).await.status, 404);
    }
}

/// An empty blob is a blob like any other.
#[tokio::test]
async fn an_empty_blob_can_be_pushed() {
    let rig = rig().await;
    for digest in both(b"") {
        for (repository, way) in [("a", Way::Post), ("b", Way::PostPut), ("c", Way::Stream)] {
            assert_eq!(way.push(&rig, repository, &digest, b"").await.status, 201, "{way:?}");
            let pulled = get(&rig, &format!("/v2/{repository}/blobs/{digest}")).await;
            assert_eq!((pulled.status, pulled.header("content-length"), pulled.body.len()), (200, "0", 0));
        }
    }
}

/// A Location MAY be relative; it holds for any name of the host, and its digest parameter may be percent-encoded, as
/// most clients do. Unknown parameters are not ours to judge.
#[tokio::test]
async fn a_location_can_be_used_as_clients_use_it() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    assert!(location.starts_with("/v2/"), "a path resolves against any host, port and proxy: {location}");
    let digest = sha256(b"content");
    let encoded = digest.to_string().replace(':', "%3A");
    let url =
        format!("http://localhost:{}{location}?ns=docker.io&digest={encoded}&x=%00", rig.address.port());
    let answer = Answer::of(rig.client.put(url).body("content").send().await.unwrap()).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(get(&rig, &format!("/v2/a/blobs/{encoded}")).await.body, b"content");
}
