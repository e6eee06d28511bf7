//! What a refusal says. MUST: JSON of one form, with a code of capital letters that is one of fourteen. Every status
//! that a client can provoke is provoked somewhere in this folder; here are those that belong to no endpoint.

use reqwest::Method;

use crate::{
    registry_support::{MANIFEST, rig, sha256},
    support::{ask, get},
};

/// code-1 to code-14.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// A path that cannot mean anything is refused in the registry's own words, whatever is done to it.
#[tokio::test]
async fn what_a_url_cannot_mean_is_refused_in_the_specifications_words() {
    let rig = rig().await;
    for (method, path, status, code) in [
        (Method::GET, "/v2/A/tags/list", 400, "NAME_INVALID"),
        (Method::POST, "/v2/-a/blobs/uploads/", 400, "NAME_INVALID"),
        (Method::GET, "/v2/..%2fetc/manifests/x", 400, "NAME_INVALID"),
        (Method::PUT, "/v2/a/manifests/..%2fetc", 400, "NAME_INVALID"),
        (Method::GET, "/v2/a/blobs/sha256:0", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/blobs/md5:00", 400, "DIGEST_INVALID"),
        (Method::DELETE, "/v2/a/blobs/x", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
        (Method::DELETE, "/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        (Method::POST, "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/unknown", 404, "UNSUPPORTED"),
        (Method::GET, "/v2/a/tags", 404, "UNSUPPORTED"),
        (Method::GET, "/v2/a/tags/list/", 404, "UNSUPPORTED"),
        (Method::GET, "/v2/a/blobs/%ff%fe", 404, "UNSUPPORTED"),
    ] {
        let answer = ask(&rig, method.clone(), path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/json", "{method} {path}");
        assert!(CODES.contains(&code));
    }
}

/// A method that an endpoint does not have is 405, with those that it has.
#[tokio::test]
async fn a_method_that_is_not_there_is_405_with_those_that_are() {
    let rig = rig().await;
    let digest = sha256(b"x");
    let table = [
        ("/v2/".to_owned(), "GET, HEAD"),
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        ("/v2/a/tags/list".to_owned(), "GET, HEAD"),
        (format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
        (format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("/v2/a/manifests/x".to_owned(), "GET, HEAD, PUT, DELETE"),
        ("/v2/a/blobs/uploads/".to_owned(), "POST"),
        ("/v2/a/blobs/uploads/0".to_owned(), "GET, HEAD, PATCH, PUT, DELETE"),
    ];
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    for (path, allowed) in &table {
        for method in methods.iter().filter(|method| !allowed.split(", ").any(|one| one == **method)) {
            let method: Method = method.parse().unwrap();
            let answer = ask(&rig, method.clone(), path, &[], b"").await;
            assert_eq!((answer.status, answer.header("allow")), (405, *allowed), "{method} {path}");
            if method != Method::HEAD {
                assert_eq!(answer.code(), "UNSUPPORTED", "{method} {path}");
            }
        }
    }
}

/// What a client sent is repeated shortened, as JSON, and never as a header.
#[tokio::test]
async fn what_was_sent_is_repeated_short_and_harmless() {
    let rig = rig().await;
    let long = "x".repeat(20_000);
    for path in [
        format!("/v2/{long}/manifests/1"),
        format!("/v2/a/manifests/{long}"),
        format!("/v2/a/blobs/{long}"),
        format!("/v2/a/blobs/uploads/{long}"),
        format!("/v2/a/tags/list?n={long}"),
        "/v2/a/manifests/%0d%0alocation:%20x%22%5c%00%1b%5b".to_owned(),
        "/v2/%e2%80%ae%0a/manifests/1".to_owned(),
    ] {
        let answer = get(&rig, &path).await;
        assert!(answer.status == 400 || answer.status == 404, "{path}: {}", answer.status);
        assert!(CODES.contains(&answer.code().as_str()));
        assert!(answer.body.len() < 1000, "{path}: {}", answer.body.len());
        assert_eq!(answer.header("location"), "", "{path}");
    }
    let refused =
        ask(&rig, Method::PUT, "/v2/a/manifests/1", &[("content-type", MANIFEST)], long.as_bytes()).await;
    assert!(refused.body.len() < 1000);
}
