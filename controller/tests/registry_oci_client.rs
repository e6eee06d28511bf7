//! `oci-client`, the library that Rust programs speak to registries with: logged in by token, pushing in PATCHes of 4 MiB.

#![allow(clippy::unwrap_used)] // helpers of tests

mod registry_support;

use std::sync::Arc;

use async_trait::async_trait;
use controller::registry::auth::{Access, Authorizer, Credentials, Identity, Verdict};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::OciManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use registry_support::{Rig, rig_with_realm, sha256};
use serde_json::json;

/// A layer packed with zstd, by name; what is in it does not matter to a registry.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// `ci` with its password, and nobody else.
struct Site;

#[async_trait]
impl Authorizer for Site {
    async fn authorize(&self, credentials: &Credentials, _: &Access) -> Verdict {
        match credentials {
            Credentials::Basic { user, password } if user == "ci" && password.as_str() == "s3cret" => {
                Verdict::Allowed(Identity("ci".to_owned()))
            }
            _ => Verdict::Challenge,
        }
    }
}

fn client() -> Client {
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
}

fn at(rig: &Rig, name: &str) -> Reference {
    format!("{}/{name}", rig.address).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn oci_client_pushes_in_pieces_pulls_lists_mounts_and_finds_referrers() {
    let rig = rig_with_realm(Arc::new(Site)).await;
    let auth = RegistryAuth::Basic("ci".to_owned(), "s3cret".to_owned());
    let content: Vec<u8> =
        (0..21_000_000_u64).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let layer = ImageLayer::new(content.clone(), LAYER.to_owned(), None);
    let config = Config::new(b"{}".to_vec(), CONFIG.to_owned(), None);
    let (there, client) = (at(&rig, "os/library:1"), client());
    client.push(&there, &[layer], config, &auth, None).await.unwrap();

    let pulled = client.pull(&there, &auth, vec![LAYER]).await.unwrap();
    assert!(pulled.layers[0].data == content && pulled.layers[0].media_type == LAYER);
    let held = rig.registry.resolve("os/library", "1").await.unwrap().unwrap();
    assert_eq!(pulled.digest, Some(held.digest.to_string()));
    assert_eq!(client.list_tags(&there, &auth, None, None).await.unwrap().tags, ["1"]);

    let copy = at(&rig, "os/copy:1");
    client.mount_blob(&copy, &there, &held.layers[0].digest.to_string()).await.unwrap();
    client.mount_blob(&copy, &there, &sha256(b"{}").to_string()).await.unwrap();
    let (manifest, digest) = client.pull_manifest(&there, &auth).await.unwrap();
    client.push_manifest(&copy, &manifest).await.unwrap();
    let copied = rig.registry.resolve("os/copy", "1").await.unwrap().unwrap();
    assert!(copied.digest.to_string() == digest && copied.missing.is_empty());

    let bill: OciManifest = serde_json::from_value(json!({
        "schemaVersion": 2,
        "mediaType": registry_support::MANIFEST,
        "artifactType": "application/spdx+json",
        "config": { "mediaType": CONFIG, "size": 2, "digest": sha256(b"{}") },
        "layers": [],
        "subject": { "mediaType": registry_support::MANIFEST, "size": held.size, "digest": held.digest },
    }))
    .unwrap();
    client.push_manifest(&at(&rig, "os/library:bill"), &bill).await.unwrap();
    let of = there.clone_with_digest(digest);
    for (kind, count) in [(None, 1), (Some("application/spdx+json"), 1), (Some("other"), 0)] {
        assert_eq!(client.pull_referrers(&of, kind).await.unwrap().manifests.len(), count, "{kind:?}");
    }
    let stranger = RegistryAuth::Basic("ci".to_owned(), "guess".to_owned());
    assert!(self::client().pull(&there, &stranger, vec![LAYER]).await.is_err());
}
