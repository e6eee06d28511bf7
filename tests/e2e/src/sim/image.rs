//! A small image pushed into the embedded registry by plain HTTP, as any client does.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use schema::task::{IMAGE_KIND_ANNOTATION, ROOTFS_ARTIFACT};
use serde_json::json;

use super::api::Api;
use super::wire::sha256;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// As a recipe names it.
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// `sha256:…` of its only layer.
    pub layer: String,
}

/// Pushes `layer` as a rootfs image.
pub async fn push_image(api: &Api, repository: &str, tag: &str, layer: &[u8]) -> Result<Pushed> {
    push_blob(api, repository, b"{}").await?;
    push_blob(api, repository, layer).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ROOTFS_ARTIFACT,
        "annotations": { IMAGE_KIND_ANNOTATION: "rootfs" },
        "config": { "mediaType": EMPTY, "digest": sha256(b"{}"), "size": 2 },
        "layers": [{ "mediaType": LAYER, "digest": sha256(layer), "size": layer.len() }],
    })
    .to_string();
    let path = format!("/v2/{repository}/manifests/{tag}");
    let headers = [("content-type", MANIFEST)];
    let answer = api.send(Method::PUT, &path, &headers, Some(manifest.clone().into_bytes())).await?;
    ensure!(answer.status == 201, "pushing the manifest: {} {}", answer.status, answer.text);
    let shown = answer.headers.get("docker-content-digest").context("no digest in the answer")?.to_str()?;
    let digest = sha256(manifest.as_bytes());
    ensure!(shown == digest, "the registry took {shown} for {digest}");
    Ok(Pushed { reference: format!("{repository}:{tag}"), digest, layer: sha256(layer) })
}

async fn push_blob(api: &Api, repository: &str, bytes: &[u8]) -> Result<()> {
    let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(bytes));
    let headers = [("content-type", "application/octet-stream")];
    let answer = api.send(Method::POST, &path, &headers, Some(bytes.to_vec())).await?;
    ensure!(answer.status == 201, "pushing a blob: {} {}", answer.status, answer.text);
    Ok(())
}
