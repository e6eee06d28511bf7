//! `slipway serve`: flags, file and environment to a configuration, and the server run with it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::memory;
use crate::config::{Config, Fragment};
use crate::{server, telemetry};

/// Read when no `--config` names another file, if it is there.
const CONFIG: &str = "/etc/slipway/slipway.toml";

/// Options of `serve`. Each beats the environment (`SLIPWAY_…`), which beats the configuration file.
#[derive(Debug, Args)]
pub struct Options {
    /// Configuration file; /etc/slipway/slipway.toml when it is there.
    #[arg(long, env = "SLIPWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of everything the controller keeps.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Address of the API: people, hosts and registry, by TLS.
    #[arg(long)]
    api_listen: Option<String>,
    /// Address of the media listener, on the BMC network.
    #[arg(long)]
    media_listen: Option<String>,
    /// Address where the registry answers by plain HTTP besides: for a TLS proxy on this host, or a network where nobody
    /// listens to tokens.
    #[arg(long)]
    registry_listen: Option<String>,
    /// URL by which clients reach that listener, when a TLS proxy is before it.
    #[arg(long)]
    registry_url: Option<String>,
    /// URL by which hosts reach the API.
    #[arg(long)]
    api_url: Option<String>,
    /// URL by which BMCs reach the media.
    #[arg(long)]
    media_url: Option<String>,
    /// One more name or address for the API's certificate. May be repeated.
    #[arg(long = "api-name")]
    api_names: Option<Vec<String>>,
    /// The maintenance medium.
    #[arg(long)]
    maintenance_iso: Option<PathBuf>,
    /// Let jobs run whose URLs are loopback: for tests on one machine.
    #[arg(long)]
    allow_loopback: bool,
    /// Let BMCs be reached by plain HTTP when their machine is marked so.
    #[arg(long)]
    allow_plain_http_bmcs: bool,
    /// Folder of more profiles of BMC families, one TOML file each (docs/bmc-support.md).
    #[arg(long)]
    bmc_profiles: Option<PathBuf>,
    /// Requests in flight at all BMCs together; 256 without it.
    #[arg(long, value_name = "NUMBER")]
    bmc_calls: Option<u32>,
    /// Requests in flight at the BMCs of one site; 128 without it.
    #[arg(long, value_name = "NUMBER")]
    bmc_calls_per_site: Option<u32>,
    /// Label of machines that names their site; `site` without it. Machines without that label are one site.
    #[arg(long, value_name = "LABEL")]
    bmc_site_label: Option<String>,
    /// `text` or `json`.
    #[arg(long)]
    log_format: Option<String>,
    /// What is logged, such as `info` or `controller::workflow=debug`.
    #[arg(long)]
    log_filter: Option<String>,
}

impl Options {
    fn fragment(self) -> Fragment {
        Fragment {
            state_dir: self.state_dir,
            api_listen: self.api_listen,
            media_listen: self.media_listen,
            registry_listen: self.registry_listen,
            registry_url: self.registry_url,
            api_url: self.api_url,
            media_url: self.media_url,
            api_names: self.api_names,
            maintenance_iso: self.maintenance_iso,
            // A flag that is absent says nothing.
            allow_loopback: self.allow_loopback.then_some(true),
            allow_plain_http_bmcs: self.allow_plain_http_bmcs.then_some(true),
            bmc_profiles: self.bmc_profiles,
            bmc_calls: self.bmc_calls,
            bmc_calls_per_site: self.bmc_calls_per_site,
            bmc_site_label: self.bmc_site_label,
            log_format: self.log_format,
            log_filter: self.log_filter,
            ..Fragment::default()
        }
    }
}

/// Runs the controller until it is told to stop.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let file = match &options.config {
        Some(path) => Fragment::from_file(path)?,
        None if Path::new(CONFIG).exists() => Fragment::from_file(Path::new(CONFIG))?,
        None => Fragment::default(),
    };
    let merged = options.fragment().over(Fragment::from_environment()?).over(file);
    let config = Config::check(merged)?;
    telemetry::start(&config.logging)?;
    memory::tune();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the threads of the server")?;
    runtime.block_on(server::run(config))?;
    Ok(ExitCode::SUCCESS)
}
