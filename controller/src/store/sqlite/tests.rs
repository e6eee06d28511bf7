//! The store's promises, on a real file.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::{
    Added, Applied, Change, Created, DeliveryResult, HostLog, Idempotency, JobFilter, MachineFilter, NewJob,
    Removed, Sealer, SqliteStore, Store, StoreError, Updated,
};
use crate::model::{
    Announcement, ApiToken, AuditEntry, Bmc, BmcTls, Callback, CallbackId, Deadlines, DeliveryState, Input,
    Inputs, Job, JobId, JobState, Lifecycle, Live, Machine, MachineId, NewEvent, Role, Secret, Source,
    Status, TokenId,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(super) fn open(dir: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&dir.path().join("slipway.db"), Sealer::new(&[1; 32])).unwrap()
}

fn machine(serial: &str) -> Machine {
    Machine {
        id: MachineId::fresh(),
        serial: serial.to_owned(),
        uuid: None,
        macs: vec![],
        bmc: Bmc {
            url: "https://10.0.0.20".to_owned(),
            user: "root".to_owned(),
            tls: BmcTls::Verify,
            plain_http: false,
            system: None,
        },
        host_network: None,
        labels: [("rack".to_owned(), "r1".to_owned())].into(),
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

fn new_job(machine: &Machine) -> NewJob {
    let recipe: schema::recipe::Recipe = serde_json::from_value(serde_json::json!({
        "task_target": "inventory.target", "user_data": "password: hunter2-in-the-clear"
    }))
    .unwrap();
    NewJob {
        callback_secret: Some("whsec_sealed".to_owned().into()),
        job: Job {
            id: JobId::fresh(),
            machine_id: machine.id.clone(),
            serial: machine.serial.clone(),
            attempt: 1,
            state: JobState::Queued,
            version: 0,
            created_at: at(1),
            updated_at: at(1),
            phase_since: at(1),
            released_at: None,
            task_target: recipe.task_target.clone(),
            destructive: false,
            reinstall: false,
            evict: false,
            steps: vec![],
            image: None,
            extra_images: vec![],
            recipe_sha256: "00".repeat(32),
            on_success: schema::recipe::OnSuccess::Boot,
            on_failure: schema::recipe::OnFailure::PowerOff,
            deadlines: Deadlines::default(),
            callback_url: None,
            boot_nonce: None,
            destructive_started: None,
            touched: false,
            was_on: None,
            off_seen: false,
            transport: None,
            media: vec![],
            retry_of: None,
            notes: None,
            requested_by: "ops".to_owned(),
        },
        inputs: Inputs {
            recipe,
            identity: machine.identity(),
            host_network: None,
            api_url: "https://10.0.0.5:8443".to_owned(),
            media_url: "http://10.0.0.5:8080".to_owned(),
            site_ca: None,
            issued_at: at(1),
            image: None,
            heartbeat_seconds: 15,
            step_seconds: [].into(),
        },
        idempotency: None,
        events: vec![NewEvent::new(at(1), Source::Operator, "job.queued", "accepted")],
        announcements: vec![],
    }
}

fn made(store: &SqliteStore, new: NewJob) -> Job {
    match store.create_job(new).unwrap() {
        Created::New(job) => *job,
        other => panic!("not new: {other:?}"),
    }
}

pub(super) fn with_machine(store: &SqliteStore, serial: &str) -> Machine {
    let machine = machine(serial);
    assert_eq!(store.add_machine(machine.clone(), "calvin".to_owned().into()).unwrap(), Added::Done);
    machine
}

fn released(job: &Job) -> Job {
    let mut job = job.clone();
    for input in [Input::Cancelled { by: "ops".to_owned() }, Input::Cleaned] {
        job.state = job.state.next(input).unwrap();
    }
    job.released_at = Some(at(50));
    job
}

#[test]
fn everything_is_still_there_after_a_restart_and_nothing_secret_is_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (job, machine) = {
        let store = open(&dir);
        let machine = with_machine(&store, "ABC123");
        (made(&store, new_job(&machine)), machine)
    };
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [b"hunter2-in-the-clear".as_slice(), b"calvin"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
    let store = open(&dir);
    assert_eq!(store.job(&job.id).unwrap(), Some(job.clone()));
    assert_eq!(store.open_jobs().unwrap(), vec![job.clone()]);
    assert_eq!(store.inputs(&job.id).unwrap().unwrap().recipe.task_target, "inventory.target");
    assert_eq!(store.machine_by_serial(" abc123 ").unwrap().unwrap().id, machine.id);
    assert_eq!(store.machine_password(&machine.id).unwrap().unwrap().expose(), "calvin");
    assert_eq!(store.events_after(&job.id, 0, 10).unwrap().len(), 1);
    store.check().unwrap();
}

#[test]
fn a_second_controller_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(&dir);
    let second = SqliteStore::open(&dir.path().join("slipway.db"), Sealer::new(&[1; 32]));
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
}

#[test]
fn a_file_of_a_newer_controller_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slipway.db");
    drop(open(&dir));
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path, Sealer::new(&[1; 32])).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
}

