//! Callers that go away before they are answered: a host that powers off, a client that hangs up, an operator's
//! Ctrl-C. What became durable is acted on at once all the same, and nothing is left half-done.

use std::time::{Duration, Instant};

use schema::event::ReportStatus;

use super::world::{World, report};
use crate::model::{JobState, Source};
use crate::store::Store as _;

/// Runs `call` for so long and then drops it wherever it is.
async fn hangs_up(after: Duration, call: impl Future) {
    let _ = tokio::time::timeout(after, call).await; // how far it came is what varies
}

/// From at once to long after the end, in real time.
fn instants() -> impl Iterator<Item = Duration> {
    (0..24_u64).map(|n| Duration::from_micros(n * n * 20))
}

async fn soon(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(20), "not {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_before_its_answer_has_reported_all_the_same() {
    let mut decided = 0;
    for instant in instants() {
        let world = World::new().await;
        let job = world.accept(|_| {}).await;
        let token = world.until_installing(&job.id).await;
        world.settle(&job.id).await;
        hangs_up(instant, world.say(&token, report(ReportStatus::Success))).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        if world.job(&job.id).state.outcome().is_none() {
            continue; // it did not come that far: the host says it again
        }
        decided += 1;
        // No time passes on this clock: only a driver that was woken gets here.
        soon("cleaning up", || {
            let wait = world.workflow.hub.live(&job.id).and_then(|live| live.wait);
            wait.is_some_and(|wait| wait.reason.contains("powering itself off"))
        })
        .await;
    }
    assert!(decided > 5, "hung up too early to prove anything: {decided}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_a_driven_job_or_none() {
    let mut made = 0;
    for instant in instants() {
        let world = World::new().await;
        hangs_up(instant, Box::pin(world.workflow.accept(world.submission()))).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let open = || world.store.open_jobs().unwrap().pop();
        // It is brought to its end without its client, and on a busy machine that takes a while.
        let settled = || open().is_some() || world.images.pins.lock().unwrap().is_empty();
        soon("free of an image that is pinned for nothing", settled).await;
        let Some(job) = open() else { continue };
        made += 1;
        soon("driven", || world.job(&job.id).state != JobState::Queued).await;
    }
    assert!(made > 5, "hung up too early to prove anything: {made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_hangs_up_has_cancelled_or_not_but_never_half() {
    for instant in instants() {
        let world = World::new().await;
        let job = world.accept(|_| {}).await;
        world.until_booted(&job.id).await;
        world.settle(&job.id).await;
        hangs_up(instant, world.workflow.cancel(&job.id, "ops")).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        if world
            .events(&job.id)
            .iter()
            .any(|event| event.source == Source::Operator && event.code == "intent.cancel")
        {
            soon("released", || world.job(&job.id).state.is_released()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_stops_in_order_leaves_no_session_at_a_bmc() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.settle(&job.id).await;
    assert_eq!(world.bmc.state().open, 1, "there is no session to put away");
    world.workflow.shutdown().await;
    assert_eq!(world.bmc.state().open, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_by_force_is_not_left_half_way() {
    for instant in instants() {
        let world = World::new().await;
        let job = world.accept(|_| {}).await;
        world.until_booted(&job.id).await;
        world.settle(&job.id).await;
        world.bmc.state().dead = Some(super::bmc::unreachable_bmc);
        hangs_up(instant, world.workflow.release(&job.id, true, "ops")).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        if world.job(&job.id).state.outcome().is_some() {
            soon("released", || world.job(&job.id).state.is_released()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_lost_the_store_leaves_no_session_at_a_bmc() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.settle(&job.id).await;
    assert_eq!(world.bmc.state().open, 1);
    world.lose_store(true);
    world.workflow.hub.nudge(&job.id);
    soon("put away", || world.bmc.state().open == 0).await;
    world.lose_store(false);
    world.clock.advance(Duration::from_secs(10)); // it waits a little before it tries again
    soon("driven again", || world.bmc.state().open == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_stopped_begins_nothing() {
    let world = World::new().await;
    world.workflow.kill().await;
    let refused = world.workflow.accept(world.submission()).await.unwrap_err();
    assert_eq!(refused.code(), "store.unavailable", "{refused}");
    assert!(world.store.open_jobs().unwrap().is_empty());
    assert!(world.images.pins.lock().unwrap().is_empty());
}
