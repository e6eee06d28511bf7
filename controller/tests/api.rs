//! The API as programs use it: who may call, idempotency, paging, streams that are taken up again, callbacks.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::time::Duration;

use api_support::World;
use api_support::host::Script;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

/// A token of that role; its secret.
async fn token(world: &World, role: &str) -> String {
    let answer =
        world.ask("POST", "/tokens", Some(json!({ "name": format!("a {role}"), "role": role }))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["secret"].as_str().unwrap().to_owned()
}

/// Method, path, body, and what viewer, operator and admin are answered.
type Call = (&'static str, String, Option<Vec<u8>>, [u16; 3]);

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_its_own_and_no_more() {
    let world = World::start(1).await;
    world.add(0).await;
    let body = |value: Value| Some(value.to_string().into_bytes());
    let recipe = json!({ "server_serial": "S1", "recipe": World::inventory() });
    let unknown = "/jobs/01900000-0000-7000-8000-000000000000";
    let calls: [Call; 9] = [
        ("GET", "/jobs".into(), None, [200, 200, 200]),
        ("GET", "/machines/S1".into(), None, [200, 200, 200]),
        ("GET", "/machines/S1/power".into(), None, [200, 200, 200]),
        ("POST", "/jobs?dry_run=true".into(), body(recipe), [403, 200, 200]),
        ("POST", format!("{unknown}/cancel"), None, [403, 404, 404]),
        ("POST", format!("{unknown}/release?force=true"), None, [403, 403, 404]),
        ("GET", "/tokens".into(), None, [403, 403, 200]),
        ("POST", "/tokens".into(), body(json!({ "name": "x", "role": "admin" })), [403, 403, 201]),
        ("GET", "/callbacks".into(), None, [403, 403, 200]),
    ];
    for (column, role) in ["viewer", "operator", "admin"].into_iter().enumerate() {
        let token = token(&world, role).await;
        for (method, path, body, wanted) in &calls {
            let answer = world.ask_as(&token, method, path, &[], body.clone()).await;
            assert_eq!(answer.status, wanted[column], "{role}: {method} {path}: {answer:?}");
        }
    }
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_live_token_and_guessing_is_slowed_down() {
    let world = World::start(0).await;
    let ask = async |token: &str| world.ask_as(token, "GET", "/jobs", &[], None).await;
    let refused = ask("").await;
    insta::assert_snapshot!(refused.refusal(), @"401 auth.token: send a valid API token as `Authorization: Bearer <token>`; the first one is in <state>/admin.token");
    assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"slipway\"");
    // podman and oras send the token as a password.
    let basic = world
        .http
        .get(format!("{}/api/v1/jobs", world.server.api_url))
        .basic_auth("anyone", Some(&world.token));
    assert_eq!(basic.send().await.unwrap().status().as_u16(), 200);
    let mut last = 401;
    for _ in 0..40 {
        last = ask("slw_guess").await.status;
    }
    assert_eq!(last, 429);
    insta::assert_snapshot!(ask("slw_guess").await.refusal(), @"429 auth.rate: too many wrong tokens from 127.0.0.1; wait a minute");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_on_record_with_who_and_what_became_of_it() {
    let world = World::start(1).await;
    world.add(0).await;
    world.ask("DELETE", "/machines/NOPE", None).await;
    world.ask("GET", "/machines", None).await;
    let log = world.server.workflow.store().audit_log(None, 10).unwrap();
    let lines: Vec<String> = log
        .iter()
        .map(|(_, entry)| {
            assert!(entry.request_id.is_some());
            let source = entry.source.as_deref().unwrap_or_default();
            format!(
                "{} {} {} {} {}",
                entry.actor,
                source,
                entry.action,
                entry.object,
                entry.detail.as_deref().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "first admin 127.0.0.1 DELETE /api/v1/machines/NOPE 404",
            "first admin 127.0.0.1 DELETE /api/v1/machines/NOPE ",
            "first admin 127.0.0.1 POST /api/v1/machines 201",
            "first admin 127.0.0.1 POST /api/v1/machines ",
        ]
    );
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_job_and_another_body_is_refused() {
    let world = World::start(1).await;
    world.add(0).await;
    let submit = async |key: &str, notes: &str| {
        let mut recipe = World::inventory();
        recipe["notes"] = json!(notes);
        let body = json!({ "server_serial": "S1", "recipe": recipe }).to_string().into_bytes();
        world.ask_as(&world.token, "POST", "/jobs", &[("idempotency-key", key)], Some(body)).await
    };
    let first = submit("k1", "a").await;
    assert_eq!(first.status, 202, "{first:?}");
    let id = first.body["job_id"].as_str().unwrap();
    assert_eq!(first.headers["location"], format!("/api/v1/jobs/{id}"));
    let again = submit("k1", "a").await;
    assert_eq!((again.status, again.body["job_id"].as_str().unwrap()), (200, id));
    insta::assert_snapshot!(submit("k1", "b").await.refusal(), @r#"422 idempotency.key_reused: Idempotency-Key "k1" was used with another body for job <id>; use a new key"#);
    assert_eq!(submit("k2", "a").await.body["details"]["job_id"], id);
    assert_eq!(submit(&"k".repeat(256), "a").await.status, 400);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_newest_first_and_filtered() {
    let world = World::start(3).await;
    let mut ids = Vec::new();
    for index in 0..3 {
        let serial = world.add(index).await;
        let id = world.job(&serial, &World::inventory(), Script::Succeed(vec!["inventory"])).await;
        world.complete(&id).await;
        ids.insert(0, id);
    }
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.ask("GET", &format!("/jobs?limit=2{cursor}"), None).await.body;
        found.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    let of = async |query: &str| world.ask("GET", &format!("/jobs?{query}"), None).await;
    assert_eq!(of("machine=s2").await.body["jobs"][0]["job_id"], ids[1].as_str());
    assert_eq!(of("status=failed").await.body["jobs"], json!([]));
    assert_eq!(of("status=succeeded").await.body["jobs"].as_array().unwrap().len(), 3);
    assert_eq!(of("status=lost").await.status, 400);
    assert_eq!(of("machine=nope").await.body["jobs"], json!([]));
    world.server.stop().await;
}

/// The event stream from `last` on, until it ends: (id, event, data).
async fn stream(world: &World, id: &str, last: Option<&str>) -> Vec<(String, String, Value)> {
    let mut request = world
        .http
        .get(format!("{}/api/v1/jobs/{id}/events", world.server.api_url))
        .bearer_auth(&world.token)
        .header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let mut found = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let field = |name: &str| {
            let mark = format!("{name}: ");
            block.lines().find_map(|line| line.strip_prefix(mark.as_str())).unwrap_or_default().to_owned()
        };
        if field("event").is_empty() {
            continue; // a comment that keeps the connection alive
        }
        found.push((field("id"), field("event"), serde_json::from_str(&field("data")).unwrap()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_taken_up_after_the_last_event_and_ends_with_the_job() {
    let world = World::start(1).await;
    world.add(0).await;
    let id = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    let live = tokio::time::timeout(api_support::SOON, stream(&world, &id, None)).await.unwrap();
    let (_, last, job) = live.last().unwrap();
    assert_eq!((last.as_str(), &job["status"], &job["complete"]), ("end", &json!("succeeded"), &json!(true)));
    let numbers = |stream: &[(String, String, Value)]| -> Vec<i64> {
        stream.iter().filter(|(_, event, _)| event == "event").map(|(id, _, _)| id.parse().unwrap()).collect()
    };
    let all = numbers(&live);
    assert!(all.len() > 10 && all.is_sorted(), "{all:?}");
    let replayed = stream(&world, &id, None).await;
    assert_eq!(numbers(&replayed), all);
    let rest = stream(&world, &id, Some(&all[4].to_string())).await;
    assert_eq!(numbers(&rest), all[5..]);
    let json = world.ask("GET", &format!("/jobs/{id}/events?after={}", all[4]), None).await.body;
    let listed: Vec<i64> =
        json["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(listed, all[5..]);
    assert_eq!(world.ask("GET", "/jobs/01900000-0000-7000-8000-000000000000/events", None).await.status, 404);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_does_not_keep_the_controller_from_stopping() {
    let world = World::start(1).await;
    world.add(0).await;
    let id = world.job("S1", &World::inventory(), Script::Begin).await;
    let response = world
        .http
        .get(format!("{}/api/v1/jobs/{id}/events", world.server.api_url))
        .bearer_auth(&world.token)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let mut bytes = response.bytes_stream();
    assert!(bytes.next().await.is_some());
    tokio::time::timeout(Duration::from_secs(20), world.server.stop())
        .await
        .expect("the controller does not stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_or_no_json_is_refused_in_our_shape() {
    let world = World::start(0).await;
    let send = async |body: Vec<u8>| world.ask_as(&world.token, "POST", "/jobs", &[], Some(body)).await;
    insta::assert_snapshot!(send(vec![b' '; (4 << 20) + 1]).await.refusal(), @"413 body.too_large: the request body is larger than 4194304 bytes");
    insta::assert_snapshot!(send(b"{\"server_serial\": ".to_vec()).await.refusal(), @"400 bad_request: the request body cannot be read: not JSON at line 1, column 18");
    insta::assert_snapshot!(world.ask("GET", "/nothing", None).await.refusal(), @"404 not_found: there is no such path in this API; see /api/v1/openapi.json");
    insta::assert_snapshot!(world.ask("PATCH", "/jobs", None).await.refusal(), @"405 method_not_allowed: this path does not take that method; see /api/v1/openapi.json");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bmc_password_goes_in_and_never_comes_out() {
    let world = World::start(1).await;
    let mut body = world.machine(0);
    let added = world.ask("POST", "/machines", Some(body.clone())).await;
    let shown = world.ask("GET", "/machines/s1", None).await;
    let list = world.ask("GET", "/machines", None).await;
    for answer in [&added, &shown, &list] {
        assert!(!answer.body.to_string().contains("password"), "{answer:?}");
    }
    // A change without a password keeps the stored one: the BMC still lets us in.
    body["bmc"].as_object_mut().unwrap().remove("password");
    body["labels"] = json!({ "rack": "7" });
    let changed = world.ask("PUT", "/machines/S1", Some(body)).await;
    assert_eq!((changed.status, &changed.body["labels"]["rack"]), (200, &json!("7")), "{changed:?}");
    assert_eq!(world.ask("GET", "/machines/S1/power", None).await.body["power"], "off");
    assert_eq!(world.ask("GET", "/machines?label=rack=7", None).await.body["machines"][0]["serial"], "S1");
    assert_eq!(world.ask("GET", "/machines?label=rack=8", None).await.body["machines"], json!([]));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_login_goes_in_and_never_comes_out() {
    let world = World::start(1).await;
    let mut body = world.machine(0);
    body["host_network"] = json!({ "proxy": "http://slipway:hunter2@proxy.example.com:3128" });
    let added = world.ask("POST", "/machines", Some(body.clone())).await;
    let shown = world.ask("GET", "/machines/s1", None).await;
    let list = world.ask("GET", "/machines", None).await;
    for answer in [&added, &shown, &list] {
        assert!(!answer.body.to_string().contains("hunter2"), "{answer:?}");
    }
    assert_eq!(shown.body["host_network"]["proxy"], "http://***@proxy.example.com:3128");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_are_open_and_are_the_ones_that_check() {
    let world = World::start(0).await;
    for (path, wanted) in [
        ("/schema/recipe", schema::validate::RECIPE_SCHEMA),
        ("/schema/event", schema::validate::EVENT_SCHEMA),
    ] {
        let answer = world.ask_as("", "GET", path, &[], None).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, serde_json::from_str::<Value>(wanted).unwrap());
    }
    world.server.stop().await;
}

/// Every path below a folder, itself included.
fn below(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    found.push(folder.to_owned());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { below(&path, found) } else { found.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_state_folder_is_anybody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start(1).await;
    world.add(0).await;
    assert_eq!(world.push_debian().await.code, 0);
    let job = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.complete(&job).await;
    let mut found = Vec::new();
    below(world.state.path(), &mut found);
    let pushed = world.state.path().join("root"); // put there by the helper that pushes it
    found.retain(|path| !path.starts_with(&pushed));
    for wanted in ["slipway.sqlite", "slipway.sqlite-wal", "index.sqlite", "index.sqlite-wal", "uploads"] {
        assert!(found.iter().any(|path| path.ends_with(wanted)), "there is no {wanted}: {found:?}");
    }
    assert!(found.iter().any(|path| path.to_string_lossy().contains("/blobs/sha256/")), "{found:?}");
    for path in found {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{mode:o} {}", path.display());
    }
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_failed_hands_in_its_journal_and_nobody_else_can() {
    let world = World::start(2).await;
    world.add(0).await;
    world.add(1).await;
    let failed = world.job("S1", &World::inventory(), Script::Fail(vec!["inventory"])).await;
    world.complete(&failed).await;
    let logs = world.ask("GET", &format!("/jobs/{failed}/logs"), None).await;
    let texts: Vec<(&str, &str)> = logs.body["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| (log["name"].as_str().unwrap(), log["text"].as_str().unwrap()))
        .collect();
    assert_eq!(
        texts,
        [
            ("inventory.service", "line one\nline two"),
            ("journal", "the whole journal\nwith ***\nand its end\n")
        ]
    );

    let running = world.job("S1", &World::inventory(), Script::Begin).await;
    world.until(&running, "phase", "installing").await;
    let seen = world.player.seen("S1");
    let send = async |token: &str, serial: &str, name: &str, text: Vec<u8>| {
        let path = format!("/status-webhook/{serial}/logs?name={name}");
        world.ask_as(token, "POST", &path, &[], Some(text)).await.status
    };
    let text = || b"text".to_vec();
    assert_eq!(send("", "S1", "x", text()).await, 401);
    assert_eq!(send(&world.token, "S1", "x", text()).await, 401, "a person's token is none of a host's");
    assert_eq!(send(&seen.bootstrap, "S1", "x", text()).await, 403, "it has not asked yet");
    assert_eq!(send(&seen.session, "S2", "x", text()).await, 403, "another machine's");
    assert_eq!(send(&seen.session, "S1", "", text()).await, 400);
    assert_eq!(send(&seen.session, "S1", "big", vec![b'x'; (8 << 20) + 1]).await, 413);
    // The same again is kept once; bytes that are no text are kept as far as they are.
    for _ in 0..2 {
        assert_eq!(send(&seen.session, "s1", "kernel", b"oops \xff!".to_vec()).await, 200);
    }
    // Six of eight megabytes go in, and what passes the job's share is cut with a word about it.
    assert_eq!(send(&seen.session, "S1", "long", vec![b'y'; 6 << 20]).await, 200);
    assert_eq!(send(&seen.session, "S1", "longer", vec![b'z'; 6 << 20]).await, 200);
    let logs = world.ask("GET", &format!("/jobs/{running}/logs"), None).await;
    let logs = logs.body["logs"].as_array().unwrap();
    let names: Vec<&str> = logs.iter().map(|log| log["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kernel", "long", "longer"]);
    assert_eq!(logs[0]["text"], "oops \u{fffd}!");
    let cut = logs[2]["text"].as_str().unwrap();
    assert!(cut.len() < 3 << 20 && cut.contains("the rest is dropped"), "{}", cut.len());

    world.ask("POST", &format!("/jobs/{running}/cancel"), None).await;
    world.complete(&running).await;
    assert_eq!(send(&seen.session, "S1", "late", text()).await, 403, "the job is over and gone");
    world.server.stop().await;
}