#[test]
fn one_machine_has_one_job_at_a_time_however_many_ask_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir));
    let machine = with_machine(&store, "ABC123");
    let answers: Vec<Created> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let (store, new) = (Arc::clone(&store), new_job(&machine));
                scope.spawn(move || store.create_job(new).unwrap())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<&JobId> =
        answers.iter().filter_map(|a| if let Created::New(job) = a { Some(&job.id) } else { None }).collect();
    assert_eq!(won.len(), 1);
    for answer in &answers {
        if let Created::ActiveJob { job } = answer {
            assert_eq!(job, won[0]);
        }
    }
    let job = store.job(won[0]).unwrap().unwrap();
    assert!(matches!(store.apply(&job.id, 1, Change::of(released(&job))).unwrap(), Applied::Done { .. }));
    made(&store, new_job(&machine));
}

#[test]
fn an_idempotency_key_gives_the_same_job_or_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let with_key = |body: &str| {
        let mut new = new_job(&machine);
        new.idempotency = Some(Idempotency { key: "ci-42".to_owned(), body_sha256: body.to_owned() });
        new
    };
    let job = made(&store, with_key("aa"));
    assert_eq!(store.create_job(with_key("aa")).unwrap(), Created::Existing(Box::new(job.clone())));
    assert_eq!(store.create_job(with_key("bb")).unwrap(), Created::KeyReused { job: job.id.clone() });
    assert_eq!(store.idempotent_job("ci-42").unwrap(), Some((job.id, "aa".to_owned())));
}

#[test]
fn a_change_is_all_or_nothing_and_only_under_the_right_version_fence_and_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let job = made(&store, new_job(&machine));
    let lease = store.take_lease(&job.id, "a", at(0), at(30)).unwrap().unwrap();

    let mut next = job.clone();
    next.state = next.state.next(Input::Taken).unwrap();
    let change = |fence, delivery: &str| Change {
        fence,
        delivery: Some(delivery.to_owned()),
        events: vec![NewEvent::new(at(2), Source::Controller, "phase.staging", "staging")],
        lifecycle: Some(Lifecycle::InService { since: at(2) }),
        ..Change::of(next.clone())
    };
    assert_eq!(store.apply(&job.id, 7, change(None, "d1")).unwrap(), Applied::Stale);
    assert_eq!(store.apply(&job.id, 1, change(Some(lease.fence + 1), "d1")).unwrap(), Applied::Fenced);
    assert_eq!(store.events_after(&job.id, 0, 10).unwrap().len(), 1);
    assert_eq!(store.machine(&machine.id).unwrap().unwrap().lifecycle, Lifecycle::Free);
    assert!(!store.delivery_seen(&job.id, "d1").unwrap());

    let Applied::Done { job: stored, seqs } =
        store.apply(&job.id, 1, change(Some(lease.fence), "d1")).unwrap()
    else {
        panic!("not applied")
    };
    assert_eq!((stored.version, seqs.len()), (2, 1));
    assert!(store.delivery_seen(&job.id, "d1").unwrap());
    assert_eq!(store.machine(&machine.id).unwrap().unwrap().lifecycle.as_str(), "in_service");
    assert_eq!(store.apply(&job.id, 2, change(None, "d1")).unwrap(), Applied::Repeated);
    assert_eq!(store.job(&job.id).unwrap(), Some(*stored));
}

