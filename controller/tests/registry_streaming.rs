//! Pushes of any size to a real `slipway serve`: an artifact of twenty gibibytes beside seven others, the controller killed in
//! the middle of them, and hardly any memory used for it.
//!
//! The large one is all zeros, which the registry keeps as a hole: it goes through every byte and takes no room.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

const GIB: u64 = 1 << 30;
/// The large artifact, and the SHA-256 of so many zeros.
const LARGE: u64 = 20 * GIB;
const LARGE_SHA256: &str = "6cb118a8f8b3c19385874297e291dcbcdf3a9837ba1ca7b00ace2491adbff551";
/// How far it is when the controller is killed.
const KILLED_AT: u64 = 2 * GIB;
/// One PATCH of it.
const CHUNK: u64 = GIB;
/// What is written at once.
const PIECE: usize = 1 << 20;
/// Each of the others in mebibytes, and how many there are.
const OTHERS_MIB: u64 = 96;
const OTHERS: u64 = 7;
/// What pushes may add to the memory of the controller in KiB.
const GROWTH: u64 = 64 << 10;
const SOON: Duration = Duration::from_secs(60);

struct Site {
    state: tempfile::TempDir,
    address: SocketAddr,
}

impl Site {
    fn new() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { state: tempfile::tempdir().unwrap(), address }
    }

    fn start(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.state.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_slipway"))
            .arg("serve")
            .args(["--state-dir", self.state.path().to_str().unwrap()])
            .args(["--api-listen", "127.0.0.1:0", "--media-listen", "127.0.0.1:0"])
            .args(["--registry-listen", &self.address.to_string()])
            .env_remove("SLIPWAY_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let token = self.state.path().join("admin.token");
        while TcpStream::connect(self.address).is_err() || !token.exists() {
            assert!(
                begun.elapsed() < SOON,
                "it does not start; see {}",
                self.state.path().join("log").display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn client(&self) -> Client {
        let token = std::fs::read_to_string(self.state.path().join("admin.token")).unwrap();
        let stream = TcpStream::connect(self.address).unwrap();
        Client { stream: BufReader::new(stream), token: token.trim().to_owned() }
    }

    fn blob(&self, sha256: &str) -> std::path::PathBuf {
        self.state.path().join("registry/blobs/sha256").join(sha256)
    }
}

/// A figure of `/proc/<pid>/status` in KiB.
fn memory(child: &Child, name: &str) -> u64 {
    let text =
        std::fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap()
}

/// One connection.
struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

/// Status and headers of an answer.
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    }
}

impl Client {
    fn send(&mut self, method: &str, path: &str, length: u64) -> std::io::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n\r\n",
            self.token
        );
        self.stream.get_mut().write_all(head.as_bytes())
    }

    fn answered_head(&mut self) -> std::io::Result<Answer> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_lowercase());
        }
        let answer = Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head };
        Ok(answer)
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let answer = self.answered_head()?;
        let length = answer.header("content-length").trim().parse().unwrap_or(0);
        std::io::copy(&mut (&mut self.stream).take(length), &mut std::io::sink())?;
        Ok(answer)
    }

    fn ask(&mut self, method: &str, path: &str) -> Answer {
        self.send(method, path, 0).unwrap();
        self.answer().unwrap()
    }

    fn begin(&mut self) -> String {
        let begun = self.ask("POST", "/v2/large/blobs/uploads/");
        assert_eq!(begun.status, 202, "{}", begun.head);
        begun.header("location").trim().to_owned()
    }
}

/// Sends zeros in PATCHes from `offset` until all have come, or the controller is gone; `sent` tells how far.
fn zeros(client: &mut Client, location: &str, mut offset: u64, sent: &AtomicU64) -> std::io::Result<()> {
    let piece = vec![0; PIECE];
    while offset < LARGE {
        let chunk = CHUNK.min(LARGE - offset);
        client.send("PATCH", location, chunk)?;
        for _ in 0..chunk / PIECE as u64 {
            client.stream.get_mut().write_all(&piece)?;
            offset += PIECE as u64;
            sent.store(offset, Ordering::Relaxed);
        }
        let answer = client.answer()?;
        assert_eq!(answer.status, 202, "{}", answer.head);
    }
    Ok(())
}

