//! Media over real HTTP: what a BMC asks and gets, with nothing between but a socket.

#![allow(clippy::unwrap_used)] // helpers of tests

mod media_support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use controller::media::{MaintenanceMedium, MediumFile, Shelf, ShelfError, ShelfLimits, Staged};
use ed25519_dalek::SigningKey;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use media_support::{inputs, maintenance_iso};
use schema::task::Trust;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TRUST: usize = 4096;

struct Bench {
    shelf: Arc<Shelf>,
    address: SocketAddr,
    iso: tempfile::NamedTempFile,
}

fn iso() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let kernel: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    maintenance_iso(file.path(), &kernel);
    file
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn shelf(iso: &std::path::Path, limits: ShelfLimits) -> Arc<Shelf> {
    let maintenance = Arc::new(MaintenanceMedium::open(iso).unwrap());
    let old = SigningKey::from_bytes(&[6; 32]).verifying_key();
    Arc::new(Shelf::new([3; 32], key(), &[old], Some(maintenance), limits).unwrap())
}

async fn bench() -> Bench {
    let iso = iso();
    let shelf = shelf(iso.path(), ShelfLimits::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(&shelf);
    tokio::spawn(async move {
        loop {
            let (socket, peer) = listener.accept().await.unwrap();
            let shelf = Arc::clone(&served);
            tokio::spawn(async move {
                let clock: controller::media::Clock = Arc::new(jiff::Timestamp::now);
                let service = hyper::service::service_fn(move |request| {
                    let response = controller::media::serve(&shelf, &request, Some(peer.ip()), &clock);
                    async move { Ok::<_, std::convert::Infallible>(response) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    Bench { shelf, address, iso }
}

/// Status, headers by lower-case name, body.
type Answer = (u16, BTreeMap<String, String>, Vec<u8>);

/// One request on its own connection, through hyper's client so that framing is checked too.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", "bmc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (status, headers, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

impl Bench {
    fn stage(&self) -> Staged {
        self.shelf.stage(&inputs("job-1", 1)).unwrap()
    }
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.address, "GET", path, headers).await
    }
}

/// What the composed medium must be, put together the slow way.
fn composed(bench: &Bench, task: &[u8]) -> Vec<u8> {
    let mut bytes = std::fs::read(bench.iso.path()).unwrap();
    let medium = bench.shelf.maintenance().unwrap();
    let trust = controller::media::trust_block(&[
        key().verifying_key(),
        SigningKey::from_bytes(&[6; 32]).verifying_key(),
    ])
    .unwrap();
    let at = usize::try_from(medium.trust.offset).unwrap();
    bytes[at..at + TRUST].copy_from_slice(&trust);
    let at = usize::try_from(medium.task.offset).unwrap();
    bytes[at..at + task.len()].copy_from_slice(task);
    bytes
}

#[tokio::test]
async fn a_head_tells_all_a_bmc_wants_to_know_first() {
    let bench = bench().await;
    let staged = bench.stage();
    let (status, headers, body) = ask(bench.address, "HEAD", staged.path(MediumFile::Maintenance), &[]).await;
    assert_eq!((status, body.len()), (200, 0));
    let len = std::fs::metadata(bench.iso.path()).unwrap().len().to_string();
    assert_eq!(headers["content-length"], len);
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["last-modified"], "Sat, 21 Nov 2026 08:45:00 GMT");
    assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("content-encoding"));
    let wrong_method = ask(bench.address, "POST", staged.path(MediumFile::Maintenance), &[]).await;
    assert_eq!(wrong_method.0, 404);
}

#[tokio::test]
async fn a_whole_read_is_the_file_with_the_sites_bytes_over_it() {
    let bench = bench().await;
    let staged = bench.stage();
    let (status, headers, task) =
        bench.get(staged.path(MediumFile::Task), &[("accept-encoding", "gzip")]).await;
    assert_eq!(status, 200);
    assert!(!headers.contains_key("content-encoding"));
    assert_eq!(task, controller::media::TaskMedium::build(&inputs("job-1", 1), &key()).unwrap().bytes);
    let (_, _, usb) = bench.get(staged.path(MediumFile::TaskUsb), &[]).await;
    assert_eq!(usb, task);
    let (_, headers, whole) = bench.get(staged.path(MediumFile::Composed), &[]).await;
    assert!(whole == composed(&bench, &task), "composed medium differs");
    assert_eq!(headers["content-length"], whole.len().to_string());
    let (_, _, plain) = bench.get(staged.path(MediumFile::Maintenance), &[]).await;
    assert!(plain == composed(&bench, &[]), "maintenance medium differs");
    let at = usize::try_from(bench.shelf.maintenance().unwrap().trust.offset).unwrap();
    let trust: Trust = serde_json::from_slice(&plain[at..at + TRUST]).unwrap();
    assert_eq!(trust.keys[0], hex::encode(key().verifying_key()));
}

#[tokio::test]
async fn every_range_is_the_same_bytes_as_in_the_whole() {
    let bench = bench().await;
    let staged = bench.stage();
    let path = staged.path(MediumFile::Composed);
    let (_, whole_headers, whole) = bench.get(path, &[]).await;
    let trust = bench.shelf.maintenance().unwrap().trust.offset;
    let len = whole.len() as u64;
    let ranges = [(0, 1), (trust - 7, 20), (trust + 4090, 100), (1, 70_000), (5, 1_500_000), (len - 3, 3)];
    for (from, count) in ranges {
        let range = format!("bytes={from}-{}", from + count - 1);
        let (status, headers, body) = bench.get(path, &[("range", &range)]).await;
        assert_eq!(status, 206, "{range}");
        assert_eq!(headers["content-range"], format!("bytes {from}-{}/{len}", from + count - 1));
        assert_eq!(headers["etag"], whole_headers["etag"]);
        let from = usize::try_from(from).unwrap();
        assert!(body == whole[from..from + usize::try_from(count).unwrap()], "{range}");
    }
    let (status, headers, body) = bench.get(path, &[("range", &format!("bytes={len}-"))]).await;
    assert_eq!(
        (status, body.len(), headers["content-range"].as_str()),
        (416, 0, format!("bytes */{len}").as_str())
    );
    let stale = [("range", "bytes=0-9"), ("if-range", "\"other\"")];
    assert_eq!(bench.get(path, &stale).await.2.len(), whole.len());
}

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let bench = bench().await;
    let staged = bench.stage();
    let mut socket = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    for number in 0..3 {
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: bmc\r\nrange: bytes={number}-{number}\r\n\r\n",
            staged.path(MediumFile::Task)
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|w| w == b"\r\n\r\n") || answer.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).await.unwrap();
            assert!(count > 0, "the connection was closed after request {number}");
            answer.extend_from_slice(&piece[..count]);
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{text}");
        assert!(!text.to_ascii_lowercase().contains("chunked"), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_staged_or_was_forgotten_is_a_404() {
    let bench = bench().await;
    let staged = bench.stage();
    let path = staged.path(MediumFile::Task).to_owned();
    assert_eq!(bench.get(&path, &[]).await.0, 200);
    let other_name = path.replace("task.iso", "task.img");
    for bad in
        ["/", "/m/", "/metrics", "/healthz", "/m/aaaaaaaaaaaaaaaaaaaaaaaaaa/task.iso", other_name.as_str()]
    {
        let (status, _, body) = bench.get(bad, &[]).await;
        assert_eq!((status, body.len()), (404, 0), "{bad}");
    }
    bench.shelf.forget("job-2");
    assert_eq!(bench.get(&path, &[]).await.0, 200);
    bench.shelf.forget("job-1");
    bench.shelf.forget("job-1");
    assert_eq!(bench.get(&path, &[]).await.0, 404);
    assert_eq!(bench.shelf.usage(), (0, 0));
}

#[tokio::test]
async fn what_each_medium_was_read_is_counted() {
    let bench = bench().await;
    let staged = bench.stage();
    let unread = bench.shelf.readings("job-1", 1)[&MediumFile::Task];
    assert_eq!(unread, controller::media::Reading { len: unread.len, ..Default::default() });
    assert_ne!(unread.len, 0, "a reading says how long its medium is");
    bench.get(staged.path(MediumFile::Maintenance), &[("range", "bytes=0-99999")]).await;
    bench.get(staged.path(MediumFile::Maintenance), &[("range", "bytes=5-14")]).await;
    ask(bench.address, "HEAD", staged.path(MediumFile::Task), &[]).await;
    let readings = bench.shelf.readings("job-1", 1);
    assert_eq!(
        (readings[&MediumFile::Maintenance].bytes, readings[&MediumFile::Maintenance].requests),
        (100_010, 2)
    );
    assert_eq!((readings[&MediumFile::Task].bytes, readings[&MediumFile::Task].requests), (0, 1));
    assert!(readings[&MediumFile::Task].first.is_some() && readings[&MediumFile::Composed].first.is_none());
}

#[test]
fn a_restart_gives_the_same_names_and_tags_and_new_contents_give_new_names() {
    let iso = iso();
    let first = shelf(iso.path(), ShelfLimits::default());
    let second = shelf(iso.path(), ShelfLimits::default());
    let staged = first.stage(&inputs("job-1", 1)).unwrap();
    assert_eq!(second.stage(&inputs("job-1", 1)).unwrap(), staged);
    assert_eq!(first.stage(&inputs("job-1", 1)).unwrap(), staged);
    let etag = |shelf: &Shelf| shelf.open(staged.path(MediumFile::Composed)).unwrap().object.etag;
    assert_eq!(etag(&first), etag(&second));
    let mut changed = inputs("job-1", 1);
    changed.job.bootstrap_token = "another".into();
    let restaged = first.stage(&changed).unwrap();
    assert_ne!(restaged.path(MediumFile::Task), staged.path(MediumFile::Task));
    assert_ne!(restaged.path(MediumFile::Composed), staged.path(MediumFile::Composed));
    assert!(first.open(staged.path(MediumFile::Task)).is_none());
    assert_ne!(first.stage(&inputs("job-1", 2)).unwrap().paths, restaged.paths);
}

#[test]
fn memory_is_bounded_and_a_full_shelf_says_so() {
    let iso = iso();
    let shelf = shelf(iso.path(), ShelfLimits { packed: 100_000 });
    let mut staged = Vec::new();
    let refused = loop {
        match shelf.stage(&inputs(&format!("job-{}", staged.len()), 1)) {
            Ok(one) => staged.push(one),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ShelfError::Full { limit: 100_000, .. }), "{refused}");
    assert!(staged.len() > 3, "{}", staged.len());
    for one in &staged {
        let opened = shelf.open(one.path(MediumFile::Task)).unwrap();
        assert_eq!(&opened.object.read(32_769, 5).unwrap()[..], b"CD001");
    }
    let (_, bytes) = shelf.usage();
    assert!(bytes < 100_000, "what was read is not kept: {bytes}");
}

#[test]
fn without_a_maintenance_medium_staging_tells_how_to_get_one() {
    let shelf = Shelf::new([3; 32], key(), &[], None, ShelfLimits::default()).unwrap();
    let error = shelf.stage(&inputs("job-1", 1)).unwrap_err().to_string();
    assert!(error.contains("cargo xtask maintenance-iso"), "{error}");
}
