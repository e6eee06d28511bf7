//! Everything a test needs: a site with one machine, a clock that jumps, a host that can be played.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use schema::event::{Received, Report, ReportStatus, StepState};
use schema::recipe::ImageKind;

use super::bmc::FakeBmc;
use crate::fetch::{Fetch, FetchError};
use crate::model::{
    Bmc, BmcTls, Event, Inputs, Job, JobId, Lifecycle, Machine, MachineId, PinnedImage, Secret,
};
use crate::store::{Sealer, SqliteStore, Store};
use crate::workflow::{
    Accepted, Answer, Clock, Deps, EdgeError, FakeClock, FoundImage, Images, LastRead, MediumRead,
    ReportError, Settings, Shelf, SiteKeys, Submission, Urls, Workflow, tokens,
};

pub const SERIAL: &str = "ABC123";
pub const IMAGE: &str = "images/debian:trixie";

#[derive(Default)]
pub struct FakeShelf {
    pub staged: Mutex<HashMap<JobId, String>>,
    pub read: Mutex<Option<LastRead>>,
    pub fault: Mutex<Option<EdgeError>>,
    pub unready: Mutex<Option<EdgeError>>,
}

#[async_trait]
impl Shelf for FakeShelf {
    fn ready(&self) -> Result<(), EdgeError> {
        self.unready.lock().unwrap().clone().map_or(Ok(()), Err)
    }
    async fn stage(&self, job: &Job, inputs: &Inputs, bootstrap: &Secret<String>) -> Result<Urls, EdgeError> {
        if let Some(fault) = self.fault.lock().unwrap().clone() {
            return Err(fault);
        }
        self.staged.lock().unwrap().insert(job.id.clone(), bootstrap.expose().clone());
        let url = |name: &str| format!("{}/m/{}-{}/{name}", inputs.media_url, job.id, job.attempt);
        Ok(Urls {
            maintenance: url("maintenance.iso"),
            task_iso: url("task.iso"),
            task_img: url("task.img"),
            composed: url("composed.iso"),
        })
    }
    async fn stage_trial(&self, id: &JobId, media_url: &str) -> Result<String, EdgeError> {
        self.staged.lock().unwrap().insert(id.clone(), String::new());
        Ok(format!("{media_url}/m/{id}/task.iso"))
    }
    fn forget(&self, job: &JobId) {
        self.staged.lock().unwrap().remove(job);
    }
    fn last_read(&self, _job: &JobId) -> Option<LastRead> {
        *self.read.lock().unwrap()
    }
    fn reads(&self, _job: &JobId) -> Vec<MediumRead> {
        vec![]
    }
}

#[derive(Default)]
pub struct FakeImages {
    /// What each image says it is.
    pub known: Mutex<BTreeMap<String, Option<ImageKind>>>,
    pub pins: Mutex<Vec<JobId>>,
}

#[async_trait]
impl Images for FakeImages {
    async fn resolve(&self, reference: &str) -> Result<Option<FoundImage>, EdgeError> {
        Ok(self.known.lock().unwrap().get(reference).map(|says| FoundImage {
            reference: reference.to_owned(),
            repository: reference.split([':', '@']).next().unwrap_or_default().to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            says: *says,
            size: 1000,
        }))
    }
    async fn pin(&self, _image: &PinnedImage, owner: &JobId) -> Result<(), EdgeError> {
        let mut pins = self.pins.lock().unwrap();
        if !pins.contains(owner) {
            pins.push(owner.clone());
        }
        Ok(())
    }
    async fn owners(&self) -> Result<Vec<JobId>, EdgeError> {
        Ok(self.pins.lock().unwrap().clone())
    }
    async fn unpin(&self, owner: &JobId) -> Result<(), EdgeError> {
        self.pins.lock().unwrap().retain(|pin| pin != owner);
        Ok(())
    }
}

/// What was posted: URL, headers, body.
pub type Posted = (String, Vec<(String, String)>, String);

#[derive(Default)]
pub struct FakeFetch {
    pub files: Mutex<HashMap<String, Bytes>>,
    pub posted: Mutex<Vec<Posted>>,
    /// Status of the next posts; 200 when empty.
    pub statuses: Mutex<Vec<u16>>,
}

#[async_trait]
impl Fetch for FakeFetch {
    async fn check(&self, url: &str) -> Result<(), FetchError> {
        if url.starts_with("https://") {
            Ok(())
        } else {
            Err(FetchError::Scheme { scheme: "gopher".to_owned() })
        }
    }
    async fn get(&self, url: &str, _sha256: &str, _max: usize) -> Result<Bytes, FetchError> {
        let found = self.files.lock().unwrap().get(url).cloned();
        found.ok_or_else(|| FetchError::Status { host: "files".to_owned(), status: 404 })
    }
    async fn post(&self, url: &str, headers: &[(&str, String)], body: String) -> Result<u16, FetchError> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.posted.lock().unwrap().push((url.to_owned(), headers, body));
        let mut statuses = self.statuses.lock().unwrap();
        Ok(if statuses.is_empty() { 200 } else { statuses.remove(0) })
    }
}