/// Bytes of one of the others. The first two are the same.
fn other(number: u64) -> Vec<u8> {
    let mut state = number.max(1);
    (0..PIECE / 8)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.rotate_left(31).to_le_bytes()
        })
        .collect()
}

/// Pushes one of the others in one PUT; its digest.
fn push_other(site: &Site, number: u64) -> String {
    let piece = other(number);
    let mut hasher = Sha256::new();
    (0..OTHERS_MIB).for_each(|_| hasher.update(&piece));
    let sha256 = hex::encode(hasher.finalize());
    let mut client = site.client();
    let location = client.begin();
    client.send("PUT", &format!("{location}?digest=sha256:{sha256}"), OTHERS_MIB << 20).unwrap();
    (0..OTHERS_MIB).for_each(|_| client.stream.get_mut().write_all(&piece).unwrap());
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 201, "{}", answer.head);
    sha256
}

#[test]
fn twenty_gibibytes_go_through_beside_seven_other_pushes_and_a_kill_in_hardly_any_memory() {
    let site = Site::new();
    let mut controller = site.start();
    let location = site.client().begin();
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| zeros(&mut site.client(), &location, 0, &sent));
        while sent.load(Ordering::Relaxed) < KILLED_AT {
            std::thread::sleep(Duration::from_millis(5));
        }
        controller.kill().unwrap();
        assert!(first.join().unwrap().is_err(), "the controller was killed too late");
    });
    controller.wait().unwrap();

    let mut controller = site.start();
    let before = memory(&controller, "VmRSS");
    let status = site.client().ask("GET", &location);
    let held = status.header("range").trim().rsplit('-').next().unwrap().parse::<u64>().unwrap() + 1;
    assert!(status.status == 204 && held > GIB && held <= sent.load(Ordering::Relaxed), "{}", status.head);
    std::thread::scope(|scope| {
        // From where it is to the next whole piece first.
        let rest = (PIECE as u64 - held % PIECE as u64) % PIECE as u64;
        let mut client = site.client();
        client.send("PATCH", &location, rest).unwrap();
        client.stream.get_mut().write_all(&vec![0; usize::try_from(rest).unwrap()]).unwrap();
        assert_eq!(client.answer().unwrap().status, 202);
        let (location, sent, site) = (&location, &sent, &site);
        let large = scope.spawn(move || zeros(&mut client, location, held + rest, sent));
        let others: Vec<_> =
            (0..OTHERS).map(|number| scope.spawn(move || push_other(site, number))).collect();
        let digests: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(digests[0], digests[1], "two clients push the same");
        for sha256 in &digests {
            assert_eq!(site.blob(sha256).metadata().unwrap().len(), OTHERS_MIB << 20);
        }
        large.join().unwrap().unwrap();
    });
    let mut client = site.client();
    // Its hash was lost with the first life, so it is computed from the file.
    let closed = client.ask("PUT", &format!("{location}?digest=sha256:{LARGE_SHA256}"));
    assert_eq!(closed.status, 201, "{}", closed.head);
    let grown = memory(&controller, "VmHWM") - before;
    let blob = site.blob(LARGE_SHA256).metadata().unwrap();
    assert_eq!(blob.len(), LARGE);
    assert!(blob.blocks() * 512 < GIB, "{} MiB of zeros are on the disk", blob.blocks() >> 11);
    client.send("HEAD", &format!("/v2/large/blobs/sha256:{LARGE_SHA256}"), 0).unwrap();
    let head = client.answered_head().unwrap();
    assert_eq!((head.status, head.header("content-length").trim()), (200, LARGE.to_string().as_str()));
    println!("memory grew by {grown} KiB");
    assert!(grown < GROWTH, "memory grew by {grown} KiB");
    controller.kill().unwrap();
    controller.wait().unwrap();
}
