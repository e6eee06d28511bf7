//! The Debian root filesystem as a container image: an OCI layout with a second layer that takes a file away and
//! adds one, as `podman build` would make it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::disk::{digest_of, run};

/// What the second layer takes away.
pub const GONE: &str = "/etc/motd";
/// What it adds.
pub const ADDED: &str = "/etc/slipway-layer";

/// Writes the layout.
pub fn write(os_image: &Path, layout: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let base = blob(&blobs, &std::fs::read(os_image)?, "application/vnd.oci.image.layer.v1.tar+zstd")?;

    let change = tempfile::tempdir()?;
    std::fs::create_dir(change.path().join("etc"))?;
    std::fs::write(change.path().join("etc/.wh.motd"), "")?;
    std::fs::write(change.path().join("etc/slipway-layer"), "from the second layer\n")?;
    let tar = layout.join("change.tar");
    let (folder, file) = (change.path().to_str().context("text")?, tar.to_str().context("text")?);
    run("tar", &["--owner=0", "--group=0", "-C", folder, "-cf", file, "etc"])?;
    let plain = std::fs::read(&tar)?;
    std::fs::remove_file(&tar)?;
    let second = blob(&blobs, &plain, "application/vnd.oci.image.layer.v1.tar")?;

    let diff_ids = [unpacked_digest(os_image)?, second["digest"].as_str().context("a digest")?.to_owned()];
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = blob(&blobs, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [base, second],
    });
    let manifest =
        blob(&blobs, manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json")?;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
    });
    std::fs::write(layout.join("index.json"), index.to_string())?;
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

fn blob(blobs: &Path, bytes: &[u8], media_type: &str) -> Result<Value> {
    let name = hex::encode(Sha256::digest(bytes));
    std::fs::File::create(blobs.join(&name))?.write_all(bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{name}"), "size": bytes.len() }))
}

/// Digest of the tar inside a `tar.zst`.
fn unpacked_digest(image: &Path) -> Result<String> {
    let mut unpacking = Command::new("zstd")
        .args(["-q", "-d", "-c"])
        .arg(image)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting zstd")?;
    let digest = digest_of(unpacking.stdout.take().context("zstd has an output")?)?;
    ensure!(unpacking.wait()?.success(), "zstd cannot read {}", image.display());
    Ok(format!("sha256:{digest}"))
}
