//! The controller is killed at any instant, and another goes on: no job is lost, none runs twice.

use std::time::{Duration, Instant};

use schema::event::{ReportStatus, StepState};

use super::bmc::Hang;
use super::world::{World, report, step};
use crate::model::{JobId, Lifecycle, Status};
use crate::store::Store;

/// Plays the host until the job is released; answers how often a boot was told to go on.
async fn play(world: &World, id: &JobId) -> u32 {
    let (mut proceeded, mut asked_at) = (0, 0);
    let mut token = None;
    let started = Instant::now();
    loop {
        let job = world.job(id);
        let (boots, on) = {
            let state = world.bmc.state();
            (state.boots, state.power_on)
        };
        match job.state.name() {
            "released" => return proceeded,
            // Every boot from our media asks, with a nonce of its own.
            "booting" | "installing" if boots > asked_at && on => {
                asked_at = boots;
                if let Ok(answer) = world.start_host(id, &format!("boot-{boots}")).await {
                    proceeded += 1;
                    token = Some(answer);
                }
            }
            "installing" => {
                let Some(token) = &token else { panic!("installing without a token") };
                world.say(token, step("partition.service", StepState::Started)).await.unwrap();
                world.say(token, report(ReportStatus::Success)).await.unwrap();
                world.bmc.state().power_on = false;
            }
            _ => {
                if let Some(moment) = world.workflow.hub.parked(id) {
                    use crate::workflow::Clock as _;
                    world
                        .clock
                        .advance_to(moment.min(world.clock.now() + jiff::SignedDuration::from_secs(5)));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(60), "never ends: {:?}", job.state);
    }
}

/// How many BMC calls a whole job makes that change something.
const CALLS: usize = 10;

#[tokio::test]
async fn killed_before_or_after_any_bmc_call_the_job_finishes_once() {
    for n in 0..CALLS {
        for hang in [Hang::Before, Hang::After] {
            let mut world = World::new().await;
            world.bmc.state().hang = Some((n, hang));
            let job = world.accept(|_| {}).await;
            let mut killed = false;
            let proceeded = {
                let bmc = world.bmc.clone();
                let hung = async {
                    while bmc.state().calls.len() <= n {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    proceeded = play(&world, &job.id) => proceeded,
                    () = hung => {
                        killed = true;
                        0
                    }
                }
            };
            assert!(killed, "call {n} was never made: {:?}, {proceeded}", world.bmc.state().calls);
            // The power cut comes at the latest while the call hangs.
            tokio::time::sleep(Duration::from_millis(2)).await;
            world.restart().await;
            world.bmc.state().hang = None;
            finish(&world, &job.id).await;

            let (state, what) = (world.bmc.state(), format!("call {n} {hang:?}"));
            assert!(state.power_on && !state.once, "{what}");
            assert!(state.slots.iter().all(|(_, image)| image.is_none()), "{what}");
            assert_eq!(state.disk_boots, 1, "{what}: {:?}", state.calls);
            drop(state);
            assert_eq!(world.job(&job.id).state.status(), Status::Succeeded, "{what}");
            assert!(matches!(world.lifecycle(), Lifecycle::InService { .. }), "{what}");
            let codes = world.codes(&job.id);
            for once in ["host.started", "outcome.succeeded", "complete", "phase.installing"] {
                assert_eq!(codes.iter().filter(|code| *code == once).count(), 1, "{what}: {once}");
            }
        }
    }
}

/// Goes on after a kill, whether the host had asked already or not.
async fn finish(world: &World, id: &JobId) {
    let job = world.job(id);
    if job.boot_nonce.is_none() {
        assert_eq!(play(world, id).await, 1);
        return;
    }
    if job.state.name() == "installing" {
        let nonce = job.boot_nonce.unwrap();
        let token = world.start_host(id, &nonce).await.unwrap();
        world.say(&token, report(ReportStatus::Success)).await.unwrap();
        world.bmc.state().power_on = false;
    }
    world.until_name(id, "released").await;
}

#[tokio::test]
async fn killed_while_the_host_works_the_controller_goes_on_waiting() {
    let mut world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let calls = world.bmc.state().calls.len();
    let urls = world.bmc.images();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(200)); // longer than a silence, shorter than lost contact
        world.restart().await;
        world.settle(&job.id).await;
    }
    assert_eq!(world.job(&job.id).state.name(), "installing");
    assert_eq!(world.bmc.state().calls.len(), calls, "the machine was not touched");
    assert_eq!(world.bmc.images(), urls);
    assert!(world.shelf.staged.lock().unwrap().contains_key(&job.id), "media are served again");
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert_eq!(world.bmc.state().boots, 1);
}

#[tokio::test]
async fn a_restart_between_outcome_and_answer_gives_the_same_answer() {
    let mut world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let mut said = report(ReportStatus::Success);
    said.delivery_id = Some("d-1".to_owned());
    world.say(&token, said.clone()).await.unwrap();
    world.restart().await;
    let again = world.say(&token, said).await;
    match again {
        Ok(answer) => assert!(answer.received && answer.power_off),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_queued_job_of_a_dead_controller_is_taken_up() {
    let mut world = World::new().await;
    world.bmc.state().hang = Some((0, Hang::Before));
    let job = world.accept(|_| {}).await;
    world.workflow.kill().await;
    world.bmc.state().hang = None;
    world.images.pins.lock().unwrap().clear();
    world.restart().await;
    world.until_booted(&job.id).await;
    assert_eq!(world.images.pins.lock().unwrap().len(), 1, "its image is pinned again");
}

#[tokio::test]
async fn pins_that_a_dead_controller_left_behind_are_given_up_and_others_are_not() {
    let mut world = World::new().await;
    world.bmc.state().hang = Some((0, Hang::Before));
    let job = world.accept(|_| {}).await;
    world.workflow.kill().await;
    world.bmc.state().hang = None;
    world.images.pins.lock().unwrap().push(crate::model::JobId::fresh());
    world.restart().await;
    assert_eq!(world.images.pins.lock().unwrap().as_slice(), [job.id], "only the open one needs its image");
}

#[tokio::test]
async fn an_orderly_stop_puts_sessions_away_and_loses_nothing() {
    let mut world = World::new().await;
    let job = world.accept(|_| {}).await;
    let token = world.until_installing(&job.id).await;
    let mut said = report(ReportStatus::Progress);
    said.step = Some("image-linux.service".to_owned());
    said.done = Some(7);
    world.say(&token, said).await.unwrap();
    world.workflow.shutdown().await;
    assert_eq!(world.store.live(&job.id).unwrap().unwrap().progress["image-linux"].done, 7);
    world.restart().await;
    let (_, live) = world.workflow.view(&job.id).await.unwrap().unwrap();
    assert_eq!(live.progress["image-linux"].done, 7);
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
}

async fn soon(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(30), "never {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_lease_is_short_and_renewed_while_its_driver_lives() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_installing(&job.id).await;
    let (first, fence) = world.lease(&job.id);
    assert!(first <= world.now() + jiff::SignedDuration::try_from(world.settings.lease).unwrap());
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    soon("renewed", || {
        world.clock.advance(Duration::from_millis(100));
        world.lease(&job.id).0 > world.now()
    })
    .await;
    assert_eq!(world.lease(&job.id).1, fence, "a renewal is no take-over");
}

#[tokio::test]
async fn a_driver_whose_job_another_controller_took_lets_go_of_it() {
    let world = World::new().await;
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.settle(&job.id).await;
    let until = world.now() + jiff::SignedDuration::from_hours(1);
    let taken = world.store.take_lease(&job.id, "another", world.now(), until).unwrap().unwrap();
    let calls = world.bmc.state().calls.len();
    soon("let go", || {
        world.clock.advance(Duration::from_secs(1));
        world.workflow.hub.live(&job.id).is_none()
    })
    .await;
    assert_eq!(world.bmc.state().open, 0, "its session is not put away");
    world.clock.advance(Duration::from_secs(3600));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.bmc.state().calls.len(), calls, "it still drives the machine");
    assert_eq!(world.lease(&job.id), (until, taken.fence));
    assert_eq!(world.images.pins.lock().unwrap().as_slice(), [job.id], "the other one needs the images");
}
