//! Logging in, staying in, and leaving no session behind.

use std::time::Duration;

use controller::redfish::{Bmc, BmcError, Credentials, Password, Power, RedfishBmc, Waits};
use mock_redfish::{Fault, Injection};

use super::support::{admin, asked, client, machine, plain, rack};

const SESSIONS: &str = "/SessionService/Sessions";

#[tokio::test]
async fn one_session_carries_all_calls_and_is_given_back() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.probe().await.unwrap();
    bmc.slots().await.unwrap();
    assert_eq!(rack.machine(0).open_sessions(), 1);
    bmc.close().await;
    assert_eq!(rack.machine(0).open_sessions(), 0);
    assert_eq!(asked(rack.machine(0), "POST", SESSIONS), 1);
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_once_even_for_calls_side_by_side() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.slots().await.unwrap();
    rack.machine(0).forget_sessions();
    let (power, slots) = tokio::join!(bmc.power(), bmc.slots());
    assert_eq!(power.unwrap(), Power::Off);
    assert_eq!(slots.unwrap().len(), 2);
    assert_eq!(asked(rack.machine(0), "POST", SESSIONS), 2);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_never_printed() {
    let rack = rack(machine()).await;
    let wrong = Credentials { user: "admin".into(), password: Password::new("hunter2") };
    let address = plain(rack.machine(0).base_url());
    let bmc = RedfishBmc::connect_with(&address, wrong, Waits::fast()).unwrap();
    let error = bmc.probe().await.unwrap_err();
    assert!(matches!(error, BmcError::Credentials { .. }) && !error.is_transient(), "{error}");
    assert!(!format!("{error:?} {error} {bmc:?}").contains("hunter2"));
    assert_eq!(asked(rack.machine(0), "POST", SESSIONS), 1, "a second try could lock the account");
}

#[tokio::test]
async fn basic_authentication_serves_where_there_are_no_sessions() {
    let mut config = machine();
    config.quirks.no_sessions = true;
    let rack = rack(config).await;
    assert_eq!(client(rack.machine(0)).probe().await.unwrap().power, Power::Off);
    let wrong = Credentials { user: "admin".into(), password: Password::new("hunter2") };
    let bmc = RedfishBmc::connect_with(&plain(rack.machine(0).base_url()), wrong, Waits::fast()).unwrap();
    assert!(matches!(bmc.probe().await, Err(BmcError::Credentials { .. })));
}

#[tokio::test]
async fn a_broken_login_does_not_fall_back_to_basic() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    rack.machine(0).inject(Injection::always(Fault::Reset).on("POST", "/redfish/v1/SessionService"));
    assert!(matches!(bmc.power().await, Err(BmcError::Unreachable { .. })));
    assert_eq!(asked(rack.machine(0), "GET", "/Systems"), 0);
}

#[tokio::test]
async fn where_no_session_fits_basic_authentication_serves_and_that_is_said_once() {
    for (status, id) in [(503, "SessionLimitExceeded"), (400, "CreateLimitReachedForResource")] {
        let rack = rack(machine()).await;
        let full = Fault::message(status, id);
        rack.machine(0).inject(Injection::always(full).on("POST", "/redfish/v1/SessionService"));
        let bmc = client(rack.machine(0));
        assert_eq!(bmc.power().await.unwrap(), Power::Off);
        bmc.slots().await.unwrap();
        assert_eq!(asked(rack.machine(0), "POST", SESSIONS), 1);
        let notes = bmc.notes();
        assert!(notes.len() == 1 && notes[0].contains("Basic") && notes[0].contains("end old"), "{notes:?}");
        assert!(bmc.notes().is_empty());
    }
}

#[tokio::test]
async fn where_neither_a_session_fits_nor_basic_is_taken_the_full_table_is_what_is_said() {
    let rack = rack(machine()).await;
    let full = Fault::message(503, "SessionLimitExceeded");
    rack.machine(0).inject(Injection::always(full).on("POST", "/redfish/v1/SessionService"));
    rack.machine(0).inject(Injection::always(Fault::status(401)).on("GET", "/redfish/v1/Systems"));
    let error = client(rack.machine(0)).power().await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains("end old sessions"), "{error}");
    assert_eq!(
        asked(rack.machine(0), "GET", "/redfish/v1/Systems"),
        1,
        "a second try could lock the account"
    );
}

#[tokio::test]
async fn once_a_session_has_worked_a_full_table_does_not_lead_to_basic() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.power().await.unwrap();
    let full = Fault::message(503, "SessionLimitExceeded");
    rack.machine(0).inject(Injection::always(full).on("POST", "/redfish/v1/SessionService"));
    rack.machine(0).forget_sessions();
    let error = bmc.power().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("end old sessions"), "{error}");
}

#[tokio::test]
async fn a_password_that_must_be_changed_is_said() {
    let rack = rack(machine()).await;
    let expired = Fault::message(403, "PasswordChangeRequired");
    rack.machine(0).inject(Injection::always(expired).on("POST", "/redfish/v1/SessionService"));
    let error = client(rack.machine(0)).power().await.unwrap_err();
    assert!(error.to_string().contains("set a new password"), "{error}");
}

#[tokio::test]
async fn a_client_dropped_without_closing_gives_its_session_back() {
    let rack = rack(machine()).await;
    let bmc = client(rack.machine(0));
    bmc.power().await.unwrap();
    assert_eq!(rack.machine(0).open_sessions(), 1);
    drop(bmc);
    for _ in 0..100 {
        if rack.machine(0).open_sessions() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session is still open");
}

#[tokio::test]
async fn plain_http_is_refused_before_anything_is_sent_unless_allowed() {
    let rack = rack(machine()).await;
    let mut address = plain(rack.machine(0).base_url());
    address.plain_http_allowed = false;
    let error = RedfishBmc::connect_with(&address, admin(), Waits::fast()).unwrap_err();
    assert!(matches!(error, BmcError::Address { .. }));
    assert!(rack.machine(0).requests().is_empty());
}
