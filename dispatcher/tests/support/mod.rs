//! A machine made of fakes, a site that signs media, and a controller on a loopback port.
#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dispatcher::clock::Clock;
use dispatcher::identity::Hardware;
use dispatcher::medium::{Media, MediumError, Mounted};
use dispatcher::network::{Network, NetworkError, Nic};
use dispatcher::power::Power;
use dispatcher::programs::{Output, ProgramError, Programs};
use dispatcher::systemd::{EndedJob, Ending, Systemd, SystemdError, UnitState};
use ed25519_dalek::{Signer, SigningKey};
use jiff::Timestamp;
use schema::task::{Identity, Manifest, TaskJob, Trust};
use sha2::{Digest, Sha256};

pub const SERIAL: &str = "ABC 123";
pub const BOOTSTRAP: &str = "bootstrap-token";
pub const SESSION: &str = "session-token";

/// A recipe that the contract accepts.
pub const RECIPE: &str = r##"{
  "task_target": "install-linux.target",
  "target_disk": "/dev/disk/by-id/virtio-disk0",
  "oci_url": "images/debian:trixie",
  "partition_layout": [
    {"size": "256M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi"},
    {"size": "rest", "type_guid": "8304", "format": "ext4", "mountpoint": "/"}
  ],
  "user_data": "#cloud-config\nhostname: web1\n",
  "env": {"SITE": "ber1", "ROLE": "web"}
}"##;

pub fn recipe_text() -> String {
    RECIPE.to_owned()
}

pub fn job(api_url: &str) -> TaskJob {
    TaskJob {
        version: 1,
        job_id: "0190a000-0000-7000-8000-000000000001".to_owned(),
        attempt: 1,
        expected: Identity {
            serial: SERIAL.to_owned(),
            uuid: None,
            macs: vec!["52:54:00:aa:00:01".to_owned()],
        },
        api_url: api_url.to_owned(),
        bootstrap_token: BOOTSTRAP.to_owned(),
        site_ca: None,
        issued_at: "2026-11-21T08:45:00Z".parse().unwrap(),
        image: None,
        heartbeat_seconds: 15,
        step_seconds: BTreeMap::new(),
        proxy: None,
        offline: None,
    }
}

/// A site with its key.
pub struct Site(SigningKey);

impl Site {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn key(&self) -> String {
        hex::encode(self.0.verifying_key().to_bytes())
    }

    pub fn trust(&self) -> Vec<u8> {
        let trust = Trust { version: 1, keys: vec![self.key()] };
        let mut block = serde_json::to_vec(&trust).unwrap();
        block.resize(4096, b'\n');
        block
    }

    /// Signs what is in the folder.
    pub fn seal(&self, folder: &Path) {
        let mut files = BTreeMap::new();
        collect(folder, folder, &mut files);
        self.sign(folder, &serde_json::to_vec(&Manifest { version: 1, files }).unwrap());
    }

    pub fn sign(&self, folder: &Path, manifest: &[u8]) {
        fs::write(folder.join("manifest.json"), manifest).unwrap();
        fs::write(folder.join("manifest.sig"), self.0.sign(manifest).to_bytes()).unwrap();
    }

    /// A sealed task medium with this job and recipe.
    pub fn medium(&self, folder: &Path, job: &TaskJob, recipe: &str) {
        fs::create_dir_all(folder.join("host-network")).unwrap();
        fs::write(folder.join("recipe.json"), recipe).unwrap();
        fs::write(folder.join("job.json"), serde_json::to_vec_pretty(job).unwrap()).unwrap();
        fs::write(folder.join("user-data"), "#cloud-config\nhostname: web1\n").unwrap();
        fs::write(folder.join("host-network/10-slipway-0.network"), "[Match]\n[Network]\n").unwrap();
        self.seal(folder);
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(root, &path, files);
        } else if name != "manifest.json" && name != "manifest.sig" {
            files.insert(name, hex::encode(Sha256::digest(fs::read(&path).unwrap())));
        }
    }
}

/// Drives whose discs are folders, or ISO files that are unpacked instead of mounted.
#[derive(Default)]
pub struct FakeMedia {
    pub discs: BTreeMap<String, Vec<PathBuf>>,
    pub broken: Vec<PathBuf>,
    pub download: Option<PathBuf>,
    pub mounted: Arc<AtomicUsize>,
    pub scratch: Option<PathBuf>,
}

impl Media for FakeMedia {
    fn labelled(&self, label: &str) -> Vec<PathBuf> {
        self.discs.get(label).cloned().unwrap_or_default()
    }

