//! An image as an OCI layout folder: what another site, or a backup, can bring in again. Every blob is hashed while it
//! arrives and has its name only when it is whole; the layout's index is written last, so a folder with one is complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use schema::reference::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::io::AsyncWriteExt as _;

use super::bar;
use super::layout::{Descriptor, Document, REF_NAME, blob_path};
use super::upload::{AGAIN, Repository, TRIES, heals};

/// Deepest nesting of indexes.
const DEPTH_MAX: u32 = 3;
/// Most pieces of one image, manifests included.
const PIECES_MAX: usize = 10_000;

/// Writes an image below `folder`; its digest.
pub async fn export(repository: &Repository<'_>, reference: &str, folder: &Path) -> anyhow::Result<String> {
    if folder.join("index.json").exists() {
        bail!("{} holds a layout already; give an empty or a new folder", folder.display());
    }
    for algorithm in ["sha256", "sha512"] {
        let path = folder.join("blobs").join(algorithm);
        tokio::fs::create_dir_all(&path).await.with_context(|| format!("making {}", path.display()))?;
    }
    let mut seen = BTreeSet::new();
    let mut wanted = vec![(reference.to_owned(), 0)];
    let mut whole = None;
    while let Some((reference, depth)) = wanted.pop() {
        let (media_type, bytes) = repository.manifest(&reference).await?;
        let digest = named(&reference, &bytes)?;
        if !seen.insert(digest.clone()) {
            continue;
        }
        anyhow::ensure!(
            depth <= DEPTH_MAX && seen.len() <= PIECES_MAX,
            "its indexes are nested too deep, or hold too much"
        );
        let document: Document =
            serde_json::from_slice(&bytes).with_context(|| format!("reading manifest {digest}"))?;
        for blob in document.config.iter().chain(&document.layers) {
            if seen.insert(blob.digest.clone()) {
                fetch(repository, blob, &blob_path(folder, &blob.digest)?).await?;
            }
        }
        let path = blob_path(folder, &digest)?;
        tokio::fs::write(&path, &bytes).await.with_context(|| format!("writing {}", path.display()))?;
        whole.get_or_insert_with(|| (digest, media_type, bytes.len()));
        wanted.extend(document.manifests.iter().flatten().map(|child| (child.digest.clone(), depth + 1)));
    }
    let (digest, media_type, size) = whole.context("there is no manifest")?;
    let mut descriptor = json!({ "mediaType": media_type, "digest": digest, "size": size });
    if !reference.contains(':') {
        descriptor["annotations"] = json!({ REF_NAME: reference });
    }
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    write(folder, "oci-layout", &json!({ "imageLayoutVersion": "1.0.0" })).await?;
    write(folder, "index.json", &index).await?;
    Ok(digest)
}

async fn write(folder: &Path, name: &str, value: &Value) -> anyhow::Result<()> {
    let path = folder.join(name);
    tokio::fs::write(&path, value.to_string()).await.with_context(|| format!("writing {}", path.display()))
}

/// The digest of a manifest: the one it was asked for by, which it must have, or that of its bytes.
fn named(reference: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let wanted: Option<Digest> = reference.parse().ok();
    let mut hash = Hash::new(wanted.as_ref().map_or("sha256", Digest::algorithm));
    hash.update(bytes);
    let found = hash.finish();
    match wanted {
        Some(wanted) if wanted.as_str() != found => bail!("manifest {wanted} arrived as {found}"),
        _ => Ok(found),
    }
}

/// One blob, taken up where it broke.
async fn fetch(repository: &Repository<'_>, blob: &Descriptor, path: &Path) -> anyhow::Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let writing = || format!("writing {}", part.display());
    let digest: Digest = blob.digest.parse().with_context(|| format!("the image names {:?}", blob.digest))?;
    let mut file = tokio::fs::File::create(&part).await.with_context(writing)?;
    let mut hash = Hash::new(digest.algorithm());
    let bar = bar("fetching", Some(blob.size));
    let (mut offset, mut tries) = (0, 1);
    while offset < blob.size {
        let mut response = match repository.blob(&blob.digest, offset).await {
            Ok(response) => response,
            Err(error) if tries >= TRIES || !heals(&error) => return Err(error),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        loop {
            match super::upload::piece(&mut response).await {
                Ok(Some(piece)) => {
                    offset += piece.len() as u64;
                    if offset > blob.size {
                        bail!("blob {digest} is longer than the {} bytes its manifest says", blob.size);
                    }
                    hash.update(&piece);
                    file.write_all(&piece).await.with_context(writing)?;
                    bar.set_position(offset);
                }
                Ok(None) => break,
                Err(error) if tries >= TRIES => return Err(error),
                Err(error) => {
                    bar.suspend(|| eprintln!("slipway: {error:#}; going on where it broke"));
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                    break;
                }
            }
        }
    }
    file.sync_all().await.with_context(writing)?;
    bar.finish_and_clear();
    let found = hash.finish();
    anyhow::ensure!(found == digest.as_str(), "blob {digest} arrived as {found}");
    tokio::fs::rename(&part, path).await.with_context(|| format!("naming {}", path.display()))
}

/// A hash of either kind.
enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hash {
    fn new(algorithm: &str) -> Self {
        if algorithm == "sha512" { Self::Sha512(Sha512::new()) } else { Self::Sha256(Sha256::new()) }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => format!("sha256:{}", hex::encode(hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex::encode(hash.finalize())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_must_have_the_digest_it_was_asked_for_by() {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(b"{}")));
        assert_eq!(named("trixie", b"{}").unwrap(), digest);
        assert_eq!(named(&digest, b"{}").unwrap(), digest);
        let error = named(&digest, b"{ }").unwrap_err().to_string();
        assert!(error.contains(" arrived as sha256:"), "{error}");
    }
}
