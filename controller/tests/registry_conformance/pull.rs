//! Pull: end-1 (is this a registry), end-2 (blobs) and end-3 (manifests), by GET and HEAD. Ranges are in `ranges`.

use reqwest::Method;

use crate::{
    registry_support::{INDEX, MANIFEST, image, rig, sha256},
    support::{Answer, DIGEST, Way, ask, both, content, get, put},
};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// end-1: 200 says that the specification is implemented.
#[tokio::test]
async fn the_root_says_that_this_is_a_registry() {
    let rig = rig().await;
    for path in ["/v2/", "/v2"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&rig, method, path, &[], b"").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        }
    }
}

/// end-2: GET MUST give 200 with the blob, HEAD MUST give 200 with its size and without it; both SHOULD name its digest,
/// which MUST match the content. Also for an empty blob, and under each algorithm.
#[tokio::test]
async fn a_blob_is_answered_with_its_digest_and_size_and_head_says_the_same_without_it() {
    let rig = rig().await;
    for bytes in [content(10_000), b"{}".to_vec(), Vec::new()] {
        for digest in both(&bytes) {
            assert_eq!(Way::Post.push(&rig, "a/b", &digest, &bytes).await.status, 201);
            for method in [Method::GET, Method::HEAD] {
                let answer = ask(&rig, method.clone(), &format!("/v2/a/b/blobs/{digest}"), &[], b"").await;
                let place = format!("{method} {digest}");
                assert_eq!(answer.status, 200, "{place}");
                assert_eq!(answer.header(DIGEST), digest.to_string(), "{place}");
                assert_eq!(answer.header("content-length"), bytes.len().to_string(), "{place}");
                assert_eq!(answer.header("content-type"), "application/octet-stream", "{place}");
                assert_eq!(
                    answer.body,
                    if method == Method::GET { bytes.as_slice() } else { b"" },
                    "{place}"
                );
            }
        }
    }
}

/// end-2, end-3: what is not found MUST be 404, be it the blob, the manifest, the tag or the whole repository.
#[tokio::test]
async fn what_is_not_there_is_404_by_get_and_by_head() {
    let rig = rig().await;
    rig.push_image("known", "1", b"layer").await;
    for digest in both(b"never pushed") {
        for (path, code) in [
            (format!("/v2/known/blobs/{digest}"), "BLOB_UNKNOWN"),
            (format!("/v2/unknown/blobs/{digest}"), "BLOB_UNKNOWN"),
            (format!("/v2/known/manifests/{digest}"), "MANIFEST_UNKNOWN"),
            (format!("/v2/unknown/manifests/{digest}"), "MANIFEST_UNKNOWN"),
            ("/v2/known/manifests/2".to_owned(), "MANIFEST_UNKNOWN"),
            ("/v2/unknown/manifests/1".to_owned(), "MANIFEST_UNKNOWN"),
            ("/v2/known/manifests/.INVALID_MANIFEST_NAME".to_owned(), "MANIFEST_UNKNOWN"),
        ] {
            let found = get(&rig, &path).await;
            assert_eq!((found.status, found.code().as_str()), (404, code), "{path}");
            let head = ask(&rig, Method::HEAD, &path, &[], b"").await;
            assert_eq!((head.status, head.body.len()), (404, 0), "{path}");
        }
    }
}

/// end-2: a blob belongs to the repositories that it was pushed or mounted to; elsewhere it MUST be 404.
#[tokio::test]
async fn a_blob_is_seen_only_where_it_was_pushed() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"content").await;
    assert_eq!(get(&rig, &format!("/v2/a/blobs/{digest}")).await.status, 200);
    assert_eq!(get(&rig, &format!("/v2/b/blobs/{digest}")).await.code(), "BLOB_UNKNOWN");
    let (manifest, _) = rig.push_image("a", "1", b"layer").await;
    assert_eq!(get(&rig, &format!("/v2/b/manifests/{manifest}")).await.code(), "MANIFEST_UNKNOWN");
}

