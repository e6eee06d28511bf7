//! The programs that are measured, built as they are shipped.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::run::Run;
use crate::{cache, hostbin};

/// Where they are.
pub struct Programs {
    /// The controller, `release`.
    pub slipway: PathBuf,
    /// Builds task media, and serves media, `release`.
    pub media_bench: PathBuf,
    /// Load on registries and file servers, `release`.
    pub registry_load: PathBuf,
    /// Plays machines to a controller, `release`.
    pub sim_load: PathBuf,
    /// Plays a fleet of slow BMCs to a controller, `release`.
    pub fleet_load: PathBuf,
    /// The unpacker of `image-linux` for one folder, static and as small as on maintenance.iso.
    pub unpack: PathBuf,
}

/// Everything that is built with `release`. One command line, so that cargo builds every dependency once.
pub fn release() -> Result<Programs> {
    Run::new("cargo")
        .args(["build", "--locked", "--release", "-p", "controller", "-p", "e2e"])
        .args(["--bin", "slipway", "--bin", "sim-load", "--bin", "fleet-load", "--bin", "registry-load"])
        .args(["--example", "media_bench"])
        .quiet("bench-release")
        .context("building the controller")?;
    let folder = cache::cargo_target().join("release");
    Ok(Programs {
        slipway: folder.join("slipway"),
        media_bench: folder.join("examples/media_bench"),
        registry_load: folder.join("registry-load"),
        sim_load: folder.join("sim-load"),
        fleet_load: folder.join("fleet-load"),
        unpack: cache::cargo_target().join(hostbin::TRIPLE).join("host/examples/unpack"),
    })
}

/// The same, and what runs on hosts.
pub fn host_and_release() -> Result<Programs> {
    Run::new("cargo")
        .args(["build", "--locked", "--profile", "host", "--target", hostbin::TRIPLE])
        .args(["-p", "tools", "--example", "unpack"])
        .quiet("bench-host")
        .context("building the unpacker")?;
    release()
}
