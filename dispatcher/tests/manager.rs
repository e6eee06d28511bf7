//! The D-Bus words are right: `ZbusSystemd` against a systemd of the test's own, at the other end of a socket pair.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]
#![allow(clippy::unused_self, reason = "D-Bus methods have one")]

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dispatcher::delivery::chain;
use dispatcher::manager::ZbusSystemd;
use dispatcher::systemd::{EndedJob, Ending, Systemd, UnitState};
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedObjectPath, fdo, interface};

type Calls = Arc<Mutex<Vec<String>>>;
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

const MANAGER: &str = "/org/freedesktop/systemd1";
const PARTITION: &str = "/org/freedesktop/systemd1/unit/partition_2eservice";

fn path(text: &str) -> OwnedObjectPath {
    text.try_into().unwrap()
}

struct Manager(Calls);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        self.0.lock().unwrap().push("subscribe".to_owned());
    }

    fn reload(&self) {
        self.0.lock().unwrap().push("reload".to_owned());
    }

    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.0.lock().unwrap().push(format!("start {name} {mode}"));
        if name != "install-linux.target" {
            return Err(fdo::Error::Failed(format!("Unit {name} not found.")));
        }
        Self::job_removed(&emitter, 7, path("/org/freedesktop/systemd1/job/7"), &name, "done").await?;
        Ok(path("/org/freedesktop/systemd1/job/7"))
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<Listed> {
        let listed = |name: String| {
            let (load, active) = match name.as_str() {
                "preflight.service" => ("loaded", "active"),
                "partition.service" => ("loaded", "failed"),
                "image-linux.service" => ("loaded", "activating"),
                "config-drive.service" => ("not-found", "inactive"),
                _ => ("loaded", "inactive"),
            };
            let word = str::to_owned;
            (name, word(""), word(load), word(active), word(""), word(""), path("/"), 0, word(""), path("/"))
        };
        // systemd keeps no order.
        names.into_iter().rev().map(listed).collect()
    }

    fn load_unit(&self, name: &str) -> OwnedObjectPath {
        assert_eq!(name, "partition.service");
        path(PARTITION)
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

struct Service;

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn result(&self) -> String {
        "exit-code".to_owned()
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        3
    }
}

/// A systemd that lives as long as the test's process, and what it was asked.
fn systemd() -> (ZbusSystemd, Calls) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let calls = Calls::default();
    let asked = calls.clone();
    thread::spawn(move || {
        zbus::block_on(async {
            let _serving = Builder::unix_stream(theirs)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at(MANAGER, Manager(asked))
                .serve_at(PARTITION, Service)
                .build()
                .await
                .unwrap();
            std::future::pending::<()>().await;
        });
    });
    (ZbusSystemd::over(Builder::unix_stream(ours).p2p()).unwrap(), calls)
}

#[test]
fn a_target_is_started_without_waiting_and_its_jobs_end_is_heard() {
    let (systemd, calls) = systemd();
    systemd.reload().unwrap();
    systemd.start("install-linux.target").unwrap();
    assert_eq!(*calls.lock().unwrap(), ["subscribe", "reload", "start install-linux.target replace"]);
    let ended = systemd.next_job(Duration::from_secs(10));
    assert_eq!(ended, Some(EndedJob { unit: "install-linux.target".to_owned(), result: "done".to_owned() }));
    assert_eq!(systemd.next_job(Duration::ZERO), None);
}

#[test]
fn a_refused_start_says_which_unit_and_why() {
    let (systemd, _calls) = systemd();
    let error = chain(&systemd.start("nope.target").unwrap_err());
    assert!(error.contains("start nope.target") && error.contains("Unit nope.target not found."), "{error}");
}

#[test]
fn the_states_of_the_steps_come_in_the_order_asked() {
    let (systemd, _calls) = systemd();
    let steps = ["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"];
    let steps = steps.map(|step| format!("{step}.service"));
    let states = systemd.states(&steps).unwrap();
    assert_eq!(
        states,
        [UnitState::Done, UnitState::Failed, UnitState::Running, UnitState::Idle, UnitState::Missing]
    );
}

#[test]
fn the_ending_of_a_service_is_its_result_and_exit_code() {
    let (systemd, _calls) = systemd();
    let ending = systemd.ending("partition.service").unwrap();
    assert_eq!(ending, Ending { result: "exit-code".to_owned(), exit_code: 3 });
}

#[test]
fn a_systemd_that_goes_away_does_not_make_the_follower_spin() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(ZbusSystemd::over(Builder::unix_stream(ours).p2p()).is_err());
}
