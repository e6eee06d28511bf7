//! Reading over HTTP: blobs with ranges, manifests, tags, referrers, catalog; deleting; who may do what.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::sync::Arc;

use async_trait::async_trait;
use controller::registry::{
    Options,
    auth::{Access, Action, Authorizer, Credentials, Identity, Open, Verdict},
    digest::{Algorithm, Digest},
};
use registry_support::{INDEX, MANIFEST, header, image, options, refused, rig, rig_at, rig_with, sha256};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn body(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_root_says_that_this_is_a_registry() {
    let rig = rig().await;
    for path in ["/v2/", "/v2"] {
        let response = rig.get(path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "docker-distribution-api-version"), "registry/2.0");
    }
}

#[tokio::test]
async fn a_blob_is_answered_with_its_size_and_tag_and_head_without_its_bytes() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    for method in [Method::GET, Method::HEAD] {
        let response = rig.send(method.clone(), &path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "content-length"), "10");
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        assert_eq!(header(&response, "content-type"), "application/octet-stream");
        assert_eq!(header(&response, "etag"), format!("\"{digest}\""));
        let expected = if method == Method::GET { "0123456789" } else { "" };
        assert_eq!(response.text().await.unwrap(), expected);
    }
    let again = rig
        .request(Method::GET, &path)
        .header("if-none-match", format!("\"{digest}\""))
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(rig.head(&format!("/v2/a/blobs/{}", sha256(b"absent"))).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn parts_of_a_blob_can_be_read_and_impossible_ones_leave_the_connection_alive() {
    let rig = rig().await;
    let content: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 253) as u8).collect();
    let digest = rig.push_blob("a", &content).await;
    let path = format!("/v2/a/blobs/{digest}");
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=5-", 5, 1_999_999),
        ("bytes=-7", 1_999_993, 1_999_999),
        ("bytes=100-1500000", 100, 1_500_000),
        ("bytes=1999999-5000000", 1_999_999, 1_999_999),
    ] {
        let response = rig.request(Method::GET, &path).header("range", range).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header(&response, "content-range"), format!("bytes {first}-{last}/2000000"));
        assert_eq!(header(&response, "content-length"), (last - first + 1).to_string());
        assert!(response.bytes().await.unwrap() == content[first..=last], "{range}");
    }
    for range in ["bytes=2000000-", "bytes=5000000-10000000", "bytes=500-0", "bytes=-0"] {
        let response = rig.request(Method::GET, &path).header("range", range).send().await.unwrap();
        assert_eq!(header(&response, "content-range"), "bytes */2000000", "{range}");
        refused(response, 416, "RANGE_INVALID").await;
    }
    for (held, status) in [(format!("\"{digest}\""), 206), ("\"another\"".to_owned(), 200)] {
        let request = rig.request(Method::GET, &path).header("range", "bytes=1-2").header("if-range", held);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
}

