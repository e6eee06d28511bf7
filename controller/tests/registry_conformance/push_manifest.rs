//! Push: manifests (end-7), their tags, what they need, and how large they may be. Their kinds are in `manifest_kinds`.

use reqwest::Method;
use serde_json::json;

use crate::{
    registry_support::{INDEX, MANIFEST, image, refused, rig, sha256},
    support::{DIGEST, ask, both, get, put},
};

/// The least that registries SHOULD take, and the most that we do.
const LIMIT: usize = 4 * 1024 * 1024;

/// end-7 MUST: 201 with the Location of a manifest that can be pulled and, when named, the digest that was pushed.
#[tokio::test]
async fn a_manifest_is_201_with_its_location_by_tag_and_by_digest() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let text = image(&config, &[], None).to_string();
    let [sha256, sha512] = both(text.as_bytes());
    for (reference, digest) in [
        ("tag".to_owned(), &sha256),
        (sha256.to_string(), &sha256),
        (sha512.to_string(), &sha512),
        (format!("by-parameter?digest={sha256}"), &sha256),
        (format!("by-parameter-512?digest={sha512}"), &sha512),
    ] {
        let answer = put(&rig, "a", &reference, MANIFEST, &text).await;
        assert_eq!(answer.header("location"), format!("/v2/a/manifests/{digest}"), "{reference}");
        assert_eq!(answer.header(DIGEST), digest.to_string(), "{reference}");
        assert_eq!(get(&rig, answer.header("location")).await.body, text.as_bytes());
    }
    let tagged = get(&rig, "/v2/a/manifests/by-parameter-512").await;
    assert_eq!(tagged.header(DIGEST), sha512.to_string());
    assert_eq!(tagged.body, text.as_bytes());
}

/// A tag points to what was pushed last under it; what it pointed to before stays, by its digest.
#[tokio::test]
async fn a_tag_moves_to_what_was_pushed_last() {
    let rig = rig().await;
    let (first, _) = rig.push_image("a", "latest", b"one").await;
    let (second, _) = rig.push_image("a", "latest", b"two").await;
    for (reference, digest) in
        [("latest", &second), (&first.to_string(), &first), (&second.to_string(), &second)]
    {
        assert_eq!(
            get(&rig, &format!("/v2/a/manifests/{reference}")).await.header(DIGEST),
            digest.to_string()
        );
    }
}

/// `tag=` parameters of a push by digest: all of them are set, and `OCI-Tag` names each.
#[tokio::test]
async fn a_push_by_digest_may_set_several_tags() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let text = image(&config, &[], None).to_string();
    for digest in both(text.as_bytes()) {
        let tags: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
        let query = format!("tag={}", tags.join("&tag="));
        let answer = put(&rig, "a", &format!("{digest}?{query}"), MANIFEST, &text).await;
        let set: Vec<_> = answer.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
        assert_eq!(set, tags);
        for tag in ["t0", "t49"] {
            assert_eq!(get(&rig, &format!("/v2/a/manifests/{tag}")).await.header(DIGEST), digest.to_string());
        }
        let more = format!("/v2/a/manifests/{digest}?{query}&tag=more");
        let answer = ask(&rig, Method::PUT, &more, &[("content-type", MANIFEST)], text.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (414, "UNSUPPORTED"));
        let bad = rig.put_manifest("a", &format!("{digest}?tag=good&tag=-bad"), MANIFEST, &text).await;
        refused(bad, 400, "NAME_INVALID").await;
        assert_eq!(get(&rig, "/v2/a/manifests/good").await.status, 404, "all or none");
    }
}

/// end-7: what is faulty is refused by the specification's codes, and MAY be when what it names is not there, which
/// MUST be `MANIFEST_BLOB_UNKNOWN` then.
#[tokio::test]
async fn faulty_manifests_are_refused_and_change_nothing() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let absent = sha256(b"absent");
    let good = image(&config, &[], None).to_string();
    let layer = image(&config, &[(&absent, 6)], None).to_string();
    let size = image(&config, &[(&config, 3)], None).to_string();
    let child = json!({"mediaType": MANIFEST, "digest": absent, "size": 6});
    let child = json!({"schemaVersion": 2, "manifests": [child]}).to_string();
    let injection = json!({"mediaType": "a/b\r\nlocation: x"}).to_string();
    let absent = absent.to_string();
    for (reference, media_type, text, status, code) in [
        ("t", MANIFEST, "{", 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, "", 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, "blablabla", 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, "[]", 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, &format!("{}{}", "[".repeat(9999), "]".repeat(9999)), 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, "{\"config\": {}, \"layers\": []}", 400, "MANIFEST_INVALID"),
        ("t", INDEX, &good, 400, "MANIFEST_INVALID"),
        ("t", "", &injection, 400, "MANIFEST_INVALID"),
        ("t", MANIFEST, &layer, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("t", INDEX, &child, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("t", MANIFEST, &size, 400, "SIZE_INVALID"),
        (&absent, MANIFEST, &good, 400, "DIGEST_INVALID"),
        ("sha256:x", MANIFEST, &good, 400, "DIGEST_INVALID"),
        ("sha256:totallywrong", MANIFEST, "blablabla", 400, "DIGEST_INVALID"),
        (&format!("t?digest={absent}"), MANIFEST, &good, 400, "DIGEST_INVALID"),
        ("t?digest=", MANIFEST, &good, 400, "DIGEST_INVALID"),
        (".bad", MANIFEST, &good, 400, "NAME_INVALID"),
        (&"t".repeat(129), MANIFEST, &good, 400, "NAME_INVALID"),
    ] {
        refused(rig.put_manifest("a", reference, media_type, text).await, status, code).await;
    }
    assert_eq!(get(&rig, "/v2/a/manifests/t").await.status, 404);
    refused(rig.put_manifest("other", "t", MANIFEST, &good).await, 404, "MANIFEST_BLOB_UNKNOWN").await;
    assert_eq!(
        get(&rig, "/v2/other/tags/list").await.code(),
        "NAME_UNKNOWN",
        "a refused push makes no repository"
    );
}

/// end-7 SHOULD: manifests up to 4 MiB are taken, larger ones are 413, and the connection lives.
#[tokio::test]
async fn a_manifest_at_the_limit_is_taken_and_one_beyond_it_is_413() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let mut value = image(&config, &[], None);
    let annotations: serde_json::Map<_, _> =
        (0..390).map(|number| (format!("large-{number}"), json!("A".repeat(10_000)))).collect();
    value["annotations"] = annotations.into();
    let text = value.to_string();
    let text = format!("{text}{}", " ".repeat(LIMIT - text.len()));
    let answer = put(&rig, "a", "large", MANIFEST, &text).await;
    assert!(get(&rig, answer.header("location")).await.body == text.as_bytes());
    for more in [1, 100_000, LIMIT] {
        let larger = format!("{text}{}", " ".repeat(more));
        refused(rig.put_manifest("a", "larger", MANIFEST, &larger).await, 413, "SIZE_INVALID").await;
    }
}