    fn mount(&self, source: &Path) -> Result<Mounted, MediumError> {
        if self.broken.iter().any(|path| path == source) {
            return Err(MediumError::Mount { path: source.to_owned(), source: "Input/output error".into() });
        }
        let root = match &self.scratch {
            Some(scratch) if source.is_file() => {
                let folder = scratch.join(format!("unpacked-{}", self.mounted.load(Ordering::Relaxed)));
                run(
                    "xorriso",
                    &[
                        "-osirrox",
                        "on",
                        "-indev",
                        source.to_str().unwrap(),
                        "-extract",
                        "/",
                        folder.to_str().unwrap(),
                    ],
                );
                folder
            }
            _ => source.to_owned(),
        };
        self.mounted.fetch_add(1, Ordering::Relaxed);
        let mounted = self.mounted.clone();
        Ok(Mounted::guarded(root, move || {
            mounted.fetch_sub(1, Ordering::Relaxed);
        }))
    }

    fn fetch(&self, url: &str) -> Result<PathBuf, MediumError> {
        self.download
            .clone()
            .ok_or_else(|| MediumError::Fetch { url: url.to_owned(), source: "no route".into() })
    }
}

/// Runs a program that the test needs, and names its package when it is not there.
pub fn run(program: &str, args: &[&str]) {
    let output = std::process::Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install the package {program}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A clock that hardly waits.
#[derive(Default)]
pub struct FakeClock {
    pub slept: Mutex<Duration>,
    pub set: Mutex<Option<Timestamp>>,
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.set.lock().unwrap().unwrap_or(Timestamp::UNIX_EPOCH)
    }
    fn set(&self, to: Timestamp) -> std::io::Result<()> {
        *self.set.lock().unwrap() = Some(to);
        Ok(())
    }
    fn sleep(&self, time: Duration) {
        *self.slept.lock().unwrap() += time;
        thread::sleep(Duration::from_millis(1));
    }
}

