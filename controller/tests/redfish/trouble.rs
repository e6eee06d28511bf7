//! A BMC in trouble is left alone; and whoever goes away while waiting for one leaves no trace.

use std::time::{Duration, Instant};

use controller::redfish::{
    Bmc, BmcError, CircuitState, Entry, Gates, Power, RedfishBmc, SlotId, Standing, Waits,
};
use mock_redfish::{Fault, Injection, Machine};

use super::support::{BOOT, admin, among, asked, gates, machine, plain, rack};

const SYSTEM: &str = "/redfish/v1/Systems/1";
const CD: &str = "/redfish/v1/Managers/1/VirtualMedia/Cd";

fn standing(gates: &Gates, machine: &Machine) -> Standing {
    gates.standing(machine.base_url())
}

#[tokio::test]
async fn after_five_failures_in_a_row_a_bmc_is_left_alone_by_everybody() {
    let (rack, gates) = (rack(machine()).await, gates());
    let machine = rack.machine(0);
    let job = among(&gates, machine.base_url(), false);
    job.slots().await.unwrap();
    machine.inject(Injection::always(Fault::message(503, "ServiceTemporarilyUnavailable")).on("GET", SYSTEM));
    let error = job.power().await.unwrap_err();
    assert_eq!(error.code(), "bmc.circuit_open", "{error}");
    assert!(error.is_transient() && error.not_before().is_some());
    let text = error.to_string();
    for wanted in [
        "5 requests in a row",
        "HTTP 503",
        "ServiceTemporarilyUnavailable",
        "tried again at",
        "power and network",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
    assert_eq!(standing(&gates, machine).state, CircuitState::Open);
    let sent = machine.requests().len();
    assert_eq!(
        among(&gates, machine.base_url(), false).power().await.unwrap_err().code(),
        "bmc.circuit_open"
    );
    assert_eq!(machine.requests().len(), sent, "a stranger to the trouble sent something");
}

#[tokio::test]
async fn when_its_time_comes_one_request_tries_it_and_an_answer_ends_it() {
    let (rack, gates) = (rack(machine()).await, gates());
    let machine = rack.machine(0);
    let job = among(&gates, machine.base_url(), false);
    job.slots().await.unwrap();
    machine.inject(Injection::always(Fault::status(500)).on("GET", SYSTEM));
    job.power().await.unwrap_err();
    let before = asked(machine, "GET", SYSTEM);
    tokio::time::sleep(Duration::from_millis(350)).await;
    let begun = Instant::now();
    let tries = (0..4).map(|_| job.power());
    for tried in futures_util::future::join_all(tries).await {
        assert_eq!(tried.unwrap_err().code(), "bmc.circuit_open");
    }
    let asked_now = asked(machine, "GET", SYSTEM);
    assert_eq!(
        asked_now - before,
        1,
        "one of four finds out; the last requests: {:#?}",
        machine.requests().iter().rev().take(8).collect::<Vec<_>>()
    );
    machine.clear_faults();
    while job.power().await.map_err(|error| error.code()) == Err("bmc.circuit_open") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "the pause is twice as long by now");
    assert_eq!(job.power().await.unwrap(), Power::Off);
    assert_eq!(standing(&gates, machine), Standing::quiet());
}

#[tokio::test]
async fn an_operator_finds_out_at_once_that_a_bmc_is_back() {
    let (rack, gates) = (rack(machine()).await, gates());
    let machine = rack.machine(0);
    let job = among(&gates, machine.base_url(), false);
    job.slots().await.unwrap();
    machine.inject(Injection::always(Fault::Reset).on("GET", SYSTEM));
    while job.power().await.unwrap_err().code() != "bmc.circuit_open" {}
    let hands = among(&gates, machine.base_url(), true);
    machine.clear_faults();
    assert_eq!(hands.probe().await.unwrap().power, Power::Off);
    assert_eq!(job.power().await.unwrap(), Power::Off, "the job need not wait any longer");
}

#[tokio::test]
async fn a_connection_refused_counts_like_a_5xx() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let gates = gates();
    let job = among(&gates, &url, false);
    assert!(matches!(job.power().await, Err(BmcError::Unreachable { .. })), "three tries");
    let error = job.power().await.unwrap_err();
    assert!(error.to_string().contains("onnection refused"), "{error}");
    assert_eq!((error.code(), gates.standing(&url).failures), ("bmc.circuit_open", 5));
}

#[tokio::test]
async fn refusals_are_answers_and_never_leave_a_bmc_alone() {
    let (rack, gates) = (rack(machine()).await, gates());
    let machine = rack.machine(0);
    let job = among(&gates, machine.base_url(), false);
    job.slots().await.unwrap();
    for status in [400, 403, 404, 409, 501] {
        machine.inject(Injection::always(Fault::status(status)).on("GET", SYSTEM));
        for _ in 0..6 {
            assert_eq!(job.power().await.unwrap_err().code(), "bmc.refused", "{status}");
        }
        machine.clear_faults();
    }
    assert_eq!(standing(&gates, machine), Standing::quiet());
}

