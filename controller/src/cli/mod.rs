//! The command line. One file per subcommand; those that work on a running controller speak HTTP to it and know
//! nothing of its insides.
//!
//! ```text
//! connection (flags, environment, state folder) ─▶ client (HTTP, refusals) ─▶ machine, job, image, token, doctor
//! on the controller's host, or without one: serve, media, recipe
//! ```

#![allow(clippy::print_stdout)] // a program for a terminal

mod client;
mod connection;
mod doctor;
mod image;
mod job;
mod machine;
mod media;
mod memory;
mod password;
mod push_rule;
mod recipe;
mod registry;
mod serve;
mod table;
mod token;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::Value;

/// What every command ends with; docs/operations.md has the same.
const EXIT_CODES: &str = "\
Exit codes:
   0  done; of a watched job: it succeeded
   1  refused or not possible; of a watched job: it failed; of checks: something is wrong
   2  the watched job was cancelled
   3  nobody can tell how the watched job ended
  64  the command line itself is wrong";

/// Slipway provisions bare metal through BMC virtual media, without PXE.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, about, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Serve(serve::Options),
    /// Add machines, look at them, switch their power
    Machine(machine::Options),
    /// Submit recipes and follow what becomes of them
    Job(job::Options),
    /// Put operating system images into the controller's registry
    Image(image::Options),
    /// See what the controller's registry holds, and clear it of what nobody needs
    Registry(registry::Options),
    /// Let pushes to the registry start jobs: rules, and what came of each push
    PushRule(push_rule::Options),
    /// Check recipes, and read them in plain words
    #[command(subcommand)]
    Recipe(recipe::Command),
    /// Make and revoke API tokens
    Token(token::Options),
    /// Find out what is off: asks everything that a job would need, changes nothing
    ///
    /// Exit code: 0 nothing is wrong (a warning may be), 1 something is.
    Doctor(doctor::Options),
    /// Build task media by hand, and look at them.
    #[command(subcommand)]
    Media(media::Command),
}

/// Runs the command; the exit code is its outcome.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(options) => serve::run(options),
        Command::Machine(options) => wait(machine::run(options)),
        Command::Job(options) => wait(job::run(options)),
        Command::Image(options) => wait(image::run(options)),
        Command::Registry(options) => wait(registry::run(options)),
        Command::PushRule(options) => wait(push_rule::run(options)),
        Command::Recipe(command) => recipe::run(command),
        Command::Token(options) => wait(token::run(options)),
        Command::Doctor(options) => wait(doctor::run(options)),
        Command::Media(command) => media::run(command),
    }
}

/// Runs a command that speaks HTTP.
fn wait(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the threads of the client")?
        .block_on(command)
}

/// JSON for programs, laid out so that people can read it too.
fn print_json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value).context("writing JSON")?);
    Ok(())
}
