//! Which pushes a rule is about, which machines it picks, and when it refuses.

use serde_json::json;

use super::*;
use crate::model::push_run::{Fate, PushRun, Why};
use crate::model::{Bmc, BmcTls, Lifecycle, MachineId};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn rule(repository: &str, tag: &str, machines: serde_json::Value) -> PushRule {
    PushRule {
        id: PushRuleId::fresh(),
        name: "web".to_owned(),
        repository: repository.parse().unwrap(),
        tag: tag.parse().unwrap(),
        machines: serde_json::from_value(machines).unwrap(),
        max_machines: 2,
        reinstall: false,
        mode: PushMode::On,
        mode_since: at(10),
        task_target: "install-linux.target".to_owned(),
        recipe_sha256: String::new(),
        callback_url: None,
        created_at: at(0),
        created_by: "admin".to_owned(),
    }
}

fn push(repository: &str, tag: &str, second: i64) -> Push {
    Push {
        id: "p".to_owned(),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: "sha256:abc".to_owned(),
        media_type: String::new(),
        by: "token ci".to_owned(),
        at: at(second),
    }
}

fn machine(serial: &str, labels: &[(&str, &str)]) -> Machine {
    Machine {
        id: MachineId::fresh(),
        serial: serial.to_owned(),
        uuid: None,
        macs: vec![],
        bmc: Bmc {
            url: "https://192.0.2.20".to_owned(),
            user: "root".to_owned(),
            tls: BmcTls::Verify,
            plain_http: false,
            system: None,
        },
        host_network: None,
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        deadlines: [].into(),
        media_url: None,
        api_url: None,
        transport: crate::model::TransportSetting::Auto,
        lifecycle: Lifecycle::Free,
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    }
}

#[test]
fn a_rule_is_about_the_repositories_and_tags_that_fit() {
    for (repository, tag, pushed, wanted) in [
        ("images/*", "v*", ("images/debian", "v1"), true),
        ("images/*", "v*", ("images/team/debian", "v1.2"), true),
        ("images/*", "v*", ("images/debian", "latest"), false),
        ("images/*", "*", ("image/debian", "v1"), false),
        ("images/debian", "stable", ("images/debian", "stable"), true),
        ("images/debian", "stable", ("images/debian2", "stable"), false),
        ("*", "*", ("a", "b"), true),
        ("*", "v?", ("a", "v12"), false),
        ("*", "v[0-9]", ("a", "v1"), true),
    ] {
        let rule = rule(repository, tag, json!({ "serials": ["S1"] }));
        assert_eq!(rule.fits(pushed.0, pushed.1), wanted, "{repository}:{tag} {pushed:?}");
    }
}

#[test]
fn what_was_pushed_before_a_rule_was_on_writes_to_nothing() {
    let on = rule("*", "*", json!({ "serials": ["S1"] }));
    for (second, mode, wanted) in [
        (-1, PushMode::On, PushMode::Off),
        (0, PushMode::On, PushMode::DryRun),
        (9, PushMode::On, PushMode::DryRun),
        (10, PushMode::On, PushMode::On),
        (11, PushMode::DryRun, PushMode::DryRun),
        (9, PushMode::Off, PushMode::Off),
        (11, PushMode::Off, PushMode::Off),
    ] {
        let rule = PushRule { mode, ..on.clone() };
        assert_eq!(rule.mode_for(&push("a", "b", second)), wanted, "{second} {mode:?}");
    }
    let other = rule("x", "*", json!({ "serials": ["S1"] }));
    assert_eq!(other.mode_for(&push("a", "b", 11)), PushMode::Off);
}

#[test]
fn a_selector_needs_every_label_and_one_of_the_serials() {
    let web = machine("S1", &[("role", "web"), ("rack", "7")]);
    for (selector, wanted) in [
        (json!({}), false),
        (json!({ "labels": { "role": "web" } }), true),
        (json!({ "labels": { "role": "web", "rack": "7" } }), true),
        (json!({ "labels": { "role": "web", "rack": "8" } }), false),
        (json!({ "labels": { "role": "*" } }), false),
        (json!({ "serials": ["S2", " s1 "] }), true),
        (json!({ "serials": ["S2"] }), false),
        (json!({ "labels": { "role": "web" }, "serials": ["S2"] }), false),
        (json!({ "labels": { "role": "db" }, "serials": ["S1"] }), false),
    ] {
        let read: MachineSelector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(read.picks(&web), wanted, "{selector}");
    }
}

#[test]
fn all_that_a_rule_picks_or_none() {
    let rule = rule("*", "*", json!({ "labels": { "role": "web" } }));
    let web = |serial: &str| machine(serial, &[("role", "web")]);
    let begin = |all: &[Machine]| PushRun::begin(&rule, PushMode::On, push("a", "b", 11), all, at(12));

    let run = begin(&[web("S2"), machine("S3", &[]), web("S1")]);
    let serials: Vec<&str> = run.machines.iter().map(|one| one.serial.as_str()).collect();
    assert_eq!((serials, run.refused.clone(), run.summary().as_str()), (vec!["S1", "S2"], None, "2 pending"));

    for (all, code) in [
        (vec![machine("S3", &[])], "push_rule.no_machine"),
        (vec![web("S1"), web("S2"), web("S3")], "push_rule.too_many_machines"),
    ] {
        let run = begin(&all);
        assert_eq!(run.machines, []);
        assert_eq!(run.refused.as_ref().map(|why| why.code.as_str()), Some(code));
        assert_eq!(run.summary(), format!("refused: {code}"));
    }
}

#[test]
fn a_run_is_read_back_as_it_was_written_and_told_in_few_words() {
    let rule = rule("*", "*", json!({ "serials": ["S1", "S2"] }));
    let mut run = PushRun::begin(
        &rule,
        PushMode::DryRun,
        push("a", "b", 11),
        &[machine("S1", &[]), machine("S2", &[])],
        at(12),
    );
    run.machines[0].fate = Fate::WouldAccept { destructive: true, problems: vec!["no slot".to_owned()] };
    run.machines[1].fate = Fate::Refused(Why::new("conflict.active_job", "busy"));
    let text = serde_json::to_value(&run).unwrap();
    assert_eq!(text["machines"][1]["outcome"], "refused");
    assert_eq!(text["machines"][1]["code"], "conflict.active_job");
    assert_eq!(serde_json::from_value::<PushRun>(text).unwrap(), run);
    assert_eq!(run.summary(), "1 would be accepted, 1 refused");
}

#[test]
fn what_is_no_pattern_is_refused_in_words() {
    for bad in ["", "a[", "***", &"a".repeat(256)] {
        let error = bad.parse::<NamePattern>().unwrap_err().to_string();
        assert!(error.contains("is no pattern: "), "{error}");
    }
    assert_eq!("images/*".parse::<NamePattern>().unwrap().to_string(), "images/*");
}
