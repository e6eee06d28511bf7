//! Callbacks: in order, signed, again when refused, given up in the end.

use std::time::{Duration, Instant};

use schema::event::ReportStatus;

use super::world::{World, report};
use crate::model::{Callback, CallbackId, DeliveryState, Secret};
use crate::store::Store;
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
    let job = world.workflow.accept(submission).await.unwrap().job;
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
    let secret = world.workflow.callback_secret();
    let signature = crate::workflow::outbox::sign(&header("webhook-id"), at, &body, &[secret]);
    assert_eq!(header("webhook-signature"), signature);
    assert!(!body.contains("correct-horse"));
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
