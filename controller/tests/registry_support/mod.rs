//! A registry on a loopback port with a client that speaks raw HTTP to it, for the registry tests.
#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

use std::{net::SocketAddr, path::Path, sync::Arc};

use controller::registry::{
    Options, Registry,
    auth::{Authorizer, Open, Realm},
    digest::{Algorithm, Digest},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry. Dropping it stops the listener and removes the folder, when it owns one.
pub struct Rig {
    pub registry: Arc<Registry>,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
    folder: Option<tempfile::TempDir>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub async fn rig() -> Rig {
    rig_with(options(), Arc::new(Open)).await
}

pub fn options() -> Options {
    Options { reserve: 0, ..Options::default() }
}

pub async fn rig_with(options: Options, authorizer: Arc<dyn Authorizer>) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig_at(folder.path(), options, authorizer).await;
    rig.folder = Some(folder);
    rig
}

pub async fn rig_at(folder: &Path, options: Options, authorizer: Arc<dyn Authorizer>) -> Rig {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig_on(listener, folder, options, authorizer, None)
}

/// One that sends its clients to its own token endpoint.
pub async fn rig_with_realm(authorizer: Arc<dyn Authorizer>) -> Rig {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let realm = Some(Realm { base, names: Vec::new() });
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig_on(listener, folder.path(), options(), authorizer, realm);
    rig.folder = Some(folder);
    rig
}

fn rig_on(
    listener: tokio::net::TcpListener,
    folder: &Path,
    options: Options,
    authorizer: Arc<dyn Authorizer>,
    realm: Option<Realm>,
) -> Rig {
    drop(rustls::crypto::ring::default_provider().install_default());
    let registry = Registry::open(folder, options).unwrap();
    let address = listener.local_addr().unwrap();
    let router = registry.router(authorizer, realm);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let client =
        reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).no_proxy().build().unwrap();
    Rig { registry, address, client, server, folder: None }
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

impl Rig {
    /// A request; `path` starts with `/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn send(&self, method: Method, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path).await
    }

    pub async fn head(&self, path: &str) -> Response {
        self.send(Method::HEAD, path).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(Method::DELETE, path).await
    }

    /// Begins an upload; its path.
    pub async fn begin(&self, repository: &str) -> String {
        let response = self.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/")).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        header(&response, "location")
    }

    /// Sends a chunk, with a Content-Range when `first` is given.
    pub async fn chunk(&self, location: &str, first: Option<usize>, bytes: &[u8]) -> Response {
        let mut request = self.request(Method::PATCH, location).body(bytes.to_vec());
        if let Some(first) = first {
            request = request.header("content-range", format!("{first}-{}", first + bytes.len() - 1));
        }
        request.send().await.unwrap()
    }

    pub async fn close(&self, location: &str, digest: &str, bytes: &[u8]) -> Response {
        self.request(Method::PUT, &format!("{location}?digest={digest}"))
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let response = self.request(Method::POST, &path).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        digest
    }

    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        body: &str,
    ) -> Response {
        self.request(Method::PUT, &format!("/v2/{repository}/manifests/{reference}"))
            .header("content-type", media_type)
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }

    /// Pushes an image with a config and one layer; its manifest's digest and text.
    pub async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> (Digest, String) {
        let config = self.push_blob(repository, b"{}").await;
        let digest = self.push_blob(repository, layer).await;
        let manifest = image(&config, &[(&digest, layer.len())], None).to_string();
        let response = self.put_manifest(repository, tag, MANIFEST, &manifest).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{}", response.text().await.unwrap());
        (sha256(manifest.as_bytes()), manifest)
    }
}

/// An OCI image manifest whose config is `{}`.
pub fn image(config: &Digest, layers: &[(&Digest, usize)], subject: Option<&Digest>) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(
            |(digest, size)| json!({"mediaType": "application/octet-stream", "digest": digest, "size": size}),
        )
        .collect();
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.slipway.test.config", "digest": config, "size": 2},
        "layers": layers,
    });
    if let Some(subject) = subject {
        value["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    }
    value
}

/// A header's text; empty when it is absent.
pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Checks status and OCI error code, and hands out the message.
pub async fn refused(response: Response, status: u16, code: &str) -> String {
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    if code.is_empty() {
        return text; // to HEAD
    }
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(body["errors"][0]["code"], code, "{text}");
    body["errors"][0]["message"].as_str().unwrap().to_owned()
}
