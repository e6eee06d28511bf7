//! The screen of `slipway doctor`, in health and in every sickness it knows.

use serde_json::json;

use super::*;

fn healthy() -> Findings {
    Findings {
        url: "https://slipway.example.com:8443/".into(),
        now: "2026-11-21T10:00:00Z".parse().unwrap(),
        health: Ok(()),
        site: Ok(json!({
            "version": env!("CARGO_PKG_VERSION"), "now": "2026-11-21T10:00:01Z",
            "api_url": "https://192.0.2.5:8443", "media_url": "http://192.0.2.5:8080",
            "allow_loopback": false, "allow_plain_http_bmcs": false,
            "maintenance": { "version": env!("CARGO_PKG_VERSION"), "sha256": "ab".repeat(32), "size": 734_003_200 },
            "room": { "free": 50_u64 << 30, "total": 100_u64 << 30 },
            "token": { "name": "ci", "role": "operator", "expires_at": "2027-06-01T00:00:00Z" },
        })),
        ready: Ok(json!({ "ready": true, "checks": { "media": "ok", "registry": "ok", "store": "ok" } })),
        registry: Ok(200),
        mode: Ok(json!({ "read_only": false })),
        held: Ok(json!({ "quotas": [{ "namespace": "team", "size": 1000, "used": 900 }] })),
        media: Ok(()),
        machines: Ok(vec![("ABC1234".into(), "free".into()), ("ABC1235".into(), "in_service".into())]),
        alarms: Ok(vec![]),
    }
}

fn site(change: impl FnOnce(&mut Value)) -> Findings {
    let mut found = healthy();
    if let Ok(site) = &mut found.site {
        change(site);
    }
    found
}

/// Lines that are not ok.
fn told(found: &Findings) -> String {
    let checks: Vec<Check> = all(found).into_iter().filter(|check| check.level != Level::Ok).collect();
    screen(&checks)
}

#[test]
fn a_healthy_site_is_told_line_by_line() {
    insta::assert_snapshot!(screen(&all(&healthy())).replace(env!("CARGO_PKG_VERSION"), "<version>"));
}

#[test]
fn every_sickness_has_its_line_and_its_remedy() {
    let quarantined = |count: usize| {
        Ok((0..count).map(|n| (format!("ABC{n}"), "quarantined".to_owned())).collect::<Vec<_>>())
    };
    let table: Vec<(&str, Findings)> = vec![
        ("not there", Findings { health: Err("connection refused".into()), ..healthy() }),
        ("another authority", Findings { health: Err("invalid peer certificate".into()), ..healthy() }),
        ("a dead token", Findings { site: Err("send a valid API token [auth.token]".into()), ..healthy() }),
        ("a token soon dead", site(|site| site["token"]["expires_at"] = json!("2026-11-24T00:00:00Z"))),
        ("another version", site(|site| site["version"] = json!("9.9.9"))),
        ("a clock ahead", site(|site| site["now"] = json!("2026-11-21T10:05:00Z"))),
        ("a clock behind", site(|site| site["now"] = json!("2026-11-21T09:00:00Z"))),
        ("little room", site(|site| site["room"]["free"] = json!(1_u64 << 30))),
        ("no room", site(|site| site["room"]["free"] = json!(1_u64 << 20))),
        (
            "loopback",
            site(|site| {
                site["api_url"] = json!("https://127.0.0.1:8443");
                site["media_url"] = json!("http://localhost:8080");
            }),
        ),
        (
            "loopback on purpose",
            site(|site| {
                site["allow_loopback"] = json!(true);
                site["media_url"] = json!("http://[::1]:8080");
            }),
        ),
        ("a scheme of its own", site(|site| site["api_url"] = json!("http://192.0.2.5:8443"))),
        ("no medium", site(|site| site["maintenance"] = Value::Null)),
        ("an old medium", site(|site| site["maintenance"]["version"] = json!("0.0.1"))),
        ("a silent medium", site(|site| site["maintenance"]["version"] = Value::Null)),
        (
            "not ready",
            Findings {
                ready: Ok(
                    json!({ "ready": false, "checks": { "store": "the disk is full", "media": "ok" } }),
                ),
                ..healthy()
            },
        ),
        ("no registry", Findings { registry: Ok(503), ..healthy() }),
        (
            "a registry that takes nothing",
            Findings {
                mode: Ok(json!({
                    "read_only": true, "since": "2026-11-21T09:00:00Z", "reason": "a new disk", "by": "ops",
                })),
                ..healthy()
            },
        ),
        (
            "quotas that are used up",
            Findings {
                held: Ok(json!({ "quotas": [
                    { "namespace": "team", "size": 1_073_741_824, "used": 1_073_741_000 },
                    { "namespace": "", "size": 1000, "used": 2000 },
                    { "namespace": "roomy", "size": 1000, "used": 10 },
                ] })),
                ..healthy()
            },
        ),
        ("media out of reach", Findings { media: Err("no route to host".into()), ..healthy() }),
        ("quarantine", Findings { machines: quarantined(7), ..healthy() }),
        (
            "an alarm",
            Findings { alarms: Ok(vec![("01a1".into(), "a second boot was refused".into())]), ..healthy() },
        ),
    ];
    let mut book = String::new();
    for (what, found) in table {
        let told = told(&found);
        assert!(told.contains('→'), "{what} has no remedy: {told}");
        book = format!("{book}==== {what}\n{told}\n");
    }
    insta::assert_snapshot!(book.replace(env!("CARGO_PKG_VERSION"), "<version>"));
}

#[test]
fn what_is_only_odd_does_not_fail_and_what_is_wrong_does() {
    let worst = |found: &Findings| all(found).iter().any(|check| check.level == Level::Fail);
    assert!(!worst(&healthy()));
    assert!(!worst(&site(|site| site["version"] = json!("9.9.9"))));
    assert!(worst(&site(|site| site["maintenance"] = Value::Null)));
    assert!(worst(&Findings { health: Err("no".into()), ..healthy() }));
}
