//! `mock-redfish rack.toml`: runs a rack until SIGTERM or Ctrl-C.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use mock_redfish::{Rack, RackConfig};
use tokio::signal::unix::{SignalKind, signal};

/// A rack of Redfish BMCs that behave and misbehave; see the README for the configuration.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// TOML file that describes the rack; without one, see --sim.
    config: Option<PathBuf>,
    /// Start this many instant machines on free ports.
    #[arg(long, conflicts_with = "config")]
    sim: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-redfish: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)] // the endpoints are the output of this program
async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = match (&arguments.config, arguments.sim) {
        (Some(path), _) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            toml::from_str::<RackConfig>(&text).with_context(|| format!("reading {}", path.display()))?
        }
        (None, Some(count)) => RackConfig::sim(count),
        (None, None) => anyhow::bail!("give a configuration file or --sim COUNT; --help says more"),
    };
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let rack = Rack::start(config).await?;
    for machine in rack.machines() {
        println!("{}\t{}\t{}", machine.name(), machine.base_url(), machine.config().serial);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done.context("waiting for Ctrl-C")?,
    }
    rack.shutdown().await;
    Ok(())
}