#[test]
fn leases_pass_on_with_a_higher_fence() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let job = made(&store, new_job(&machine));
    let first = store.take_lease(&job.id, "a", at(0), at(30)).unwrap().unwrap();
    let renewed = store.take_lease(&job.id, "a", at(10), at(40)).unwrap().unwrap();
    assert_eq!((first.fence, renewed.fence), (1, 1));
    // This store is one process's own, so another owner is a former life of it.
    let second = store.take_lease(&job.id, "b", at(11), at(41)).unwrap().unwrap();
    assert_eq!(second.fence, 2);
    assert_eq!(store.take_lease(&JobId::fresh(), "b", at(0), at(1)).unwrap(), None);
}

#[test]
fn a_live_lease_of_another_owner_is_respected_where_stores_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let job = made(&store, new_job(&machine));
    let take = |owner: &str, now| {
        store
            .write("test", |tx| super::jobs::take_lease(tx, &job.id, owner, at(now), at(now + 30), false))
            .unwrap()
    };
    assert_eq!(take("a", 0).unwrap().fence, 1);
    assert_eq!(take("b", 29), None);
    assert_eq!(take("b", 30).unwrap().fence, 2);
}

#[test]
fn lists_page_through_everything_once_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut ids = Vec::new();
    for n in 0..25 {
        let machine = with_machine(&store, &format!("SN{n:03}"));
        ids.push(made(&store, new_job(&machine)).id);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut filter = JobFilter { limit: 10, ..JobFilter::default() };
    loop {
        let page = store.jobs(&filter).unwrap();
        seen.extend(page.items.iter().map(|job| job.id.clone()));
        let Some(next) = page.next else { break };
        filter.cursor = Some(next);
    }
    assert_eq!(seen, ids);
    let none = JobFilter { status: Some(Status::Failed), ..JobFilter::default() };
    assert!(store.jobs(&none).unwrap().items.is_empty());
    let one = store.machine_by_serial("SN007").unwrap().unwrap();
    let both = JobFilter { status: Some(Status::Queued), machine: Some(one.id), ..JobFilter::default() };
    assert_eq!(store.jobs(&both).unwrap().items.len(), 1);

    let filter =
        MachineFilter { limit: 20, labels: vec![("rack".to_owned(), "r1".to_owned())], cursor: None };
    let page = store.machines(&filter).unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (20, Some("sn019")));
    let rest = store.machines(&MachineFilter { cursor: page.next, ..filter.clone() }).unwrap();
    assert_eq!((rest.items.len(), rest.next), (5, None));
    let other = MachineFilter { labels: vec![("rack".to_owned(), "r2".to_owned())], ..filter };
    assert!(store.machines(&other).unwrap().items.is_empty());
}

#[test]
fn machines_change_under_their_version_and_leave_only_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let first = with_machine(&store, "ABC123");
    let second = with_machine(&store, "DEF456");
    assert_eq!(store.add_machine(machine(" abc123"), "x".to_owned().into()).unwrap(), Added::SerialTaken);

    let mut changed = first.clone();
    changed.serial = "def456".to_owned();
    assert_eq!(store.update_machine(changed.clone(), None).unwrap(), Updated::SerialTaken);
    changed.serial = "ABC124".to_owned();
    changed.lifecycle = Lifecycle::InService { since: at(0) };
    assert_eq!(
        store.update_machine(changed.clone(), Some(Secret::new("new".to_owned()))).unwrap(),
        Updated::Done
    );
    assert_eq!(store.update_machine(changed, None).unwrap(), Updated::Stale);
    let stored = store.machine(&first.id).unwrap().unwrap();
    assert_eq!((stored.serial.as_str(), stored.version, stored.lifecycle), ("ABC124", 2, Lifecycle::Free));
    assert_eq!(store.machine_password(&first.id).unwrap().unwrap().expose(), "new");

    let job = made(&store, new_job(&second));
    assert_eq!(store.remove_machine(&second.id).unwrap(), Removed::Busy { job: job.id });
    assert_eq!(store.remove_machine(&first.id).unwrap(), Removed::Done);
    assert_eq!(store.remove_machine(&first.id).unwrap(), Removed::Unknown);
    assert_eq!(store.create_job(new_job(&first)).unwrap(), Created::NoMachine);
}

