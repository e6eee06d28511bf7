//! Many composed discs at once: alone in its process, since it looks at that process's memory.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use controller::config::{Config, Fragment};
use controller::media::{MediumFile, Staged, TaskInputs};
use controller::server::{Pace, Server};
use schema::task::{COMPOSED_TASK_FILE, Identity, MAINTENANCE_LABEL, TRUST_FILE, TRUST_SIZE, TaskJob};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

/// Machines with one slot each.
const JOBS: usize = 1000;
/// Of everything else on the disc: far more than a job may cost.
const KERNEL: usize = 64 << 20;
/// Largest growth of the process while a thousand discs of 76 MiB are read: threads and buffers of a thousand readers.
/// Their task media alone would be 377 MiB, unpacked.
const GROWTH: usize = 160 << 20;

/// A maintenance disc with room for a task medium.
fn maintenance_iso(path: &std::path::Path) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("slipway")).unwrap();
    std::fs::write(folder.path().join(TRUST_FILE), vec![b'\n'; usize::try_from(TRUST_SIZE).unwrap()])
        .unwrap();
    let room = std::fs::File::create(folder.path().join(COMPOSED_TASK_FILE)).unwrap();
    room.set_len(schema::task::COMPOSED_TASK_SIZE).unwrap();
    std::fs::write(folder.path().join("vmlinuz"), vec![7; KERNEL]).unwrap();
    let output = std::process::Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", MAINTENANCE_LABEL, "-o"])
        .args([path, folder.path()])
        .output()
        .expect("xorriso is needed: apt-get install xorriso");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn inputs(n: usize) -> TaskInputs {
    TaskInputs {
        job: TaskJob {
            version: 1,
            job_id: format!("job-{n:04}"),
            attempt: 1,
            expected: Identity { serial: format!("SN-{n}"), uuid: None, macs: vec![] },
            api_url: "https://10.0.0.5:8443".into(),
            bootstrap_token: "not-a-real-token".into(),
            site_ca: None,
            issued_at: "2026-11-22T03:00:00Z".parse().unwrap(),
            image: None,
            heartbeat_seconds: 15,
            step_seconds: BTreeMap::new(),
            proxy: None,
            offline: None,
        },
        recipe: serde_json::from_str(r#"{"task_target": "inventory.target"}"#).unwrap(),
        recipe_schema: schema::validate::RECIPE_SCHEMA.to_owned(),
        host_network: None,
        remote_payloads: BTreeMap::new(),
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn files_in(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Sends a request and reads the answer's head; the connection is at the body.
async fn ask(address: std::net::SocketAddr, path: &str, range: Option<(u64, u64)>) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let range = range.map_or(String::new(), |(first, last)| format!("range: bytes={first}-{last}\r\n"));
    let text = format!("GET {path} HTTP/1.1\r\nhost: bmc\r\nconnection: close\r\n{range}\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&head));
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_machines_with_one_slot_cost_their_task_bytes_alone() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state = tempfile::tempdir().unwrap();
    let media = state.path().join("media");
    std::fs::create_dir(&media).unwrap();
    maintenance_iso(&media.join("maintenance.iso"));
    let fragment = Fragment {
        state_dir: Some(state.path().into()),
        api_listen: Some("127.0.0.1:0".into()),
        media_listen: Some("127.0.0.1:0".into()),
        allow_loopback: Some(true),
        ..Fragment::default()
    };
    let server = Server::start_at(Config::check(fragment).unwrap(), Pace::fast()).await.unwrap();
    let task = server.shelf.maintenance().unwrap().task;
    let (shelf, address) = (Arc::clone(&server.shelf), server.media_address);

    let files = files_in(&media);
    let before = resident();
    let staged: Vec<Staged> = (0..JOBS).map(|n| shelf.stage(&inputs(n)).unwrap()).collect();
    let (attempts, bytes) = shelf.usage();
    let unpacked =
        controller::media::TaskMedium::build(&inputs(0), &ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    let unpacked = unpacked.unwrap().bytes.len();
    println!("{JOBS} jobs are staged in {} KiB; one task medium has {} KiB", bytes >> 10, unpacked >> 10);
    println!("memory: {} MiB before, {} MiB when all are staged", before >> 20, resident() >> 20);
    assert_eq!(attempts, JOBS);
    assert!(bytes < JOBS * unpacked / 4, "a staged job takes {} bytes", bytes / JOBS);

    // Every disc is being read from its beginning, by a reader that does not get on …
    let all_read = Arc::new(Barrier::new(JOBS + 1));
    let turns = Arc::new(tokio::sync::Semaphore::new(8));
    let mut readers = tokio::task::JoinSet::new();
    for (n, staged) in staged.iter().enumerate() {
        let turns = Arc::clone(&turns);
        let (all_read, path) = (Arc::clone(&all_read), staged.path(MediumFile::Composed).to_owned());
        readers.spawn(async move {
            let mut slow = ask(address, &path, None).await;
            let mut piece = vec![0; 4096];
            slow.read_exact(&mut piece).await.unwrap();
            all_read.wait().await;
            all_read.wait().await;
            // … and each has its own job in it. A few at a time: their readers are in this process, too.
            let _turn = turns.acquire().await.unwrap();
            let last = task.offset + unpacked as u64 - 1;
            let mut own = Vec::new();
            let mut reader = ask(address, &path, Some((task.offset, last))).await;
            reader.read_to_end(&mut own).await.unwrap();
            let job = format!("job-{n:04}");
            assert!(own.windows(job.len()).any(|bytes| bytes == job.as_bytes()), "{job} is not on its disc");
        });
    }
    all_read.wait().await;
    tokio::time::sleep(Duration::from_millis(500)).await; // what can be sent has been sent
    let while_read = resident();
    println!("memory: {} MiB while all are read", while_read >> 20);
    all_read.wait().await;
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    let after = resident();
    println!("memory: {} MiB after", after >> 20);
    assert!(while_read.max(after) < before + GROWTH, "{before} bytes became {while_read} and {after}");
    assert_eq!(files_in(&media), files, "a disc was written");
    drop(staged);
    server.stop().await;
}
