//! One repository of the controller's registry, as whoever pushes sees it: OCI distribution, streaming. A file's
//! upload is taken up where it broke; a stream's cannot be, because nobody could give its bytes again.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, StreamExt as _};
use indicatif::ProgressBar;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::bar;
use crate::cli::client::{Client, Refusal};

/// Largest manifest that is read.
const MANIFEST_MAX: usize = 4 << 20;
/// Read and sent at a time.
const PIECE: usize = 1 << 20;
/// How long nothing may move. The registry makes a blob durable before it answers.
const STALL: Duration = Duration::from_secs(300);
/// How often an upload is taken up again.
pub const TRIES: u32 = 5;
/// Between two of them.
pub const AGAIN: Duration = Duration::from_secs(2);

/// One repository.
pub struct Repository<'a> {
    client: &'a Client,
    name: &'a str,
}

impl<'a> Repository<'a> {
    /// By its name.
    pub fn new(client: &'a Client, name: &'a str) -> Self {
        Self { client, name }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// Whether the repository has the blob.
    pub async fn has(&self, digest: &str) -> anyhow::Result<bool> {
        let request =
            self.client.request(Method::HEAD, &self.path(&format!("blobs/{digest}")))?.timeout(STALL);
        match self.client.send(request).await {
            Ok(_) => Ok(true),
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == 404) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Pushes a few bytes.
    pub async fn push_small(&self, bytes: &'static [u8], digest: &str) -> anyhow::Result<()> {
        if self.has(digest).await? {
            return Ok(());
        }
        let request =
            self.client.request(Method::POST, &self.path(&format!("blobs/uploads/?digest={digest}")))?;
        self.client.send(request.body(bytes).timeout(STALL)).await?;
        Ok(())
    }

    /// Pushes a file whose digest and size are known.
    pub async fn push_file(&self, file: &Path, digest: &str, size: u64) -> anyhow::Result<()> {
        if self.has(digest).await? {
            eprintln!("{digest} is in the registry already");
            return Ok(());
        }
        let bar = bar("sending", Some(size));
        let location = self.begin().await?;
        let mut tries = 1;
        let mut offset = 0;
        loop {
            bar.set_position(offset);
            let sent = self.send_rest(file, &location, offset, size, &bar).await;
            match sent {
                Ok(()) => break,
                Err(error) if tries >= TRIES || !heals(&error) => return Err(error),
                Err(error) => {
                    bar.suspend(|| eprintln!("slipway: {error:#}; going on where it broke"));
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                    offset = self.held(&location).await?;
                }
            }
        }
        self.finish(&location, digest).await?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Pushes a stream; `digest` is asked for when it ended.
    pub async fn push_stream(
        &self,
        stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        bar: &ProgressBar,
        digest: impl Future<Output = anyhow::Result<String>>,
    ) -> anyhow::Result<String> {
        let location = self.begin().await?;
        let moved = Moved::new(bar);
        let body = Body::wrap_stream(moved.watch(stream));
        let request = self.client.request(Method::PATCH, &location)?;
        let sent = moved.send(self.client, octets(request).body(body)).await;
        // What the stream itself met is worth more than the connection that broke of it.
        let digest = match (digest.await, sent) {
            (Ok(digest), Ok(_)) => digest,
            (Ok(_), Err(error)) | (Err(error), _) => {
                self.cancel(&location).await;
                return Err(error);
            }
        };
        self.finish(&location, &digest).await?;
        Ok(digest)
    }

    /// Puts a manifest under a tag or digest; its digest.
    pub async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<String> {
        let request = self
            .client
            .request(Method::PUT, &self.path(&format!("manifests/{reference}")))?
            .header(header::CONTENT_TYPE, media_type)
            .body(bytes)
            .timeout(STALL);
        let response = self.client.send(request).await?;
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        Ok(digest.context("the registry does not say under which digest it keeps the manifest")?.to_owned())
    }

    /// A manifest's media type and bytes.
    pub async fn manifest(&self, reference: &str) -> anyhow::Result<(String, Bytes)> {
        let request = self.client.request(Method::GET, &self.path(&format!("manifests/{reference}")))?;
        let mut response = self.client.send(request.timeout(STALL)).await?;
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let media_type = media_type.context("the registry does not say what the manifest is")?.to_owned();
        let mut bytes = BytesMut::new();
        while let Some(piece) = piece(&mut response).await? {
            bytes.extend_from_slice(&piece);
            anyhow::ensure!(bytes.len() <= MANIFEST_MAX, "the manifest is larger than {MANIFEST_MAX} bytes");
        }
        Ok((media_type, bytes.freeze()))
    }

    /// A blob from a byte on.
    pub async fn blob(&self, digest: &str, offset: u64) -> anyhow::Result<Response> {
        let mut request = self.client.request(Method::GET, &self.path(&format!("blobs/{digest}")))?;
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        let response = tokio::time::timeout(STALL, self.client.send(request))
            .await
            .with_context(|| format!("no answer within {} s", STALL.as_secs()))??;
        let expected = if offset > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        anyhow::ensure!(response.status() == expected, "the registry answers {}", response.status());
        Ok(response)
    }

    /// Opens an upload; where it is.
    async fn begin(&self) -> anyhow::Result<String> {
        let request = self.client.request(Method::POST, &self.path("blobs/uploads/"))?.timeout(STALL);
        location(&self.client.send(request).await?)
    }

    /// How much of an upload the registry holds.
    async fn held(&self, location: &str) -> anyhow::Result<u64> {
        let response = self.client.send(self.client.request(Method::GET, location)?.timeout(STALL)).await?;
        let range =
            response.headers().get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or("0-0");
        let last: u64 = range
            .split_once('-')
            .and_then(|(_, last)| last.parse().ok())
            .with_context(|| format!("the registry says it holds {range:?}"))?;
        // `0-0` is one byte or none; none is the one that can be sent again without a gap or a refusal of ours.
        Ok(if last == 0 { 0 } else { last + 1 })
    }

    async fn send_rest(
        &self,
        path: &Path,
        location: &str,
        offset: u64,
        size: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        if offset == size {
            return Ok(());
        }
        let mut file = tokio::fs::File::open(path).await.context("opening it")?;
        file.seek(SeekFrom::Start(offset)).await.context("reading it")?;
        let moved = Moved::new(bar);
        let rest = ReaderStream::with_capacity(file.take(size - offset), PIECE);
        let request = octets(self.client.request(Method::PATCH, location)?)
            .header(header::CONTENT_RANGE, format!("{offset}-{}", size - 1))
            .header(header::CONTENT_LENGTH, size - offset)
            .body(Body::wrap_stream(moved.watch(rest)));
        moved.send(self.client, request).await.map(drop)
    }

    async fn finish(&self, location: &str, digest: &str) -> anyhow::Result<()> {
        let mark = if location.contains('?') { '&' } else { '?' };
        let request = self.client.request(Method::PUT, &format!("{location}{mark}digest={digest}"))?;
        let response = self.client.send(request.timeout(STALL)).await?;
        if response.status() != StatusCode::CREATED {
            bail!("the registry answered {} where it should have kept the blob", response.status());
        }
        Ok(())
    }

    async fn cancel(&self, location: &str) {
        if let Ok(request) = self.client.request(Method::DELETE, location) {
            // It expires by itself if this is not heard.
            let _ = self.client.send(request.timeout(AGAIN)).await;
        }
    }
}

fn octets(request: RequestBuilder) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, "application/octet-stream")
}

fn location(response: &Response) -> anyhow::Result<String> {
    let value = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    Ok(value.context("the registry does not say where the upload is")?.to_owned())
}

/// The next bytes of an answer, which must not stop coming.
pub async fn piece(response: &mut Response) -> anyhow::Result<Option<Bytes>> {
    tokio::time::timeout(STALL, response.chunk())
        .await
        .with_context(|| format!("nothing moved for {} s", STALL.as_secs()))?
        .map_err(reqwest::Error::without_url)
        .context("the answer broke off")
}

/// Whether the same again may go well: the connection broke, or the registry was not able for the moment.
pub fn heals(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Refusal>()
        .is_none_or(|refusal| matches!(refusal.status, 416 | 429 | 500 | 502..=504))
}

/// Notices when nothing moves any more.
struct Moved {
    bytes: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Moved {
    fn new(bar: &ProgressBar) -> Self {
        Self { bytes: Arc::default(), bar: bar.clone() }
    }

    fn watch<S>(&self, stream: S) -> impl Stream<Item = std::io::Result<Bytes>> + Send + use<S>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let (bytes, bar) = (Arc::clone(&self.bytes), self.bar.clone());
        stream.inspect(move |piece| {
            if let Ok(piece) = piece {
                bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                bar.inc(piece.len() as u64);
            }
        })
    }

    /// Sends a request whose body is watched.
    async fn send(&self, client: &Client, request: RequestBuilder) -> anyhow::Result<Response> {
        let mut seen = 0;
        let sending = client.send(request);
        tokio::pin!(sending);
        loop {
            if let Ok(answer) = tokio::time::timeout(STALL, &mut sending).await {
                return answer;
            }
            let now = self.bytes.load(Ordering::Relaxed);
            if now == seen {
                bail!("nothing moved for {} s", STALL.as_secs());
            }
            seen = now;
        }
    }
}
