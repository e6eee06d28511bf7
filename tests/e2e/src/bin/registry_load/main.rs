//! Load on an HTTP registry or file server, for `cargo xtask bench registry`: the same client, whoever answers, so that what
//! differs is the server. Plain threads and sockets: it shall cost as little beside the server as it can.
//!
//! ```text
//! registry-load get  URL        many connections, each asking again and again until the time is over
//! registry-load push REGISTRY   blobs that no one has, in one PUT or in PATCHes, until the 201
//! registry-load fill REGISTRY   what is read later
//! registry-load mount REGISTRY  copies that cost nothing
//! ```
//! Prints one line of JSON.

#![allow(clippy::print_stdout)]

mod fill;
mod get;
mod http;
mod mount;
mod push;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Load on a registry or file server.
#[derive(Parser)]
enum Command {
    /// Read one URL over and over.
    Get(get::Options),
    /// Push blobs.
    Push(push::Options),
    /// Fill a registry with what is read later.
    Fill(fill::Options),
    /// Copy a blob by mounting it.
    Mount(mount::Options),
}

/// Who asks, and whom it believes.
#[derive(clap::Args)]
struct Access {
    /// File with an API token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Authority that signed the server's certificate, for https.
    #[arg(long)]
    ca: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Get(options) => get::run(&options),
        Command::Push(options) => push::run(&options),
        Command::Fill(options) => fill::run(&options),
        Command::Mount(options) => mount::run(&options),
    };
    match done {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("registry-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
