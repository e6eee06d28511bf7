//! Push: blobs of other repositories (end-11).

use reqwest::Method;

use crate::{
    registry_support::{rig, sha256},
    support::{DIGEST, Way, ask, both, content, get},
};

/// MUST: a mounted blob is 201 with its Location, and can be pulled there.
#[tokio::test]
async fn a_blob_is_mounted_without_sending_it() {
    let rig = rig().await;
    for digest in both(&content(2000)) {
        Way::PostPut.push(&rig, "from/here", &digest, &content(2000)).await;
        for (to, from) in
            [("named", "&from=from/here"), ("encoded", "&from=from%2Fhere"), ("from/here", "&from=from/here")]
        {
            let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");
            let answer = ask(&rig, Method::POST, &path, &[], b"").await;
            assert_eq!((answer.status, answer.header(DIGEST)), (201, digest.to_string().as_str()), "{path}");
            assert_eq!(answer.header("location"), format!("/v2/{to}/blobs/{digest}"));
            assert!(get(&rig, answer.header("location")).await.body == content(2000));
        }
    }
}

/// MAY: without `from`, the blob is taken from where it can be found.
#[tokio::test]
async fn a_mount_without_from_finds_the_blob_by_itself() {
    let rig = rig().await;
    let digest = rig.push_blob("somewhere", b"content").await;
    for path in [format!("?mount={digest}"), format!("?mount={digest}&from=")] {
        let to = if path.ends_with('=') { "b" } else { "a" };
        let answer = ask(&rig, Method::POST, &format!("/v2/{to}/blobs/uploads/{path}"), &[], b"").await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(get(&rig, &format!("/v2/{to}/blobs/{digest}")).await.body, b"content");
    }
}

/// SHOULD: what cannot be mounted is 202, the beginning of an upload that can be finished.
#[tokio::test]
async fn a_mount_of_what_is_not_there_becomes_an_upload() {
    let rig = rig().await;
    rig.push_blob("here", b"content").await;
    for (bytes, from) in [("absent", "&from=here"), ("content", "&from=elsewhere"), ("nowhere", "")] {
        for wanted in both(bytes.as_bytes()) {
            let path = format!("/v2/to/blobs/uploads/?mount={wanted}{from}");
            let answer = ask(&rig, Method::POST, &path, &[], b"").await;
            assert_eq!(answer.status, 202, "{path}");
            let location = answer.header("location");
            assert!(location.starts_with("/v2/to/blobs/uploads/"), "{location}");
            assert_eq!(
                rig.close(location, &wanted.to_string(), bytes.as_bytes()).await.status(),
                201,
                "{path}"
            );
        }
    }
}

/// A name or digest that is none cannot be meant: 400.
#[tokio::test]
async fn a_mount_of_what_cannot_be_is_400() {
    let rig = rig().await;
    let digest = sha256(b"content");
    for (query, code) in [
        (format!("mount={digest}&from=../here"), "NAME_INVALID"),
        (format!("mount={digest}&from=UPPER"), "NAME_INVALID"),
        ("mount=sha256:x&from=here".to_owned(), "DIGEST_INVALID"),
        ("mount=".to_owned(), "DIGEST_INVALID"),
        ("mount=sha256:../../index.sqlite".to_owned(), "DIGEST_INVALID"),
    ] {
        let answer = ask(&rig, Method::POST, &format!("/v2/to/blobs/uploads/?{query}"), &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{query}");
    }
}