/// end-3: by tag and by digest, MUST be 200 with exactly the bytes that were pushed; Content-Type SHOULD match what was
/// pushed; the digest SHOULD be named and, on HEAD, the size.
#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let rig = rig().await;
    let config = rig.push_blob("os/debian", b"{}").await;
    let text = format!("{}\n  ", image(&config, &[], None));
    let digest = sha256(text.as_bytes());
    put(&rig, "os/debian", "13", MANIFEST, &text).await;
    for reference in ["13", &digest.to_string()] {
        let path = format!("/v2/os/debian/manifests/{reference}");
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&rig, method.clone(), &path, &[], b"").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), MANIFEST);
            assert_eq!(answer.header(DIGEST), digest.to_string());
            assert_eq!(answer.header("content-length"), text.len().to_string());
            assert_eq!(answer.body, if method == Method::GET { text.as_bytes() } else { b"" });
        }
        let held = format!("\"{digest}\"");
        let again = ask(&rig, Method::GET, &path, &[("if-none-match", &held)], b"").await;
        assert_eq!((again.status, again.header("etag")), (304, held.as_str()), "for caches");
    }
}

/// end-3: a client SHOULD say what it accepts; there is one form of a manifest, so nothing else could be answered.
#[tokio::test]
async fn an_accept_header_neither_hides_nor_changes_a_manifest() {
    let rig = rig().await;
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    for accept in [MANIFEST, INDEX, DOCKER, "text/html", "*/*", "", "nonsense;;,,", "application/*;q=0"] {
        let answer = ask(&rig, Method::GET, "/v2/a/manifests/1", &[("accept", accept)], b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, MANIFEST), "{accept:?}");
        assert_eq!(answer.header(DIGEST), digest.to_string());
        assert_eq!(answer.body, text.as_bytes());
    }
}

/// end-3: Content-Type SHOULD be what was pushed (kept exactly), and SHOULD NOT have parameters (which a push may have).
#[tokio::test]
async fn a_media_type_comes_back_exactly_but_without_parameters() {
    let rig = rig().await;
    for (number, (sent, kept)) in [
        ("application/vnd.nobody.Heard-of+json", "application/vnd.nobody.Heard-of+json"),
        ("application/vnd.nobody.heard.of+json; v=1", "application/vnd.nobody.heard.of+json"),
        ("application/x;charset=utf-8", "application/x"),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = number.to_string();
        put(&rig, "a", &tag, sent, &format!("{{\"x\":{number}}}")).await;
        assert_eq!(get(&rig, &format!("/v2/a/manifests/{tag}")).await.header("content-type"), kept);
    }
    let untyped = Answer::of(
        rig.request(Method::PUT, "/v2/a/manifests/own")
            .body(format!("{{\"mediaType\":\"{DOCKER}x\"}}"))
            .send()
            .await
            .unwrap(),
    );
    assert_eq!(untyped.await.status, 201, "a manifest that says its type itself needs no header");
    assert_eq!(get(&rig, "/v2/a/manifests/own").await.header("content-type"), format!("{DOCKER}x"));
}

/// `<name>`: components of lower-case words, parted by one period, one or two underscores or any hyphens.
#[tokio::test]
async fn every_name_of_the_grammar_can_be_pushed_to_and_pulled_from() {
    let rig = rig().await;
    let long = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    for name in [
        "a",
        "0",
        "a/b/c/d/e/f",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "blobs/uploads",
        "tags/list",
        "v2/token",
        &long,
    ] {
        let (digest, _) = rig.push_image(name, "1", b"layer").await;
        for reference in ["1", &digest.to_string()] {
            assert_eq!(get(&rig, &format!("/v2/{name}/manifests/{reference}")).await.status, 200, "{name}");
        }
        assert_eq!(get(&rig, &format!("/v2/{name}/tags/list")).await.json()["name"], *name);
    }
    for name in ["A", "a..b", "a___b", "-a", "a-", ".a", "a/", "a//b", "a_-b", "ä", &"a".repeat(256)] {
        let answer = get(&rig, &format!("/v2/{name}/tags/list")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "NAME_INVALID"), "{name}");
    }
}
