//! Push-to-provision over real HTTP: a client pushes to /v2, and rules decide what becomes of machines.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::time::{Duration, Instant};

use api_support::host::Script;
use api_support::{SOON, World};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A recipe whose image is what was pushed.
fn template() -> Value {
    let mut recipe = World::debian();
    recipe["oci_url"] = json!("{{image}}");
    recipe
}

fn rule(name: &str, tag: &str, serial: &str) -> Value {
    json!({ "name": name, "repository": "images/*", "tag": tag, "recipe": template(),
            "machines": { "serials": [serial] } })
}

/// Puts the image of `images/debian:trixie` under another tag, as any client would; the answer's status.
async fn tag(world: &World, token: &str, tag: &str) -> u16 {
    let base = format!("{}/v2/images/debian/manifests", world.server.api_url);
    let get = world.http.get(format!("{base}/trixie")).bearer_auth(&world.token);
    let text = get.header("accept", MANIFEST).send().await.unwrap().text().await.unwrap();
    let put = world.http.put(format!("{base}/{tag}")).bearer_auth(token).header("content-type", MANIFEST);
    put.body(text).send().await.unwrap().status().as_u16()
}

async fn digest(world: &World) -> String {
    world.server.registry.resolve("images/debian", "trixie").await.unwrap().unwrap().digest.to_string()
}

