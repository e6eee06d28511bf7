//! The command line. One file per subcommand; those that work on a running controller speak HTTP to it.

#![allow(clippy::print_stdout)] // a program for a terminal

mod media;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Slipway provisions bare metal through BMC virtual media, without PXE.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Serve(serve::Options),
    /// Build task media by hand, and look at them.
    #[command(subcommand)]
    Media(media::Command),
}

/// Runs the command; the exit code is its outcome.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(options) => serve::run(options),
        Command::Media(command) => media::run(command),
    }
}
