//! A BMC that tells when something changes, and what is made of that.

use tokio::sync::watch;

use super::world::World;
use crate::workflow::Clock as _;

/// Seconds until a machine that went off while it booted is on again.
async fn seconds_off(world: &World, tell: Option<watch::Sender<u64>>) -> i64 {
    world.bmc.state().signs.clone_from(&tell);
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.settle(&job.id).await;
    let off_at = world.now();
    world.bmc.state().power_on = false;
    if let Some(tell) = tell {
        tell.send_modify(|count| *count += 1);
    }
    let bmc = world.bmc.clone();
    world.until(&job.id, "on again", move |_| bmc.state().power_on).await;
    assert_eq!(world.bmc.state().boots, 2, "from our media, not from its disk");
    world.now().duration_since(off_at).as_secs()
}

#[tokio::test]
async fn a_sign_brings_back_a_machine_that_went_off_and_without_signs_polling_does() {
    let told = seconds_off(&World::new().await, Some(watch::Sender::new(0))).await;
    let polled = seconds_off(&World::new().await, None).await;
    assert!(told < 30 && polled >= 50, "{told} s when told, {polled} s by polling");
}

#[tokio::test]
async fn what_a_client_says_of_how_it_speaks_to_its_bmc_is_told_once() {
    let world = World::new().await;
    world.bmc.state().notes = vec!["it is spoken to by Basic authentication".to_owned()];
    let job = world.accept(|_| {}).await;
    world.until_installing(&job.id).await;
    let told = world.events(&job.id).into_iter().filter(|event| event.text.contains("by Basic")).count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_stream_that_ended_is_not_asked_for_again_in_its_phase() {
    let world = World::new().await;
    let tell = watch::Sender::new(0);
    world.bmc.state().signs = Some(tell);
    let job = world.accept(|_| {}).await;
    world.until_booted(&job.id).await;
    world.settle(&job.id).await;
    world.bmc.state().signs = None; // the sender goes: it ended
    let (from, bmc) = (world.now(), world.bmc.clone());
    let now = world.clock.clone();

    world.until(&job.id, "looked at again", move |_| now.now().duration_since(from).as_secs() > 150).await;
    assert_eq!(bmc.state().listened, 1);
}
