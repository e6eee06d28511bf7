//! Which way the maintenance OS takes onto a machine, and what the next job learns from this one.

use schema::event::ReportStatus;

use super::bmc::{media_unreachable, unreachable_bmc};
use super::world::{World, report};
use crate::model::{Job, Transport, TransportSetting};
use crate::redfish::{BmcError, HttpBoot, RefusalKind};
use crate::store::{Store, Updated};

fn refused() -> BmcError {
    BmcError::Refused {
        endpoint: "https://10.0.0.20".to_owned(),
        what: "inserting task.img into Usb".to_owned(),
        status: 400,
        kind: RefusalKind::Other,
        message_id: None,
        message: "Only one device can be redirected.".to_owned(),
    }
}

/// What the BMC was asked to change since the last time.
fn calls(world: &World) -> Vec<String> {
    std::mem::take(&mut world.bmc.state().calls)
}

fn transport(job: &Job) -> Option<Transport> {
    job.transport.as_ref().map(|chosen| chosen.transport)
}

fn force(world: &World, setting: TransportSetting) {
    let mut machine = world.store.machine(&world.machine.id).unwrap().unwrap();
    machine.transport = setting;
    assert_eq!(world.store.update_machine(machine, None).unwrap(), Updated::Done);
}

async fn install(world: &World) -> Job {
    let submission = crate::workflow::Submission { reinstall: true, ..world.submission() };
    let job = world.workflow.accept(submission).await.unwrap().job;
    let boots = world.bmc.state().boots;
    world.until(&job.id, "booted", |_| world.bmc.state().boots > boots).await;
    let token = world.start_host(&job.id, "aa11").await.unwrap();
    world.until_name(&job.id, "installing").await;
    world.settle(&job.id).await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await
}

#[tokio::test]
async fn a_refused_second_slot_is_learnt_so_that_the_next_job_of_the_model_begins_with_one_medium() {
    let world = World::new().await;
    world.bmc.fault("insert second", refused);
    let job = install(&world).await;
    assert_eq!(transport(&job), Some(Transport::Composed));
    assert_eq!(
        calls(&world),
        [
            "power Off",
            "insert Cd",
            "power Off",
            "insert Cd",
            "once Cd",
            "once Cd",
            "power On",
            "power Off",
            "eject Cd",
            "clear ",
            "power On"
        ]
    );
    let said: Vec<String> = world
        .events(&job.id)
        .into_iter()
        .filter(|event| event.code == "media.transport")
        .map(|event| event.text)
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("transport virtual-media: the BMC has a slot for each medium"), "{said:?}");
    assert!(said[1].contains("composed") && said[1].contains("Only one device"), "{said:?}");

    let family = world.store.family(&world.machine.id).unwrap().unwrap();
    let known = world.store.capability(&family).unwrap().unwrap();
    let second = known.second_slot.unwrap();
    assert!(!second.works && second.job == job.id && second.what.contains("Only one device"), "{second:?}");
    assert!(known.composed.unwrap().works, "what worked is known too");

    // The second slot would work now, but nobody asks it.
    let again = install(&world).await;
    assert_eq!(transport(&again), Some(Transport::Composed));
    assert_eq!(calls(&world).iter().filter(|call| call.starts_with("insert")).count(), 1);
    let why = again.transport.unwrap().why;
    assert!(
        why.contains("did not work for this model and firmware") && why.contains(job.id.as_str()),
        "{why}"
    );

    // Another firmware is another BMC, and so is one of which everything was forgotten.
    world.bmc.state().firmware = Some("2.0");
    assert_eq!(transport(&install(&world).await), Some(Transport::VirtualMedia));
    let newer = world.store.family(&world.machine.id).unwrap().unwrap();
    assert!(world.store.capability(&newer).unwrap().unwrap().second_slot.unwrap().works);
    world.bmc.state().firmware = None;
    assert_eq!(transport(&install(&world).await), Some(Transport::Composed));
    assert!(world.store.forget_capability(&family).unwrap());
    assert_eq!(transport(&install(&world).await), Some(Transport::VirtualMedia));
}

