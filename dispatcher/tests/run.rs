//! `run` from an empty drive to the end, on a machine made of fakes: every exit code, and what was touched by then.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dispatcher::cmdline::KernelCommandLine;
use dispatcher::console::RecordingScreen;
use dispatcher::controller::{Controller, HttpController};
use dispatcher::exit::Exit;
use dispatcher::handoff::{Handoff, recipe_env};
use dispatcher::run::Host;
use dispatcher::systemd::{EndedJob, Systemd, UnitState};
use schema::task::{MAINTENANCE_LABEL, TASK_LABEL, TaskJob};

mod support;
use support::{
    BOOTSTRAP, FakeClock, FakeController, FakeHardware, FakeMedia, FakeNetwork, RecordingPower,
    RecordingSystemd, SERIAL, SESSION, Shared, Site, job, recipe_text,
};

use UnitState::{Done, Failed, Idle, Running};

/// A job that ends (unit, result), and the steps after it.
type Moment = (Option<(&'static str, &'static str)>, [UnitState; 5]);

struct Bench {
    folder: tempfile::TempDir,
    media: FakeMedia,
    network: FakeNetwork,
    hardware: FakeHardware,
    clock: FakeClock,
    power: RecordingPower,
    screen: RecordingScreen,
    systemd: Arc<RecordingSystemd>,
    stop: AtomicBool,
}

