//! `report`: one outcome per boot, the right unit named, and the machine off afterwards unless asked to stay.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dispatcher::console::RecordingScreen;
use dispatcher::controller::{Controller, HttpController};
use dispatcher::exit::Exit;
use dispatcher::handoff::Handoff;
use dispatcher::report::Reporting;
use dispatcher::systemd::UnitState;

mod support;
use support::{
    FakeClock, FakeController, FakeJournal, RecordingPower, RecordingSystemd, SESSION, job, recipe_text,
};

struct Bench {
    folder: tempfile::TempDir,
    systemd: RecordingSystemd,
    power: RecordingPower,
    screen: RecordingScreen,
    journal: FakeJournal,
}

impl Bench {
    fn new(server: &FakeController, recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let handoff = Handoff::in_folder(folder.path());
        handoff.write("job.json", &serde_json::to_vec(&job(&server.url)).unwrap()).unwrap();
        handoff.write("recipe.json", recipe.as_bytes()).unwrap();
        handoff.write("token", SESSION.as_bytes()).unwrap();
        handoff.boot_nonce().unwrap();
        Self {
            folder,
            systemd: RecordingSystemd {
                now: Mutex::new(vec![UnitState::Done; 5]),
                endings: BTreeMap::from([("partition.service".to_owned(), ("exit-code", 1))]),
                ..RecordingSystemd::default()
            },
            power: RecordingPower::default(),
            screen: RecordingScreen::default(),
            journal: FakeJournal("reading the disk\npartition: /dev/vda is busy: md127 holds it\n\n"),
        }
    }

    /// Reports this unit's failure, or success.
    fn say(&self, failed: Option<&str>) -> Exit {
        let units: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units");
        let handoff = Handoff::in_folder(self.folder.path());
        let clock = FakeClock::default();
        let reporting = Reporting {
            handoff: &handoff,
            systemd: &self.systemd,
            target_dir: &units,
            connect: &|job| Ok(Box::new(HttpController::new(job)?) as Box<dyn Controller>),
            programs: &self.journal,
            power: &self.power,
            clock: &clock,
            screen: &self.screen,
        };
        failed.map_or_else(|| reporting.success(), |unit| reporting.failed(unit))
    }

    fn outcome(&self) -> String {
        fs::read_to_string(self.folder.path().join("outcome")).unwrap_or_default().trim().to_owned()
    }
}

#[test]
fn success_is_said_after_every_step_was_looked_at_and_the_machine_goes_off() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(None), Exit::Ok);
    let story = server.story();
    assert_eq!(story.len(), 6);
    assert_eq!(story[4..], ["step config-drive.service finished", "success"]);
    assert_eq!(bench.outcome(), "success");
    assert_eq!(*bench.power.0.lock().unwrap(), ["sync", "off"]);
}

#[test]
fn success_is_never_said_while_a_step_is_not_done() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    bench.systemd.now.lock().unwrap()[2] = UnitState::Failed;
    assert_eq!(bench.say(None), Exit::Ok);
    assert_eq!(server.story(), ["failed provision-success.service", "log journal"]);
    let message = server.requests()[0].report.message.clone().unwrap();
    assert_eq!(message, "success was to be reported while image-linux.service is Failed");
}

#[test]
fn a_failed_step_is_named_with_what_it_said_last() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(Some("partition.service")), Exit::Ok);
    assert_eq!(server.story(), ["failed partition.service", "log journal"]);
    let report = server.requests()[0].report.clone();
    assert_eq!(report.exit_code, Some(1));
    assert_eq!(
        report.message.as_deref(),
        Some("partition.service ended with exit-code (1): partition: /dev/vda is busy: md127 holds it")
    );
    assert!(report.log_tail.unwrap().starts_with("reading the disk"));
    assert_eq!(bench.outcome(), "failed partition.service");
    assert!(bench.power.is_off());
}

#[test]
fn the_journal_of_a_failure_goes_out_after_the_outcome_and_before_the_power() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(Some("partition.service")), Exit::Ok);
    let sent = server.requests()[1].clone();
    assert_eq!(sent.words(), "log journal");
    assert_eq!(sent.token, SESSION);
    assert_eq!(String::from_utf8(sent.body).unwrap(), bench.journal.0);
    assert!(bench.screen.text().contains("the journal is with the controller"), "{}", bench.screen.text());
    assert!(bench.power.is_off());
}

