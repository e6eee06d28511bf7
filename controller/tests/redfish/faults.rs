//! BMCs that refuse, lie, stall and break; what the client makes of it, and what it says.

use std::time::Duration;

use controller::redfish::{Bmc, BmcError, Power, SlotId};
use mock_redfish::{Fault, Injection, Machine};

use super::support::{BOOT, asked, at, client, impatient, machine, rack};

const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd";
const SYSTEM: &str = "/redfish/v1/Systems/1";

fn cd() -> SlotId {
    SlotId(CD.into())
}

fn posts(machine: &Machine) -> usize {
    asked(machine, "POST", "VirtualMedia.InsertMedia")
}

#[tokio::test]
async fn an_insert_that_was_done_but_reported_as_failed_counts_as_done() {
    for fault in [Fault::StatusAfter { status: 500 }, Fault::ResetAfter] {
        let rack = rack(machine()).await;
        let bmc = client(rack.machine(0));
        bmc.slots().await.unwrap();
        rack.machine(0).inject(Injection::times(1, fault.clone()).on("POST", CD));
        bmc.insert(&cd(), BOOT).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(posts(rack.machine(0)), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_insert_that_met_a_broken_service_is_tried_again() {
    for fault in [Fault::status(500), Fault::status(503), Fault::Reset] {
        let rack = rack(machine()).await;
        let bmc = client(rack.machine(0));
        bmc.slots().await.unwrap();
        rack.machine(0).inject(Injection::times(2, fault.clone()).on("POST", CD));
        bmc.insert(&cd(), BOOT).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(posts(rack.machine(0)), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn one_image_is_posted_at_most_four_times() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    rack.machine(0).inject(Injection::always(Fault::status(500)).on("POST", CD));
    let error = bmc.insert(&cd(), BOOT).await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains(&format!("inserting {BOOT} into {CD}")), "{error}");
    assert_eq!(posts(rack.machine(0)), 4);
}

#[tokio::test]
async fn an_insert_that_only_claims_success_is_not_believed() {
    let rack = rack(machine()).await;
    let bmc = impatient(rack.machine(0));
    rack.machine(0).inject(Injection::times(1, Fault::PhantomInsert));
    let error = bmc.insert(&cd(), BOOT).await.unwrap_err();
    assert!(matches!(error, BmcError::NotObserved { .. }));
    let text = error.to_string();
    assert!(text.contains("still shows nothing (Inserted=false)"), "{text}");
}

#[tokio::test]
async fn a_refused_licence_is_said_and_not_tried_again() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let refusal = Fault::Status {
        status: 403,
        message_id: Some("LicenseKeyRequired".into()),
        message: Some("An iLO Advanced license is required.".into()),
        retry_after: None,
    };
    rack.machine(0).inject(Injection::always(refusal).on("POST", CD));
    let error = bmc.insert(&cd(), BOOT).await.unwrap_err();
    assert!(!error.is_transient());
    let text = error.to_string();
    assert!(text.contains("An iLO Advanced license is required") && text.contains("licence"), "{text}");
    assert_eq!(posts(rack.machine(0)), 1);
}

#[tokio::test]
async fn an_image_the_bmc_cannot_reach_is_named_with_a_remedy() {
    let mut machine = machine();
    machine.quirks.blind_insert = false;
    let rack = rack(machine).await;
    let url = "http://127.0.0.1:9/m/gone.iso";
    let error = client(rack.machine(0)).insert(&cd(), url).await.unwrap_err().to_string();
    assert!(error.contains(url), "{error}");
}

#[tokio::test]
async fn a_stale_inserted_after_an_eject_is_waited_out() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.insert(&cd(), BOOT).await.unwrap();
    rack.machine(0).inject(Injection::times(1, Fault::StaleInserted { reads: 3 }));
    bmc.eject(&cd()).await.unwrap();
    bmc.insert(&cd(), "http://10.0.0.5/next.iso").await.unwrap();
    assert_eq!(rack.machine(0).image("Cd").as_deref(), Some("http://10.0.0.5/next.iso"));
}

#[tokio::test]
async fn an_eject_refused_although_it_was_done_is_a_success() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.insert(&cd(), BOOT).await.unwrap();
    rack.machine(0).inject(Injection::times(1, Fault::StatusAfter { status: 400 }).on("POST", CD));
    bmc.eject(&cd()).await.unwrap();
    assert_eq!(rack.machine(0).image("Cd"), None);
}

#[tokio::test]
async fn a_boot_setting_refused_during_post_is_tried_again() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let refusal = Fault::message(400, "UnableToModifyDuringSystemPOST");
    rack.machine(0).inject(Injection::times(3, refusal).on("PATCH", SYSTEM));
    bmc.boot_once(&cd()).await.unwrap();
    assert_eq!(asked(rack.machine(0), "PATCH", SYSTEM), 4);
}

#[tokio::test]
async fn a_power_on_refused_right_after_a_power_off_is_tried_again() {
    for (status, id) in [(409, "ActionParameterValueConflict"), (400, "InvalidOperationForSystemState")] {
        let rack = rack(machine()).await;
        let bmc = client(rack.machine(0));
        rack.machine(0).inject(Injection::times(3, Fault::message(status, id)).on("POST", SYSTEM));
        bmc.set_power(Power::On).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(asked(rack.machine(0), "POST", "ComputerSystem.Reset"), 4, "{id}");
    }
}

#[tokio::test]
async fn a_reset_that_only_claims_success_is_not_believed() {
    for fault in [Fault::ResetIgnored, Fault::PowerLies { says: "Off".into() }] {
        let rack = rack(machine()).await;
        let bmc = impatient(rack.machine(0));
        rack.machine(0).inject(Injection::always(fault.clone()));
        let error = bmc.set_power(Power::On).await.unwrap_err();
        assert!(matches!(error, BmcError::NotObserved { .. }), "{fault:?}: {error}");
        assert!(error.to_string().contains("still shows PowerState Off"), "{error}");
    }
}

