//! The workflow's [`Images`] over the embedded registry: a recipe's reference becomes a digest, and what an image
//! *is* is read off its manifest.
//!
//! ```text
//! says: annotation org.slipway.image.kind ─▶ artifactType ─▶ config of a container image ─▶ nothing: the recipe's word
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use schema::recipe::ImageKind;
use schema::reference::Reference;
use schema::task::{DISK_ARTIFACT, IMAGE_KIND_ANNOTATION, ROOTFS_ARTIFACT};

use super::bmcs::with_causes;
use crate::model::{JobId, PinnedImage};
use crate::registry::Registry;
use crate::registry::digest::Digest;
use crate::registry::error::RegistryError;
use crate::registry::resolve::Resolved;
use crate::workflow::{EdgeError, FoundImage, Images};

/// Config media types of images that containers are made of.
const CONTAINER_CONFIGS: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Knows the images of the embedded registry.
pub struct RegistryImages {
    registry: Arc<Registry>,
    /// `host:port` by which recipes may call this registry.
    own_hosts: Vec<String>,
}

impl RegistryImages {
    /// Over `registry`, which recipes may call by any of `own_hosts`, or by no host at all.
    pub fn new(registry: Arc<Registry>, own_hosts: Vec<String>) -> Self {
        Self { registry, own_hosts }
    }

    fn parse(&self, text: &str) -> Result<Reference, EdgeError> {
        let fault = |code, message| EdgeError { code, message, transient: false };
        let reference: Reference = text
            .parse()
            .map_err(|error| fault("image.reference", format!("image reference {text:?}: {error}")))?;
        match &reference.host {
            Some(host) if !self.own_hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) => Err(fault(
                "image.foreign",
                format!(
                    "image {text:?} is in another registry ({host}); push it to this controller with \
                     `slipway image push` and name it without a host"
                ),
            )),
            _ => Ok(reference),
        }
    }
}

#[async_trait]
impl Images for RegistryImages {
    async fn resolve(&self, reference: &str) -> Result<Option<FoundImage>, EdgeError> {
        let parsed = self.parse(reference)?;
        let found = self
            .registry
            .resolve(&parsed.repository, parsed.selector())
            .await
            .map_err(|error| edge(&error))?;
        let Some(found) = found else { return Ok(None) };
        if let Some(missing) = found.missing.first() {
            return Err(EdgeError {
                code: "image.incomplete",
                message: format!("image {reference:?} lacks {missing} in the registry; push it again"),
                transient: false,
            });
        }
        let says = says(&found).map_err(|word| EdgeError {
            code: "image.kind_unknown",
            message: format!(
                "image {reference:?} says {IMAGE_KIND_ANNOTATION}={word:?}, which is not rootfs, container or disk; \
                 push it again with `slipway image push`"
            ),
            transient: false,
        })?;
        Ok(Some(FoundImage {
            reference: reference.to_owned(),
            repository: parsed.repository,
            digest: found.digest.to_string(),
            says,
            size: found.layers.iter().map(|layer| layer.size).fold(found.size, u64::saturating_add),
        }))
    }

    async fn pin(&self, image: &PinnedImage, owner: &JobId) -> Result<(), EdgeError> {
        let digest: Digest = image.digest.parse().map_err(|error| EdgeError {
            code: "image.digest",
            message: format!("digest {:?}: {error}", image.digest),
            transient: false,
        })?;
        if self.registry.pin(&digest, owner.as_str(), None).await.map_err(|error| edge(&error))? {
            return Ok(());
        }
        Err(EdgeError {
            code: "image.not_found",
            message: format!("image {}@{digest} is gone from the registry; push it again", image.repository),
            transient: false,
        })
    }

    async fn owners(&self) -> Result<Vec<JobId>, EdgeError> {
        let pins = self.registry.pins().await.map_err(|error| edge(&error))?;
        // Pins of others are not ours to judge.
        let mut owners: Vec<JobId> = pins.iter().filter_map(|pin| pin.owner.parse().ok()).collect();
        owners.dedup(); // they come by owner
        Ok(owners)
    }

    async fn unpin(&self, owner: &JobId) -> Result<(), EdgeError> {
        self.registry.unpin(owner.as_str()).await.map_err(|error| edge(&error)).map(drop)
    }
}

