//! Reading one URL over and over, whole or in ranges as BMCs do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::Access;
use crate::http::Server;

/// What is read.
#[derive(clap::Args)]
pub struct Options {
    /// What is read. `{n}` in it is a number that goes up with each request.
    url: String,
    #[command(flatten)]
    access: Access,
    /// Connections at once.
    #[arg(long, default_value_t = 1)]
    clients: u64,
    /// For how long.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Ranges instead of the whole: their smallest and largest size in bytes, `4096-1048576`.
    #[arg(long)]
    ranges: Option<String>,
    /// `Accept` of each request.
    #[arg(long, default_value = "*/*")]
    accept: String,
    /// The answer must be of this size in bytes, unless it is a range.
    #[arg(long)]
    size: Option<u64>,
}

/// Sizes of ranges, and of the file they are taken from.
#[derive(Clone, Copy)]
struct Ranges {
    least: u64,
    most: u64,
    file: u64,
}

#[derive(Default)]
struct Counted {
    bytes: AtomicU64,
    requests: AtomicU64,
}

/// Reads; bytes, whole answers, and how long it took.
pub fn run(options: &Options) -> Result<Value> {
    let (server, path) = Server::of(&options.url, &options.access)?;
    let mut ranges = options.ranges.as_deref().map(parse).transpose()?;
    if let Some(ranges) = &mut ranges {
        let mut connection = server.connect()?;
        connection.send(server.request("HEAD", &path, "").as_bytes())?;
        ranges.file = connection.head()?.length;
        ensure!(ranges.file > ranges.most, "the file has {} bytes only", ranges.file);
    }
    let counted = Counted::default();
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(options.seconds);
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..options.clients)
            .map(|number| {
                let (server, path, counted) = (&server, &path, &counted);
                scope.spawn(move || client(server, path, options, ranges, number, end, counted))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    Ok(json!({
        "seconds": began.elapsed().as_secs_f64(),
        "bytes": counted.bytes.into_inner(),
        "requests": counted.requests.into_inner(),
    }))
}

fn parse(text: &str) -> Result<Ranges> {
    let (least, most) = text.split_once('-').context("ranges are written LEAST-MOST")?;
    let (least, most) = (least.parse()?, most.parse()?);
    ensure!(least > 0 && least <= most, "ranges are written LEAST-MOST");
    Ok(Ranges { least, most, file: 0 })
}

/// One connection until the time is over.
fn client(
    server: &Server,
    path: &str,
    options: &Options,
    ranges: Option<Ranges>,
    number: u64,
    end: Instant,
    counted: &Counted,
) -> Result<()> {
    let mut connection = server.connect()?;
    let accept = format!("Accept: {}\r\n", options.accept);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number + 1);
    let mut round = number;
    while Instant::now() < end {
        let (more, wanted) = match ranges {
            None => (accept.clone(), 200),
            Some(ranges) => (range(ranges, &mut random), 206),
        };
        let path = path.replace("{n}", &round.to_string());
        round += options.clients;
        connection.send(server.request("GET", &path, &more).as_bytes())?;
        let head = connection.head()?;
        ensure!(head.status == wanted, "the server answered {} to {path}", head.status);
        if let Some(size) = options.size.filter(|_| ranges.is_none()) {
            ensure!(head.length == size, "{} bytes came instead of {size}", head.length);
        }
        let mut left = head.length;
        while left > 0 {
            let some = connection.some(left)?;
            left -= some;
            counted.bytes.fetch_add(some, Ordering::Relaxed);
            if Instant::now() >= end {
                return Ok(());
            }
        }
        counted.requests.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Somewhere in the file, of a size that is spread evenly over the powers of two, as BMCs and QEMU have theirs.
fn range(ranges: Ranges, random: &mut u64) -> String {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let powers = u64::from((ranges.most / ranges.least).ilog2()) + 1;
    let size = (ranges.least << (next() % powers)).min(ranges.most);
    let first = next() % (ranges.file - size) / 2048 * 2048;
    format!("Range: bytes={first}-{}\r\n", first + size - 1)
}