#[tokio::test]
async fn a_machine_that_will_not_start_is_reported_in_the_bmcs_words() {
    let rack = rack(machine()).await;
    let bmc = impatient(rack.machine(0));
    rack.machine(0).inject(Injection::always(Fault::WillNotStart));
    let error = bmc.set_power(Power::On).await.unwrap_err().to_string();
    assert!(error.contains("the machine does not start"), "{error}");
}

#[tokio::test]
async fn a_button_is_not_pushed_after_a_reset_that_was_accepted() {
    let rack = rack(machine()).await;
    let bmc = impatient(rack.machine(0));
    rack.machine(0).inject(Injection::always(Fault::ResetIgnored));
    bmc.set_power(Power::On).await.unwrap_err();
    assert_eq!(asked(rack.machine(0), "POST", "ComputerSystem.Reset"), 1);
}

#[tokio::test]
async fn a_boot_setting_that_does_not_show_is_not_believed() {
    let rack = rack(machine()).await;
    let bmc = impatient(rack.machine(0));
    let mut stale = serde_json::Map::new();
    stale.insert("Boot".into(), serde_json::json!({"BootSourceOverrideEnabled": "Disabled"}));
    rack.machine(0).inject(Injection::always(Fault::Replace { properties: stale }).on("GET", SYSTEM));
    let error = bmc.boot_once(&cd()).await.unwrap_err();
    assert!(matches!(error, BmcError::NotObserved { .. }));
    assert!(error.to_string().contains("still shows ? Disabled"), "{error}");
}

#[tokio::test]
async fn a_reset_whose_answer_was_lost_is_found_done() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    rack.machine(0).inject(Injection::times(1, Fault::ResetAfter).on("POST", SYSTEM));
    bmc.set_power(Power::On).await.unwrap();
    assert_eq!(asked(rack.machine(0), "POST", "ComputerSystem.Reset"), 1);
}

#[tokio::test]
async fn reads_survive_a_service_that_breaks_now_and_then() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    for fault in [Fault::status(503), Fault::status(500), Fault::Reset, Fault::status(429)] {
        rack.machine(0).inject(Injection::times(2, fault.clone()).on("GET", SYSTEM));
        assert_eq!(bmc.power().await.unwrap_or_else(|error| panic!("{fault:?}: {error}")), Power::Off);
    }
}

#[tokio::test]
async fn a_web_page_instead_of_json_is_an_error_and_not_a_panic() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    rack.machine(0).inject(Injection::times(1, Fault::Page { status: 403 }).on("GET", SYSTEM));
    assert!(matches!(bmc.power().await, Err(BmcError::Refused { status: 403, .. })));
    rack.machine(0).inject(Injection::times(1, Fault::Page { status: 200 }).on("GET", SYSTEM));
    assert!(matches!(bmc.power().await, Err(BmcError::Nonsense { .. })));
    assert_eq!(bmc.power().await.unwrap(), Power::Off);
}

#[tokio::test]
async fn a_bmc_that_does_not_answer_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = at(&url).probe().await.unwrap_err();
    assert!(matches!(error, BmcError::Unreachable { .. }) && error.is_transient());
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn missing_properties_do_not_break_a_probe() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    let mut gone = serde_json::Map::new();
    for key in ["SerialNumber", "UUID", "Model", "Manufacturer", "Boot", "BootProgress"] {
        gone.insert(key.into(), serde_json::Value::Null);
    }
    rack.machine(0).inject(Injection::always(Fault::Replace { properties: gone }).on("GET", SYSTEM));
    let probe = bmc.probe().await.unwrap();
    assert_eq!((probe.serial, probe.uuid, probe.model), (None, None, None));
    assert_eq!(probe.macs.len(), 1, "without a serial the NICs are read");
}

#[tokio::test]
async fn a_dropped_call_asks_nothing_more() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.slots().await.unwrap();
    rack.machine(0).inject(Injection::times(1, Fault::PhantomInsert));
    let watching = tokio::time::timeout(Duration::from_millis(100), bmc.insert(&cd(), BOOT)).await;
    assert!(watching.is_err(), "it was still watching the slot");
    tokio::time::sleep(Duration::from_millis(30)).await;
    let seen = rack.machine(0).requests().len();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rack.machine(0).requests().len(), seen);
}

/// Drivers drop what they do at any await: neither a login nor a goodbye on its way may leave a session behind.
#[tokio::test]
async fn whoever_goes_away_in_the_middle_leaves_no_session_behind() {
    const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
    let rack = rack(machine()).await;
    let machine = rack.machine(0);
    let soon = Duration::from_millis(100);
    machine.inject(Injection::always(Fault::Delay { ms: 300 }).on("POST", SESSIONS));
    let bmc = client(machine);
    assert!(tokio::time::timeout(soon, bmc.slots()).await.is_err(), "the login was not slow");
    drop(bmc);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(asked(machine, "POST", "Sessions"), 1);
    assert_eq!(machine.open_sessions(), 0, "a login that nobody waited for stays open");

    machine.clear_faults();
    let bmc = client(machine);
    bmc.slots().await.unwrap();
    assert_eq!(machine.open_sessions(), 1);
    machine.inject(Injection::always(Fault::Delay { ms: 300 }).on("DELETE", SESSIONS));
    assert!(tokio::time::timeout(soon, bmc.close()).await.is_err(), "the goodbye was not slow");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(machine.open_sessions(), 0, "a goodbye that nobody waited for was not said");
}
