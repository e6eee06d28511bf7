//! The call order of a job, on a BMC that goes by the book.

use controller::redfish::{Bmc, Power, RedfishBmc, Waits};
use mock_redfish::Enabled;

use super::support::{BOOT, TASK, admin, asked, booted_from_cd, client, machine, plain, rack};

/// BMC requests from submit to powered on with both media seen, at most.
const BUDGET: u32 = 16;

#[tokio::test]
async fn a_job_reaches_power_on_with_both_media_seen_within_the_request_budget() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));

    let probe = bmc.probe().await.unwrap();
    assert_eq!(probe.serial.as_deref(), Some("MOCK-M1"));
    assert_eq!(probe.power, Power::Off);
    assert_eq!((probe.boots_once.as_deref(), probe.encrypted), (Some("Cd"), false));
    let (boot, task) = (&probe.slots[0].id, &probe.slots[1].id);
    bmc.set_power(Power::Off).await.unwrap();
    let held = bmc.insert(boot, BOOT).await.unwrap();
    assert_eq!(held.seen, format!("slot {} holds {BOOT} (Inserted=true)", boot.0));
    bmc.insert(task, TASK).await.unwrap();
    let set = bmc.boot_once(boot).await.unwrap();
    assert_eq!(set.seen, "the boot override shows Cd Once UEFI");
    let on = bmc.set_power(Power::On).await.unwrap();
    assert_eq!(on.seen, "system /redfish/v1/Systems/1 shows PowerState On");
    assert!(bmc.requests() <= BUDGET, "{} requests", bmc.requests());

    let machine = rack.machine(0);
    assert_eq!(machine.image("Cd").as_deref(), Some(BOOT));
    assert_eq!(machine.image("Usb").as_deref(), Some(TASK));
    assert!(booted_from_cd(machine), "{:?}", machine.last_source());
}

#[tokio::test]
async fn cleaning_up_leaves_the_machine_off_empty_and_without_a_session() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let slots = bmc.slots().await.unwrap();
    for (slot, url) in slots.iter().zip([BOOT, TASK]) {
        bmc.insert(&slot.id, url).await.unwrap();
    }
    bmc.set_power(Power::On).await.unwrap();
    bmc.boot_once(&slots[0].id).await.unwrap();

    bmc.set_power(Power::Off).await.unwrap();
    for slot in &slots {
        let seen = bmc.eject(&slot.id).await.unwrap().seen;
        assert_eq!(seen, format!("slot {} is empty (Inserted=false)", slot.id.0));
    }
    assert!(bmc.slots().await.unwrap().iter().all(|slot| !slot.inserted && slot.image.is_none()));
    bmc.clear_boot(None).await.unwrap();
    bmc.close().await;
    bmc.close().await;

    let machine = rack.machine(0);
    assert_eq!(machine.boot_override().enabled, Enabled::Disabled);
    assert_eq!(machine.open_sessions(), 0);
    assert_eq!(asked(machine, "DELETE", ""), 1);
}

#[tokio::test]
async fn wanting_what_already_is_changes_nothing() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let slots = bmc.slots().await.unwrap();
    rack.machine(0).clear_requests();
    bmc.set_power(Power::Off).await.unwrap();
    bmc.eject(&slots[0].id).await.unwrap();
    bmc.clear_boot(None).await.unwrap();
    let seen = rack.machine(0).requests();
    assert!(seen.iter().all(|request| request.method == "GET"), "{seen:?}");
}

#[tokio::test]
async fn an_insert_takes_out_what_was_in_the_slot_before() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let slot = bmc.slots().await.unwrap().remove(0).id;
    bmc.insert(&slot, "http://10.0.0.9/old.iso").await.unwrap();
    bmc.insert(&slot, BOOT).await.unwrap();
    assert_eq!(rack.machine(0).image("Cd").as_deref(), Some(BOOT));
    assert_eq!(asked(rack.machine(0), "POST", "VirtualMedia.EjectMedia"), 1);
    assert_eq!(asked(rack.machine(0), "POST", "VirtualMedia.InsertMedia"), 2);
}

#[tokio::test]
async fn a_new_client_goes_on_where_another_was_killed() {
    let rack = rack(machine()).await;
    let first = client(rack.machine(0));
    let slots = first.slots().await.unwrap();
    first.insert(&slots[0].id, BOOT).await.unwrap();
    drop(first);

    let second = client(rack.machine(0));
    let seen = second.slots().await.unwrap();
    assert_eq!(seen[0].image.as_deref(), Some(BOOT), "what is in is re-derived from the BMC");
    second.insert(&slots[0].id, BOOT).await.unwrap();
    second.insert(&slots[1].id, TASK).await.unwrap();
    second.boot_once(&slots[0].id).await.unwrap();
    second.set_power(Power::On).await.unwrap();
    assert!(booted_from_cd(rack.machine(0)));
}

#[tokio::test]
async fn boot_progress_and_power_are_read_when_asked_for() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    assert_eq!(bmc.power().await.unwrap(), Power::Off);
    rack.machine(0).power_on().await.unwrap();
    assert_eq!(bmc.power().await.unwrap(), Power::On);
    assert_eq!(bmc.look().await.unwrap().power, Power::On);
}

#[tokio::test]
async fn the_system_may_be_named_by_id_or_by_path() {
    let rack = rack(machine()).await;
    for name in ["1", "/redfish/v1/Systems/1"] {
        let mut address = plain(rack.machine(0).base_url());
        address.system = Some(name.into());
        let bmc = RedfishBmc::connect_with(&address, admin(), Waits::fast()).unwrap();
        assert_eq!(bmc.probe().await.unwrap().serial.as_deref(), Some("MOCK-M1"), "{name}");
    }
    let mut address = plain(rack.machine(0).base_url());
    address.system = Some("2".into());
    let bmc = RedfishBmc::connect_with(&address, admin(), Waits::fast()).unwrap();
    let error = bmc.power().await.unwrap_err().to_string();
    assert!(error.contains("has no system 2"), "{error}");
}

#[tokio::test]
async fn a_slot_the_bmc_does_not_have_is_named() {
    let rack = rack(machine()).await;
    let slot = controller::redfish::SlotId("/redfish/v1/Managers/1/VirtualMedia/Nope".into());
    let error = client(rack.machine(0)).insert(&slot, BOOT).await.unwrap_err().to_string();
    assert!(error.contains("VirtualMedia/Nope") && error.contains("probe"), "{error}");
}
