//! Push and pull: every kind of manifest that clients make, with all that belongs to it, under both algorithms. Each is
//! pushed by digest and by tag and comes back exactly; the specification stores bytes, whatever they mean.

use controller::registry::digest::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::{
    registry_support::{INDEX, MANIFEST, Rig, header, refused, rig},
    support::{DIGEST, Way, get, put},
};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// One repository, one algorithm.
struct Bench<'a> {
    rig: &'a Rig,
    algorithm: Algorithm,
}

impl Bench<'_> {
    /// Pushes a blob; its descriptor.
    async fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(self.algorithm, bytes);
        assert_eq!(Way::Post.push(self.rig, "a", &digest, bytes).await.status, 201);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest by digest and by tag and pulls it by both; its descriptor.
    async fn manifest(&self, name: &str, media_type: &str, value: &Value) -> Value {
        let text = value.to_string();
        let digest = Digest::of(self.algorithm, text.as_bytes());
        let tagged = format!("{name}?digest={digest}");
        for reference in [digest.to_string(), tagged] {
            put(self.rig, "a", &reference, media_type, &text).await;
        }
        for reference in [digest.to_string(), name.to_owned()] {
            let pulled = get(self.rig, &format!("/v2/a/manifests/{reference}")).await;
            assert_eq!((pulled.status, pulled.header("content-type")), (200, media_type), "{name}");
            assert_eq!(pulled.header(DIGEST), digest.to_string(), "{name}");
            assert_eq!(pulled.body, text.as_bytes(), "{name}");
        }
        json!({"mediaType": media_type, "digest": digest, "size": text.len()})
    }

    async fn image(&self, name: &str, media_type: &str, layers: Value) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", name.as_bytes()).await;
        let value = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        self.manifest(name, media_type, &value).await
    }
}

fn index(media_type: &str, children: &Value) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children})
}

#[tokio::test]
async fn images_and_indexes_of_every_shape_are_taken() {
    for algorithm in Algorithm::ALL {
        let rig = rig().await;
        let bench = Bench { rig: &rig, algorithm };
        let layer = bench.blob("application/vnd.oci.image.layer.v1.tar+gzip", b"layer").await;
        let zstd = bench.blob("application/vnd.oci.image.layer.v1.tar+zstd", b"zstd layer").await;
        let first = bench.image("image", MANIFEST, json!([layer, zstd])).await;
        let second = bench.image("same-layer-twice", MANIFEST, json!([layer, layer])).await;
        bench.image("no-layers", MANIFEST, json!([])).await;
        bench.image("layers-that-go-writes", MANIFEST, Value::Null).await;
        let docker = bench.image("docker", DOCKER, json!([layer])).await;
        bench.manifest("docker-list", DOCKER_LIST, &index(DOCKER_LIST, &json!([docker]))).await;
        let inner = bench.manifest("index", INDEX, &index(INDEX, &json!([first, second, docker]))).await;
        let nested = bench.manifest("nested-index", INDEX, &index(INDEX, &json!([inner, first]))).await;
        bench.manifest("nested-deeper", INDEX, &index(INDEX, &json!([nested]))).await;
        bench.manifest("empty-index", INDEX, &index(INDEX, &json!([]))).await;
        let mut platform = first;
        platform["platform"] = json!({"os": "linux", "architecture": "amd64"});
        bench.manifest("platforms", INDEX, &index(INDEX, &json!([platform]))).await;
    }
}