#[tokio::test]
async fn a_blob_is_seen_only_where_it_was_pushed() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"content").await;
    refused(rig.get(&format!("/v2/b/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
    assert_eq!(rig.delete(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::ACCEPTED);
    refused(rig.get(&format!("/v2/a/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
    refused(rig.delete(&format!("/v2/a/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn a_blob_whose_file_was_lost_is_unknown_and_a_new_push_heals_it() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"content").await;
    std::fs::remove_file(rig.registry.blob_path(&digest)).unwrap();
    assert_eq!(rig.head(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::NOT_FOUND);
    rig.push_blob("a", b"content").await;
    assert_eq!(rig.head(&format!("/v2/a/blobs/{digest}")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let rig = rig().await;
    let config = rig.push_blob("os/debian", b"{}").await;
    let text = format!("{}\n  ", image(&config, &[], None));
    let response = rig.put_manifest("os/debian", "13", MANIFEST, &text).await;
    let digest = sha256(text.as_bytes());
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(header(&response, "location"), format!("/v2/os/debian/manifests/{digest}"));
    assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
    for reference in ["13", &digest.to_string()] {
        let path = format!("/v2/os/debian/manifests/{reference}");
        let head = rig.head(&path).await;
        assert_eq!(header(&head, "content-length"), text.len().to_string());
        let response = rig.get(&path).await;
        assert_eq!(header(&response, "content-type"), MANIFEST);
        assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
        assert_eq!(response.text().await.unwrap(), text);
    }
    let held = rig
        .request(Method::GET, "/v2/os/debian/manifests/13")
        .header("if-none-match", format!("\"{digest}\""));
    assert_eq!(held.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn faulty_manifests_are_refused_and_change_nothing() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let absent = sha256(b"absent");
    let good = image(&config, &[], None).to_string();
    let missing_layer = image(&config, &[(&absent, 6)], None).to_string();
    let wrong_size = image(&config, &[(&config, 3)], None).to_string();
    let missing_child =
        json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": absent, "size": 6}]});
    let table = [
        ("t".to_owned(), MANIFEST, "{".to_owned(), 400, "MANIFEST_INVALID"),
        ("t".to_owned(), INDEX, good.clone(), 400, "MANIFEST_INVALID"),
        ("t".to_owned(), MANIFEST, missing_layer, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("t".to_owned(), MANIFEST, wrong_size, 400, "SIZE_INVALID"),
        ("t".to_owned(), INDEX, missing_child.to_string(), 404, "MANIFEST_BLOB_UNKNOWN"),
        (absent.to_string(), MANIFEST, good.clone(), 400, "DIGEST_INVALID"),
        ("sha256:x".to_owned(), MANIFEST, good.clone(), 400, "DIGEST_INVALID"),
        (".bad".to_owned(), MANIFEST, good.clone(), 400, "TAG_INVALID"),
        ("t".to_owned(), MANIFEST, format!("{good}{}", " ".repeat(5 * 1024 * 1024)), 413, "SIZE_INVALID"),
    ];
    for (reference, media_type, text, status, code) in table {
        refused(rig.put_manifest("a", &reference, media_type, &text).await, status, code).await;
    }
    refused(rig.get("/v2/a/manifests/t").await, 404, "MANIFEST_UNKNOWN").await;
    refused(rig.put_manifest("other", "t", MANIFEST, &good).await, 404, "MANIFEST_BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn layers_kept_elsewhere_and_unheard_of_types_are_taken() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let mut value = image(&config, &[], None);
    value["layers"] = json!([{
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": sha256(b"elsewhere"), "size": 9, "urls": ["https://elsewhere.example/"],
    }]);
    assert_eq!(
        rig.put_manifest("a", "foreign", MANIFEST, &value.to_string()).await.status(),
        StatusCode::CREATED
    );
    let media_type = "application/vnd.nobody.heard.of+json; v=1";
    assert_eq!(rig.put_manifest("a", "odd", media_type, "{\"x\":1}").await.status(), StatusCode::CREATED);
    assert_eq!(header(&rig.get("/v2/a/manifests/odd").await, "content-type"), media_type);
}

#[tokio::test]
async fn a_push_by_digest_may_set_several_tags() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let text = image(&config, &[], None).to_string();
    let digest = Digest::of(Algorithm::Sha512, text.as_bytes());
    let response = rig.put_manifest("a", &format!("{digest}?tag=one&tag=two"), MANIFEST, &text).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let set: Vec<_> = response.headers().get_all("oci-tag").iter().collect();
    assert_eq!(set, ["one", "two"]);
    for tag in ["one", "two"] {
        let response = rig.head(&format!("/v2/a/manifests/{tag}")).await;
        assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
    }
    refused(rig.put_manifest("a", &format!("{digest}?tag=-bad"), MANIFEST, &text).await, 400, "TAG_INVALID")
        .await;
}

#[tokio::test]
async fn a_tag_moves_and_is_removed_without_its_manifest() {
    let rig = rig().await;
    let (first, _) = rig.push_image("a", "latest", b"one").await;
    let (second, _) = rig.push_image("a", "latest", b"two").await;
    assert_eq!(
        header(&rig.head("/v2/a/manifests/latest").await, "docker-content-digest"),
        second.to_string()
    );
    assert_eq!(rig.delete("/v2/a/manifests/latest").await.status(), StatusCode::ACCEPTED);
    refused(rig.get("/v2/a/manifests/latest").await, 404, "MANIFEST_UNKNOWN").await;
    refused(rig.delete("/v2/a/manifests/latest").await, 404, "MANIFEST_UNKNOWN").await;
    for digest in [&first, &second] {
        assert_eq!(rig.head(&format!("/v2/a/manifests/{digest}")).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_with_it() {
    let rig = rig().await;
    let (digest, _) = rig.push_image("a", "one", b"layer").await;
    rig.push_image("a", "two", b"layer").await;
    rig.push_image("a", "other", b"other").await;
    assert_eq!(rig.delete(&format!("/v2/a/manifests/{digest}")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(body(rig.get("/v2/a/tags/list").await).await, json!({"name": "a", "tags": ["other"]}));
    refused(rig.delete(&format!("/v2/a/manifests/{digest}")).await, 404, "MANIFEST_UNKNOWN").await;
}

#[tokio::test]
async fn tags_are_listed_in_order_and_by_page() {
    let rig = rig().await;
    refused(rig.get("/v2/a/tags/list").await, 404, "NAME_UNKNOWN").await;
    for tag in ["c", "a", "b", "B", "10", "9"] {
        rig.push_image("a", tag, b"layer").await;
    }
    let all = ["10", "9", "B", "a", "b", "c"];
    assert_eq!(body(rig.get("/v2/a/tags/list").await).await["tags"], json!(all));
    let mut found = Vec::new();
    let mut path = "/v2/a/tags/list?n=4".to_owned();
    for _ in 0..2 {
        let response = rig.get(&path).await;
        let link = header(&response, "link");
        found.extend(body(response).await["tags"].as_array().unwrap().clone());
        let Some(next) = link.strip_prefix('<').and_then(|link| link.split('>').next()) else { break };
        path = next.to_owned();
    }
    assert_eq!(json!(found), json!(all));
    assert_eq!(body(rig.get("/v2/a/tags/list?n=0").await).await["tags"], json!([]));
    assert_eq!(body(rig.get("/v2/a/tags/list?last=b").await).await["tags"], json!(["c"]));
    let exact = rig.get("/v2/a/tags/list?n=6").await;
    assert_eq!(header(&exact, "link"), "", "no next page when there is nothing on it");
    refused(rig.get("/v2/a/tags/list?n=x").await, 400, "PAGINATION_NUMBER_INVALID").await;
}

#[tokio::test]
async fn the_catalog_lists_repositories_that_have_a_manifest() {
    let rig = rig().await;
    rig.push_blob("only/blobs", b"x").await;
    for name in ["os/debian", "os/alma", "tools"] {
        rig.push_image(name, "1", b"layer").await;
    }
    assert_eq!(
        body(rig.get("/v2/_catalog").await).await["repositories"],
        json!(["os/alma", "os/debian", "tools"])
    );
    let response = rig.get("/v2/_catalog?n=2").await;
    assert_eq!(header(&response, "link"), "</v2/_catalog?n=2&last=os%2Fdebian>; rel=\"next\"");
}

#[tokio::test]
async fn referrers_are_found_by_their_subject_and_filtered_by_type() {
    let rig = rig().await;
    let (subject, _) = rig.push_image("a", "1", b"layer").await;
    let path = format!("/v2/a/referrers/{subject}");
    let none = rig.get(&path).await;
    assert_eq!(header(&none, "content-type"), INDEX);
    assert_eq!(body(none).await, json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}));

    let config = rig.push_blob("a", b"{}").await;
    let plain = image(&config, &[], Some(&subject)).to_string();
    let mut signed = image(&config, &[], Some(&subject));
    signed["artifactType"] = json!("application/x.signature");
    signed["annotations"] = json!({"by": "me"});
    let signed = signed.to_string();
    let list =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": "application/x.list",
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}})
        .to_string();
    for (media_type, text) in [(MANIFEST, &plain), (MANIFEST, &signed), (INDEX, &list)] {
        let response = rig.put_manifest("a", &sha256(text.as_bytes()).to_string(), media_type, text).await;
        assert_eq!(header(&response, "oci-subject"), subject.to_string());
    }

    let response = rig.get(&path).await;
    assert_eq!(header(&response, "oci-filters-applied"), "");
    let all = body(response).await["manifests"].as_array().unwrap().clone();
    assert_eq!(all.len(), 3);
    let types: Vec<_> = all.iter().map(|one| one["artifactType"].as_str().unwrap()).collect();
    assert!(types.contains(&"application/vnd.slipway.test.config"), "the config's type stands in: {types:?}");

    let response = rig.get(&format!("{path}?artifactType=application/x.signature")).await;
    assert_eq!(header(&response, "oci-filters-applied"), "artifactType");
    let expected = json!([{"mediaType": MANIFEST, "digest": sha256(signed.as_bytes()), "size": signed.len(),
        "artifactType": "application/x.signature", "annotations": {"by": "me"}}]);
    assert_eq!(body(response).await["manifests"], expected);

    let first = rig.get(&format!("{path}?n=2")).await;
    let next = header(&first, "link");
    assert_eq!(body(first).await["manifests"].as_array().unwrap().len(), 2);
    let next = next.trim_start_matches('<').split('>').next().unwrap();
    assert_eq!(body(rig.get(next).await).await["manifests"].as_array().unwrap().len(), 1);

    assert_eq!(
        body(rig.get(&format!("/v2/a/referrers/{}", sha256(b"?"))).await).await["manifests"],
        json!([])
    );
    assert_eq!(
        body(rig.get("/v2/a/tags/list").await).await["tags"],
        json!(["1"]),
        "no tags are made for referrers"
    );
    rig.delete(&format!("/v2/a/manifests/{}", sha256(plain.as_bytes()))).await;
    assert_eq!(body(rig.get(&path).await).await["manifests"].as_array().unwrap().len(), 2);
    refused(rig.get("/v2/a/referrers/sha256:x").await, 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn a_subject_may_come_later_than_its_referrer() {
    let rig = rig().await;
    let config = rig.push_blob("a", b"{}").await;
    let subject = image(&config, &[], None).to_string();
    let digest = sha256(subject.as_bytes());
    let referrer = image(&config, &[(&config, 2)], Some(&digest)).to_string();
    assert_eq!(rig.put_manifest("a", "sig", MANIFEST, &referrer).await.status(), StatusCode::CREATED);
    assert_eq!(rig.put_manifest("a", "1", MANIFEST, &subject).await.status(), StatusCode::CREATED);
    let found = body(rig.get(&format!("/v2/a/referrers/{digest}")).await).await;
    assert_eq!(found["manifests"][0]["digest"], json!(sha256(referrer.as_bytes())));
}

#[tokio::test]
async fn what_a_url_cannot_mean_is_refused_in_the_registrys_own_words() {
    let rig = rig().await;
    for (method, path, status, code) in [
        (Method::GET, "/v2/A/tags/list", 400, "NAME_INVALID"),
        (Method::POST, "/v2/-a/blobs/uploads/", 400, "NAME_INVALID"),
        (Method::GET, "/v2/..%2fetc/manifests/x", 400, "NAME_INVALID"),
        (Method::GET, "/v2/a/blobs/sha256:0", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/blobs/md5:00", 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/a/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        (Method::GET, "/v2/a/unknown", 404, "UNSUPPORTED"),
        (Method::PATCH, "/v2/a/manifests/x", 405, "UNSUPPORTED"),
        (Method::POST, "/v2/", 405, "UNSUPPORTED"),
        (Method::PUT, "/v2/a/blobs/uploads/", 405, "UNSUPPORTED"),
        (Method::DELETE, "/v2/_catalog", 405, "UNSUPPORTED"),
    ] {
        refused(rig.send(method, path).await, status, code).await;
    }
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, text) = {
        let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
        rig.push_image("a", "1", b"layer").await
    };
    let rig = rig_at(folder.path(), options(), Arc::new(Open)).await;
    let response = rig.get("/v2/a/manifests/1").await;
    assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
    assert_eq!(response.text().await.unwrap(), text);
    assert_eq!(rig.head(&format!("/v2/a/blobs/{}", sha256(b"layer"))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_tag_is_resolved_with_its_layers_and_what_is_missing() {
    let rig = rig().await;
    assert_eq!(rig.registry.resolve("a", "1").await.unwrap(), None);
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let found = rig.registry.resolve("a", "1").await.unwrap().unwrap();
    assert_eq!((&found.digest, found.size), (&digest, text.len() as u64));
    assert_eq!(found.media_type, MANIFEST);
    assert_eq!(found.config_media_type.as_deref(), Some("application/vnd.slipway.test.config"));
    let layers: Vec<_> = found.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
    assert_eq!(layers, [(sha256(b"layer"), 5)]);
    assert!(found.missing.is_empty());
    std::fs::remove_file(rig.registry.blob_path(&sha256(b"layer"))).unwrap();
    let found = rig.registry.resolve("a", &digest.to_string()).await.unwrap().unwrap();
    assert_eq!(found.missing, [sha256(b"layer")]);
    assert!(rig.registry.resolve("../a", "1").await.is_err());
}

#[tokio::test]
async fn what_a_pin_keeps_cannot_be_deleted_until_it_ends() {
    let rig = rig().await;
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let child = json!({"mediaType": MANIFEST, "digest": digest, "size": text.len()});
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).to_string();
    rig.put_manifest("a", "list", INDEX, &list).await;
    let top = sha256(list.as_bytes());

    assert!(
        !rig.registry.pin(&sha256(b"?"), "job 1", None).await.unwrap(),
        "only what is there can be pinned"
    );
    assert!(rig.registry.pin(&top, "job 1", None).await.unwrap());
    let past = jiff::Timestamp::now() - std::time::Duration::from_secs(5);
    assert!(rig.registry.pin(&digest, "job 2", Some(past)).await.unwrap());
    assert_eq!(rig.registry.pins().await.unwrap().len(), 2);

    let layer = format!("/v2/a/blobs/{}", sha256(b"layer"));
    let paths = [format!("/v2/a/manifests/{top}"), format!("/v2/a/manifests/{digest}"), layer];
    for path in &paths {
        let message = refused(rig.delete(path).await, 409, "DENIED").await;
        assert!(message.contains("job 1"), "{message}");
    }
    assert_eq!(rig.delete("/v2/a/manifests/1").await.status(), StatusCode::ACCEPTED, "a tag may go");
    assert_eq!(rig.registry.unpin("job 1").await.unwrap(), 1);
    for path in &paths {
        assert_eq!(
            rig.delete(path).await.status(),
            StatusCode::ACCEPTED,
            "an expired pin keeps nothing: {path}"
        );
    }
}

#[tokio::test]
async fn every_push_is_announced_once_it_is_durable() {
    let rig = rig().await;
    let mut pushes = rig.registry.subscribe();
    let (digest, text) = rig.push_image("a", "1", b"layer").await;
    let pushed = pushes.recv().await.unwrap();
    assert_eq!((pushed.digest, pushed.size), (digest, text.len() as u64));
    assert_eq!(pushed.repository.as_str(), "a");
    assert_eq!(pushed.tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1"]);
    assert_eq!(pushed.by, Identity("anonymous".to_owned()));
    assert!(pushes.try_recv().is_err(), "blobs are not announced");
}

/// Knows `ci` (may push below `os/`) and `host` (may read); nobody else may do anything but read `public`.
struct Site;

#[async_trait]
impl Authorizer for Site {
    async fn authorize(&self, credentials: &Credentials, access: &Access) -> Verdict {
        let who = match credentials {
            Credentials::Anonymous => None,
            Credentials::Basic { user, password } if password.as_str() == "s3cret" => Some(user.clone()),
            Credentials::Bearer(token) if token.as_str() == "host-token" => Some("host".to_owned()),
            _ => return Verdict::Challenge,
        };
        let may = match (who.as_deref(), access) {
            (_, Access::Repository { repository, action: Action::Pull })
                if repository.as_str() == "public" =>
            {
                true
            }
            (None, _) => return Verdict::Challenge,
            (Some(_), Access::Enter) => true,
            (Some("ci"), Access::Repository { repository, .. }) => repository.as_str().starts_with("os/"),
            (Some("host"), Access::Repository { action, .. }) => *action == Action::Pull,
            _ => false,
        };
        if may { Verdict::Allowed(Identity(who.unwrap_or_default())) } else { Verdict::Denied }
    }
}

#[tokio::test]
async fn basic_and_bearer_credentials_open_what_the_authorizer_says() {
    let rig = rig_with(options(), Arc::new(Site)).await;
    let response = rig.get("/v2/").await;
    assert!(header(&response, "www-authenticate").starts_with("Basic realm="));
    refused(response, 401, "UNAUTHORIZED").await;
    let ci = |method: Method, path: &str| rig.request(method, path).basic_auth("ci", Some("s3cret"));
    assert_eq!(ci(Method::GET, "/v2/").send().await.unwrap().status(), StatusCode::OK);
    let started = ci(Method::POST, "/v2/os/debian/blobs/uploads/").send().await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let message =
        refused(ci(Method::POST, "/v2/tools/blobs/uploads/").send().await.unwrap(), 403, "DENIED").await;
    assert!(message.contains("repository:tools:pull,push"), "{message}");
    let wrong = rig.request(Method::GET, "/v2/").basic_auth("ci", Some("guess")).send().await.unwrap();
    refused(wrong, 401, "UNAUTHORIZED").await;
    let digest = sha256(b"content");
    let path = format!("/v2/os/debian/blobs/uploads/?digest={digest}");
    assert_eq!(ci(Method::POST, &path).body("content").send().await.unwrap().status(), StatusCode::CREATED);
    let host = rig.request(Method::GET, &format!("/v2/os/debian/blobs/{digest}")).bearer_auth("host-token");
    assert_eq!(host.send().await.unwrap().status(), StatusCode::OK);
    let host =
        rig.request(Method::DELETE, &format!("/v2/os/debian/blobs/{digest}")).bearer_auth("host-token");
    refused(host.send().await.unwrap(), 403, "DENIED").await;
    refused(rig.get(&format!("/v2/os/debian/blobs/{digest}")).await, 401, "UNAUTHORIZED").await;
    refused(rig.get(&format!("/v2/public/blobs/{digest}")).await, 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn a_mount_needs_the_right_to_read_where_it_is_from() {
    let rig = rig_with(options(), Arc::new(Site)).await;
    let digest = sha256(b"content");
    let ci = |path: &str| rig.request(Method::POST, path).basic_auth("ci", Some("s3cret"));
    let path = format!("/v2/os/debian/blobs/uploads/?digest={digest}");
    assert_eq!(ci(&path).body("content").send().await.unwrap().status(), StatusCode::CREATED);
    let mounted =
        ci(&format!("/v2/os/copy/blobs/uploads/?mount={digest}&from=os/debian")).send().await.unwrap();
    assert_eq!(mounted.status(), StatusCode::CREATED);
    std::fs::remove_file(rig.registry.blob_path(&digest)).unwrap();
    let gone = ci(&format!("/v2/os/third/blobs/uploads/?mount={digest}")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::ACCEPTED, "what is lost cannot be mounted");
}

#[tokio::test]
async fn with_a_realm_clients_buy_tokens_that_are_worth_their_credentials() {
    let settings = Options { realm: Some("https://slipway.example:8443/".to_owned()), ..options() };
    let rig = rig_with(settings, Arc::new(Site)).await;
    let challenge = header(&rig.get("/v2/").await, "www-authenticate");
    assert_eq!(challenge, "Bearer realm=\"https://slipway.example:8443/v2/token\",service=\"registry\"");
    let challenge = header(&rig.send(Method::POST, "/v2/os/x/blobs/uploads/").await, "www-authenticate");
    assert!(challenge.ends_with(",scope=\"repository:os/x:pull,push\""), "{challenge}");

    let buy = |password: &'static str| {
        rig.request(Method::GET, "/v2/token?service=registry&scope=repository:os/x:pull,push")
            .basic_auth("ci", Some(password))
    };
    let response = buy("s3cret").send().await.unwrap();
    assert_eq!(header(&response, "cache-control"), "no-store");
    let bought = body(response).await;
    assert_eq!(bought["token"], bought["access_token"]);
    assert_eq!(bought["expires_in"], 300);
    let token = bought["token"].as_str().unwrap();
    let push =
        |name: &str| rig.request(Method::POST, &format!("/v2/{name}/blobs/uploads/")).bearer_auth(token);
    assert_eq!(push("os/x").send().await.unwrap().status(), StatusCode::ACCEPTED);
    refused(push("tools").send().await.unwrap(), 403, "DENIED").await;

    let wrong = buy("guess").send().await.unwrap();
    assert!(header(&wrong, "www-authenticate").starts_with("Basic "));
    refused(wrong, 401, "UNAUTHORIZED").await;
    let anonymous = body(rig.get("/v2/token").await).await;
    let token = anonymous["token"].as_str().unwrap();
    let read = |name: &str| rig.request(Method::GET, &format!("/v2/{name}/tags/list")).bearer_auth(token);
    refused(read("public").send().await.unwrap(), 404, "NAME_UNKNOWN").await;
    refused(read("os/x").send().await.unwrap(), 401, "UNAUTHORIZED").await;
    let forged = rig.request(Method::GET, "/v2/public/tags/list").bearer_auth("0".repeat(64));
    refused(forged.send().await.unwrap(), 401, "UNAUTHORIZED").await;
}
