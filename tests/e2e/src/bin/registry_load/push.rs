//! Pushing blobs that no server has seen, until each is answered 201.

use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Access;
use crate::http::{Connection, Server, path_of};

/// What is sent at once.
const PIECE: usize = 1 << 20;

/// What is pushed.
#[derive(clap::Args)]
pub struct Options {
    /// The registry, such as `http://127.0.0.1:5000`.
    url: String,
    #[command(flatten)]
    access: Access,
    /// The repository.
    #[arg(long, default_value = "bench/push")]
    repository: String,
    /// Blobs at once, each over its own connection.
    #[arg(long, default_value_t = 1)]
    clients: u64,
    /// Size of each in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// PATCHes of so many MiB instead of one PUT.
    #[arg(long)]
    patch: Option<usize>,
}

/// Content that cannot be packed and is not sent twice.
pub struct Content {
    piece: Vec<u8>,
    seed: u64,
}

impl Content {
    /// Content of its own for each seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.rotate_left(23).to_le_bytes()
        };
        Self { piece: (0..PIECE / 8).flat_map(|_| next()).collect(), seed }
    }

    /// With the digest of so many MiB of it.
    pub fn hashed(mut self, mib: usize) -> (Self, String) {
        let mut hasher = Sha256::new();
        (0..mib).for_each(|number| hasher.update(self.piece(number)));
        (self, hex::encode(hasher.finalize()))
    }

    /// The piece of that number.
    fn piece(&mut self, number: usize) -> &[u8] {
        self.piece[..8].copy_from_slice(&(number as u64).to_le_bytes());
        self.piece[8..16].copy_from_slice(&self.seed.to_le_bytes());
        &self.piece
    }
}

/// Pushes; how long it took from the first request to the last answer, hashing by the client not counted.
pub fn run(options: &Options) -> Result<Value> {
    let (server, _) = Server::of(&options.url, &options.access)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = now.as_secs() << 20 | u64::from(now.subsec_micros());
    let began = Instant::now();
    let blobs: Vec<_> = (0..options.clients)
        .map(|number| Content::new(seed.wrapping_add(number << 50)).hashed(options.mib))
        .collect();
    let hash_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = blobs
            .into_iter()
            .map(|(content, digest)| {
                let server = &server;
                scope.spawn(move || {
                    push(server, &options.repository, options.mib, options.patch, content, &digest)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    let bytes = options.clients * (options.mib as u64) * PIECE as u64;
    Ok(json!({ "seconds": began.elapsed().as_secs_f64(), "bytes": bytes, "hash_seconds": hash_seconds }))
}

/// Pushes one blob of so many MiB, in one PUT or in PATCHes of so many.
pub fn push(
    server: &Server,
    repository: &str,
    mib: usize,
    patch: Option<usize>,
    mut content: Content,
    digest: &str,
) -> Result<()> {
    let mut connection = server.connect()?;
    let mut location = begin(&mut connection, server, repository)?;
    for first in (0..mib).step_by(patch.unwrap_or(usize::MAX)).filter(|_| patch.is_some()) {
        let last = mib.min(first + patch.unwrap_or_default());
        let more = format!(
            "Content-Type: application/octet-stream\r\nContent-Range: {}-{}\r\nContent-Length: {}\r\n",
            first * PIECE,
            last * PIECE - 1,
            (last - first) * PIECE
        );
        connection.send(server.request("PATCH", &location, &more).as_bytes())?;
        (first..last).try_for_each(|number| connection.send(content.piece(number)))?;
        location = accepted(&mut connection, 202)?;
    }
    let rest = if patch.is_some() { 0 } else { mib };
    close(&mut connection, server, &location, digest, rest * PIECE)?;
    (0..rest).try_for_each(|number| connection.send(content.piece(number)))?;
    accepted(&mut connection, 201).map(drop)
}

/// Pushes a small blob over a connection that goes on.
pub fn small(
    connection: &mut Connection,
    server: &Server,
    repository: &str,
    bytes: &[u8],
    digest: &str,
) -> Result<()> {
    let location = begin(connection, server, repository)?;
    close(connection, server, &location, digest, bytes.len())?;
    connection.send(bytes)?;
    accepted(connection, 201).map(drop)
}

fn begin(connection: &mut Connection, server: &Server, repository: &str) -> Result<String> {
    let path = format!("/v2/{repository}/blobs/uploads/");
    connection.send(server.request("POST", &path, "Content-Length: 0\r\n").as_bytes())?;
    accepted(connection, 202)
}

/// Sends the head of the closing request.
fn close(
    connection: &mut Connection,
    server: &Server,
    location: &str,
    digest: &str,
    length: usize,
) -> Result<()> {
    let join = if location.contains('?') { '&' } else { '?' };
    let more = format!("Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n");
    let put = format!("{location}{join}digest=sha256:{digest}");
    connection.send(server.request("PUT", &put, &more).as_bytes())
}

/// Where to go on, by an answer that must have this status.
fn accepted(connection: &mut Connection, status: u16) -> Result<String> {
    let head = connection.head()?;
    connection.rest(head.length)?;
    ensure!(head.status == status, "the server answered {} instead of {status}", head.status);
    Ok(path_of(&head.location.context("the answer has no Location")?))
}
