//! The registry of a real `slipway serve` that is killed with SIGKILL at many instants of mixed pushes: whatever was
//! answered 201 is there and whole after the restart, what was not is whole or absent, and nothing stays behind.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use controller::registry::digest::{Algorithm, Digest};
use controller::registry::{Options, Registry};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

/// Kills, unless [`ROUNDS_VARIABLE`] asks for others.
const ROUNDS: u64 = 200;
/// Asks for another number of kills.
const ROUNDS_VARIABLE: &str = "SLIPWAY_TEST_KILLS";
/// Who push at the same time.
const PUSHERS: u64 = 4;
/// Largest blob.
const LARGEST: u64 = 1 << 20;
/// Longest life of a controller while it is pushed to, in milliseconds.
const LIFE: u64 = 150;
/// For a start.
const SOON: Duration = Duration::from_secs(60);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Numbers that are the same for the same seed.
fn seeded(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// A blob. Small ones are more common, as layers of images are.
fn blob(numbers: &mut TestRng) -> Vec<u8> {
    let most = LARGEST >> (numbers.next_u64() % 11);
    let mut bytes = vec![0; usize::try_from(numbers.next_u64() % most).unwrap() + 8];
    numbers.fill_bytes(&mut bytes);
    bytes
}

/// Something that was sent, and whether that was answered 201.
#[derive(Clone)]
struct Sent {
    path: String,
    bytes: Vec<u8>,
    kept: Arc<AtomicBool>,
}

struct Site {
    state: tempfile::TempDir,
    port: u16,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Site {
    fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { state: tempfile::tempdir().unwrap(), port, sent: Arc::default() }
    }

    fn start(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.state.path().join("log")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_slipway"))
            .arg("serve")
            .args(["--state-dir", self.state.path().to_str().unwrap()])
            .args(["--api-listen", &format!("127.0.0.1:{}", self.port), "--media-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Waits until the controller answers; a client of it.
    async fn client(&self) -> Client {
        let begun = Instant::now();
        let file = |name: &str| std::fs::read(self.state.path().join(name));
        loop {
            assert!(
                begun.elapsed() < SOON,
                "it does not start; see {}",
                self.state.path().join("log").display()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (Ok(ca), Ok(token)) = (file("site/ca.pem"), file("admin.token")) else { continue };
            let Ok(ca) = reqwest::Certificate::from_pem(&ca) else { continue };
            let http =
                reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(SOON).build().unwrap();
            let base = format!("https://127.0.0.1:{}", self.port);
            let client = Client { http, base, token: String::from_utf8(token).unwrap().trim().to_owned() };
            if client.request("GET", "/v2/").send().await.is_ok_and(|answer| answer.status() == 200) {
                return client;
            }
        }
    }

    fn note(sent: &Mutex<Vec<Sent>>, path: String, bytes: &[u8]) -> Arc<AtomicBool> {
        let kept = Arc::new(AtomicBool::new(false));
        sent.lock().unwrap().push(Sent { path, bytes: bytes.to_vec(), kept: Arc::clone(&kept) });
        kept
    }
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Pushes until the controller is gone.
    async fn push(self, mut numbers: TestRng, sent: Arc<Mutex<Vec<Sent>>>) {
        while self.push_one(&mut numbers, &sent).await.is_some() {}
    }

    /// A blob, in one of three ways, and sometimes an image of it.
    async fn push_one(&self, numbers: &mut TestRng, sent: &Mutex<Vec<Sent>>) -> Option<()> {
        let bytes = blob(numbers);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let kept = Site::note(sent, format!("/v2/r/blobs/{digest}"), &bytes);
        let uploads = "/v2/r/blobs/uploads/";
        let closing = if numbers.next_u64().is_multiple_of(3) {
            self.request("POST", &format!("{uploads}?digest={digest}")).body(bytes.clone())
        } else {
            let begun = self.request("POST", uploads).send().await.ok()?;
            let location = begun.headers().get("location")?.to_str().ok()?.to_owned();
            let at = usize::try_from(numbers.next_u64()).unwrap_or(0) % bytes.len();
            self.request("PATCH", &location).body(bytes[..at].to_vec()).send().await.ok()?;
            self.request("PUT", &format!("{location}?digest={digest}")).body(bytes[at..].to_vec())
        };
        if closing.send().await.ok()?.status() == 201 {
            kept.store(true, Ordering::SeqCst);
        }
        if kept.load(Ordering::SeqCst) && numbers.next_u64().is_multiple_of(2) {
            let piece = json!({ "mediaType": "application/x", "digest": digest, "size": bytes.len() });
            let text = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": piece, "layers": [] })
                .to_string();
            let tag = format!("t{:x}", numbers.next_u64());
            let path = format!("/v2/r/manifests/{tag}");
            let kept = Site::note(sent, path.clone(), text.as_bytes());
            let put = self.request("PUT", &path).header("content-type", MANIFEST).body(text);
            if put.send().await.ok()?.status() == 201 {
                kept.store(true, Ordering::SeqCst);
            }
        }
        Some(())
    }

    /// What was answered 201 is there, and what is there is whole.
    async fn check(&self, sent: &[Sent]) {
        for one in sent {
            let answer = self.request("GET", &one.path).send().await.unwrap();
            let status = answer.status();
            let whole = answer.bytes().await.unwrap();
            let kept = one.kept.load(Ordering::SeqCst);
            assert!(status == 200 || (status == 404 && !kept), "{}: {status}, kept: {kept}", one.path);
            assert!(status != 200 || whole == one.bytes, "{} is not what was sent", one.path);
        }
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_two_hundred_kills_and_nothing_stays_behind() {
    let rounds = std::env::var(ROUNDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let site = Site::new();
    let (mut numbers, mut checked) = (seeded(7), 0);
    let kept = AtomicU64::new(0);
    for round in 0..rounds {
        let mut child = site.start();
        let client = site.client().await;
        let news: Vec<Sent> = site.sent.lock().unwrap()[checked..].to_vec();
        checked += news.len();
        client.check(&news).await;
        kept.fetch_add(
            news.iter().filter(|one| one.kept.load(Ordering::SeqCst)).count() as u64,
            Ordering::SeqCst,
        );

        let pushers: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let own = seeded(round * PUSHERS + number + 1000);
                tokio::spawn(client.clone().push(own, Arc::clone(&site.sent)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(numbers.next_u64() % LIFE)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for pusher in pushers {
            pusher.await.unwrap();
        }
    }
    let mut child = site.start();
    let client = site.client().await;
    let all: Vec<Sent> = site.sent.lock().unwrap().clone();
    client.check(&all).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = kept.load(Ordering::SeqCst);
    assert!(kept >= rounds, "only {kept} of {} pushes came to their end", all.len());

    // Uploads that nobody finishes expire, and what a kill left between file and row is collected.
    let folder = site.state.path().join("registry");
    let none = Duration::ZERO;
    let options =
        Options { reserve: 0, upload_lifetime: none, lease: none, grace: none, ..Options::default() };
    let registry = Registry::open(&folder, options).unwrap();
    registry.expire_uploads().await.unwrap();
    assert_eq!(files(&folder.join("uploads")), 0);
    registry.collect(false).await.unwrap();
    let manifests: Vec<&Sent> = all.iter().filter(|one| one.path.contains("/manifests/")).collect();
    for one in &manifests {
        let (_, tag) = one.path.rsplit_once('/').unwrap();
        let found = registry.resolve("r", tag).await.unwrap();
        assert!(found.is_some() || !one.kept.load(Ordering::SeqCst), "{} was collected", one.path);
    }
    let most = 2 * manifests.len();
    let left = files(&folder.join("blobs/sha256"));
    assert!(left <= most, "{left} files are left of at most {most} that a manifest names");
}
