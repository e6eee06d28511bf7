//! What is kept of rules and runs, on a real file.

use jiff::Timestamp;

use crate::model::{
    Announcement, AuditEntry, MachineSelector, Push, PushMode, PushRule, PushRuleId, PushRun,
};
use crate::store::{PushRunEnd, RuleAdded, RuleSecrets, Sealer, SqliteStore, Store};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn open(dir: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&dir.path().join("slipway.db"), Sealer::new(&[1; 32])).unwrap()
}

fn rule(name: &str) -> PushRule {
    PushRule {
        id: PushRuleId::fresh(),
        name: name.to_owned(),
        repository: "images/*".parse().unwrap(),
        tag: "*".parse().unwrap(),
        machines: MachineSelector { serials: vec!["S1".to_owned()], ..MachineSelector::default() },
        max_machines: 1,
        reinstall: false,
        mode: PushMode::DryRun,
        mode_since: at(0),
        task_target: "install-linux.target".to_owned(),
        recipe_sha256: String::new(),
        callback_url: Some("https://ci.example.com/hook".to_owned()),
        created_at: at(0),
        created_by: "admin".to_owned(),
    }
}

fn secrets() -> RuleSecrets {
    RuleSecrets {
        recipe: r#"{"user_data":"hunter2-in-the-clear"}"#.to_owned().into(),
        callback_secret: Some("whsec_in_the_clear".to_owned().into()),
    }
}

fn run(rule: &PushRule, id: &str) -> PushRun {
    let push = Push {
        id: id.to_owned(),
        repository: "images/debian".to_owned(),
        tag: "v1".to_owned(),
        digest: "sha256:abc".to_owned(),
        media_type: String::new(),
        by: "token ci".to_owned(),
        at: at(1),
    };
    PushRun::begin(rule, PushMode::DryRun, push, &[], at(1))
}

fn end(mut run: PushRun) -> PushRunEnd {
    run.ended_at = Some(at(2));
    let audit = AuditEntry {
        at: at(2),
        actor: run.push.by.clone(),
        source: None,
        request_id: None,
        action: "push_rule.run".to_owned(),
        object: run.push.id.clone(),
        detail: None,
    };
    let announcement = Announcement { kind: "push_rule.run".to_owned(), data: serde_json::json!({}) };
    PushRunEnd { run, audit, announcement }
}

#[test]
fn a_rule_is_read_back_and_its_recipe_lies_nowhere_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let kept = rule("web");
    {
        let store = open(&dir);
        assert_eq!(store.add_push_rule(kept.clone(), secrets(), 2).unwrap(), RuleAdded::Done);
        assert_eq!(store.add_push_rule(rule("web"), secrets(), 2).unwrap(), RuleAdded::NameTaken);
        assert_eq!(store.add_push_rule(rule("a"), secrets(), 2).unwrap(), RuleAdded::Done);
        assert_eq!(store.add_push_rule(rule("b"), secrets(), 2).unwrap(), RuleAdded::TooMany);
    }
    let store = open(&dir);
    assert_eq!(store.push_rule("web").unwrap(), Some(kept.clone()));
    let names: Vec<String> = store.push_rules().unwrap().into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["a", "web"]);
    assert_eq!(store.push_rule_secrets(&kept.id).unwrap(), Some(secrets()));
    assert_eq!(store.push_rule_secrets(&PushRuleId::fresh()).unwrap(), None);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("in-the-clear") && !text.contains("in_the_clear"));
    }
}

#[test]
fn a_mode_counts_from_when_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.add_push_rule(rule("web"), secrets(), 9).unwrap();
    for (mode, second, since) in
        [(PushMode::On, 5, 5), (PushMode::On, 6, 5), (PushMode::Off, 7, 7), (PushMode::DryRun, 8, 8)]
    {
        let now = store.set_push_mode("web", mode, at(second)).unwrap().unwrap();
        assert_eq!((now.mode, now.mode_since), (mode, at(since)));
        assert_eq!(store.push_rule("web").unwrap(), Some(now));
    }
    assert_eq!(store.set_push_mode("other", PushMode::On, at(9)).unwrap(), None);
}

#[test]
fn a_push_has_one_run_of_each_rule_and_its_end_is_told_and_on_record_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let (web, db) = (rule("web"), rule("db"));
    for rule in [&web, &db] {
        store.add_push_rule(rule.clone(), secrets(), 9).unwrap();
    }
    let first = run(&web, "p1");
    assert_eq!(store.begin_push_run(first.clone()).unwrap(), first);
    let later = PushRun { started_at: at(9), ..first.clone() };
    assert_eq!(store.begin_push_run(later).unwrap(), first, "the one that was begun first");
    assert_eq!(store.begin_push_run(run(&db, "p1")).unwrap().rule, "db");
    assert_eq!(store.next_delivery_at().unwrap(), None, "nothing is told of what has only begun");

    store.end_push_run(end(first.clone())).unwrap();
    let kept = store.begin_push_run(first).unwrap();
    assert_eq!(kept.ended_at, Some(at(2)));
    assert_eq!(store.push_runs(&web.id, None, 10).unwrap().len(), 1);
    assert_eq!(store.audit_log(None, 10).unwrap().len(), 1);
    let told = store.due_deliveries(at(3), 10).unwrap();
    assert_eq!(
        (told.len(), told[0].rule_id.as_ref(), told[0].url.as_str()),
        (1, Some(&web.id), "https://ci.example.com/hook")
    );

    assert!(store.remove_push_rule("web").unwrap() && !store.remove_push_rule("web").unwrap());
    assert_eq!(store.due_deliveries(at(3), 10).unwrap(), [], "what nobody can sign is not sent");
    assert_eq!(store.push_runs(&web.id, None, 10).unwrap(), []);
    store.end_push_run(end(run(&web, "p2"))).unwrap();
    assert_eq!(store.push_runs(&web.id, None, 10).unwrap(), [], "a removed rule gets no runs");
    assert_eq!(store.audit_log(None, 10).unwrap().len(), 2, "what it did is on record all the same");
    assert_eq!(store.push_runs(&db.id, None, 10).unwrap().len(), 1);
}

#[test]
fn the_newest_runs_are_kept_and_come_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let web = rule("web");
    store.add_push_rule(web.clone(), secrets(), 9).unwrap();
    store.begin_push_run(run(&web, "unfinished")).unwrap();
    let file = rusqlite::Connection::open(dir.path().join("slipway.db")).unwrap();
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) \
               INSERT INTO push_runs (rule_id, push_id, ended, doc) SELECT rule_id, 'old ' || i, 1, doc FROM push_runs, n";
    file.execute(sql, []).unwrap();
    store.begin_push_run(run(&web, "newest")).unwrap();
    store.end_push_run(end(run(&web, "newest"))).unwrap();
    let count: u32 = file.query_row("SELECT count(*) FROM push_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(count, super::RUNS_KEPT + 1, "and what is under way");
    let page = store.push_runs(&web.id, None, 2).unwrap();
    assert_eq!((page.len(), page[0].1.push.id.as_str()), (2, "newest"));
    let next = store.push_runs(&web.id, Some(page[1].0), 2).unwrap();
    assert!(next[0].0 < page[1].0);
}