/// What an image says it is; none when it says nothing. The error is a word that nobody knows.
fn says(image: &Resolved) -> Result<Option<ImageKind>, &str> {
    if let Some(said) = image.annotations.get(IMAGE_KIND_ANNOTATION) {
        return match said.as_str() {
            "rootfs" => Ok(Some(ImageKind::Rootfs)),
            "container" => Ok(Some(ImageKind::Container)),
            "disk" => Ok(Some(ImageKind::Disk)),
            other => Err(other),
        };
    }
    Ok(match image.artifact_type.as_deref() {
        Some(ROOTFS_ARTIFACT) => Some(ImageKind::Rootfs),
        Some(DISK_ARTIFACT) => Some(ImageKind::Disk),
        _ => {
            let config = image.config_media_type.as_deref();
            let is_container = config.is_some_and(|config| CONTAINER_CONFIGS.contains(&config));
            // An index of a container image for several machines has children and no config.
            (is_container || !image.children.is_empty()).then_some(ImageKind::Container)
        }
    })
}

fn edge(error: &RegistryError) -> EdgeError {
    EdgeError { code: "registry.unavailable", message: with_causes(error), transient: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn image(annotation: Option<&str>, artifact: Option<&str>, config: Option<&str>) -> Resolved {
        Resolved {
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size: 100,
            artifact_type: artifact.map(Into::into),
            annotations: annotation
                .map(|kind| BTreeMap::from([(IMAGE_KIND_ANNOTATION.to_owned(), kind.to_owned())]))
                .unwrap_or_default(),
            config_media_type: config.map(Into::into),
            config: None,
            layers: vec![],
            children: vec![],
            missing: vec![],
        }
    }

    #[test]
    fn what_an_image_is_is_read_off_its_manifest() {
        let oci = Some(CONTAINER_CONFIGS[0]);
        let table = [
            (image(Some("disk"), None, oci), Ok(Some(ImageKind::Disk))),
            (image(Some("rootfs"), Some(DISK_ARTIFACT), oci), Ok(Some(ImageKind::Rootfs))),
            (image(Some("floppy"), Some(DISK_ARTIFACT), oci), Err("floppy")),
            (image(None, Some(ROOTFS_ARTIFACT), None), Ok(Some(ImageKind::Rootfs))),
            (image(None, Some(DISK_ARTIFACT), oci), Ok(Some(ImageKind::Disk))),
            (image(None, None, oci), Ok(Some(ImageKind::Container))),
            (image(None, None, Some(CONTAINER_CONFIGS[1])), Ok(Some(ImageKind::Container))),
            (image(None, None, Some("application/vnd.oci.empty.v1+json")), Ok(None)),
            (image(None, None, None), Ok(None)),
        ];
        for (image, wanted) in table {
            assert_eq!(says(&image), wanted, "{image:?}");
        }
    }

    #[tokio::test]
    async fn only_pins_of_jobs_are_ours_to_give_up() {
        use crate::registry::digest::Algorithm;
        use crate::registry::{auth::Open, document::OCI_INDEX};
        use tower::ServiceExt as _;

        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path(), crate::registry::Options::default()).unwrap();
        let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        let push = axum::http::Request::put("/v2/a/manifests/1")
            .header("content-type", OCI_INDEX)
            .body(axum::body::Body::from(manifest.clone()))
            .unwrap();
        let router = registry.router(Arc::new(Open), None);
        assert_eq!(router.oneshot(push).await.unwrap().status(), 201);
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
        let images = RegistryImages::new(Arc::clone(&registry), Vec::new());
        let (job, other) = (JobId::fresh(), JobId::fresh());
        let image = PinnedImage { repository: "a".into(), digest: digest.to_string() };
        for owner in [&job, &other] {
            images.pin(&image, owner).await.unwrap();
        }
        assert!(registry.pin(&digest, "somebody else", None).await.unwrap());
        let mut owners = images.owners().await.unwrap();
        owners.sort();
        assert_eq!(owners, [job.clone(), other.clone()]);
        images.unpin(&other).await.unwrap();
        assert_eq!(images.owners().await.unwrap(), [job]);
    }

    #[tokio::test]
    async fn a_reference_to_another_registry_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path(), crate::registry::Options::default()).unwrap();
        let images = RegistryImages::new(registry, vec!["10.0.0.5:8443".into()]);
        let error = images.resolve("docker.io/library/debian:trixie").await.unwrap_err();
        assert_eq!(error.code, "image.foreign");
        assert!(error.message.contains("slipway image push"), "{error}");
        assert_eq!(images.resolve("10.0.0.5:8443/images/debian:trixie").await.unwrap(), None);
        assert_eq!(images.resolve("images/debian:trixie").await.unwrap(), None);
        assert_eq!(images.resolve("UPPER").await.unwrap_err().code, "image.reference");
    }
}
