//! Unpacks an image of a registry into a folder, through the very code of `image-linux`, and prints bytes,
//! seconds and peak memory. For `cargo xtask bench image-linux` and for looking into an image by hand:
//! `unpack https://127.0.0.1:8443 REPOSITORY sha256:… FOLDER`. The token is read from the file that
//! `SLIPWAY_TOKEN_FILE` names; of an https registry the authority, from the one that `SLIPWAY_CA` names.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use schema::recipe::ImageKind;
use schema::task::TaskImage;
use tools::handoff::Token;
use tools::image::{pour::Meter, unpack};
use tools::progress::Progress;
use tools::registry::Registry;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [registry, repository, digest, folder] = args.as_slice() else {
        anyhow::bail!("usage: unpack REGISTRY REPOSITORY DIGEST FOLDER");
    };
    let image = TaskImage {
        registry: registry.clone(),
        repository: repository.clone(),
        digest: digest.clone(),
        kind: ImageKind::Container,
    };
    let token = named_by("SLIPWAY_TOKEN_FILE")?.unwrap_or_default();
    let authority = named_by("SLIPWAY_CA")?;
    let registry = Registry::new(&image, Token::new(token.trim()), authority.as_deref(), None)?;
    let began = Instant::now();
    let manifest = registry.manifest(digest)?;
    let mut progress = Progress::new("image-linux", Path::new("/nonexistent"));
    let mut meter = Meter::new(&mut progress, manifest.stored());
    unpack(&registry, &manifest, image.kind, Path::new(folder), &mut meter)?;
    let seconds = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").context("reading peak memory")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("VmHWM: unknown");
    writeln!(std::io::stdout(), "{} bytes stored, {seconds:.3} s, {peak}", manifest.stored())?;
    Ok(())
}

/// What is in the file that a variable names.
fn named_by(variable: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = std::env::var_os(variable) else { return Ok(None) };
    let path = Path::new(&path);
    std::fs::read_to_string(path).map(Some).with_context(|| format!("reading {}", path.display()))
}