#[test]
fn a_job_is_repeated_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let first = made(&store, new_job(&machine));
    store.apply(&first.id, 1, Change::of(released(&first))).unwrap();
    let again = || {
        let mut new = new_job(&machine);
        new.job.retry_of = Some(first.id.clone());
        new
    };
    let second = made(&store, again());
    assert_eq!(store.create_job(again()).unwrap(), Created::Existing(Box::new(second.clone())));
    assert_eq!(store.retry_of(&first.id).unwrap(), Some(second.id));
}

#[test]
fn recipes_are_erased_after_release_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let job = made(&store, new_job(&machine));
    assert_eq!(store.erase_inputs(at(1000)).unwrap(), 0);
    store.apply(&job.id, 1, Change::of(released(&job))).unwrap();
    assert_eq!(store.erase_inputs(at(50)).unwrap(), 0);
    assert_eq!(store.erase_inputs(at(51)).unwrap(), 1);
    assert_eq!(store.inputs(&job.id).unwrap(), None);
    assert!(store.job(&job.id).unwrap().is_some());
}

#[test]
fn live_facts_and_logs_are_kept_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let job = made(&store, new_job(&machine));
    assert_eq!(store.live(&job.id).unwrap(), None);
    let live = Live { heard_at: Some(at(5)), ..Live::default() };
    store.flush_live(&[(job.id.clone(), live.clone())]).unwrap();
    assert_eq!(store.live(&job.id).unwrap(), Some(live));
    assert_eq!(store.job(&job.id).unwrap().unwrap().version, 1);

    for n in 0..12 {
        let text = format!("{n}{}", "é".repeat(500_000));
        let log = HostLog { job_id: job.id.clone(), attempt: 1, name: "journal".to_owned(), at: at(n), text };
        store.append_log(log).unwrap();
    }
    let logs = store.logs(&job.id).unwrap();
    let bytes: usize = logs.iter().map(|log| log.text.len()).sum();
    assert!(bytes <= 17 << 20, "{bytes}");
    assert!(logs.last().unwrap().text.ends_with("the rest is dropped]\n") || logs.len() == 12);
}

#[test]
fn tokens_open_by_their_hash_until_they_are_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let token = ApiToken {
        id: TokenId::fresh(),
        name: "ci".to_owned(),
        role: Role::Operator,
        scopes: vec![],
        created_at: at(0),
        expires_at: Some(at(100)),
        revoked_at: None,
    };
    store.add_token(token.clone(), [9; 32]).unwrap();
    assert_eq!(store.token_by_hash([9; 32]).unwrap(), Some(token.clone()));
    assert_eq!(store.token_by_hash([8; 32]).unwrap(), None);
    assert!(token.is_alive(at(99)) && !token.is_alive(at(100)));
    assert!(store.revoke_token(&token.id, at(5)).unwrap());
    assert!(!store.token_by_hash([9; 32]).unwrap().unwrap().is_alive(at(6)));
    assert!(!store.revoke_token(&TokenId::fresh(), at(5)).unwrap());
    assert_eq!(store.tokens().unwrap().len(), 1);
}

#[test]
fn the_audit_log_only_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for n in 0..3 {
        store
            .audit(AuditEntry {
                at: at(n),
                actor: "admin".to_owned(),
                source: None,
                request_id: None,
                action: "job.create".to_owned(),
                object: format!("job {n}"),
                detail: None,
            })
            .unwrap();
    }
    let page = store.audit_log(None, 2).unwrap();
    assert_eq!(page.iter().map(|(_, entry)| entry.object.as_str()).collect::<Vec<_>>(), ["job 2", "job 1"]);
    assert_eq!(store.audit_log(Some(page[1].0), 2).unwrap().len(), 1);
    for sql in ["UPDATE audit SET doc = '{}'", "DELETE FROM audit"] {
        let refused = store.write("test", |tx| tx.execute(sql, []).map(drop).map_err(super::db("test")));
        assert!(refused.is_err(), "{sql}");
    }
    assert_eq!(store.audit_log(None, 10).unwrap().len(), 3);
}

