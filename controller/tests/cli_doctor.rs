//! `slipway doctor` against a running controller: in health, with what is off, and with nobody there.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use api_support::World;
use api_support::host::Script;
use serde_json::{Value, json};

fn line<'a>(text: &'a str, check: &str) -> &'a str {
    let names = |line: &&str| line.split_whitespace().nth(1) == check.split_whitespace().next();
    text.lines().find(names).unwrap_or_else(|| panic!("no line on {check}:\n{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_for_tests_is_well_with_warnings_and_says_which() {
    let world = World::start(1).await;
    world.add(0).await;
    let before = world.rack.machine(0).requests().len();
    let ran = world.slipway(&["doctor"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(line(&ran.out, "controller").starts_with("ok "), "{}", ran.out);
    assert!(line(&ran.out, "token").contains("first admin is admin, and does not expire"), "{}", ran.out);
    assert!(line(&ran.out, "ready").contains("media, registry, store work"), "{}", ran.out);
    assert!(line(&ran.out, "clock").starts_with("ok "), "{}", ran.out);
    assert!(line(&ran.out, "disk").contains("free in the state folder"), "{}", ran.out);
    assert!(line(&ran.out, "registry").starts_with("ok "), "{}", ran.out);
    assert!(line(&ran.out, "machines").contains("1 machines, none quarantined"), "{}", ran.out);
    assert!(line(&ran.out, "api url").contains("is loopback, and that is allowed"), "{}", ran.out);
    assert!(line(&ran.out, "maintenance").contains("sha256 "), "{}", ran.out);
    assert!(ran.out.contains("nothing is wrong; warnings: "), "{}", ran.out);
    assert_eq!(world.rack.machine(0).requests().len(), before, "it asked a BMC");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_is_named_and_a_program_can_read_it() {
    let world = World::start(1).await;
    world.add(0).await;
    assert_eq!(world.push_debian().await.code, 0);
    let failing = world.job("S1", &World::debian(), Script::Fail(vec!["preflight", "partition"])).await;
    world.complete(&failing).await;
    let viewer = json!({ "name": "looker", "role": "viewer", "days": 3 });
    let secret = world.ask("POST", "/tokens", Some(viewer)).await.body["secret"].as_str().unwrap().to_owned();
    let file = world.state.path().join("looker.token");
    std::fs::write(&file, &secret).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ran = world.slipway(&["doctor", "--json", "--token-file", file.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains(&secret));
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let find = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).unwrap().clone()
    };
    assert_eq!(told["ok"], true);
    assert_eq!((&find("machines")["level"], &find("token")["level"]), (&json!("warn"), &json!("warn")));
    assert!(find("machines")["text"].as_str().unwrap().contains("1 quarantined: S1"), "{told:#}");
    assert!(find("token")["remedy"].as_str().unwrap().contains("token create"), "{told:#}");

    std::fs::write(&file, "slw_wrong").unwrap();
    let ran = world.slipway(&["doctor", "--token-file", file.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(line(&ran.out, "token").starts_with("FAIL") && ran.out.contains("wrong: 1"), "{}", ran.out);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_another_authority_and_no_token_are_told_apart() {
    let world = World::start(0).await;
    let ran = world.slipway(&["doctor", "--url", "https://127.0.0.1:1"], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("does not answer") && ran.out.contains("slipway serve"), "{}", ran.out);
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = world.state.path().join("other.pem");
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let ran = world.slipway(&["doctor", "--ca", ca.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("site/ca.pem"), "{}", ran.out);
    let ran = world.slipway(&["doctor", "--token-file", "/nonexistent"], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("/nonexistent") && ran.out.contains("--token-file"), "{}", ran.out);
    world.server.stop().await;
}
