//! The static binaries that run on the host: dispatcher and tools.

use std::path::{Path, PathBuf};

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
    ensure_target()?;
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

/// Sees to it that the compiler has the library of [`TRIPLE`]. rustup installs it by `rust-toolchain.toml`, but not where
/// it was told to install nothing by itself (`RUSTUP_AUTO_INSTALL=0`).
fn ensure_target() -> Result<()> {
    let folder = Run::new("rustc").args(["--print", "target-libdir", "--target", TRIPLE]).text()?;
    if Path::new(folder.trim()).exists() {
        return Ok(());
    }
    println!("the Rust compiler has no {TRIPLE}: rustup adds it");
    Run::new("rustup")
        .args(["target", "add", TRIPLE])
        .quiet("rustup-target")
        .with_context(|| format!("adding {TRIPLE} to the Rust compiler; install it by hand and try again"))
}