#[tokio::test]
async fn artifacts_of_every_shape_are_taken() {
    for algorithm in Algorithm::ALL {
        let rig = rig().await;
        let bench = Bench { rig: &rig, algorithm };
        let empty = bench.blob(EMPTY, b"{}").await;
        let blob = bench.blob("application/vnd.example.v1", b"sbom").await;
        let artifact = |layers: Value| {
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.v1",
                   "config": empty, "layers": layers})
        };
        let first = bench.manifest("artifact", MANIFEST, &artifact(json!([blob]))).await;
        bench.manifest("artifact-without-content", MANIFEST, &artifact(json!([empty]))).await;
        let mut list = index(INDEX, &json!([first]));
        list["artifactType"] = json!("application/vnd.example.list");
        bench.manifest("artifact-index", INDEX, &list).await;
        let old = json!({"mediaType": ARTIFACT, "artifactType": "x/y", "blobs": [blob], "subject": first});
        bench.manifest("artifact-manifest-without-config", ARTIFACT, &old).await;
        bench.manifest("nobody-knows-it", "application/vnd.nobody.v9+json", &json!({"what": ["ever"]})).await;
    }
}

/// Fields that the specification does not know, and those that it knows but a registry does not need, are kept.
#[tokio::test]
async fn unknown_fields_and_embedded_data_are_kept() {
    for algorithm in Algorithm::ALL {
        let rig = rig().await;
        let bench = Bench { rig: &rig, algorithm };
        let mut config = bench.blob("application/vnd.oci.image.config.v1+json", b"{}").await;
        config["data"] = json!("e30=");
        config["org.example.custom"] = json!([{"deep": null}]);
        let mut value = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        value["org.example.custom"] = json!({"a": 1.5, "b": [true, null]});
        value["annotations"] = json!({"org.opencontainers.image.title": "ä\u{1f980}\n\"", "": ""});
        bench.manifest("custom", MANIFEST, &value).await;
    }
}

/// Layers that may not be distributed are named, not stored; a registry that had them pushed would break the law.
#[tokio::test]
async fn layers_that_are_kept_elsewhere_need_not_be_here() {
    let rig = rig().await;
    let bench = Bench { rig: &rig, algorithm: Algorithm::Sha256 };
    let here = bench.blob("application/vnd.oci.image.layer.v1.tar", b"here").await;
    let elsewhere = |number: u8, media_type: &str, urls: Value| {
        let digest = Digest::of(Algorithm::Sha256, &[number]);
        json!({"mediaType": media_type, "digest": digest, "size": 123_456, "urls": urls})
    };
    let url = json!(["https://store.example.com/blob"]);
    let layers = json!([
        elsewhere(1, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", url.clone()),
        elsewhere(2, "application/vnd.oci.image.layer.nondistributable.v1.tar", json!([])),
        elsewhere(3, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", url.clone()),
        elsewhere(4, "application/vnd.oci.image.layer.v1.tar", url),
        here,
    ]);
    bench.image("windows", MANIFEST, layers).await;
    let missing = elsewhere(5, "application/vnd.oci.image.layer.v1.tar", json!([]));
    let value =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": here, "layers": [missing]}).to_string();
    refused(rig.put_manifest("a", "sparse", MANIFEST, &value).await, 404, "MANIFEST_BLOB_UNKNOWN").await;
}

/// end-7 MUST: a subject need not be there, and `OCI-Subject` says that it was understood; without one it is absent.
#[tokio::test]
async fn a_subject_is_acknowledged_whether_it_is_there_or_not() {
    let rig = rig().await;
    for algorithm in Algorithm::ALL {
        let bench = Bench { rig: &rig, algorithm };
        let config = bench.blob(EMPTY, b"{}").await;
        let subject = Digest::of(algorithm, b"never pushed");
        let subject = json!({"mediaType": MANIFEST, "digest": subject, "size": 123});
        let image = json!({"schemaVersion": 2, "config": config, "layers": [], "subject": subject});
        let list = json!({"schemaVersion": 2, "manifests": [], "subject": subject});
        for (media_type, value) in [(MANIFEST, image), (INDEX, list)] {
            let answer = put(&rig, "a", "with", media_type, &value.to_string()).await;
            assert_eq!(answer.header("oci-subject"), subject["digest"]);
        }
    }
    let plain = rig.put_manifest("a", "without", INDEX, &index(INDEX, &json!([])).to_string()).await;
    assert_eq!(header(&plain, "oci-subject"), "");
}
