//! Many composed discs at once: alone in its process, since it looks at that process's memory.

#![allow(clippy::unwrap_used)] // helpers of tests

mod media_support;

use std::sync::Arc;
use std::time::Duration;

use controller::config::{Config, Fragment};
use controller::media::{MediumFile, Staged};
use controller::server::{Pace, Server};
use media_support::{inputs, maintenance_iso};
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

fn job(n: usize) -> String {
    format!("job-{n:04}")
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
    maintenance_iso(&media.join("maintenance.iso"), &vec![7; KERNEL]);
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
    let staged: Vec<Staged> = (0..JOBS).map(|n| shelf.stage(&inputs(&job(n), 1)).unwrap()).collect();
    let (attempts, bytes) = shelf.usage();
    let unpacked = controller::media::TaskMedium::build(
        &inputs(&job(0), 1),
        &ed25519_dalek::SigningKey::from_bytes(&[7; 32]),
    );
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
            let job = job(n);
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