async fn runs(world: &World, rule: &str) -> Vec<Value> {
    let answer = world.ask("GET", &format!("/push-rules/{rule}/runs"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["runs"].as_array().unwrap().clone()
}

/// Waits until a rule has that many runs, all of them ended; newest first.
async fn ended(world: &World, rule: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let runs = runs(world, rule).await;
        if runs.len() == count && runs.iter().all(|run| run["ended_at"].is_string()) {
            return runs;
        }
        assert!(begun.elapsed() < SOON && runs.len() <= count, "{runs:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn jobs(world: &World) -> Vec<Value> {
    world.ask("GET", "/jobs", None).await.body["jobs"].as_array().unwrap().clone()
}

/// Waits until no push waits for its rules.
async fn dealt_with(world: &World) {
    let begun = Instant::now();
    while !world.server.registry.pushes_after(0, 1).await.unwrap().is_empty() {
        assert!(begun.elapsed() < SOON, "pushes are never dealt with");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_only_looked_at_until_its_rule_is_on_and_then_makes_one_job_of_its_digest() {
    let world = World::start(2).await;
    world.push_debian().await;
    world.add(0).await;
    world.add(1).await;
    let made = world.ask("POST", "/push-rules", Some(rule("web", "v*", "s1"))).await;
    assert_eq!((made.status, &made.body["mode"]), (201, &json!("dry_run")), "{made:?}");
    assert!(made.body["recipe"].is_null(), "recipes hold secrets");

    assert_eq!(tag(&world, &world.token, "v1").await, 201);
    let run = ended(&world, "web", 1).await.remove(0);
    let digest = digest(&world).await;
    assert_eq!(run["push"]["by"], "token first admin", "{run:#}");
    assert_eq!((&run["push"]["digest"], &run["mode"]), (&json!(digest), &json!("dry_run")));
    let would = json!([{ "serial": "S1", "outcome": "would_accept", "destructive": true, "problems": [] }]);
    assert_eq!(run["machines"], would);
    assert_eq!(jobs(&world).await, [] as [Value; 0]);

    let on = world.ask("PUT", "/push-rules/web/mode", Some(json!({ "mode": "on" }))).await;
    assert_eq!((on.status, &on.body["mode"]), (200, &json!("on")));
    for (pushed, why) in [("v1", "the tag stays where it was"), ("latest", "the rule is about others")] {
        assert_eq!(tag(&world, &world.token, pushed).await, 201);
        dealt_with(&world).await;
        assert_eq!(runs(&world, "web").await.len(), 1, "{why}");
    }
    world.player.script("S1", Script::Begin);
    assert_eq!(tag(&world, &world.token, "v2").await, 201);
    let run = ended(&world, "web", 2).await.remove(0);
    let made = jobs(&world).await;
    assert_eq!((made.len(), &run["machines"][0]["job_id"]), (1, &made[0]["job_id"]), "{run:#}");
    assert_eq!(made[0]["image"]["reference"], format!("images/debian@{digest}"), "not the tag");
    assert_eq!(
        (&made[0]["server_serial"], &made[0]["requested_by"]),
        (&json!("S1"), &json!("push rule web"))
    );

    // While that job runs, another push is refused and recorded.
    assert_eq!(tag(&world, &world.token, "v3").await, 201);
    let run = ended(&world, "web", 3).await.remove(0);
    assert_eq!(run["machines"][0]["code"], "conflict.active_job", "{run:#}");

    // Neither a host nor a viewer pushes, so neither starts anything.
    let id = made[0]["job_id"].as_str().unwrap();
    world.until(id, "phase", "installing").await;
    let host = world.player.seen("S1").session;
    let viewer = world.slipway(&["token", "create", "v", "--role", "viewer"], "").await.out;
    for token in [host.as_str(), viewer.trim()] {
        assert_eq!(tag(&world, token, "v4").await, 403);
    }
    dealt_with(&world).await;
    assert_eq!((runs(&world, "web").await.len(), jobs(&world).await.len()), (3, 1));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_killed_at_any_instant_after_a_push_makes_one_job_of_it() {
    const ROUNDS: usize = 8;
    let mut world = World::start(ROUNDS).await;
    world.push_debian().await;
    for round in 1..=ROUNDS {
        let serial = world.add(round - 1).await;
        let (name, tagged) = (format!("r{round}"), format!("t{round}"));
        let made = world.ask("POST", "/push-rules", Some(rule(&name, &tagged, &serial))).await;
        assert_eq!(made.status, 201, "{made:?}");
        world.ask("PUT", &format!("/push-rules/{name}/mode"), Some(json!({ "mode": "on" }))).await;
        assert_eq!(tag(&world, &world.token, &tagged).await, 201);
        tokio::time::sleep(Duration::from_millis(14 * (round as u64 - 1))).await;
        world = world.killed().await;
        let run = ended(&world, &name, 1).await.remove(0);
        let of_it: Vec<Value> =
            jobs(&world).await.into_iter().filter(|job| job["server_serial"] == json!(serial)).collect();
        assert_eq!(of_it.len(), 1, "round {round}: {of_it:#?}");
        assert_eq!(run["machines"][0]["job_id"], of_it[0]["job_id"], "round {round}: {run:#}");
    }
    world = world.killed().await;
    dealt_with(&world).await;
    assert_eq!(jobs(&world).await.len(), ROUNDS);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_made_by_admins_alone_read_by_everyone_and_refused_when_no_push_could_keep_them() {
    let world = World::start(0).await;
    let operator = world.slipway(&["token", "create", "o", "--role", "operator"], "").await.out;
    let viewer = world.slipway(&["token", "create", "v", "--role", "viewer"], "").await.out;
    let (operator, viewer) = (operator.trim(), viewer.trim());
    let body = rule("web", "v*", "S1").to_string().into_bytes();
    for token in [operator, viewer] {
        let answer = world.ask_as(token, "POST", "/push-rules", &[], Some(body.clone())).await;
        assert_eq!((answer.status, &answer.body["error"]), (403, &json!("auth.role")), "{answer:?}");
    }
    let answer = world.ask_as(&world.token, "POST", "/push-rules", &[], Some(body.clone())).await;
    assert_eq!(
        (answer.status, &answer.headers["location"]),
        (201, &"/api/v1/push-rules/web".parse().unwrap())
    );
    for (method, path, body) in
        [("PUT", "/push-rules/web/mode", Some(r#"{"mode":"on"}"#)), ("DELETE", "/push-rules/web", None)]
    {
        let body = body.map(|body| body.as_bytes().to_vec());
        let answer = world.ask_as(operator, method, path, &[], body).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    for path in ["/push-rules", "/push-rules/web", "/push-rules/web/runs"] {
        assert_eq!(world.ask_as(viewer, "GET", path, &[], None).await.status, 200, "{path}");
    }

    let mut broken = rule("broken", "v*", "S1");
    broken["recipe"]["partition_layout"][0]["size"] = json!("a lot");
    let mut on = rule("on", "v*", "S1");
    on["mode"] = json!("on");
    let mut fixed = rule("fixed", "v*", "S1");
    fixed["recipe"] = World::debian();
    let mut all = rule("all", "v*", "S1");
    all["machines"] = json!({});
    for (body, status, code) in [
        (broken, 400, "invalid_recipe"),
        (on, 400, "push_rule.invalid"),
        (fixed, 400, "push_rule.invalid"),
        (all, 400, "push_rule.invalid"),
        (rule("web", "v*", "S1"), 409, "push_rule.exists"),
    ] {
        let answer = world.ask("POST", "/push-rules", Some(body)).await;
        assert_eq!((answer.status, &answer.body["error"]), (status, &json!(code)), "{answer:?}");
    }
    let answer = world.ask("GET", "/push-rules", None).await;
    assert_eq!(answer.body["push_rules"].as_array().unwrap().len(), 1);
    assert_eq!(world.ask("DELETE", "/push-rules/web", None).await.status, 204);
    assert_eq!(world.ask("DELETE", "/push-rules/web", None).await.status, 404);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_tries_switches_and_removes_a_rule_at_the_command_line() {
    let world = World::start(2).await;
    world.push_debian().await;
    let mut machine = world.machine(0);
    machine["labels"] = json!({ "role": "web" });
    world.ask("POST", "/machines", Some(machine)).await;
    let add = ["push-rule", "add", "web", "--repository", "images/*", "--tag", "v*", "--recipe", "-"];
    let add = [&add[..], &["--label", "role=web", "--callback-url", "http://127.0.0.1:9/hook"]].concat();
    let ran = world.slipway(&add, &template().to_string()).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "push rule web is dry-run\n"), "{ran:?}");
    assert!(ran.err.contains("signed with whsec_"), "{ran:?}");
    let ran = world.slipway(&["push-rule", "list"], "").await;
    assert!(ran.out.lines().nth(1).unwrap().starts_with("web   dry-run  images/*:v*"), "{ran:?}");
    let ran = world.slipway(&["push-rule", "show", "web"], "").await;
    assert!(ran.code == 0 && !ran.out.contains("cloud-config") && !ran.out.contains("whsec_"), "{ran:?}");

    let ran = world.slipway(&["push-rule", "try", "web", "images/debian:trixie"], "").await;
    assert_eq!(ran.code, 1, "the tag does not fit: {ran:?}");
    assert!(ran.out.contains("[push_rule.unfit]"), "{ran:?}");
    assert_eq!(tag(&world, &world.token, "v1").await, 201);
    ended(&world, "web", 1).await;
    let ran = world.slipway(&["push-rule", "try", "web", "images/debian:v1"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("S1: would get a job, which writes to its disks\n"), "{ran:?}");

    let ran = world.slipway(&["push-rule", "mode", "web", "on"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "push rule web is on\n"));
    assert_eq!(tag(&world, &world.token, "v2").await, 201);
    ended(&world, "web", 2).await;
    let ran = world.slipway(&["push-rule", "runs", "web"], "").await;
    let id = jobs(&world).await[0]["job_id"].as_str().unwrap().to_owned();
    assert!(ran.out.contains(&format!("(on)\n  S1: job {id}\n")), "{ran:?}");
    assert!(ran.out.contains("(dry-run)\n  S1: would get a job"), "{ran:?}");

    let ran = world.slipway(&["push-rule", "rm", "web"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "push rule web is removed\n"));
    assert_eq!(jobs(&world).await.len(), 1, "its job goes on");
    world.server.stop().await;
}