#[tokio::test]
async fn a_session_is_given_back_to_a_bmc_that_is_left_alone() {
    let (rack, gates) = (rack(machine()).await, gates());
    let machine = rack.machine(0);
    let job = among(&gates, machine.base_url(), false);
    job.slots().await.unwrap();
    machine.inject(Injection::always(Fault::status(503)).on("GET", SYSTEM));
    job.power().await.unwrap_err();
    // Nor is one refusal the last word.
    machine.inject(Injection::times(2, Fault::status(503)).on("DELETE", "/redfish/v1/SessionService"));
    job.close().await;
    assert_eq!(machine.open_sessions(), 0);
}

/// A client whose pauses before another try are as long as in the field.
fn patient(gates: &Gates, machine: &Machine) -> RedfishBmc {
    let waits = Waits { retry: Duration::from_secs(30), ..Waits::fast() };
    let entry = Entry { gates, site: "", by_hand: false };
    RedfishBmc::connect_through(&plain(machine.base_url()), admin(), waits, entry).unwrap()
}

/// One wait: what makes a call wait there, and the call.
enum Wait {
    Gate,
    RetryPause,
    RetryAfter,
    TaskPoll,
    SlotWatch,
    Answer,
    HalfOpen,
}

/// Whoever drops a call, wherever it waits, is rid of it at once, and others find the BMC as if it had not been.
#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_gives_everything_back() {
    let minute = Fault::Delay { ms: 60_000 };
    for wait in [
        Wait::Gate,
        Wait::RetryPause,
        Wait::RetryAfter,
        Wait::TaskPoll,
        Wait::SlotWatch,
        Wait::Answer,
        Wait::HalfOpen,
    ] {
        let (name, mut config, gates) = (wait.name(), machine(), gates());
        config.timing.tasks = matches!(wait, Wait::TaskPoll);
        let rack = rack(config).await;
        let machine = rack.machine(0);
        let other = among(&gates, machine.base_url(), false);
        let job = if matches!(wait, Wait::RetryPause) {
            patient(&gates, machine)
        } else {
            among(&gates, machine.base_url(), false)
        };
        other.slots().await.unwrap();
        job.slots().await.unwrap();
        let busy = |seconds| Fault::Status {
            status: 503,
            message_id: None,
            message: None,
            retry_after: Some(seconds),
        };
        let slot = SlotId(CD.into());
        let mut held = None;
        match wait {
            Wait::Gate => {
                machine.inject(Injection::always(minute.clone()).on("POST", CD));
                let (other, slot) = (among(&gates, machine.base_url(), false), slot.clone());
                held = Some(tokio::spawn(async move { other.insert(&slot, BOOT).await.map(drop) }));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Wait::RetryPause => {
                machine.inject(Injection::always(Fault::status(500)).on("POST", CD));
            }
            Wait::RetryAfter => {
                machine.inject(Injection::always(busy(30)).on("POST", CD));
            }
            Wait::TaskPoll => {
                machine.inject(Injection::always(busy(30)).on("GET", "/redfish/v1/TaskService"));
            }
            Wait::SlotWatch => {
                machine.inject(Injection::times(1, Fault::PhantomInsert));
            }
            Wait::Answer => {
                machine.inject(Injection::always(minute.clone()).on("POST", CD));
            }
            Wait::HalfOpen => {
                machine.inject(Injection::always(Fault::status(500)).on("GET", SYSTEM));
                job.power().await.unwrap_err();
                machine.clear_faults();
                tokio::time::sleep(Duration::from_millis(350)).await;
                machine.inject(Injection::always(minute.clone()).on("GET", CD));
                machine.inject(Injection::always(minute.clone()).on("POST", CD));
            }
        }
        let began = Instant::now();
        let soon = Duration::from_millis(300);
        assert!(
            tokio::time::timeout(soon, job.insert(&slot, BOOT)).await.is_err(),
            "{name}: it did not wait"
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: dropping it took {:?}", began.elapsed());
        if let Some(held) = held {
            held.abort();
            let _ = held.await;
        }
        machine.clear_faults();
        tokio::time::timeout(Duration::from_secs(5), other.insert(&slot, BOOT))
            .await
            .unwrap_or_else(|_| panic!("{name}: it still has something"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(standing(&gates, machine), Standing::quiet(), "{name}");
    }
}

impl Wait {
    fn name(&self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::RetryPause => "retry pause",
            Self::RetryAfter => "Retry-After",
            Self::TaskPoll => "task poll",
            Self::SlotWatch => "slot watch",
            Self::Answer => "answer",
            Self::HalfOpen => "half open",
        }
    }
}
