//! Content discovery: referrers (end-12a, end-12b).

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    registry_support::{INDEX, MANIFEST, Rig, image, rig, sha256},
    support::{Answer, ask, both, get, put},
};

const SIGNATURE: &str = "application/vnd.example.signature.v1+json";

/// What end-12a MUST say of any subject: 200, an index, its media type. The descriptors.
fn descriptors(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, INDEX));
    let body = answer.json();
    assert_eq!((&body["schemaVersion"], &body["mediaType"]), (&json!(2), &json!(INDEX)));
    body["manifests"].as_array().unwrap().clone()
}

/// A manifest about `subject`; its descriptor as the list must have it.
async fn refer(rig: &Rig, subject: &Value, artifact_type: Option<&str>, annotations: Value) -> Value {
    let config = rig.push_blob("a", b"{}").await;
    let mut value = image(&config, &[], None);
    value["subject"] = subject.clone();
    if let Some(artifact_type) = artifact_type {
        value["artifactType"] = json!(artifact_type);
    }
    let mut expected = json!({"mediaType": MANIFEST, "artifactType": artifact_type.filter(|text| !text.is_empty())
        .unwrap_or("application/vnd.slipway.test.config")});
    if annotations != json!({}) {
        value["annotations"] = annotations.clone();
        expected["annotations"] = annotations;
    }
    pushed(rig, MANIFEST, &value, expected).await
}

async fn pushed(rig: &Rig, media_type: &str, value: &Value, mut expected: Value) -> Value {
    let text = value.to_string();
    let digest = sha256(text.as_bytes()).to_string();
    let answer = put(rig, "a", &digest, media_type, &text).await;
    assert_eq!(answer.header("oci-subject"), value["subject"]["digest"]);
    expected["digest"] = json!(digest);
    expected["size"] = json!(text.len());
    expected
}

fn subject(bytes: &[u8]) -> Value {
    json!({"mediaType": MANIFEST, "digest": sha256(bytes), "size": bytes.len()})
}

/// end-12a MUST: never 404; a subject that nobody refers to, or that is not there, has an empty list.
#[tokio::test]
async fn a_subject_without_referrers_has_an_empty_index() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "1", b"layer").await;
    let [unknown, unknown_512] = both(b"never pushed");
    for path in [
        format!("/v2/a/referrers/{digest}"),
        format!("/v2/a/referrers/{unknown}"),
        format!("/v2/a/referrers/{unknown_512}"),
        format!("/v2/no/such/repository/referrers/{unknown}"),
        format!("/v2/a/referrers/{digest}?artifactType=x%2Fy"),
    ] {
        let answer = get(&rig, &path).await;
        assert!(descriptors(&answer).is_empty(), "{path}");
        let head = ask(&rig, Method::HEAD, &path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
}

/// end-12a MUST: 400 for a digest that is none.
#[tokio::test]
async fn a_subject_that_is_no_digest_is_400() {
    let rig = rig().await;
    for digest in ["sha256:x", "1", "sha256", "sha256:..%2f..%2fx", ""] {
        let answer = get(&rig, &format!("/v2/a/referrers/{digest}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"), "{digest:?}");
    }
}

/// end-12a MUST: each descriptor has media type, digest, size, annotations, and the artifact type: the manifest's own,
/// else its config's; an index without one has none. end-12b: filtering MUST be announced when it was applied.
#[tokio::test]
async fn referrers_are_described_in_full_and_filtered_by_type() {
    let rig = rig().await;
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let about = subject(text.as_bytes());
    let signed = refer(&rig, &about, Some(SIGNATURE), json!({"by": "me", "": "ä"})).await;
    let again = refer(&rig, &about, Some(SIGNATURE), json!({"by": "you"})).await;
    let plain = refer(&rig, &about, None, json!({})).await;
    let unnamed = refer(&rig, &about, Some(""), json!({})).await;
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about});
    let list = pushed(&rig, INDEX, &list, json!({"mediaType": INDEX})).await;
    let kind = "application/x.list";
    let typed = json!({"schemaVersion": 2, "manifests": [], "subject": about, "artifactType": kind});
    let typed = pushed(&rig, INDEX, &typed, json!({"mediaType": INDEX, "artifactType": kind})).await;
    refer(&rig, &subject(b"another"), Some(SIGNATURE), json!({})).await;

    let config = "application/vnd.slipway.test.config";
    let encoded = SIGNATURE.replace('/', "%2F").replace('+', "%2B");
    for (query, mut expected, applied) in [
        (String::new(), vec![&signed, &again, &plain, &unnamed, &list, &typed], ""),
        (format!("?artifactType={encoded}"), vec![&signed, &again], "artifactType"),
        (format!("?artifactType={config}"), vec![&plain, &unnamed], "artifactType"),
        (format!("?artifactType={kind}&unknown=1"), vec![&typed], "artifactType"),
        ("?artifactType=x/nothing".to_owned(), vec![], "artifactType"),
        ("?artifactType=".to_owned(), vec![&signed, &again, &plain, &unnamed, &list, &typed], ""),
    ] {
        let answer = get(&rig, &format!("/v2/a/referrers/{digest}{query}")).await;
        assert_eq!(answer.header("oci-filters-applied"), applied, "{query}");
        expected.sort_by_key(|one| one["digest"].to_string());
        let found = descriptors(&answer);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let tags = get(&rig, "/v2/a/tags/list").await;
    assert_eq!(tags.json()["tags"], json!(["1"]), "no tags are made for referrers");
}

