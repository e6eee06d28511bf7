//! The manifest of a root filesystem or a disk: one layer, no config, and words that say what it is. Made of the
//! content alone, so that pushing the same thing twice gives the same digest.

use anyhow::Context as _;
use schema::recipe::ImageKind;
use schema::task::{DISK_ARTIFACT, IMAGE_KIND_ANNOTATION, ROOTFS_ARTIFACT, UNPACKED_SIZE_ANNOTATION};
use serde_json::json;

/// Media type of an OCI image manifest.
pub const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The config of what has none, by the OCI image specification 1.1.
pub const EMPTY_CONFIG: &[u8] = b"{}";
/// Digest of [`EMPTY_CONFIG`].
pub const EMPTY_DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
/// Media type of [`EMPTY_CONFIG`].
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// What a layer is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
    /// Nothing.
    Plain,
}

/// A root filesystem or a disk, as one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is: rootfs or disk.
    pub kind: ImageKind,
    /// How its blob is compressed.
    pub codec: Codec,
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes once decompressed.
    pub unpacked: u64,
}

/// A kind as the annotation and people say it.
pub fn word(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Rootfs => "rootfs",
        ImageKind::Container => "container",
        ImageKind::Disk => "disk",
    }
}

fn media_type(image: &Image) -> &'static str {
    match (image.kind, image.codec) {
        (ImageKind::Disk, Codec::Zstd) => "application/vnd.slipway.disk.v1.raw+zstd",
        (ImageKind::Disk, Codec::Gzip) => "application/vnd.slipway.disk.v1.raw+gzip",
        (ImageKind::Disk, Codec::Plain) => "application/vnd.slipway.disk.v1.raw",
        (_, Codec::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        (_, Codec::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (_, Codec::Plain) => "application/vnd.oci.image.layer.v1.tar",
    }
}

/// The manifest's text.
pub fn of(image: &Image) -> anyhow::Result<String> {
    let artifact = if image.kind == ImageKind::Disk { DISK_ARTIFACT } else { ROOTFS_ARTIFACT };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "artifactType": artifact,
        "config": { "mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": EMPTY_CONFIG.len() },
        "layers": [{ "mediaType": media_type(image), "digest": image.digest, "size": image.size }],
        "annotations": {
            IMAGE_KIND_ANNOTATION: word(image.kind),
            UNPACKED_SIZE_ANNOTATION: image.unpacked.to_string(),
        },
    });
    serde_json::to_string_pretty(&manifest).context("writing the manifest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn a_root_filesystem_says_what_it_is_in_every_way_others_read() {
        let image = Image {
            kind: ImageKind::Rootfs,
            codec: Codec::Zstd,
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 7,
            unpacked: 99,
        };
        insta::assert_snapshot!(of(&image).unwrap());
    }

    #[test]
    fn the_empty_config_has_the_digest_it_is_known_by() {
        assert_eq!(EMPTY_DIGEST, format!("sha256:{}", hex::encode(Sha256::digest(EMPTY_CONFIG))));
    }
}
