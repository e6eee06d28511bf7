//! Content management: deleting tags and manifests (end-9) and blobs (end-10). Each is over when it is answered.

use serde_json::json;

use crate::{
    registry_support::{INDEX, MANIFEST, Rig, rig, sha256},
    support::{Answer, both, get, put},
};

async fn delete(rig: &Rig, path: &str) -> Answer {
    Answer::of(rig.delete(path).await).await
}

/// end-9 MUST: 202; the tag is 404 then, and what it pointed to stays.
#[tokio::test]
async fn a_deleted_tag_is_gone_and_its_manifest_stays() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "one", b"layer").await;
    rig.push_image("a", "two", b"layer").await;
    let answer = delete(&rig, "/v2/a/manifests/one").await;
    assert_eq!((answer.status, answer.header("content-length")), (202, "0"));
    assert_eq!(get(&rig, "/v2/a/manifests/one").await.code(), "MANIFEST_UNKNOWN");
    assert_eq!(get(&rig, "/v2/a/tags/list").await.json()["tags"], json!(["two"]));
    for reference in ["two", &digest.to_string()] {
        assert_eq!(get(&rig, &format!("/v2/a/manifests/{reference}")).await.status, 200);
    }
}

/// end-9 MUST: 202; the manifest and every tag that points to it are 404 then. In this repository, and in no other.
#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_with_it() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "one", b"layer").await;
    rig.push_image("a", "two", b"layer").await;
    rig.push_image("a", "other", b"other").await;
    rig.push_image("b", "one", b"layer").await;
    assert_eq!(delete(&rig, &format!("/v2/a/manifests/{digest}")).await.status, 202);
    for reference in ["one", "two", &digest.to_string()] {
        assert_eq!(get(&rig, &format!("/v2/a/manifests/{reference}")).await.code(), "MANIFEST_UNKNOWN");
    }
    assert_eq!(get(&rig, "/v2/a/tags/list").await.json(), json!({"name": "a", "tags": ["other"]}));
    assert_eq!(get(&rig, "/v2/b/manifests/one").await.status, 200);
}

/// end-10 MUST: 202; the blob is 404 then. In this repository, and in no other.
#[tokio::test]
async fn a_deleted_blob_is_gone_where_it_was_deleted() {
    let rig = rig().await;
    for digest in both(b"content") {
        for repository in ["a", "b"] {
            let way = crate::support::Way::Post;
            assert_eq!(way.push(&rig, repository, &digest, b"content").await.status, 201);
        }
        let answer = delete(&rig, &format!("/v2/a/blobs/{digest}")).await;
        assert_eq!((answer.status, answer.header("content-length")), (202, "0"));
        assert_eq!(get(&rig, &format!("/v2/a/blobs/{digest}")).await.code(), "BLOB_UNKNOWN");
        assert_eq!(get(&rig, &format!("/v2/b/blobs/{digest}")).await.body, b"content");
    }
}

/// end-9, end-10 MUST: 404 for what is not there, is gone already, or is in a repository that is not there.
#[tokio::test]
async fn what_is_not_there_cannot_be_deleted() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "1", b"layer").await;
    let blob = rig.push_blob("a", b"blob").await;
    for path in ["1".to_owned(), digest.to_string()] {
        assert_eq!(delete(&rig, &format!("/v2/a/manifests/{path}")).await.status, 202);
    }
    assert_eq!(delete(&rig, &format!("/v2/a/blobs/{blob}")).await.status, 202);
    let absent = sha256(b"absent");
    for (path, code) in [
        ("/v2/a/manifests/1".to_owned(), "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/.INVALID".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        (format!("/v2/no/such/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        ("/v2/no/such/manifests/1".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/blobs/{blob}"), "BLOB_UNKNOWN"),
        (format!("/v2/a/blobs/{absent}"), "BLOB_UNKNOWN"),
        (format!("/v2/no/such/blobs/{absent}"), "BLOB_UNKNOWN"),
    ] {
        let answer = delete(&rig, &path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{path}");
    }
}

/// Content can be deleted from the top down and from the bottom up, and pushed again.
#[tokio::test]
async fn content_is_deleted_in_any_order_and_can_come_back() {
    let rig = rig().await;
    for from_the_top in [true, false] {
        let (image, text) = rig.push_image("a", "image", b"layer").await;
        let child = json!({"mediaType": MANIFEST, "digest": image, "size": text.len()});
        let list = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
        put(&rig, "a", "list", INDEX, &list).await;
        let mut paths = vec![
            "/v2/a/manifests/list".to_owned(),
            format!("/v2/a/manifests/{}", sha256(list.as_bytes())),
            format!("/v2/a/manifests/{image}"),
            format!("/v2/a/blobs/{}", sha256(b"layer")),
            format!("/v2/a/blobs/{}", sha256(b"{}")),
        ];
        if !from_the_top {
            paths.reverse();
            paths.rotate_right(1); // the tag goes with its manifest, so it is first all the same
        }
        for path in &paths {
            assert_eq!(delete(&rig, path).await.status, 202, "{path}");
            assert_eq!(get(&rig, path).await.status, 404, "{path}");
        }
    }
}