/// end-12a MUST: when not all fit into one answer, a Link leads to the others, with the filter kept.
#[tokio::test]
async fn the_links_lead_through_all_referrers() {
    let rig = rig().await;
    let about = subject(b"anything");
    for number in 0..5 {
        refer(&rig, &about, Some([SIGNATURE, "x/y"][number % 2]), json!({"number": number.to_string()}))
            .await;
    }
    let start = format!("/v2/a/referrers/{}", sha256(b"anything"));
    for (query, count) in [("?n=2", 5), (&*format!("?n=1&artifactType={}", SIGNATURE.replace('+', "%2B")), 3)]
    {
        let mut found = Vec::new();
        let mut path = format!("{start}{query}");
        loop {
            let answer = get(&rig, &path).await;
            found.extend(descriptors(&answer).into_iter().map(|one| one["digest"].to_string()));
            let Some(next) = answer.header("link").strip_prefix('<').and_then(|link| link.split('>').next())
            else {
                break;
            };
            next.clone_into(&mut path);
        }
        assert_eq!(found.len(), count, "{query}");
        assert!(found.is_sorted());
    }
}

/// A referrer may be pushed before its subject, and is gone from the list when it is deleted.
#[tokio::test]
async fn a_list_follows_pushes_and_deletions_in_any_order() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let text = image(&config, &[], None).to_string();
    let digest = sha256(text.as_bytes());
    let path = format!("/v2/a/referrers/{digest}");
    let first = refer(&rig, &subject(text.as_bytes()), Some(SIGNATURE), json!({})).await;
    assert_eq!(descriptors(&get(&rig, &path).await), std::slice::from_ref(&first));
    put(&rig, "a", "1", MANIFEST, &text).await;
    assert_eq!(descriptors(&get(&rig, &path).await), std::slice::from_ref(&first));
    assert_eq!(rig.delete(&format!("/v2/a/manifests/{digest}")).await.status(), 202);
    assert_eq!(
        descriptors(&get(&rig, &path).await),
        std::slice::from_ref(&first),
        "also when the subject is gone"
    );
    let referrer = format!("/v2/a/manifests/{}", first["digest"].as_str().unwrap());
    assert_eq!(rig.delete(&referrer).await.status(), 202);
    assert!(descriptors(&get(&rig, &path).await).is_empty());
}