pub struct World {
    dir: tempfile::TempDir,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<FakeClock>,
    pub bmc: FakeBmc,
    pub shelf: Arc<FakeShelf>,
    pub images: Arc<FakeImages>,
    pub fetch: Arc<FakeFetch>,
    pub settings: Settings,
    pub keys: SiteKeys,
    pub machine: Machine,
    pub workflow: Arc<Workflow>,
}

/// Longest a test waits for something, in real time.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(tune: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(SqliteStore::open(&dir.path().join("slipway.db"), Sealer::new(&[1; 32])).unwrap());
        let start: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let machine = machine(SERIAL, start);
        store.add_machine(machine.clone(), "calvin".to_owned().into()).unwrap();
        let mut settings = Settings::new("https://10.0.0.5:8443", "http://10.0.0.5:8080");
        tune(&mut settings);
        let images = Arc::new(FakeImages::default());
        images.known.lock().unwrap().insert(IMAGE.to_owned(), Some(ImageKind::Rootfs));
        let mut world = Self {
            dir,
            clock: Arc::new(FakeClock::at(start)),
            bmc: FakeBmc::new(SERIAL),
            shelf: Arc::default(),
            images,
            fetch: Arc::default(),
            keys: SiteKeys::new([7; 32]),
            machine,
            workflow: Workflow::start(Deps {
                store: store.clone(),
                bmcs: Arc::new(FakeBmc::new("nobody")),
                shelf: Arc::new(FakeShelf::default()),
                images: Arc::new(FakeImages::default()),
                fetch: Arc::new(FakeFetch::default()),
                clock: Arc::new(FakeClock::at(start)),
                settings: settings.clone(),
                site_keys: SiteKeys::new([7; 32]),
            })
            .await
            .unwrap(),
            store,
            settings,
        };
        world.restart().await;
        world
    }

    /// A power cut, and a new controller on what is left.
    pub async fn restart(&mut self) {
        self.workflow.kill().await;
        let deps = Deps {
            store: self.store.clone(),
            bmcs: Arc::new(self.bmc.clone()),
            shelf: self.shelf.clone(),
            images: self.images.clone(),
            fetch: self.fetch.clone(),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            site_keys: self.keys.clone(),
        };
        self.workflow = Workflow::start(deps).await.unwrap();
    }

    #[allow(clippy::unused_self)] // reads better at the call
    pub fn submission(&self) -> Submission {
        Submission {
            server_serial: SERIAL.to_owned(),
            recipe: recipe().to_string(),
            reinstall: false,
            evict: false,
            callback_url: None,
            callback_secret: None,
            idempotency: None,
            requested_by: "ci".to_owned(),
        }
    }

    pub async fn accept(&self, change: impl FnOnce(&mut serde_json::Value)) -> Job {
        let mut recipe = recipe();
        change(&mut recipe);
        let submission = Submission { recipe: recipe.to_string(), ..self.submission() };
        let Accepted { job, created, .. } = self.workflow.accept(submission).await.unwrap();
        assert!(created);
        job
    }

    pub fn job(&self, id: &JobId) -> Job {
        self.store.job(id).unwrap().unwrap()
    }

    pub fn lifecycle(&self) -> Lifecycle {
        self.store.machine(&self.machine.id).unwrap().unwrap().lifecycle
    }

    /// Lets time pass, as far as nobody has anything to do, until the job is as wanted.
    pub async fn until(&self, id: &JobId, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        let started = Instant::now();
        loop {
            let job = self.job(id);
            if wanted(&job) {
                return job;
            }
            if let Some(moment) = self.workflow.hub.parked(id) {
                self.clock.advance_to(moment);
            }
            assert!(
                started.elapsed() < PATIENCE,
                "never {what}: {:?} {:?}",
                job.state,
                self.workflow.hub.live(id)
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Until the driver has nothing to do, without letting time pass.
    pub async fn settle(&self, id: &JobId) {
        let started = Instant::now();
        // One that is parked until a moment that has come is about to wake.
        let busy = || self.workflow.hub.parked(id).is_none_or(|until| until <= self.now());
        while busy() && !self.job(id).state.is_released() {
            assert!(started.elapsed() < PATIENCE, "never at rest: {:?}", self.job(id).state);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn until_name(&self, id: &JobId, name: &str) -> Job {
        self.until(id, name, |job| job.state.name() == name).await
    }

    /// Until the machine runs from our media and the host could ask.
    pub async fn until_booted(&self, id: &JobId) -> Job {
        let boots = self.bmc.clone();
        self.until(id, "booted", move |job| job.state.name() == "booting" && boots.state().boots > 0).await
    }

    pub async fn until_installing(&self, id: &JobId) -> Secret<String> {
        self.until_booted(id).await;
        let token = self.start_host(id, "aa11").await.unwrap();
        self.until_name(id, "installing").await;
        token
    }

    pub fn bootstrap(&self, id: &JobId) -> Secret<String> {
        tokens::bootstrap(&self.keys, id, 1)
    }

    pub async fn start_host(&self, id: &JobId, nonce: &str) -> Result<Secret<String>, ReportError> {
        let mut said = report(ReportStatus::Started);
        said.boot_nonce = Some(nonce.to_owned());
        match self.workflow.report(SERIAL, self.bootstrap(id).expose(), said).await? {
            Answer::Proceed(proceed) => Ok(Secret::new(proceed.session_token)),
            Answer::Received(_) => panic!("no answer to started"),
        }
    }

    pub async fn say(&self, token: &Secret<String>, said: Report) -> Result<Received, ReportError> {
        match self.workflow.report(SERIAL, token.expose(), said).await? {
            Answer::Received(received) => Ok(received),
            Answer::Proceed(_) => panic!("proceed to something else"),
        }
    }

    pub fn events(&self, id: &JobId) -> Vec<Event> {
        self.store.events_after(id, 0, 1000).unwrap()
    }

    pub fn codes(&self, id: &JobId) -> Vec<String> {
        self.events(id).into_iter().map(|event| event.code).collect()
    }

    pub fn failure(&self, id: &JobId) -> crate::model::Failure {
        match self.job(id).state.outcome() {
            Some(crate::model::Outcome::Failed(failure)) => failure.clone(),
            other => panic!("not failed: {other:?}"),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Until when the job's lease lasts, and its fencing number.
    pub fn lease(&self, id: &JobId) -> (Timestamp, u64) {
        let file = rusqlite::Connection::open(self.dir.path().join("slipway.db")).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?));
        let sql = "SELECT lease_expires, lease_fence FROM jobs WHERE id = ?1";
        let (until, fence) = file.query_row(sql, [id.as_str()], row).unwrap();
        (Timestamp::from_microsecond(until).unwrap(), fence)
    }

    /// Makes what is sealed of push rules unreadable, as another key would.
    pub fn spoil_push_rules(&self) {
        let file = rusqlite::Connection::open(self.dir.path().join("slipway.db")).unwrap();
        file.execute("UPDATE push_rules SET sealed = x'00'", []).unwrap();
    }

    /// Makes every run of a push rule one that was begun and never ended, as a power cut before its last write would.
    pub fn forget_run_ended(&self) {
        let file = rusqlite::Connection::open(self.dir.path().join("slipway.db")).unwrap();
        let sql = "UPDATE push_runs SET ended = 0, doc = json_remove(json_set(doc, '$.machines[0].outcome', 'pending'), \
                   '$.ended_at', '$.machines[0].job_id')";
        assert_eq!(file.execute(sql, []).unwrap(), 1);
    }

    /// Makes every call about jobs fail, as a broken disk would, until it is called with false.
    pub fn lose_store(&self, lost: bool) {
        let file = rusqlite::Connection::open(self.dir.path().join("slipway.db")).unwrap();
        let (from, to) = if lost { ("jobs", "lost") } else { ("lost", "jobs") };
        file.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    }
}

pub fn machine(serial: &str, now: Timestamp) -> Machine {
    Machine {
        id: MachineId::fresh(),
        serial: serial.to_owned(),
        uuid: None,
        macs: vec![],
        bmc: Bmc {
            url: "https://10.0.0.20".to_owned(),
            user: "root".to_owned(),
            tls: BmcTls::Verify,
            plain_http: false,
            system: None,
        },
        host_network: None,
        labels: [].into(),
        deadlines: [].into(),
        media_url: None,
        api_url: None,
        transport: crate::model::TransportSetting::Auto,
        lifecycle: Lifecycle::Free,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

pub fn recipe() -> serde_json::Value {
    serde_json::json!({
        "task_target": "install-linux.target",
        "target_disk": "/dev/disk/by-id/virtio-root",
        "oci_url": IMAGE,
        "partition_layout": [
            {"size": "256M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi"},
            {"size": "rest", "type_guid": "8300", "format": "ext4", "mountpoint": "/"}
        ],
        "user_data": "#cloud-config\nhostname: demo\nchpasswd: {list: 'root:correct-horse'}\n"
    })
}

pub fn report(status: ReportStatus) -> Report {
    Report {
        delivery_id: None,
        job_id: None,
        attempt: None,
        boot_nonce: None,
        status,
        step: None,
        step_state: None,
        failed_step: None,
        done: None,
        total: None,
        exit_code: None,
        message: None,
        log_tail: None,
        found_serial: None,
        at: None,
    }
}

pub fn step(unit: &str, state: StepState) -> Report {
    let mut said = report(ReportStatus::Step);
    said.step = Some(unit.to_owned());
    said.step_state = Some(state);
    said
}

pub fn failed(unit: &str) -> Report {
    let mut said = report(ReportStatus::Failed);
    said.failed_step = Some(unit.to_owned());
    said.message = Some("no space left on device, said correct-horse".to_owned());
    said.log_tail = Some("mkfs: correct-horse\nmkfs: no space\n".to_owned());
    said.exit_code = Some(1);
    said
}
