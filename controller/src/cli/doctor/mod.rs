//! `slipway doctor`: what a new user runs when something is off. Asks, judges, tells the remedy; changes nothing.
//!
//! ```text
//! ask (HTTP to API, registry, media) ─▶ Findings ─▶ judge (pure) ─▶ checks ─▶ screen | --json, exit code
//! ```

mod ask;
mod judge;

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::connection::Connection;
use super::print_json;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

/// Asks everything and says what it thinks of it.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let checks = match options.connection.client() {
        Ok(client) => judge::all(&ask::everything(&client).await),
        Err(error) => vec![judge::no_connection(&error)],
    };
    let is_well = checks.iter().all(|check| check.level != judge::Level::Fail);
    if options.json {
        print_json(&json!({ "ok": is_well, "checks": checks }))?;
    } else {
        print!("{}", judge::screen(&checks));
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