/// A machine with this serial number and one NIC.
pub struct FakeHardware(pub &'static str);

impl Hardware for FakeHardware {
    fn identity(&self) -> Identity {
        Identity { serial: self.0.to_owned(), uuid: None, macs: vec!["52:54:00:aa:00:01".to_owned()] }
    }
}

/// A network that is up, and remembers the files put into it.
#[derive(Default)]
pub struct FakeNetwork(pub Mutex<Vec<String>>);

impl Network for FakeNetwork {
    fn put(&self, name: &str, _bytes: &[u8]) -> Result<(), NetworkError> {
        self.0.lock().unwrap().push(name.to_owned());
        Ok(())
    }
    fn reload(&self) -> Result<(), NetworkError> {
        self.0.lock().unwrap().push("reload".to_owned());
        Ok(())
    }
    fn nics(&self) -> Vec<Nic> {
        vec![Nic {
            name: "eno1".to_owned(),
            mac: "52:54:00:aa:00:01".to_owned(),
            link: true,
            addresses: vec!["10.0.2.15".parse().unwrap()],
        }]
    }
    fn has_route(&self, _to: Option<std::net::IpAddr>) -> bool {
        true
    }
    fn neighbours(&self) -> String {
        String::new()
    }
}

/// An off switch that only counts.
#[derive(Default)]
pub struct RecordingPower(pub Mutex<Vec<&'static str>>);

impl RecordingPower {
    pub fn is_off(&self) -> bool {
        self.0.lock().unwrap().contains(&"off")
    }
}

impl Power for RecordingPower {
    fn sync(&self) {
        self.0.lock().unwrap().push("sync");
    }
    fn off(&self) -> Result<(), ProgramError> {
        self.0.lock().unwrap().push("off");
        Ok(())
    }
}

/// A journal with fixed words.
pub struct FakeJournal(pub &'static str);

impl Programs for FakeJournal {
    fn tail(
        &self,
        program: &str,
        _args: &[&str],
        _deadline: Duration,
        _most: usize,
    ) -> Result<Output, ProgramError> {
        assert_eq!(program, "journalctl");
        Ok(Output { code: Some(0), stdout: self.0.as_bytes().to_vec(), stderr: Vec::new() })
    }
}

/// A systemd that plays moments: each ends one job and shows the steps in new states. The last one stays.
#[derive(Default)]
pub struct RecordingSystemd {
    pub calls: Mutex<Vec<String>>,
    pub refuses_start: bool,
    pub moments: Mutex<Vec<(Option<EndedJob>, Vec<UnitState>)>>,
    pub now: Mutex<Vec<UnitState>>,
    pub endings: BTreeMap<String, (&'static str, i32)>,
    pub gate: Option<Arc<AtomicBool>>,
}

impl Systemd for RecordingSystemd {
    fn reload(&self) -> Result<(), SystemdError> {
        self.calls.lock().unwrap().push("reload".to_owned());
        Ok(())
    }
    fn start(&self, unit: &str) -> Result<(), SystemdError> {
        self.calls.lock().unwrap().push(format!("start {unit}"));
        if self.refuses_start {
            return Err(SystemdError::Call {
                what: format!("start {unit}"),
                source: "Unit image-linux.service not found.".into(),
            });
        }
        Ok(())
    }
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, SystemdError> {
        let now = self.now.lock().unwrap().clone();
        Ok(if now.is_empty() { vec![UnitState::Idle; units.len()] } else { now })
    }
    fn ending(&self, unit: &str) -> Result<Ending, SystemdError> {
        let (result, exit_code) = self.endings.get(unit).copied().unwrap_or(("success", 0));
        Ok(Ending { result: result.to_owned(), exit_code })
    }
    fn next_job(&self, wait: Duration) -> Option<EndedJob> {
        if wait.is_zero() {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
        let mut moments = self.moments.lock().unwrap();
        if moments.is_empty() {
            return None;
        }
        let (job, states) = moments.remove(0);
        *self.now.lock().unwrap() = states;
        job
    }
}

/// Shares a fake with the test that looks at it afterwards.
pub struct Shared<T>(pub Arc<T>);

impl<T: Systemd> Systemd for Shared<T> {
    fn reload(&self) -> Result<(), SystemdError> {
        self.0.reload()
    }
    fn start(&self, unit: &str) -> Result<(), SystemdError> {
        self.0.start(unit)
    }
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, SystemdError> {
        self.0.states(units)
    }
    fn ending(&self, unit: &str) -> Result<Ending, SystemdError> {
        self.0.ending(unit)
    }
    fn next_job(&self, wait: Duration) -> Option<EndedJob> {
        self.0.next_job(wait)
    }
}

/// One request that the controller got.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub token: String,
    /// A log counts as a heartbeat.
    pub report: schema::event::Report,
    pub body: Vec<u8>,
}

impl Request {
    /// `step partition.service started`, for comparing with what was expected.
    pub fn words(&self) -> String {
        if let Some((_, name)) = self.path.split_once("/logs?name=") {
            return format!("log {name}");
        }
        let report = &self.report;
        let mut words = format!("{:?}", report.status).to_lowercase();
        for part in [&report.failed_step, &report.step].into_iter().flatten() {
            words.push(' ');
            words.push_str(part);
        }
        if let Some(state) = report.step_state {
            words += &format!(" {state:?}").to_lowercase();
        }
        words
    }
}

type Answer = dyn Fn(&Request) -> (u16, String) + Send + Sync;

/// A controller of the test's own making, plain HTTP on loopback.
pub struct FakeController {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeController {
    pub fn start(answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { url, requests }
    }

    /// Says yes to everything, and asks for power-off once `last` was reported.
    pub fn willing(last: &'static str) -> Self {
        let over = AtomicBool::new(false);
        Self::start(move |request| {
            if request.words() == last {
                over.store(true, Ordering::Relaxed);
            }
            match request.words().as_str() {
                "started" => (200, format!(r#"{{"proceed":true,"session_token":"{SESSION}"}}"#)),
                _ => (200, format!(r#"{{"received":true,"power_off":{}}}"#, over.load(Ordering::Relaxed))),
            }
        })
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// What was reported, heartbeats left out.
    pub fn story(&self) -> Vec<String> {
        self.requests().iter().map(Request::words).filter(|words| words != "heartbeat").collect()
    }

    /// Waits until something was reported.
    pub fn until(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.story().iter().any(|heard| heard == words) {
            assert!(Instant::now() < until, "{words} was not reported: {:?}", self.story());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a log counts as.
const HEARTBEAT: &[u8] = br#"{"status":"heartbeat"}"#;

/// Serves one connection of requests.
pub fn serve(stream: impl Read + Write, answer: &Answer, log: &Mutex<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let found = head.iter().filter_map(|line| line.split_once(": "));
            found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let mut body = vec![0; header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).unwrap();
        let is_log = head[0].contains("/logs?");
        let request = Request {
            path: head[0].split(' ').nth(1).unwrap_or_default().to_owned(),
            token: header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned(),
            report: serde_json::from_slice(if is_log { HEARTBEAT } else { body.as_slice() }).unwrap(),
            body,
        };
        let (status, body) = answer(&request);
        log.lock().unwrap().push(request);
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nLocation: /elsewhere\r\n\r\n", body.len());
        let stream = stream.get_mut();
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            return;
        }
        stream.flush().unwrap();
    }
}

#[test]
fn the_recipe_of_these_tests_is_one_that_the_contract_accepts() {
    let checked = schema::validate::recipe(&recipe_text());
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}