#[tokio::test]
async fn a_bmc_that_drops_one_medium_for_the_other_gets_one_that_holds_both() {
    let world = World::new().await;
    world.bmc.state().drops_first = true;
    let job = install(&world).await;
    assert_eq!(transport(&job), Some(Transport::Composed));
    assert_eq!(world.bmc.images(), [None, None]);
    let family = world.store.family(&world.machine.id).unwrap().unwrap();
    let seen = world.store.capability(&family).unwrap().unwrap().second_slot.unwrap();
    assert!(!seen.works && seen.what.contains("dropped the medium in slot Cd"), "{seen:?}");
}

#[tokio::test]
async fn a_forced_transport_is_never_left() {
    let world = World::new().await;
    force(&world, TransportSetting::VirtualMedia);
    world.bmc.state().http_boot = Some(HttpBoot::Offered);
    world.bmc.fault("insert second", refused);
    let job = world.accept(|_| {}).await;
    let job = world.until_name(&job.id, "released").await;
    assert_eq!(transport(&job), Some(Transport::VirtualMedia));
    assert_eq!(world.failure(&job.id).code, "bmc.refused");
    assert_eq!(world.bmc.images(), [None, None]);
    let family = world.store.family(&world.machine.id).unwrap().unwrap();
    assert_eq!(world.store.capability(&family).unwrap(), None, "one that was forced teaches nobody");

    force(&world, TransportSetting::HttpBoot);
    world.bmc.state().http_boot = Some(HttpBoot::KeysMissing);
    calls(&world);
    let job = world.accept(|_| {}).await;
    world.until_name(&job.id, "released").await;
    let failure = world.failure(&job.id);
    assert_eq!((failure.failed_step.as_str(), failure.code.as_str()), ("probing", "transport.unusable"));
    assert!(failure.reason.contains("ForceRestart"), "{}", failure.reason);
    assert!(calls(&world).is_empty(), "it was touched");
}

#[tokio::test]
async fn a_machine_boots_over_http_without_any_slot_and_its_uri_is_cleared() {
    let mut world = World::new().await;
    world.bmc.state().slots.clear();
    world.bmc.state().http_boot = Some(HttpBoot::Offered);
    let job = world.accept(|_| {}).await;
    let job = world.until_booted(&job.id).await;
    assert_eq!(transport(&job), Some(Transport::HttpBoot));
    assert_eq!(calls(&world), ["power Off", "http ", "http ", "power On"]);
    let uri = world.bmc.state().http_uri.clone().unwrap();
    assert!(uri.ends_with("/composed.iso"), "{uri}");

    // The controller dies and the machine goes off meanwhile: armed again before it is switched on again.
    world.workflow.kill().await;
    world.bmc.state().power_on = false;
    world.restart().await;
    world.until(&job.id, "booted again", |_| world.bmc.state().boots == 2).await;
    assert_eq!(calls(&world), ["http ", "power On"]);

    let token = world.start_host(&job.id, "aa11").await.unwrap();
    world.until_name(&job.id, "installing").await;
    world.say(&token, report(ReportStatus::Success)).await.unwrap();
    world.until_name(&job.id, "released").await;
    assert_eq!(world.bmc.state().http_uri, None);
    for event in world.events(&job.id) {
        assert!(!event.text.contains(&uri), "a name of a medium is shown: {}", event.text);
    }
}

fn unlicensed() -> BmcError {
    BmcError::Refused {
        endpoint: "https://10.0.0.20".to_owned(),
        what: "inserting maintenance.iso into Cd".to_owned(),
        status: 400,
        kind: RefusalKind::Licence,
        message_id: Some("iLO.2.14.LicenseKeyRequired".to_owned()),
        message: "A license key is required to use this operation.".to_owned(),
    }
}

#[tokio::test]
async fn a_slot_that_can_never_boot_leaves_http_boot_and_one_that_was_given_a_bad_url_does_not() {
    let world = World::new().await;
    world.bmc.state().http_boot = Some(HttpBoot::Offered);
    world.bmc.fault("insert", unreachable_bmc);
    assert_eq!(transport(&install(&world).await), Some(Transport::VirtualMedia));
    world.bmc.fault("insert", unlicensed);
    assert_eq!(transport(&install(&world).await), Some(Transport::HttpBoot));
    world.bmc.fault("insert", media_unreachable);
    let submission = crate::workflow::Submission { reinstall: true, ..world.submission() };
    let job = world.workflow.accept(submission).await.unwrap().job;
    let job = world.until_name(&job.id, "released").await;
    assert_eq!(transport(&job), Some(Transport::VirtualMedia));
    assert_eq!(world.failure(&job.id).code, "bmc.refused");
}
