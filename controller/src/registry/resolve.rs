//! What a tag or digest stands for, for callers within the process.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Registry,
    digest::Digest,
    document::{Descriptor, Document},
    error::RegistryError,
    manifest::MANIFEST_LIMIT,
    name::{Reference, Repository},
};

/// A manifest and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// Its digest: what to pin, and what to pull by.
    pub digest: Digest,
    /// Its media type, exactly as pushed.
    pub media_type: String,
    /// Its own size in bytes.
    pub size: u64,
    /// `artifactType`, when it has one.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Media type of its config, when it has one.
    pub config_media_type: Option<String>,
    /// Its config, when it has one.
    pub config: Option<Descriptor>,
    /// Its layers in order (those of an image kept elsewhere last).
    pub layers: Vec<Descriptor>,
    /// The manifests of an index, in order.
    pub children: Vec<Descriptor>,
    /// What it names that is not on disk, so that pulling it would not succeed.
    pub missing: Vec<Digest>,
}

pub(super) fn resolve(
    registry: &Registry,
    repository: &Repository,
    reference: &Reference,
) -> Result<Option<Resolved>, RegistryError> {
    let Some(row) = registry.index.manifest(repository, reference)? else { return Ok(None) };
    let Some(bytes) = registry.store.read_small(&row.digest, MANIFEST_LIMIT as u64)? else { return Ok(None) };
    let document = Document::read(Some(&row.media_type), &bytes)?;
    let mut missing = Vec::new();
    for (piece, _) in document.needs() {
        if registry.store.blob_size(&piece.digest)?.is_none() {
            missing.push(piece.digest.clone());
        }
    }
    Ok(Some(Resolved {
        digest: row.digest,
        media_type: row.media_type,
        size: row.size,
        artifact_type: document.artifact_type,
        annotations: document.annotations,
        config_media_type: document.config.as_ref().map(|config| config.media_type.clone()),
        config: document.config,
        layers: document.layers.into_iter().chain(document.foreign_layers).collect(),
        children: document.children,
        missing,
    }))
}
