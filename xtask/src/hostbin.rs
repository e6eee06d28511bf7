//! The static binaries that run on the host: dispatcher and tools.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache;
use crate::run::Run;

/// What they are built for.
pub const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// Where the two binaries are.
pub struct HostBinaries {
    /// `slipway-dispatcher`.
    pub dispatcher: PathBuf,
    /// `slipway-tools`.
    pub tools: PathBuf,
}

/// Builds them with the `host` profile.
pub fn build() -> Result<HostBinaries> {
    Run::new("cargo")
        .args([
            "build",
            "--locked",
            "--profile",
            "host",
            "--target",
            TRIPLE,
            "-p",
            "dispatcher",
            "-p",
            "tools",
        ])
        .quiet("host-binaries")
        .context("building the static host binaries")?;
    let folder = cache::cargo_target().join(TRIPLE).join("host");
    Ok(HostBinaries { dispatcher: folder.join("slipway-dispatcher"), tools: folder.join("slipway-tools") })
}
