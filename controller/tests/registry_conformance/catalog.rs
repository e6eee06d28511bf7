//! Beyond the specification: `_catalog`, which every client that lists repositories expects. Same paging as tags.

use serde_json::json;

use crate::{registry_support::rig, support::get};

#[tokio::test]
async fn the_catalog_lists_repositories_that_have_a_manifest() {
    let rig = rig().await;
    assert_eq!(get(&rig, "/v2/_catalog").await.json(), json!({"repositories": []}));
    rig.push_blob("only/blobs", b"x").await;
    rig.begin("only/an-upload").await;
    let all = ["os/alma", "os/debian", "tools"];
    for name in ["os/debian", "tools", "os/alma"] {
        rig.push_image(name, "1", b"layer").await;
    }
    for (query, expected, link) in [
        ("", &all[..], ""),
        ("?n=2", &all[..2], "</v2/_catalog?n=2&last=os%2Fdebian>; rel=\"next\""),
        ("?n=3", &all[..], ""),
        ("?n=0", &[], ""),
        ("?n=2&last=os%2Fdebian", &all[2..], ""),
        ("?last=os", &all[..], ""),
        ("?last=zz", &[], ""),
    ] {
        let answer = get(&rig, &format!("/v2/_catalog{query}")).await;
        assert_eq!((answer.status, answer.header("link")), (200, link), "{query}");
        assert_eq!(answer.json(), json!({"repositories": expected}), "{query}");
    }
    assert_eq!(get(&rig, "/v2/_catalog?n=x").await.code(), "UNSUPPORTED");
}

/// A repository whose last manifest was deleted is not listed any more.
#[tokio::test]
async fn a_repository_without_manifests_is_not_listed() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "1", b"layer").await;
    rig.push_image("b", "1", b"layer").await;
    assert_eq!(rig.delete(&format!("/v2/a/manifests/{digest}")).await.status(), 202);
    assert_eq!(get(&rig, "/v2/_catalog").await.json(), json!({"repositories": ["b"]}));
}