#[test]
fn a_journal_that_nobody_takes_does_not_keep_the_machine_on() {
    for (status, tries, said) in [(503, 2, "is not sent"), (403, 1, "is not kept")] {
        let server = FakeController::start(move |request| {
            if request.words().starts_with("log") {
                (status, r#"{"error":"x","message":"no"}"#.to_owned())
            } else {
                (200, r#"{"received":true}"#.to_owned())
            }
        });
        let bench = Bench::new(&server, &recipe_text());
        assert_eq!(bench.say(Some("partition.service")), Exit::Ok);
        assert_eq!(server.requests().len(), 1 + tries, "{status}");
        assert!(bench.screen.text().contains(said), "{}", bench.screen.text());
        assert!(bench.power.is_off(), "{status}");
    }
}

#[test]
fn a_step_that_never_ran_is_no_failure() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(Some("image-linux.service")), Exit::Ok);
    assert!(server.requests().is_empty() && bench.outcome().is_empty() && !bench.power.is_off());
}

#[test]
fn the_first_outcome_of_a_boot_wins() {
    let server = FakeController::willing("");
    let mut bench = Bench::new(&server, &recipe_text());
    bench.systemd.endings.insert("image-linux.service".to_owned(), ("timeout", 0));
    bench.say(Some("partition.service"));
    assert_eq!(bench.say(Some("image-linux.service")), Exit::Ok);
    assert_eq!(bench.say(None), Exit::Ok);
    assert_eq!(server.story(), ["failed partition.service", "log journal"]);
}

#[test]
fn two_reporters_at_once_still_say_one_thing() {
    let server = FakeController::start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        (200, r#"{"received":true}"#.to_owned())
    });
    let mut bench = Bench::new(&server, &recipe_text());
    bench.systemd.endings.insert("image-linux.service".to_owned(), ("timeout", 0));
    std::thread::scope(|threads| {
        threads.spawn(|| bench.say(Some("partition.service")));
        threads.spawn(|| bench.say(Some("image-linux.service")));
    });
    assert_eq!(server.story().len(), 2, "one failure and its journal: {:?}", server.story());
}

#[test]
fn stay_keeps_the_machine_on_unless_the_controller_wants_it_off() {
    let recipe =
        recipe_text().replace("\"env\"", "\"on_success\": \"stay\", \"on_failure\": \"stay\", \"env\"");
    for (power_off, last) in [(false, "nothing"), (true, "success")] {
        let server = FakeController::willing(last);
        let bench = Bench::new(&server, &recipe);
        bench.say(None);
        assert_eq!(bench.power.is_off(), power_off);
    }
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe);
    bench.say(Some("partition.service"));
    assert!(!bench.power.is_off());
}

#[test]
fn an_outcome_that_is_refused_is_not_insisted_on() {
    let server = FakeController::start(|_| {
        (409, r#"{"error":"job.over","message":"the job is cancelled"}"#.to_owned())
    });
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(Some("partition.service")), Exit::Ok);
    assert_eq!(bench.outcome(), "failed partition.service (refused with 409)");
    assert!(!bench.power.is_off(), "its BMC ends it");
    assert!(bench.screen.text().contains("the job is cancelled"));
}

#[test]
fn a_controller_that_is_down_is_waited_for() {
    let tries = Mutex::new(0);
    let server = FakeController::start(move |_| {
        *tries.lock().unwrap() += 1;
        if *tries.lock().unwrap() < 30 {
            (502, String::new())
        } else {
            (200, r#"{"received":true}"#.to_owned())
        }
    });
    let bench = Bench::new(&server, &recipe_text());
    assert_eq!(bench.say(Some("partition.service")), Exit::Ok);
    assert_eq!(server.requests().len(), 31, "thirty tries to say it, and the journal");
    assert_eq!(
        bench.screen.text().matches("waiting for the controller").count(),
        3,
        "{}",
        bench.screen.text()
    );
}

#[test]
fn exit_30_without_hand_off_nothing_can_be_said() {
    let server = FakeController::willing("");
    let bench = Bench::new(&server, &recipe_text());
    fs::remove_file(bench.folder.path().join("token")).unwrap();
    assert_eq!(bench.say(None), Exit::HandoffFailed);
    assert!(bench.screen.text().contains("token"), "{}", bench.screen.text());
    assert!(server.requests().is_empty());
}