#[test]
fn the_outbox_keeps_the_order_of_each_job_and_gives_up_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let callback = Callback {
        id: CallbackId::fresh(),
        url: "https://example.org/hook".to_owned(),
        kinds: vec!["job.*".to_owned()],
        enabled: true,
        created_at: at(0),
    };
    let secrets = vec![Secret::new("whsec_one".to_owned()), Secret::new("whsec_two".to_owned())];
    store.put_callback(callback.clone(), secrets.clone()).unwrap();
    assert_eq!(store.callback_secrets(&callback.id).unwrap(), secrets);

    let told = |kind: &str| Announcement { kind: kind.to_owned(), data: serde_json::json!({}) };
    let mut new = new_job(&machine);
    new.job.callback_url = Some("https://ci.example.org/".to_owned());
    new.announcements = vec![told("job.queued")];
    let job = made(&store, new);
    let mut taken = job.clone();
    taken.state = taken.state.next(Input::Taken).unwrap();
    taken.updated_at = at(2);
    let change = Change { announcements: vec![told("job.started")], ..Change::of(taken) };
    store.apply(&job.id, 1, change).unwrap();
    store.announce(at(3), told("machine.added")).unwrap(); // nobody wants it

    let due = store.due_deliveries(at(10), 10).unwrap();
    assert_eq!(
        due.iter().map(|d| (d.kind.as_str(), d.callback_id.is_some())).collect::<Vec<_>>(),
        [("job.queued", true), ("job.queued", false)]
    );
    assert!(due[0].webhook_id.starts_with("msg_") && due[0].webhook_id != due[1].webhook_id);
    store
        .settle_delivery(due[0].seq, DeliveryResult::Retry { next_at: at(60), error: "503".to_owned() })
        .unwrap();
    store.settle_delivery(due[1].seq, DeliveryResult::Delivered).unwrap();
    // The site's callback waits with its first; the job's own goes on to its second.
    let due = store.due_deliveries(at(10), 10).unwrap();
    assert_eq!(
        due.iter().map(|d| (d.kind.as_str(), d.callback_id.is_some())).collect::<Vec<_>>(),
        [("job.started", false)]
    );
    store.settle_delivery(due[0].seq, DeliveryResult::Delivered).unwrap();
    assert_eq!(store.next_delivery_at().unwrap(), Some(at(60)));

    let late = at(60);
    let due = store.due_deliveries(late, 10).unwrap();
    assert_eq!((due.len(), due[0].attempts, due[0].last_error.as_deref()), (1, 1, Some("503")));
    store.settle_delivery(due[0].seq, DeliveryResult::Dead { error: "410".to_owned() }).unwrap();
    assert_eq!(store.due_deliveries(late, 10).unwrap()[0].kind, "job.started");
    let listed = store.deliveries(&callback.id, None, 10).unwrap();
    assert_eq!(
        listed.iter().map(|d| d.state).collect::<Vec<_>>(),
        [DeliveryState::Pending, DeliveryState::Dead]
    );
    assert!(store.replay_delivery(listed[1].seq, late + SignedDuration::from_secs(1)).unwrap());
    assert!(store.remove_callback(&callback.id).unwrap());
    assert_eq!(store.next_delivery_at().unwrap(), None);
}

#[test]
fn a_thousand_jobs_list_without_reading_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let plan: String = store
        .read("test", |c| {
            let sql = "EXPLAIN QUERY PLAN SELECT doc FROM jobs WHERE id < 'x' AND status = 'failed' ORDER BY id DESC LIMIT 5";
            c.query_row(sql, [], |row| row.get(3)).map_err(super::db("test"))
        })
        .unwrap();
    assert!(plan.contains("USING INDEX jobs_by_status"), "{plan}");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let machine = with_machine(&store, "ABC123");
    let pages = |count: i64| {
        let writer = store.writer.lock().unwrap();
        let used: i64 = writer.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = used + count;
        writer.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(())).unwrap();
    };
    pages(0);
    let mut new = new_job(&machine);
    new.inputs.recipe.notes = Some("x".repeat(100_000));
    let error = store.create_job(new.clone()).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    assert!(store.open_jobs().unwrap().is_empty());
    assert_eq!(store.events_after(&new.job.id, 0, 10).unwrap(), []);
    pages(1000);
    made(&store, new);
}
