//! What a push starts: once, whatever is cut off, and only where a rule that is on says so.

use schema::recipe::ImageKind;
use serde_json::{Value, json};

use super::world::{SERIAL, World, machine, recipe};
use crate::model::{
    Fate, JobId, Lifecycle, MachineSelector, NewEvent, Push, PushMode, PushRule, PushRun, Secret, Source,
};
use crate::store::{JobFilter, Store};
use crate::workflow::push::view;
use crate::workflow::{NewPushRule, PushRuleError, outbox};

type Change = fn(&mut NewPushRule);

const DIGEST: &str = "sha256:abababababababababababababababababababababababababababababababab";

fn template() -> Value {
    let mut template = recipe();
    template["oci_url"] = json!("{{image}}");
    template
}

fn new(name: &str) -> NewPushRule {
    NewPushRule {
        name: name.to_owned(),
        repository: "images/*".to_owned(),
        tag: "v*".to_owned(),
        recipe: Secret::new(template().to_string()),
        machines: MachineSelector { serials: vec![SERIAL.to_owned()], ..MachineSelector::default() },
        mode: None,
        max_machines: None,
        reinstall: false,
        callback_url: None,
        callback_secret: None,
        created_by: "admin".to_owned(),
    }
}

/// A site whose registry has the image, with a rule that was just switched to `mode`.
async fn world(mode: PushMode) -> (World, PushRule) {
    let world = World::new().await;
    for reference in [format!("images/debian@{DIGEST}"), "images/debian:v1".to_owned()] {
        world.images.known.lock().unwrap().insert(reference, Some(ImageKind::Rootfs));
    }
    world.workflow.add_push_rule(new("web")).await.unwrap();
    let rule = world.workflow.set_push_mode("web", mode).await.unwrap();
    (world, rule)
}