impl Bench {
    fn new(job: &TaskJob, recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(1);
        let path = |name: &str| folder.path().join(name);
        site.medium(&path("task"), job, recipe);
        fs::create_dir_all(path("maintenance/slipway")).unwrap();
        fs::write(path("maintenance/slipway/trust"), site.trust()).unwrap();
        let discs = BTreeMap::from([
            (TASK_LABEL.to_owned(), vec![path("task")]),
            (MAINTENANCE_LABEL.to_owned(), vec![path("maintenance")]),
        ]);
        Self {
            media: FakeMedia { discs, ..FakeMedia::default() },
            folder,
            network: FakeNetwork::default(),
            hardware: FakeHardware(" abc 123"),
            clock: FakeClock::default(),
            power: RecordingPower::default(),
            screen: RecordingScreen::default(),
            systemd: Arc::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Exit {
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../units");
        Host {
            media: &self.media,
            words: KernelCommandLine::default(),
            network: &self.network,
            hardware: &self.hardware,
            clock: &self.clock,
            built: None,
            connect: &|job| Ok(Box::new(HttpController::new(job)?) as Box<dyn Controller>),
            systemd: &|| Ok(Box::new(Shared(self.systemd.clone())) as Box<dyn Systemd>),
            power: &self.power,
            screen: &self.screen,
            handoff: Handoff::in_folder(&self.path("provision")),
            target_dir: &units,
            root: &self.path("root"),
            stop: &self.stop,
        }
        .run()
    }

    /// Lets systemd play these moments.
    fn play(&self, moments: Vec<Moment>) {
        let moment = |(job, states): Moment| {
            let job = job.map(|(unit, result)| EndedJob { unit: unit.to_owned(), result: result.to_owned() });
            (job, states.to_vec())
        };
        *self.systemd.moments.lock().unwrap() = moments.into_iter().map(moment).collect();
    }

    fn was_started(&self) -> bool {
        !self.systemd.calls.lock().unwrap().is_empty()
    }
}

const TARGET: &str = "install-linux.target";
const LAST: &str = "step config-drive.service finished";

fn whole_install() -> Vec<Moment> {
    vec![
        (None, [Running, Idle, Idle, Idle, Idle]),
        (Some(("preflight.service", "done")), [Done, Running, Idle, Idle, Idle]),
        (Some(("partition.service", "done")), [Done, Done, Running, Idle, Idle]),
        // Two steps end between two looks.
        (Some(("image-linux.service", "done")), [Done, Done, Done, Done, Running]),
        (Some(("config-drive.service", "done")), [Done, Done, Done, Done, Done]),
        (Some((TARGET, "done")), [Done, Done, Done, Done, Done]),
    ]
}

#[test]
fn a_genuine_medium_on_the_right_machine_is_carried_to_its_end() {
    let server = FakeController::willing(LAST);
    let bench = Bench::new(&TaskJob { heartbeat_seconds: 1, ..job(&server.url) }, &recipe_text());
    bench.play(whole_install());
    assert_eq!(bench.run(), Exit::Ok);
    assert_eq!(*bench.systemd.calls.lock().unwrap(), ["start install-linux.target"]);
    assert!(bench.power.is_off(), "the controller asked for it in its answer");
    assert_eq!(*bench.network.0.lock().unwrap(), ["10-slipway-0.network", "reload"]);
    assert_eq!(bench.clock.set.lock().unwrap().unwrap(), job("").issued_at);

    let steps = ["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"];
    let told = steps
        .iter()
        .flat_map(|s| [format!("step {s}.service started"), format!("step {s}.service finished")]);
    let story: Vec<String> = ["started".to_owned()].into_iter().chain(told).collect();
    assert_eq!(server.story(), story);
    for request in server.requests() {
        let token = if request.words() == "started" { BOOTSTRAP } else { SESSION };
        assert_eq!(request.token, token, "{}", request.words());
        assert_eq!(request.report.boot_nonce.as_deref().map(str::len), Some(32));
        assert!(request.report.at.is_some());
    }
    insta::assert_snapshot!("console_of_an_install", bench.screen.text());
}

#[test]
fn the_hand_off_is_for_root_alone_and_holds_what_steps_need() {
    let server = FakeController::willing(LAST);
    let with_ca = TaskJob {
        site_ca: Some("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_owned()),
        heartbeat_seconds: 1,
        ..job(&server.url)
    };
    let bench = Bench::new(&with_ca, &recipe_text());
    bench.play(whole_install());
    assert_eq!(bench.run(), Exit::Ok, "{}", bench.screen.text());
    let folder = bench.path("provision");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "boot-nonce",
            "dispatched",
            "job.json",
            "layout.json",
            "progress.sock",
            "recipe.env",
            "recipe.json",
            "site-ca.pem",
            "token",
            "user-data",
        ]
    );
    assert_eq!(fs::read_to_string(folder.join("token")).unwrap(), SESSION);
    assert_eq!(fs::read_to_string(folder.join("recipe.json")).unwrap(), recipe_text());
    let layout: schema::layout::LayoutPlan =
        serde_json::from_slice(&fs::read(folder.join("layout.json")).unwrap()).unwrap();
    assert_eq!((layout.partitions.len(), layout.config_drive), (2, true));
}

#[test]
fn recipe_env_holds_plain_scalars_and_no_secret() {
    let mut recipe: schema::recipe::Recipe = serde_json::from_str(&recipe_text()).unwrap();
    recipe.env.insert("GREETING".to_owned(), "hello world".to_owned());
    recipe.env.insert("JOB_ID".to_owned(), "another".to_owned());
    let (text, left_out) = recipe_env(&recipe, &job("https://10.0.0.5:8443"));
    assert!(!text.contains(BOOTSTRAP) && !text.contains("cloud-config"));
    assert_eq!(left_out, ["GREETING", "SERIAL_NUMBER"], "a blank would need quotes");
    insta::assert_snapshot!(text);
}

#[test]
fn exit_10_an_empty_drive_is_waited_for_and_touches_nothing() {
    let server = FakeController::willing(LAST);
    let mut bench = Bench::new(&job(&server.url), &recipe_text());
    bench.media.discs.remove(TASK_LABEL);
    assert_eq!(bench.run(), Exit::NoTaskMedium);
    assert_eq!(bench.clock.slept.lock().unwrap().as_secs(), 60);
    assert!(bench.screen.text().contains("no disc labelled SLIPWAY_TASK"));
    assert!(server.requests().is_empty() && !bench.path("provision").exists() && !bench.power.is_off());
}

#[test]
fn exit_11_and_12_are_said_on_the_console_once_and_reported_nowhere() {
    let server = FakeController::willing(LAST);
    let mut bench = Bench::new(&job(&server.url), &recipe_text());
    bench.media.broken.push(bench.path("task"));
    assert_eq!(bench.run(), Exit::MountFailed);
    bench.media.broken.clear();
    fs::write(bench.path("task/user-data"), "evil").unwrap();
    assert_eq!(bench.run(), Exit::MediumRefused);
    let screen = bench.screen.text();
    assert_eq!(screen.matches("Input/output error").count(), 1, "{screen}");
    assert_eq!(screen.matches("does not have the digest").count(), 1, "{screen}");
    assert!(server.requests().is_empty() && !bench.path("provision").exists());
}

#[test]
fn exit_20_a_recipe_that_is_none_is_reported_before_leave_is_asked() {
    let server = FakeController::willing("");
    let bench = Bench::new(&job(&server.url), r#"{"task_target":"install-linux.target","surprise":1}"#);
    assert_eq!(bench.run(), Exit::RecipeInvalid);
    assert_eq!(server.story(), ["failed slipway-dispatcher.service"]);
    let request = &server.requests()[0];
    assert_eq!((request.token.as_str(), request.report.exit_code), (BOOTSTRAP, Some(20)));
    assert!(request.report.message.as_deref().unwrap_or_default().contains("surprise"));
    assert!(bench.power.is_off() && !bench.was_started());
}

#[test]
fn exit_21_another_machine_says_its_own_serial_and_is_left_alone() {
    let server = FakeController::willing("");
    let mut bench = Bench::new(&job(&server.url), &recipe_text());
    bench.hardware = FakeHardware("OTHER1");
    assert_eq!(bench.run(), Exit::WrongMachine);
    let request = &server.requests()[0];
    assert_eq!(server.story(), ["failed slipway-dispatcher.service"]);
    assert_eq!(request.report.found_serial.as_deref(), Some("OTHER1"));
    assert_eq!(
        request.path, "/api/v1/status-webhook/ABC%20123",
        "the job it is about is the expected machine's"
    );
    assert!(!bench.was_started() && !bench.path("provision/token").exists());
}

#[test]
fn exit_22_a_second_boot_of_an_attempt_idles_and_touches_nothing() {
    let server = FakeController::start(|_| {
        (409, r#"{"error":"job.other_boot","message":"another boot began this attempt"}"#.to_owned())
    });
    let bench = Bench::new(&job(&server.url), &recipe_text());
    assert_eq!(bench.run(), Exit::NotAllowed);
    assert!(bench.screen.text().contains("another boot began this attempt"));
    assert!(bench.screen.text().contains("nothing on this machine is touched"));
    assert!(!bench.was_started() && !bench.power.is_off() && !bench.path("provision/token").exists());
    assert_eq!(
        server.story(),
        ["started", "failed slipway-dispatcher.service"],
        "said once, not insisted on"
    );
}

#[test]
fn exit_22_a_controller_that_cannot_be_recognised_is_not_asked() {
    let bench = Bench::new(&job("https://10.0.0.5:8443"), &recipe_text());
    assert_eq!(bench.run(), Exit::NotAllowed);
    assert!(bench.screen.text().contains("no site_ca"));
    assert!(!bench.was_started());
}

#[test]
fn exit_30_a_hand_off_that_cannot_be_written_is_reported_with_the_session_token() {
    let server = FakeController::willing("");
    let bench = Bench::new(&job(&server.url), &recipe_text());
    // A folder where the token must go.
    fs::create_dir_all(bench.path("provision/token/x")).unwrap();
    assert_eq!(bench.run(), Exit::HandoffFailed);
    assert_eq!(server.story(), ["started", "failed slipway-dispatcher.service"]);
    assert_eq!(server.requests()[1].token, SESSION);
    assert_eq!(server.requests()[1].report.exit_code, Some(30));
    assert!(!bench.was_started() && bench.power.is_off());
}

#[test]
fn exit_40_a_target_that_is_not_offered_is_reported_before_leave_is_asked() {
    let server = FakeController::willing("");
    let bench =
        Bench::new(&job(&server.url), &recipe_text().replace("install-linux.target", "poweroff.target"));
    assert_eq!(bench.run(), Exit::TargetNotStarted);
    assert_eq!(server.story(), ["failed slipway-dispatcher.service"]);
    let message = server.requests()[0].report.message.clone().unwrap();
    assert!(message.contains("it offers: install-linux.target"), "{message}");
}

#[test]
fn exit_40_a_start_that_systemd_refuses_is_reported() {
    let server = FakeController::willing("");
    let mut bench = Bench::new(&job(&server.url), &recipe_text());
    bench.systemd = Arc::new(RecordingSystemd { refuses_start: true, ..RecordingSystemd::default() });
    assert_eq!(bench.run(), Exit::TargetNotStarted);
    assert_eq!(server.story(), ["started", "failed slipway-dispatcher.service"]);
    assert!(
        server.requests()[1].report.message.as_deref().unwrap().contains("image-linux.service not found")
    );
}

#[test]
fn exit_40_a_target_that_falls_over_without_a_failed_step_is_reported() {
    let server = FakeController::willing("");
    let bench = Bench::new(&job(&server.url), &recipe_text());
    bench.play(vec![(Some((TARGET, "dependency")), [Idle; 5])]);
    assert_eq!(bench.run(), Exit::TargetNotStarted);
    assert_eq!(server.story(), ["started", "failed slipway-dispatcher.service"]);
}

#[test]
fn a_failed_step_is_left_to_its_own_reporter_and_the_machine_waits_for_the_answer() {
    let server = FakeController::willing("step partition.service started");
    let bench = Bench::new(&TaskJob { heartbeat_seconds: 1, ..job(&server.url) }, &recipe_text());
    bench.play(vec![
        (None, [Done, Running, Idle, Idle, Idle]),
        (Some(("partition.service", "failed")), [Done, Failed, Idle, Idle, Idle]),
        (Some((TARGET, "dependency")), [Done, Failed, Idle, Idle, Idle]),
    ]);
    assert_eq!(bench.run(), Exit::Ok);
    assert!(bench.screen.text().contains("step 2 of 5 partition: FAILED"));
    assert!(!server.story().iter().any(|words| words.starts_with("failed")), "{:?}", server.story());
}

#[test]
fn a_failure_with_on_failure_stay_leaves_the_machine_on() {
    let server = FakeController::willing("");
    let recipe = recipe_text().replace("\"env\"", "\"on_failure\": \"stay\", \"env\"");
    let mut bench = Bench::new(&job(&server.url), &recipe);
    bench.systemd = Arc::new(RecordingSystemd { refuses_start: true, ..RecordingSystemd::default() });
    assert_eq!(bench.run(), Exit::TargetNotStarted);
    assert!(!bench.power.is_off());
}

#[test]
fn a_dispatcher_that_comes_back_follows_and_starts_nothing_twice() {
    let server = FakeController::willing("");
    let bench = Bench::new(&TaskJob { heartbeat_seconds: 1, ..job(&server.url) }, &recipe_text());
    bench.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bench.run(), Exit::Ok);
    let nonce = fs::read_to_string(bench.path("provision/boot-nonce")).unwrap();
    fs::remove_dir_all(bench.path("task")).unwrap();

    bench.stop.store(false, std::sync::atomic::Ordering::Relaxed);
    let done = FakeController::willing(LAST);
    let mut handed: TaskJob =
        serde_json::from_slice(&fs::read(bench.path("provision/job.json")).unwrap()).unwrap();
    handed.api_url.clone_from(&done.url);
    fs::write(bench.path("provision/job.json"), serde_json::to_vec(&handed).unwrap()).unwrap();
    bench.play(whole_install());
    assert_eq!(bench.run(), Exit::Ok);
    assert_eq!(
        *bench.systemd.calls.lock().unwrap(),
        ["start install-linux.target"],
        "once, by the first run"
    );
    assert!(!done.story().contains(&"started".to_owned()));
    assert_eq!(done.requests()[0].report.boot_nonce.as_deref(), Some(nonce.as_str()));
}

#[test]
fn progress_of_a_step_reaches_controller_and_console() {
    let server = FakeController::willing("progress image-linux.service");
    let bench = Bench::new(&TaskJob { heartbeat_seconds: 1, ..job(&server.url) }, &recipe_text());
    bench.play(vec![(None, [Done, Done, Running, Idle, Idle])]);
    let socket = bench.path("provision/progress.sock");
    let sender = std::thread::spawn(move || {
        let step = UnixDatagram::unbound().unwrap();
        let news = br#"{"step":"image-linux","done":1048576,"total":4194304,"message":"writing"}"#;
        for _ in 0..500 {
            if step.send_to(news, &socket).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    assert_eq!(bench.run(), Exit::Ok);
    sender.join().unwrap();
    let requests = server.requests();
    let progress = requests.iter().find(|request| request.words().starts_with("progress")).unwrap();
    assert_eq!((progress.report.done, progress.report.total), (Some(1 << 20), Some(4 << 20)));
    assert!(bench.screen.text().contains("step 3 of 5 image-linux: 1.0 MiB of 4.0 MiB (25 %), writing"));
}

#[test]
fn a_jobs_own_deadlines_and_tool_images_are_drop_ins_read_before_the_start() {
    let server = FakeController::willing("");
    let image = format!("10.0.0.5:8443/slipway/tools@sha256:{}", "0".repeat(64));
    let recipe =
        recipe_text().replace("\"env\"", &format!("\"tools\": {{\"partition\": \"{image}\"}}, \"env\""));
    let job = TaskJob {
        step_seconds: BTreeMap::from([("image-linux".to_owned(), 7200)]),
        site_ca: Some("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_owned()),
        image: Some(schema::task::TaskImage {
            registry: "https://10.0.0.5:8443".to_owned(),
            repository: "images/debian".to_owned(),
            digest: format!("sha256:{}", "1".repeat(64)),
            kind: schema::recipe::ImageKind::Rootfs,
        }),
        ..job(&server.url)
    };
    let bench = Bench::new(&job, &recipe);
    bench.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bench.run(), Exit::Ok, "{}", bench.screen.text());
    assert_eq!(*bench.systemd.calls.lock().unwrap(), ["reload", "start install-linux.target"]);
    let read = |path: &str| fs::read_to_string(bench.path("root").join(path)).unwrap();
    insta::assert_snapshot!(
        [
            read("run/systemd/system/image-linux.service.d/50-job.conf"),
            read("run/containers/systemd/partition.container.d/50-job.conf"),
        ]
        .join("\n")
    );
    assert!(read("etc/containers/certs.d/10.0.0.5:8443/ca.crt").starts_with("-----BEGIN"));
    let auth = bench.path("root/run/provision/auth.json");
    assert_eq!(fs::metadata(&auth).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(read("run/provision/auth.json").contains("10.0.0.5:8443"));
}

#[test]
fn the_console_never_shows_a_token_or_a_payload() {
    let server = FakeController::willing(LAST);
    let bench = Bench::new(&TaskJob { heartbeat_seconds: 1, ..job(&server.url) }, &recipe_text());
    bench.play(whole_install());
    assert_eq!(bench.run(), Exit::Ok);
    let screen = bench.screen.text();
    for secret in [BOOTSTRAP, SESSION, "hostname"] {
        assert!(!screen.contains(secret), "{screen}");
    }
    assert!(screen.to_lowercase().contains(&SERIAL.to_lowercase()));
}

#[test]
fn debug_ssh_keys_open_ssh_once_the_controller_gave_leave_and_the_screen_shows_the_host_key() {
    let keys = "\"debug_ssh_keys\": [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGw8AKGAD7j0REO0njj9ZpEp6BY9bkZGkiaTHW6+X7q ops\"], \"env\"";
    let recipe = recipe_text().replace("\"env\"", keys);
    let server = FakeController::willing("");
    let bench = Bench::new(&job(&server.url), &recipe);
    let host_key = bench.path("root/run/slipway-ssh/ssh_host_ed25519_key.pub");
    fs::create_dir_all(host_key.parent().unwrap()).unwrap();
    fs::write(
        &host_key,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGw8AKGAD7j0REO0njj9ZpEp6BY9bkZGkiaTHW6+X7q x\n",
    )
    .unwrap();
    bench.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(bench.run(), Exit::Ok, "{}", bench.screen.text());
    assert_eq!(
        *bench.systemd.calls.lock().unwrap(),
        ["start slipway-debug-ssh.service", "start install-linux.target"]
    );
    let keys = bench.path("provision/authorized_keys");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&keys).unwrap().ends_with("X7q ops\n"));
    let said = "debug_ssh_keys: root may log in over ssh with 1 key; host key SHA256:1AP0blYxD9D7G1d03Wzesxbi7JUl1DmFHIJih6otnkw";
    assert!(bench.screen.text().contains(said), "{}", bench.screen.text());
}

#[test]
fn without_leave_or_without_debug_ssh_keys_nobody_is_let_in() {
    let keys = "\"debug_ssh_keys\": [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGw8AKGAD7j0REO0njj9ZpEp6BY9bkZGkiaTHW6+X7q ops\"], \"env\"";
    let refusing =
        FakeController::start(|_| (409, r#"{"error":"report.refused","message":"over"}"#.to_owned()));
    let bench = Bench::new(&job(&refusing.url), &recipe_text().replace("\"env\"", keys));
    assert_eq!(bench.run(), Exit::NotAllowed, "{}", bench.screen.text());
    assert!(bench.systemd.calls.lock().unwrap().is_empty());
    assert!(!bench.path("provision/authorized_keys").exists());
}

#[test]
fn exit_22_a_medium_that_permits_to_run_without_the_controller_is_refused_and_said_to_it() {
    let server = FakeController::willing("");
    let expires_at = "2026-11-22T08:45:00Z".parse().unwrap();
    let job = TaskJob { offline: Some(schema::task::Offline { expires_at }), ..job(&server.url) };
    let bench = Bench::new(&job, &recipe_text());
    assert_eq!(bench.run(), Exit::NotAllowed, "{}", bench.screen.text());
    assert_eq!(server.story(), ["failed slipway-dispatcher.service"]);
    assert!(bench.screen.text().contains("never does"), "{}", bench.screen.text());
    assert!(bench.systemd.calls.lock().unwrap().is_empty());
}

#[test]
fn exit_20_a_proxy_with_a_password_and_a_tool_image_to_pull_do_not_go_together() {
    let server = FakeController::willing("");
    let image = format!("tools/site@sha256:{}", "0".repeat(64));
    let recipe =
        recipe_text().replace("\"env\"", &format!("\"tools\": {{\"partition\": \"{image}\"}}, \"env\""));
    let job = TaskJob {
        image: Some(schema::task::TaskImage {
            registry: "https://10.0.0.5:8443".to_owned(),
            repository: "images/debian".to_owned(),
            digest: format!("sha256:{}", "1".repeat(64)),
            kind: schema::recipe::ImageKind::Rootfs,
        }),
        proxy: Some("http://user:hunter2@proxy:3128".to_owned()),
        ..job(&server.url)
    };
    let bench = Bench::new(&job, &recipe);
    assert_eq!(bench.run(), Exit::RecipeInvalid, "{}", bench.screen.text());
    assert!(!bench.screen.text().contains("hunter2"));
    assert!(server.requests().iter().all(|request| request.words() != "started"));
}
