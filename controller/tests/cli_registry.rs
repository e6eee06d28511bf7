//! `slipway registry` against a running controller: what is held, what is removed, and what a collection does.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use api_support::World;
use reqwest::StatusCode;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn images_are_added_up_listed_and_removed_and_what_they_leave_waits_for_its_grace() {
    let world = World::start(0).await;
    world.push_debian().await;
    let ran = world.slipway(&["registry", "du"], "").await;
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAGS", "MANIFESTS", "BLOBS", "SIZE", "PULLED"], "{ran:?}");
    assert_eq!(lines[1][..4], ["images/debian", "1", "1", "2"], "{ran:?}");
    assert_eq!(lines[1].last(), Some(&"never"), "{ran:?}");
    let ran = world.slipway(&["registry", "tags", "images/debian"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "trixie\n"));

    let digest = digest_of(&world).await;
    let ran = world.slipway(&["registry", "rm", &format!("images/debian@{digest}")], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let ran = world.slipway(&["registry", "tags", "images/debian"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "its tags went with it");

    // The manifest is nobody's now; its blobs are still leased to whoever pushed them.
    for how in ["--dry-run", "--now"] {
        let ran = world.slipway(&["registry", "gc", how, "--json"], "").await;
        let done: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&done["files"], &done["waiting"]), (&Value::from(0), &Value::from(1)), "{done}");
    }
    let ran = world.slipway(&["registry", "gc", "--now"], "").await;
    assert!(ran.out.starts_with("0 files (0 B) removed\n1 files ("), "{ran:?}");
    world.server.stop().await;
}