fn push(world: &World, id: &str) -> Push {
    Push {
        id: id.to_owned(),
        repository: "images/debian".to_owned(),
        tag: "v1".to_owned(),
        digest: DIGEST.to_owned(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        by: "token ci".to_owned(),
        at: world.now(),
    }
}

fn runs(world: &World, rule: &PushRule) -> Vec<PushRun> {
    world.store.push_runs(&rule.id, None, 100).unwrap().into_iter().map(|(_, run)| run).collect()
}

fn jobs(world: &World) -> Vec<crate::model::Job> {
    world.store.jobs(&JobFilter::default()).unwrap().items
}

fn audited(world: &World) -> Vec<String> {
    let lines = world.store.audit_log(None, 100).unwrap().into_iter();
    lines
        .map(|(_, line)| format!("{} {} {}", line.actor, line.object, line.detail.unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn a_dry_run_makes_no_job_and_says_what_one_would_do() {
    let (world, rule) = world(PushMode::DryRun).await;
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    let run = &runs(&world, &rule)[0];
    assert_eq!(run.machines[0].fate, Fate::WouldAccept { destructive: true, problems: vec![] });
    assert_eq!((jobs(&world), world.images.pins.lock().unwrap().len()), (vec![], 0));
    assert_eq!(
        audited(&world),
        [format!("token ci images/debian:v1@{DIGEST} push rule web (dry_run): 1 would be accepted")]
    );
}

#[tokio::test]
async fn a_push_makes_one_job_for_its_digest_however_often_it_is_looked_at() {
    let (mut world, rule) = world(PushMode::On).await;
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    let job = jobs(&world)[0].clone();
    let image = job.image.clone().unwrap();
    assert_eq!(image.reference, format!("images/debian@{DIGEST}"), "the digest, not the tag");
    assert_eq!(job.requested_by, "push rule web");
    assert_eq!(runs(&world, &rule)[0].machines[0].fate, Fate::Accepted { job_id: job.id.clone() });

    world.restart().await;
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    assert_eq!((jobs(&world).len(), runs(&world, &rule).len(), audited(&world).len()), (1, 1, 1));

    // Another push while its job runs is refused, and that is on record too.
    world.workflow.pushed(push(&world, "p2")).await.unwrap();
    let Fate::Refused(why) = &runs(&world, &rule)[0].machines[0].fate else {
        panic!("{:?}", runs(&world, &rule))
    };
    assert_eq!(why.code, "conflict.active_job");
    assert!(why.message.contains(job.id.as_str()), "{why:?}");
    assert_eq!(jobs(&world).len(), 1);
}

#[tokio::test]
async fn what_a_crash_cuts_off_goes_on_with_the_machines_of_then_and_makes_no_second_job() {
    let (mut world, rule) = world(PushMode::On).await;
    // Cut off between the beginning of the run and its job.
    let push_one = push(&world, "p1");
    let begun = PushRun::begin(
        &rule,
        PushMode::On,
        push_one.clone(),
        std::slice::from_ref(&world.machine),
        world.now(),
    );
    world.store.begin_push_run(begun.clone()).unwrap();
    world.restart().await;
    world.workflow.pushed(push_one.clone()).await.unwrap();
    assert_eq!(jobs(&world).len(), 1);

    // Cut off between the job and the end of the run: a rule that is written as begun once more.
    let made = jobs(&world)[0].id.clone();
    world.forget_run_ended();
    world.restart().await;
    assert_eq!(runs(&world, &rule)[0], begun);
    // The machine was given other labels meanwhile, and another one fits by now.
    world.store.add_machine(machine("OTHER", world.now()), "x".to_owned().into()).unwrap();
    world.workflow.pushed(push_one).await.unwrap();
    assert_eq!(jobs(&world).len(), 1);
    let run = &runs(&world, &rule)[0];
    assert_eq!((run.machines.len(), &run.machines[0].fate), (1, &Fate::Accepted { job_id: made }));
    assert!(run.ended_at.is_some());
}

#[tokio::test]
async fn more_machines_than_it_may_write_to_and_none_gets_a_job() {
    let world = World::new().await;
    world.images.known.lock().unwrap().insert(format!("images/debian@{DIGEST}"), Some(ImageKind::Rootfs));
    let mut labels = MachineSelector::default();
    labels.labels.insert("role".to_owned(), "web".to_owned());
    for serial in ["W1", "W2", "W3"] {
        let mut machine = machine(serial, world.now());
        machine.labels.insert("role".to_owned(), "web".to_owned());
        world.store.add_machine(machine, "x".to_owned().into()).unwrap();
    }
    for (name, max_machines) in [("two", Some(2)), ("three", Some(3))] {
        let new = NewPushRule { machines: labels.clone(), max_machines, ..new(name) };
        world.workflow.add_push_rule(new).await.unwrap();
        world.workflow.set_push_mode(name, PushMode::On).await.unwrap();
    }
    world.workflow.set_push_mode("three", PushMode::Off).await.unwrap();
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    let two = world.workflow.push_rule("two").await.unwrap();
    let run = &runs(&world, &two)[0];
    let why = run.refused.as_ref().unwrap();
    assert_eq!(
        (why.code.as_str(), run.machines.len(), jobs(&world).len()),
        ("push_rule.too_many_machines", 0, 0)
    );
    assert!(why.message.contains("picks 3 machines and may write to 2; nothing is done"), "{why:?}");
    let three = world.workflow.push_rule("three").await.unwrap();
    assert_eq!(runs(&world, &three), [], "one that is off keeps no record");

    world.workflow.set_push_mode("three", PushMode::On).await.unwrap();
    world.workflow.pushed(push(&world, "p2")).await.unwrap();
    assert_eq!(jobs(&world).len(), 3);
    assert_eq!(runs(&world, &three)[0].summary(), "3 accepted");
}

#[tokio::test]
async fn one_machine_that_cannot_have_a_job_is_told_with_the_reason_and_is_left_alone() {
    let (world, rule) = world(PushMode::On).await;
    let since = world.now();
    let event = NewEvent::new(since, Source::Operator, "test", "test");
    for (id, lifecycle, code) in [
        ("p1", Lifecycle::InService { since }, "machine.in_service"),
        ("p2", Lifecycle::Quarantined { since, reason: "dropped".to_owned() }, "machine.quarantined"),
    ] {
        world.store.set_lifecycle(&world.machine.id, lifecycle, event.clone()).unwrap();
        world.workflow.pushed(push(&world, id)).await.unwrap();
        let Fate::Refused(why) = &runs(&world, &rule)[0].machines[0].fate else {
            panic!("{id} is not refused")
        };
        assert_eq!(why.code, code);
    }
    world.store.set_lifecycle(&world.machine.id, Lifecycle::InService { since }, event).unwrap();
    let again = NewPushRule { reinstall: true, ..new("again") };
    world.workflow.add_push_rule(again).await.unwrap();
    world.workflow.set_push_mode("again", PushMode::On).await.unwrap();
    world.workflow.pushed(push(&world, "p3")).await.unwrap();
    let made: Vec<JobId> = jobs(&world).into_iter().map(|job| job.id).collect();
    assert_eq!(made.len(), 1, "a rule with reinstall overwrites what is in service");
}

#[tokio::test]
async fn tags_that_one_request_set_are_one_push() {
    let (world, rule) = world(PushMode::On).await;
    for tag in ["latest", "v1", "v1.2"] {
        let push = Push { tag: tag.to_owned(), ..push(&world, "p1") };
        world.workflow.pushed(push).await.unwrap();
    }
    let runs = runs(&world, &rule);
    assert_eq!((runs.len(), runs[0].push.tag.as_str(), runs[0].summary().as_str()), (1, "v1", "1 accepted"));
}

#[tokio::test]
async fn a_recipe_that_no_key_opens_refuses_its_push_and_holds_up_no_other() {
    let (world, rule) = world(PushMode::On).await;
    world.spoil_push_rules();
    world.workflow.add_push_rule(new("whole")).await.unwrap();
    let whole = world.workflow.set_push_mode("whole", PushMode::On).await.unwrap();
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    assert_eq!(
        runs(&world, &rule)[0].refused.as_ref().map(|why| why.code.as_str()),
        Some("push_rule.sealed")
    );
    assert_eq!(runs(&world, &whole)[0].summary(), "1 accepted");
}

#[tokio::test]
async fn a_push_from_before_a_rule_was_on_starts_nothing() {
    let (world, rule) = world(PushMode::DryRun).await;
    let early = push(&world, "early");
    world.clock.advance(std::time::Duration::from_secs(1));
    world.workflow.set_push_mode("web", PushMode::On).await.unwrap();
    world.workflow.pushed(early).await.unwrap();
    assert_eq!((jobs(&world).len(), runs(&world, &rule)[0].mode), (0, PushMode::DryRun));
}

#[tokio::test]
async fn switching_a_rule_off_leaves_the_machines_alone_that_have_no_job_yet() {
    let (world, rule) = world(PushMode::On).await;
    let one = push(&world, "p1");
    world
        .store
        .begin_push_run(PushRun::begin(
            &rule,
            PushMode::On,
            one.clone(),
            std::slice::from_ref(&world.machine),
            one.at,
        ))
        .unwrap();
    world.workflow.set_push_mode("web", PushMode::DryRun).await.unwrap();
    world.workflow.pushed(one).await.unwrap();
    let Fate::Refused(why) = &runs(&world, &rule)[0].machines[0].fate else { panic!("not refused") };
    assert_eq!((why.code.as_str(), jobs(&world).len()), ("push_rule.switched_off", 0));
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_the_push_to_be_looked_at_again() {
    let (world, rule) = world(PushMode::On).await;
    world.lose_store(true);
    assert!(world.workflow.pushed(push(&world, "p1")).await.is_err());
    world.lose_store(false);
    assert_eq!(runs(&world, &rule)[0].ended_at, None);
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    assert_eq!((jobs(&world).len(), runs(&world, &rule).len()), (1, 1));
}

#[tokio::test]
async fn a_trial_keeps_nothing_and_says_when_the_rule_is_about_other_pushes() {
    let (world, rule) = world(PushMode::On).await;
    let run = world.workflow.try_push("web", "images/debian", "v1", "token a").await.unwrap();
    assert_eq!(run.machines[0].fate, Fate::WouldAccept { destructive: true, problems: vec![] });
    assert_eq!((run.push.digest.as_str(), run.mode), (DIGEST, PushMode::DryRun));
    world.images.known.lock().unwrap().insert("tools/x:v1".to_owned(), None);
    let run = world.workflow.try_push("web", "tools/x", "v1", "token a").await.unwrap();
    assert_eq!((run.refused.unwrap().code.as_str(), run.machines.len()), ("push_rule.unfit", 0));
    let missing = world.workflow.try_push("web", "images/debian", "v9", "token a").await.unwrap_err();
    assert_eq!(missing.code(), "image.not_found");
    assert_eq!(world.workflow.try_push("x", "a", "b", "c").await.unwrap_err().code(), "push_rule.unknown");
    assert_eq!((jobs(&world).len(), runs(&world, &rule), audited(&world).len()), (0, vec![], 0));
}

#[tokio::test]
async fn runs_and_jobs_are_told_to_the_rules_own_address_signed_with_its_secret() {
    let world = World::new().await;
    world.images.known.lock().unwrap().insert(format!("images/debian@{DIGEST}"), Some(ImageKind::Rootfs));
    let told = NewPushRule { callback_url: Some("https://ci.example.com/hook".to_owned()), ..new("web") };
    let (rule, secret) = world.workflow.add_push_rule(told).await.unwrap();
    let secret = secret.unwrap();
    world.workflow.set_push_mode("web", PushMode::On).await.unwrap();
    world.workflow.pushed(push(&world, "p1")).await.unwrap();
    let begun = std::time::Instant::now();
    let kinds = loop {
        let kinds: Vec<String> = world
            .fetch
            .posted
            .lock()
            .unwrap()
            .iter()
            .map(|(_, _, body)| {
                serde_json::from_str::<Value>(body).unwrap()["type"].as_str().unwrap().to_owned()
            })
            .collect();
        if kinds.iter().any(|kind| kind == "push_rule.run") && kinds.iter().any(|kind| kind == "job.queued") {
            break kinds;
        }
        assert!(begun.elapsed().as_secs() < 30, "only {kinds:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(kinds.iter().filter(|kind| *kind == "push_rule.run").count(), 1, "{kinds:?}");
    for (url, headers, body) in world.fetch.posted.lock().unwrap().iter() {
        assert_eq!(url, "https://ci.example.com/hook");
        let header = |name: &str| headers.iter().find(|(found, _)| found == name).unwrap().1.clone();
        let at = jiff::Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
        let wanted = outbox::sign(&header("webhook-id"), at, body, std::slice::from_ref(&secret));
        assert_eq!(header("webhook-signature"), wanted);
        let body: Value = serde_json::from_str(body).unwrap();
        if body["type"] == "push_rule.run" {
            assert_eq!(body["data"], view(&runs(&world, &rule)[0]));
        }
    }
}

#[tokio::test]
async fn a_rule_that_every_push_would_break_is_refused_when_it_is_made() {
    let world = World::new().await;
    let table: [(Change, &str, &str); 13] = [
        (|new| new.name = "Web".to_owned(), "push_rule.invalid", "name: give 1 to 63"),
        (|new| new.name = String::new(), "push_rule.invalid", "name: "),
        (|new| new.name = "-x".to_owned(), "push_rule.invalid", "name: "),
        (|new| new.repository = "a[".to_owned(), "push_rule.invalid", "repository: "),
        (|new| new.tag = String::new(), "push_rule.invalid", "tag: "),
        (|new| new.machines = MachineSelector::default(), "push_rule.invalid", "machines: say which"),
        (|new| new.mode = Some(PushMode::On), "push_rule.invalid", "mode: a new rule is off or dry_run"),
        (|new| new.max_machines = Some(0), "push_rule.invalid", "max_machines: give 1 to 500"),
        (|new| new.max_machines = Some(501), "push_rule.invalid", "max_machines: "),
        (|new| new.recipe = recipe().to_string().into(), "push_rule.invalid", "recipe: nothing in it is"),
        (
            |new| {
                let mut bad = template();
                bad["target_disk"] = json!(7);
                new.recipe = bad.to_string().into();
            },
            "invalid_recipe",
            "",
        ),
        (|new| new.callback_url = Some("gopher://x".to_owned()), "callback.url", ""),
        (|new| new.callback_secret = Some("whsec_x".to_owned().into()), "callback.secret", ""),
    ];
    for (change, code, text) in table {
        let mut wanted = new("web");
        change(&mut wanted);
        let error = world.workflow.add_push_rule(wanted).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert_eq!(world.workflow.push_rules().await.unwrap(), []);
    world.workflow.add_push_rule(new("web")).await.unwrap();
    let twice = world.workflow.add_push_rule(new("web")).await.unwrap_err();
    assert!(matches!(twice, PushRuleError::Exists { .. }), "{twice}");
    assert_eq!(world.workflow.push_rule("web").await.unwrap().mode, PushMode::DryRun);
}
