//! An OCI layout folder, pushed as it is: every blob under its own digest, then the manifests that name them, the
//! chosen one last and under the tag. Nothing is rewritten, so the digest stays the one its maker knows.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use schema::reference::Digest;
use serde::Deserialize;

use super::upload::Repository;

/// Largest manifest or index.
const DOCUMENT_MAX: u64 = 4 << 20;
/// Most manifests of one index, and deepest nesting of them.
const CHILDREN_MAX: usize = 100;
const DEPTH_MAX: u32 = 3;
/// Annotation by which a layout names its images.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a manifest says of one piece.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    media_type: String,
    /// Its digest.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// An image manifest or an index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    /// Of an index.
    pub manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    /// Of an image.
    pub config: Option<Descriptor>,
    #[serde(default)]
    /// Of an image.
    pub layers: Vec<Descriptor>,
}

/// Whether a folder is one.
pub fn is_one(folder: &Path) -> bool {
    folder.join("oci-layout").is_file() && folder.join("index.json").is_file()
}

/// Pushes its image, or the one that `wanted` names.
pub async fn push(
    repository: &Repository<'_>,
    folder: &Path,
    wanted: Option<&str>,
    tag: &str,
) -> anyhow::Result<String> {
    let index: Document =
        serde_json::from_slice(&small(&folder.join("index.json"))?).context("reading index.json")?;
    let chosen = choose(index.manifests.unwrap_or_default(), wanted)?;
    // Depth first, children before parents: the registry takes a manifest only when it has all that it names.
    let mut order = Vec::new();
    gather(folder, &chosen, 0, &mut order)?;
    for (descriptor, document) in &order {
        for blob in document.config.iter().chain(&document.layers) {
            let path = blob_path(folder, &blob.digest)?;
            let held = path.metadata().with_context(|| format!("the layout lacks {}", blob.digest))?.len();
            if held != blob.size {
                bail!("{} has {held} bytes in the layout, its manifest says {}", blob.digest, blob.size);
            }
            repository.push_file(&path, &blob.digest, blob.size).await?;
        }
        let media_type = document.media_type.as_deref().unwrap_or(&descriptor.media_type);
        let bytes = small(&blob_path(folder, &descriptor.digest)?)?;
        let reference = if descriptor.digest == chosen.digest { tag } else { &descriptor.digest };
        let kept = repository.put_manifest(reference, media_type, bytes).await?;
        if kept != descriptor.digest
            && kept.starts_with("sha256:")
            && descriptor.digest.starts_with("sha256:")
        {
            bail!("the layout's {} holds something else: its digest is {kept}", descriptor.digest);
        }
    }
    Ok(chosen.digest)
}

fn choose(mut manifests: Vec<Descriptor>, wanted: Option<&str>) -> anyhow::Result<Descriptor> {
    let names: Vec<String> =
        manifests.iter().filter_map(|one| one.annotations.get(REF_NAME).cloned()).collect();
    if let Some(wanted) = wanted {
        let named = |one: &Descriptor| one.annotations.get(REF_NAME).is_some_and(|name| name == wanted);
        return manifests
            .into_iter()
            .find(named)
            .with_context(|| format!("the layout holds no image {wanted:?}; it holds {}", names.join(", ")));
    }
    match manifests.len() {
        1 => manifests.pop().context("the layout is empty"),
        0 => bail!("the layout holds no image"),
        count => {
            bail!("the layout holds {count} images; choose one with --layout-name: {}", names.join(", "))
        }
    }
}

fn gather(
    folder: &Path,
    descriptor: &Descriptor,
    depth: u32,
    order: &mut Vec<(Descriptor, Document)>,
) -> anyhow::Result<()> {
    if depth > DEPTH_MAX || order.len() > CHILDREN_MAX {
        bail!("the layout's indexes are nested too deep or hold more than {CHILDREN_MAX} manifests");
    }
    let bytes = small(&blob_path(folder, &descriptor.digest)?)?;
    let document: Document =
        serde_json::from_slice(&bytes).with_context(|| format!("reading manifest {}", descriptor.digest))?;
    for child in document.manifests.iter().flatten() {
        gather(folder, child, depth + 1, order)?;
    }
    order.push((descriptor.clone(), document));
    Ok(())
}

/// Where a blob is. The digest is checked first: it becomes a path.
pub fn blob_path(folder: &Path, digest: &str) -> anyhow::Result<PathBuf> {
    let digest: Digest = digest.parse().with_context(|| format!("the layout names {digest:?}"))?;
    Ok(folder.join("blobs").join(digest.algorithm()).join(digest.hex()))
}

fn small(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", path.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= DOCUMENT_MAX,
        "{} is larger than {DOCUMENT_MAX} bytes",
        path.display()
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Descriptor {
        let text = format!(
            r#"{{"mediaType":"m","digest":"sha256:{}","size":1,"annotations":{{"{REF_NAME}":"{name}"}}}}"#,
            "0".repeat(64)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_only_image_is_taken_and_of_several_the_named_one() {
        assert!(choose(vec![named("a")], None).is_ok());
        assert!(choose(vec![], None).unwrap_err().to_string().contains("holds no image"));
        let several = || vec![named("a"), named("b")];
        let error = choose(several(), None).unwrap_err().to_string();
        assert_eq!(error, "the layout holds 2 images; choose one with --layout-name: a, b");
        assert_eq!(choose(several(), Some("b")).unwrap().annotations[REF_NAME], "b");
        assert!(choose(several(), Some("c")).unwrap_err().to_string().contains("it holds a, b"));
    }

    #[test]
    fn a_digest_that_climbs_is_no_path() {
        assert!(blob_path(Path::new("/x"), "sha256:../../etc/passwd").is_err());
    }
}
