//! Content discovery: tags (end-8a, end-8b).

use reqwest::Method;
use serde_json::json;

use crate::{
    registry_support::{Rig, rig},
    support::{ask, get},
};

const ALL: [&str; 6] = ["10", "9", "B", "_a", "a.b", "c-d"];

async fn tagged() -> Rig {
    let rig = rig().await;
    for tag in ["c-d", "9", "B", "_a", "10", "a.b"] {
        rig.push_image("os/debian", tag, b"layer").await;
    }
    rig
}

/// end-8a MUST: 200 with name and tags in order; 404 for a repository that is not there.
#[tokio::test]
async fn tags_are_listed_in_ascii_order() {
    let rig = tagged().await;
    let answer = get(&rig, "/v2/os/debian/tags/list").await;
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.header("link")),
        (200, "application/json", "")
    );
    assert_eq!(answer.json(), json!({"name": "os/debian", "tags": ALL}));
    let head = ask(&rig, Method::HEAD, "/v2/os/debian/tags/list", &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, answer.body.len().to_string().as_str()));
    let unknown = get(&rig, "/v2/os/tags/list").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "NAME_UNKNOWN"));
}

/// end-8a: a repository MAY have no tags; the list is empty then, not null.
#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "only", b"layer").await;
    assert_eq!(rig.delete("/v2/a/manifests/only").await.status(), 202);
    assert_eq!(get(&rig, "/v2/a/tags/list").await.json(), json!({"name": "a", "tags": []}));
    assert_eq!(get(&rig, &format!("/v2/a/manifests/{digest}")).await.status, 200);
    assert_eq!(rig.delete(&format!("/v2/a/manifests/{digest}")).await.status(), 202);
    let left = get(&rig, "/v2/a/tags/list").await;
    assert_eq!((left.status, left.json()["tags"].clone()), (200, json!([])), "it still has its blobs");
}

/// end-8b: `n` tags, then a Link while there are more (MUST be `rel="next"` by RFC 5988); `last` MUST NOT be among what
/// follows it, with `n` or without; `n=0` MUST be empty, without a Link.
#[tokio::test]
async fn a_part_of_the_list_is_given_by_n_and_last() {
    let rig = tagged().await;
    for (query, expected, more) in [
        ("n=2", &ALL[..2], true),
        ("n=5", &ALL[..5], true),
        ("n=6", &ALL[..], false),
        ("n=7", &ALL[..], false),
        ("n=99999999999999999999", &ALL[..], false),
        ("n=0", &[], false),
        ("n=0&last=B", &[], false),
        ("last=9", &ALL[2..], false),
        ("n=2&last=9", &ALL[2..4], true),
        ("last=9&n=2&unknown=x", &ALL[2..4], true),
        ("n=2&last=_a", &ALL[4..], false),
        ("last=zz", &[], false),
        ("last=", &ALL[..], false),
        ("last=C", &ALL[3..], false),
        ("last=%2e%2e%2f", &ALL[..], false),
    ] {
        let answer = get(&rig, &format!("/v2/os/debian/tags/list?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.json()["tags"], json!(expected), "{query}");
        assert_eq!(answer.header("link").ends_with(">; rel=\"next\""), more, "{query}");
    }
}

/// end-8b: following the Links gives every tag once, in order.
#[tokio::test]
async fn the_links_lead_through_all_tags() {
    let rig = tagged().await;
    for n in 1..=7 {
        let mut found = Vec::new();
        let mut path = format!("/v2/os/debian/tags/list?n={n}");
        let mut pages = 0;
        loop {
            let answer = get(&rig, &path).await;
            found.extend(answer.json()["tags"].as_array().unwrap().clone());
            pages += 1;
            let Some(next) = answer.header("link").strip_prefix('<').and_then(|link| link.split('>').next())
            else {
                break;
            };
            next.clone_into(&mut path);
        }
        assert_eq!((json!(found), pages), (json!(ALL), ALL.len().div_ceil(n)), "n={n}");
    }
}

/// A number that is none is 400.
#[tokio::test]
async fn a_page_size_that_is_none_is_400() {
    let rig = tagged().await;
    for n in ["x", "-1", "1.5", "%2B1", "", "0x10"] {
        let answer = get(&rig, &format!("/v2/os/debian/tags/list?n={n}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "UNSUPPORTED"), "{n:?}");
    }
}
