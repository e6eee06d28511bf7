//! What the servers have to give: one large blob, one manifest, one medium, many tags and repositories.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::load::Load;
use super::servers::Server;
use crate::run::Run;

/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Repository of the blob and the manifest.
pub const REPOSITORY: &str = "bench/pull";
/// A page from the middle of ten thousand tags.
pub const MANY_TAGS: &str = "/v2/bench/many/tags/list?n=100&last=tag-05000";
/// The only page of a hundred.
pub const FEW_TAGS: &str = "/v2/bench/few/tags/list?n=100";
/// The last page of ten thousand repositories.
pub const LATE_REPOSITORIES: &str = "/v2/_catalog?n=100&last=repositories/09899";
/// The first of them.
pub const EARLY_REPOSITORIES: &str = "/v2/_catalog?n=100&last=repositories/00000";

/// Where it is.
pub struct Filled {
    /// Path of the blob.
    pub blob: String,
    /// Its digest.
    pub digest: String,
    /// Path of the manifest.
    pub manifest: String,
    /// Path of the medium.
    pub media: String,
}

/// Puts it there.
pub fn fill(load: &Load<'_>, folder: &Path) -> Result<Filled> {
    let www = folder.join("www");
    for server in [Server::Slipway, Server::Docker] {
        let file = folder.join("manifest");
        load.fill(
            server,
            &["--repository", REPOSITORY, "--mib", "1024", "--manifest", &file.display().to_string()],
        )?;
        fs::copy(&file, www.join("manifest"))?;
    }
    load.fill(Server::Slipway, &["--repository", "bench/many", "--tags", "10000"])?;
    load.fill(Server::Slipway, &["--repository", "bench/few", "--tags", "100"])?;
    load.fill(Server::Slipway, &["--repository", "repositories", "--repositories", "10000"])?;
    load.servers.keep_filled()?;
    let text = fs::read_to_string(www.join("manifest"))?;
    let manifest: serde_json::Value = serde_json::from_str(&text)?;
    let digest = manifest["layers"][0]["digest"].as_str().context("the manifest names its blob")?;
    fs::copy(load.servers.slipway_blob(digest), www.join("blob"))?;
    fs::copy(load.servers.maintenance(), www.join("media"))?;
    for entry in fs::read_dir(&www)? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o644))?;
    }
    Ok(Filled {
        blob: format!("/v2/{REPOSITORY}/blobs/{digest}"),
        digest: digest.to_owned(),
        manifest: format!("/v2/{REPOSITORY}/manifests/filled"),
        media: load.servers.media_path().to_owned(),
    })
}

/// A medium that the controller takes for its own, of the size of the real one, with nothing on it that boots.
pub fn maintenance(folder: &Path) -> Result<std::path::PathBuf> {
    let tree = folder.join("maintenance");
    fs::create_dir_all(tree.join("slipway"))?;
    fs::write(tree.join("slipway/trust"), vec![b'\n'; 4096])?;
    fs::write(tree.join("slipway/task.img"), vec![0; 12 << 20])?;
    let mut large = File::create(tree.join("rootfs.img"))?;
    let mut state = 1_u64;
    for _ in 0..350 {
        let piece: Vec<u8> = (0..1 << 17)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.rotate_left(17).to_le_bytes()
            })
            .collect();
        large.write_all(&piece)?;
    }
    drop(large);
    let iso = folder.join("maintenance.iso");
    Run::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", "SLIPWAY_MAINT", "-o"])
        .arg(&iso)
        .arg(&tree)
        .text()?;
    fs::remove_dir_all(&tree)?;
    Ok(iso)
}
