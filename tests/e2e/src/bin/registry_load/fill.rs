//! Filling a registry with what is read later: a large blob with a manifest of 4 KiB, many tags, many repositories.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Access;
use crate::http::{Connection, Server};
use crate::push;

/// Media types.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Size of the manifest in bytes.
const MANIFEST_SIZE: usize = 4096;
/// Tags set by one request, as many as the registry takes.
const TAGS_AT_ONCE: usize = 50;
/// Connections that make repositories.
const CLIENTS: usize = 8;

/// What is filled in.
#[derive(clap::Args)]
pub struct Options {
    /// The registry, such as `http://127.0.0.1:5000`.
    url: String,
    #[command(flatten)]
    access: Access,
    /// The repository, or the prefix of many.
    #[arg(long)]
    repository: String,
    /// A blob of so many MiB and a manifest `filled` that names it.
    #[arg(long, requires = "manifest")]
    mib: Option<usize>,
    /// Where that manifest is written.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// So many tags, `tag-00000` and on.
    #[arg(long)]
    tags: Option<usize>,
    /// So many repositories, `<repository>/00000` and on.
    #[arg(long)]
    repositories: Option<usize>,
}

/// Fills.
pub fn run(options: &Options) -> Result<Value> {
    let (server, _) = Server::of(&options.url, &options.access)?;
    let mut connection = server.connect()?;
    let repository = &options.repository;
    if let (Some(mib), Some(path)) = (options.mib, &options.manifest) {
        // The same content in every registry.
        let (content, digest) = push::Content::new(7).hashed(mib);
        push::push(&server, repository, mib, None, content, &digest)?;
        let config = hex::encode(Sha256::digest(b"{}"));
        push::small(&mut connection, &server, repository, b"{}", &config)?;
        let manifest = manifest(&digest, mib << 20, &config);
        put(&mut connection, &server, &format!("{repository}/manifests/filled"), MANIFEST, &manifest)?;
        fs::write(path, manifest)?;
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    for first in (0..options.tags.unwrap_or_default()).step_by(TAGS_AT_ONCE) {
        let tags: Vec<_> =
            (first..first + TAGS_AT_ONCE).map(|number| format!("tag=tag-{number:05}")).collect();
        let digest = hex::encode(Sha256::digest(&index));
        let path = format!("{repository}/manifests/sha256:{digest}?{}", tags.join("&"));
        put(&mut connection, &server, &path, INDEX, &index)?;
    }
    let repositories = options.repositories.unwrap_or_default();
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (server, index) = (&server, &index);
                scope.spawn(move || -> Result<()> {
                    let mut connection = server.connect()?;
                    (client..repositories).step_by(CLIENTS).try_for_each(|number| {
                        let path = format!("{repository}/{number:05}/manifests/latest");
                        put(&mut connection, server, &path, INDEX, index)
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    Ok(json!({}))
}

/// A manifest of one layer, filled up with an annotation.
fn manifest(layer: &str, size: usize, config: &str) -> String {
    let with = |padding: &str| {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": format!("sha256:{config}") },
            "layers": [{ "mediaType": "application/octet-stream", "size": size, "digest": format!("sha256:{layer}") }],
            "annotations": { "padding": padding },
        })
        .to_string()
    };
    with(&"x".repeat(MANIFEST_SIZE.saturating_sub(with("").len())))
}

fn put(connection: &mut Connection, server: &Server, path: &str, kind: &str, body: &str) -> Result<()> {
    let more = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    connection.send(server.request("PUT", &format!("/v2/{path}"), &more).as_bytes())?;
    connection.send(body.as_bytes())?;
    let head = connection.head()?;
    connection.rest(head.length)?;
    ensure!(head.status == 201, "the server answered {} to {path}", head.status);
    Ok(())
}