async fn digest_of(world: &World) -> String {
    let raw = world.server.registry.resolve("images/debian", "trixie").await.unwrap().unwrap();
    raw.digest.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_content_is_found_put_out_of_reach_and_healed_by_a_new_push() {
    let world = World::start(0).await;
    world.push_debian().await;
    let ran = world.slipway(&["registry", "verify"], "").await;
    assert!(ran.code == 0 && ran.out.ends_with(" hashed, 0 corrupt, 0 missing\n"), "{ran:?}");

    let image = world.server.registry.resolve("images/debian", "trixie").await.unwrap().unwrap();
    let layer = image.layers[0].digest.clone();
    let path = world.server.registry.blob_path(&layer);
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[0] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let ran = world.slipway(&["registry", "verify"], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("1 corrupt, 0 missing\n"), "{ran:?}");
    assert!(ran.out.contains(&format!("corrupt {layer} in images/debian\n")), "{ran:?}");
    let url = format!("{}/v2/images/debian/blobs/{layer}", world.server.api_url);
    let get = || world.http.get(&url).bearer_auth(&world.token).send();
    assert_eq!(get().await.unwrap().status(), 404, "it is never served again");
    let ran = world.slipway(&["registry", "verify"], "").await;
    assert!(ran.code == 1 && ran.out.contains(&format!("missing {layer}")), "{ran:?}");

    let uploads = format!("{}/v2/images/debian/blobs/uploads/?digest={layer}", world.server.api_url);
    let pushed = world.http.post(uploads).bearer_auth(&world.token).body(whole).send().await.unwrap();
    assert_eq!((pushed.status(), get().await.unwrap().status()), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(world.slipway(&["registry", "verify"], "").await.code, 0);

    std::fs::write(world.server.registry.blob_path(&image.digest), "{}").unwrap();
    let ran = world.slipway(&["registry", "verify"], "").await;
    assert!(ran.out.contains(&format!("corrupt {} in images/debian\n", image.digest)), "{ran:?}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_image_is_the_same_when_it_is_brought_in_elsewhere() {
    let world = World::start(0).await;
    world.push_debian().await;
    let folder = world.state.path().join("layout");
    let folder = folder.to_str().unwrap();
    let export = ["registry", "export", "images/debian:trixie", folder];
    let ran = world.slipway(&export, "").await;
    let digest = digest_of(&world).await;
    assert_eq!((ran.code, ran.out), (0, format!("images/debian@{digest}\n")));
    let ran = world.slipway(&export, "").await;
    assert!(ran.code == 1 && ran.err.contains("holds a layout already"), "{ran:?}");

    let other = World::start(0).await;
    let ran = other.slipway(&["registry", "import", folder, "images/debian:trixie"], "").await;
    assert_eq!((ran.code, digest_of(&other).await), (0, digest), "{ran:?}");
    let ran = other.slipway(&["registry", "verify"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let read = "skopeo inspect is a client of others that reads the folder";
    let ran = std::process::Command::new("skopeo")
        .args(["inspect", "--raw", &format!("oci:{folder}:trixie")])
        .output();
    assert!(ran.expect(read).status.success(), "{read}");
    world.server.stop().await;
    other.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_administer_starts_no_collection() {
    let world = World::start(0).await;
    let made = world.slipway(&["token", "create", "ci", "--role", "operator"], "").await;
    let body = br#"{"dry_run": true}"#.to_vec();
    let answer = world.ask_as(made.out.trim(), "POST", "/registry/collection", &[], Some(body)).await;
    assert_eq!((answer.status, &answer.body["error"]), (403, &Value::from("auth.role")), "{answer:?}");
    let answer = world.ask_as(made.out.trim(), "GET", "/registry/collection", &[], None).await;
    assert_eq!((answer.status, answer.body), (200, serde_json::json!({ "running": false, "last": null })));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_a_token_at_the_registry_is_slowed_down_there_and_at_the_api() {
    let world = World::start(0).await;
    let url = format!("{}/v2/", world.server.api_url);
    for _ in 0..40 {
        assert_eq!(
            world.http.get(&url).send().await.unwrap().status(),
            401,
            "asking without a token is no guess"
        );
    }
    for _ in 0..30 {
        let answer = world.http.get(&url).basic_auth("x", Some("slw_guess")).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    let answer = world.http.get(&url).basic_auth("x", Some(&world.token)).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"60".parse().unwrap())
    );
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(world.ask("GET", "/jobs", None).await.status, 429);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_registry_says_why_to_whoever_pushes_and_pulls_go_on() {
    let world = World::start(0).await;
    world.push_debian().await;
    let ran = world.slipway(&["registry", "read-only"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "the registry takes pushes and deletions\n"));
    let on = ["registry", "read-only", "on", "--reason", "a new disk until 18:00"];
    let ran = world.slipway(&on, "").await;
    assert!(ran.code == 0 && ran.out.contains("(by first admin): a new disk until 18:00\n"), "{ran:?}");

    let said = "a new disk until 18:00; pulls go on, push or delete again when that is over [DENIED]";
    let ran = world.push_debian().await;
    assert!(ran.code == 1 && ran.err.contains(said), "{ran:?}");
    let ran = world.slipway(&["registry", "rm", "images/debian:trixie"], "").await;
    assert!(ran.code == 1 && ran.err.contains(said), "{ran:?}");
    let ran = world.slipway(&["registry", "gc", "--now"], "").await;
    assert!(ran.code == 1 && ran.err.contains("nothing is collected"), "{ran:?}");
    assert_eq!(world.slipway(&["registry", "gc", "--dry-run"], "").await.code, 0);
    let folder = world.state.path().join("layout");
    let ran =
        world.slipway(&["registry", "export", "images/debian:trixie", folder.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");

    let ran = world.slipway(&["registry", "read-only", "off"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "the registry takes pushes and deletions\n"));
    assert_eq!(world.push_debian().await.code, 0);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_switches_the_registry_and_only_with_a_reason_that_fits() {
    let world = World::start(0).await;
    let made = world.slipway(&["token", "create", "ci", "--role", "operator"], "").await;
    let body = |text: &str| Some(text.as_bytes().to_vec());
    let on = body(r#"{"read_only": true}"#);
    let answer = world.ask_as(made.out.trim(), "PUT", "/registry/mode", &[], on.clone()).await;
    assert_eq!((answer.status, &answer.body["error"]), (403, &Value::from("auth.role")), "{answer:?}");
    for (bad, said) in [
        (r#"{"read_only": false, "reason": "x"}"#.to_owned(), "only read_only has a reason"),
        (format!(r#"{{"read_only": true, "reason": "{}"}}"#, "x".repeat(301)), "at most 300 bytes"),
        (r#"{"read_only": true, "reason": "a\nb"}"#.to_owned(), "one line"),
        (r#"{"readonly": true}"#.to_owned(), "readonly"),
    ] {
        let answer = world.ask_as(&world.token, "PUT", "/registry/mode", &[], body(&bad)).await;
        assert!(
            answer.status == 400 && answer.body["message"].as_str().unwrap().contains(said),
            "{answer:?}"
        );
    }
    let answer = world.ask_as(&world.token, "PUT", "/registry/mode", &[], on).await;
    assert_eq!(
        (answer.status, &answer.body["reason"]),
        (200, &Value::from("an administrator has switched it"))
    );
    let answer = world.ask_as(made.out.trim(), "GET", "/registry/mode", &[], None).await;
    assert_eq!((answer.status, &answer.body["by"]), (200, &Value::from("first admin")), "{answer:?}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_shown_with_what_is_used_and_a_push_beyond_one_says_so() {
    use controller::config::Fragment;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slipway.toml");
    std::fs::write(&path, "[[registry_quota]]\nnamespace = \"images\"\nsize = \"100B\"\n").unwrap();
    let world = World::configured(Fragment::from_file(&path).unwrap()).await;
    let ran = world.slipway(&["registry", "du"], "").await;
    assert!(ran.out.ends_with("\nNAMESPACE  USED  QUOTA\nimages     0 B   100 B\n"), "{ran:?}");
    let ran = world.push_debian().await;
    assert!(ran.code == 1 && ran.err.contains("the repositories of images hold"), "{ran:?}");
    let answer = world.ask("GET", "/registry/usage", None).await;
    assert_eq!(answer.body["quotas"][0]["size"], 100, "{answer:?}");
    assert!(answer.body["quotas"][0]["used"].as_u64().unwrap() <= 100, "{answer:?}");
    world.server.stop().await;
}
