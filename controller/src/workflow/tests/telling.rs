//! Callbacks: in order, signed, again when refused, given up in the end.

use std::time::{Duration, Instant};

use schema::event::ReportStatus;

use super::world::{World, report};
use crate::model::{Callback, CallbackId, DeliveryState, Secret};
use crate::store::{Idempotency, Store};
use crate::workflow::Submission;

fn callback(world: &World, kinds: &[&str]) -> Callback {
    Callback {
        id: CallbackId::fresh(),
        url: "https://hooks.example.org/x".to_owned(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        enabled: true,
        created_at: world.now(),
    }
}

fn kinds(world: &World) -> Vec<String> {
    let kind = |body: &String| {
        serde_json::from_str::<serde_json::Value>(body).unwrap()["type"].as_str().unwrap().to_owned()
    };
    world.fetch.posted.lock().unwrap().iter().map(|(_, _, body)| kind(body)).collect()
}

async fn until_posted(world: &World, count: usize) {
    let started = Instant::now();
    while world.fetch.posted.lock().unwrap().len() < count {
        assert!(started.elapsed().as_secs() < 30, "only {:?}", kinds(world));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_jobs_life_is_told_in_order_and_signed() {
    let world = World::new().await;
    let submission =
        Submission { callback_url: Some("https://ci.example.org/job".to_owned()), ..world.submission() };
    let accepted = world.workflow.accept(submission).await.unwrap();
    let (job, secret) = (accepted.job, accepted.callback_secret.unwrap());
    let token = world.until_installing(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    until_posted(&world, 5).await;
    assert_eq!(
        kinds(&world),
        ["job.queued", "job.started", "job.succeeded", "machine.in_service", "job.complete"]
    );
    let (url, headers, body) = world.fetch.posted.lock().unwrap()[2].clone();
    assert_eq!(url, "https://ci.example.org/job");
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let at = jiff::Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
    let signature = crate::workflow::outbox::sign(&header("webhook-id"), at, &body, &[secret]);
    assert_eq!(header("webhook-signature"), signature);
    assert!(!body.contains("correct-horse"));
}

fn with_callback(world: &World) -> Submission {
    Submission { callback_url: Some("https://ci.example.org/job".to_owned()), ..world.submission() }
}

#[tokio::test]
async fn the_secret_of_a_callback_url_is_told_to_its_submitter_and_to_nobody_else() {
    let world = World::new().await;
    let key = || Some(Idempotency { key: "ci-1".to_owned(), body_sha256: "aa".to_owned() });
    let ask = Submission { idempotency: key(), ..with_callback(&world) };
    let first = world.workflow.accept(ask.clone()).await.unwrap();
    let secret = first.callback_secret.unwrap();
    assert_eq!(crate::workflow::outbox::secret_key(&secret).unwrap().len(), 32);
    // Who did not hear the first answer asks again and is told again; another caller with the same words is not.
    let again = world.workflow.accept(ask.clone()).await.unwrap();
    assert_eq!((again.created, again.callback_secret), (false, Some(secret.clone())));
    let other = world.workflow.accept(Submission { requested_by: "else".to_owned(), ..ask }).await.unwrap();
    assert_eq!((other.job.id, other.callback_secret), (first.job.id.clone(), None));
    for shown in [format!("{:?}", first.job), serde_json::to_string(&first.job).unwrap()] {
        assert!(!shown.contains(secret.expose()));
    }

    // The receiver knows this secret, so the job's repetition keeps it, whoever asks for that.
    world.workflow.cancel(&first.job.id, "ops").await.unwrap();
    world.until_name(&first.job.id, "released").await;
    let retried = world.workflow.retry(&first.job.id, "ops").await.unwrap();
    assert_eq!(retried.callback_secret, None);
    assert_eq!(world.store.job_callback_secret(&retried.job.id).unwrap(), Some(secret.clone()));
    world.workflow.cancel(&retried.job.id, "ops").await.unwrap();
    world.until_name(&retried.job.id, "released").await;
    world.store.erase_inputs(world.now() + jiff::SignedDuration::from_secs(1)).unwrap();
    assert_eq!(world.store.job_callback_secret(&first.job.id).unwrap(), None, "it is not erased");
}

#[tokio::test]
async fn a_secret_may_be_given_and_is_never_given_back() {
    let world = World::new().await;
    let given = Secret::new("whsec_c2xpcHdheSBleGFtcGxlIHNlY3JldCwgMzIgYnl0ZXM=".to_owned());
    for wrong in ["geheim", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!"] {
        let secret = Some(Secret::new(wrong.to_owned()));
        let refused = Submission { callback_secret: secret, ..with_callback(&world) };
        let refused = world.workflow.accept(refused).await.unwrap_err();
        assert_eq!(refused.code(), "callback.secret", "{wrong}");
        assert!(wrong == "whsec_" || !refused.to_string().contains(wrong), "{refused}");
    }
    let alone = Submission { callback_secret: Some(given.clone()), ..world.submission() };
    assert_eq!(world.workflow.accept(alone).await.unwrap_err().code(), "callback.secret");

    let ask = Submission { callback_secret: Some(given.clone()), ..with_callback(&world) };
    assert_eq!(world.workflow.accept(ask).await.unwrap().callback_secret, None);
    until_posted(&world, 1).await;
    let (_, headers, body) = world.fetch.posted.lock().unwrap()[0].clone();
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let at = jiff::Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
    let signature = crate::workflow::outbox::sign(&header("webhook-id"), at, &body, &[given]);
    assert_eq!(header("webhook-signature"), signature);
}

#[tokio::test]
async fn callbacks_and_timelines_hold_neither_tokens_nor_names_of_media() {
    let world = World::new().await;
    let words = |job: &crate::model::Job| {
        let mut words = serde_json::to_string(&world.events(&job.id)).unwrap();
        words.push_str(&serde_json::to_string(job.state.outcome().unwrap()).unwrap());
        for (_, _, body) in world.fetch.posted.lock().unwrap().iter() {
            words.push_str(body);
        }
        words
    };
    // A BMC that repeats the URL it was given when it refuses it.
    world.bmc.fault("insert", super::bmc::media_unreachable);
    let job = world.workflow.accept(with_callback(&world)).await.unwrap().job;
    let job = world.until_name(&job.id, "released").await;
    until_posted(&world, 4).await;
    let said = words(&job);
    assert!(said.contains("maintenance.iso") && said.contains("job.failed"), "{said}");
    assert!(!said.contains("/m/x/"), "{said}");

    // A host that says what it should not.
    world.fetch.posted.lock().unwrap().clear();
    let job = world.workflow.accept(with_callback(&world)).await.unwrap().job;
    let session = world.until_installing(&job.id).await;
    let bootstrap = world.bootstrap(&job.id);
    let mut said = super::world::failed("image-linux.service");
    said.message = Some(format!(
        "{} {} http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxyz/task.iso correct-horse",
        bootstrap.expose(),
        session.expose()
    ));
    world.say(&session, said).await.unwrap();
    let job = world.until_name(&job.id, "released").await;
    until_posted(&world, 5).await;
    let said = words(&job);
    assert!(said.contains("/task.iso"), "{said}");
    for secret in [bootstrap.expose(), session.expose(), "abcdefghijklmnopqrstuvwxyz", "correct-horse"] {
        assert!(!said.contains(secret), "{secret:.8}… is told: {said}");
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_is_told_again_before_it_hears_more_and_given_up_in_the_end() {
    let world = World::new().await;
    let callback = callback(&world, &["job.queued", "job.started"]);
    let secret = Secret::new("whsec_c2VjcmV0".to_owned());
    world.store.put_callback(callback.clone(), vec![secret]).unwrap();
    world.fetch.statuses.lock().unwrap().extend([503; 11]);
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    until_posted(&world, 1).await;
    let started = Instant::now();
    loop {
        let states: Vec<DeliveryState> =
            world.store.deliveries(&callback.id, None, 10).unwrap().iter().map(|d| d.state).collect();
        if states == [DeliveryState::Delivered, DeliveryState::Dead] {
            break;
        }
        if let Some(next) = world.store.next_delivery_at().unwrap() {
            world.clock.advance_to(next);
        }
        assert!(started.elapsed().as_secs() < 60, "{states:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut wanted = vec!["job.queued"; 11];
    wanted.push("job.started");
    assert_eq!(kinds(&world), wanted);
    let ids: std::collections::HashSet<String> = world
        .fetch
        .posted
        .lock()
        .unwrap()
        .iter()
        .take(11)
        .map(|(_, headers, _)| headers.iter().find(|(name, _)| name == "webhook-id").unwrap().1.clone())
        .collect();
    assert_eq!(ids.len(), 1, "a repeat has the same id");

    // Someone replays the dead one.
    let dead = world.store.deliveries(&callback.id, None, 10).unwrap()[1].seq;
    assert!(world.store.replay_delivery(dead, world.now()).unwrap());
    world.workflow.nudge_outbox();
    until_posted(&world, 13).await;
}
