//! The words of an image manifest (OCI and Docker), as far as installing needs them. Parses bytes; asks
//! nobody. Whatever a manifest says about compression is not believed: the bytes show it themselves.

use std::collections::BTreeMap;

use schema::recipe::ImageKind;
use schema::task::UNPACKED_SIZE_ANNOTATION;
use serde::Deserialize;

/// Media types asked for.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";
/// Most layers of one image; container runtimes stop at 128.
const LAYERS_MAX: usize = 512;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What is to be written, in order.
    pub layers: Vec<Layer>,
    /// Bytes once unpacked, when the image says so.
    pub unpacked: Option<u64>,
}

/// One blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// `sha256:…` of the blob as it is stored.
    pub digest: String,
    /// Its stored size in bytes.
    pub size: u64,
}

/// A manifest or a list of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Image(Manifest),
    /// One image per kind of machine.
    Index {
        /// Digest of the one for this kind of machine.
        amd64: String,
    },
}

/// A manifest that cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not a manifest.
    #[error("not an image manifest")]
    Parse(#[from] serde_json::Error),
    /// Too many bytes.
    #[error("larger than {limit} bytes, the most a manifest may have")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// An index without an image for this machine.
    #[error("an index without an image for linux/amd64")]
    NoAmd64,
    /// An index of indexes.
    #[error("an index whose linux/amd64 entry is another index")]
    NestedIndex,
    /// No or too many layers.
    #[error("{count} layers; between 1 and {LAYERS_MAX} can be installed")]
    Layers {
        /// How many there are.
        count: usize,
    },
    /// A digest that is not SHA-256.
    #[error("the digest {digest:?}; only sha256 with 64 lower-case hex digits is used")]
    Digest {
        /// As it stands there.
        digest: String,
    },
    /// A whole image must be one blob.
    #[error(
        "{count} layers, but an image of kind {kind} is exactly one blob; push it as one file, or set image_kind to container"
    )]
    NotOneBlob {
        /// What the job says it is.
        kind: &'static str,
        /// How many there are.
        count: usize,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    layers: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    manifests: Option<Vec<WireDescriptor>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct WireDescriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<WirePlatform>,
}

#[derive(Deserialize)]
struct WirePlatform {
    architecture: String,
    os: String,
}

/// Reads a manifest or an index.
pub fn parse(bytes: &[u8]) -> Result<Document, ManifestError> {
    let wire: Wire = serde_json::from_slice(bytes)?;
    if let Some(manifests) = wire.manifests {
        let ours = manifests.into_iter().find(|descriptor| {
            descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
        });
        let amd64 = ours.ok_or(ManifestError::NoAmd64)?.digest;
        check_digest(&amd64)?;
        return Ok(Document::Index { amd64 });
    }
    let layers = wire.layers.unwrap_or_default();
    if layers.is_empty() || layers.len() > LAYERS_MAX {
        return Err(ManifestError::Layers { count: layers.len() });
    }
    for layer in &layers {
        check_digest(&layer.digest)?;
    }
    let unpacked = wire.annotations.and_then(|all| all.get(UNPACKED_SIZE_ANNOTATION)?.parse().ok());
    let layers = layers.into_iter().map(|layer| Layer { digest: layer.digest, size: layer.size }).collect();
    Ok(Document::Image(Manifest { layers, unpacked }))
}

impl Manifest {
    /// Stored bytes of all layers.
    pub fn stored(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// Whether its layers suit what the job says it is.
    pub fn check_kind(&self, kind: ImageKind) -> Result<(), ManifestError> {
        let kind = match kind {
            ImageKind::Container => return Ok(()),
            ImageKind::Rootfs => "rootfs",
            ImageKind::Disk => "disk",
        };
        match self.layers.len() {
            1 => Ok(()),
            count => Err(ManifestError::NotOneBlob { kind, count }),
        }
    }
}

fn check_digest(digest: &str) -> Result<(), ManifestError> {
    let good = digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    if good { Ok(()) } else { Err(ManifestError::Digest { digest: digest.chars().take(100).collect() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn layers_keep_their_order_and_sizes_add_up() {
        let text = format!(
            r#"{{"schemaVersion":2,"layers":[{{"digest":"{B}","size":3,"mediaType":"x"}},{{"digest":"{A}","size":4}}],
                "annotations":{{"io.slipway.image.unpacked-size":"99"}}}}"#
        );
        let Document::Image(found) = parse(text.as_bytes()).unwrap() else { panic!("an image") };
        assert_eq!(found.layers.iter().map(|layer| layer.digest.as_str()).collect::<Vec<_>>(), [B, A]);
        assert_eq!((found.stored(), found.unpacked), (7, Some(99)));
        found.check_kind(ImageKind::Container).unwrap();
        let error = found.check_kind(ImageKind::Rootfs).unwrap_err().to_string();
        assert!(error.starts_with("2 layers, but an image of kind rootfs"), "{error}");
    }

    #[test]
    fn an_index_gives_the_image_for_this_machine() {
        let text = format!(
            r#"{{"manifests":[{{"digest":"{A}","size":1,"platform":{{"os":"linux","architecture":"arm64"}}}},
                {{"digest":"{B}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
        );
        assert_eq!(parse(text.as_bytes()).unwrap(), Document::Index { amd64: B.into() });
        let error = parse(br#"{"manifests":[]}"#).unwrap_err();
        assert!(matches!(error, ManifestError::NoAmd64));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, says) in [
            ("", "not an image manifest"),
            ("[]", "0 layers"),
            ("{}", "0 layers"),
            (r#"{"layers":[]}"#, "0 layers"),
            (r#"{"layers":[{"digest":"sha256:../../etc","size":1}]}"#, "only sha256"),
            (r#"{"layers":[{"digest":"sha512:aa","size":1}]}"#, "only sha256"),
            (r#"{"layers":[{"digest":"sha256:aa","size":-1}]}"#, "not an image manifest"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
