//! Copying a blob to repositories that do not have it, by mounting it there.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Access;
use crate::http::Server;

/// Mounts of one run, each into a repository of its own.
const MOUNTS: u32 = 20;

/// What is copied.
#[derive(clap::Args)]
pub struct Options {
    /// The registry, such as `http://127.0.0.1:5000`.
    url: String,
    #[command(flatten)]
    access: Access,
    /// Where it is.
    #[arg(long)]
    from: String,
    /// Prefix of the repositories it is copied to.
    #[arg(long)]
    to: String,
    /// Its digest.
    #[arg(long)]
    digest: String,
}

/// Copies; seconds of the slowest.
pub fn run(options: &Options) -> Result<Value> {
    let (server, _) = Server::of(&options.url, &options.access)?;
    let mut connection = server.connect()?;
    let mut slowest = 0.0_f64;
    for number in 0..MOUNTS {
        let path = format!(
            "/v2/{}/{number}/blobs/uploads/?mount={}&from={}",
            options.to, options.digest, options.from
        );
        let began = Instant::now();
        connection.send(server.request("POST", &path, "Content-Length: 0\r\n").as_bytes())?;
        let head = connection.head()?;
        slowest = slowest.max(began.elapsed().as_secs_f64());
        connection.rest(head.length)?;
        ensure!(head.status == 201, "the server answered {} to {path}", head.status);
    }
    Ok(json!({ "seconds": slowest, "bytes": 0 }))
}
