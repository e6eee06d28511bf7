//! Whole answers, every way to push a blob, and a connection that says exactly what it is told to.

use std::time::Duration;

use controller::registry::digest::{Algorithm, Digest};
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::registry_support::{Rig, header};

/// The `Docker-Content-Digest` header.
pub const DIGEST: &str = "docker-content-digest";
/// How long a raw connection waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// A header's text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of the first error; also checks that the body has the form that the specification demands.
    pub fn code(&self) -> String {
        let errors = self.json()["errors"].as_array().unwrap().clone();
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty())));
        errors[0]["code"].as_str().unwrap().to_owned()
    }
}

/// Sends a request with headers and a body.
pub async fn ask(rig: &Rig, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = rig.request(method, path).body(body.to_vec());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.unwrap()).await
}

pub async fn get(rig: &Rig, path: &str) -> Answer {
    Answer::of(rig.get(path).await).await
}

/// The ways a blob can come.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// end-4b
    Post,
    /// end-4a, end-6
    PostPut,
    /// end-4a, end-5 with Content-Range, end-6 with the last chunk
    ChunksAndPut,
    /// end-4a, end-5 with Content-Range for every chunk, end-6 without a body
    Chunks,
    /// end-4a, end-5 without Content-Range and without Content-Length, end-6 without a body
    Stream,
}

impl Way {
    pub const ALL: [Self; 5] = [Self::Post, Self::PostPut, Self::ChunksAndPut, Self::Chunks, Self::Stream];

    /// Pushes a blob this way under a digest that may be wrong; the last answer.
    pub async fn push(self, rig: &Rig, repository: &str, digest: &Digest, bytes: &[u8]) -> Answer {
        let middle = bytes.len() / 2;
        let response = match self {
            Self::Post => {
                let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                rig.request(Method::POST, &path).body(bytes.to_vec()).send().await.unwrap()
            }
            Self::PostPut => rig.close(&rig.begin(repository).await, &digest.to_string(), bytes).await,
            Self::ChunksAndPut => {
                let location =
                    next(&rig.chunk(&rig.begin(repository).await, Some(0), &bytes[..middle]).await);
                let path = format!("{location}?digest={digest}");
                let range = format!("{middle}-{}", bytes.len() - 1);
                let last = rig.request(Method::PUT, &path).header("content-range", range);
                last.body(bytes[middle..].to_vec()).send().await.unwrap()
            }
            Self::Chunks => {
                let location =
                    next(&rig.chunk(&rig.begin(repository).await, Some(0), &bytes[..middle]).await);
                let location = next(&rig.chunk(&location, Some(middle), &bytes[middle..]).await);
                rig.close(&location, &digest.to_string(), b"").await
            }
            Self::Stream => {
                let pieces: Vec<_> =
                    bytes.chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
                let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
                let location = rig.begin(repository).await;
                let sent = rig.request(Method::PATCH, &location).body(body).send().await.unwrap();
                rig.close(&next(&sent), &digest.to_string(), b"").await
            }
        };
        Answer::of(response).await
    }
}

/// Where the next chunk goes.
fn next(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    header(response, "location")
}

/// Content that is not the same anywhere, of any length.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|number| u8::try_from((number * 7 + number / 251) % 256).unwrap()).collect()
}

pub fn both(bytes: &[u8]) -> [Digest; 2] {
    Algorithm::ALL.map(|algorithm| Digest::of(algorithm, bytes))
}

/// Pushes a manifest that must be taken; the answer.
pub async fn put(rig: &Rig, repository: &str, reference: &str, media_type: &str, body: &str) -> Answer {
    let answer = Answer::of(rig.put_manifest(repository, reference, media_type, body).await).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    answer
}

/// A connection for requests that no HTTP library would send.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub async fn open(rig: &Rig) -> Self {
        Self(BufReader::new(TcpStream::connect(rig.address).await.unwrap()))
    }

    /// Says `<method> <target>` with more header lines (each ends in CRLF) and a body.
    pub async fn say(&mut self, method: &str, target: &[u8], more: &str, body: &[u8]) {
        let mut request = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: registry.test\r\n"].concat();
        request.extend_from_slice(more.as_bytes());
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        // A server that has answered and hung up already cannot be written to; its answer can be read all the same.
        drop(self.0.write_all(&request).await);
    }

    /// More of a body.
    pub async fn add(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next answer; none when the server has hung up.
    pub async fn hear(&mut self, to_head: bool) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read(to_head)).await.expect("an answer in time")
    }

    async fn read(&mut self, to_head: bool) -> Option<Answer> {
        let mut status = None;
        let mut headers = HeaderMap::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or_default() == 0 {
                return None;
            }
            let line = line.trim_end();
            match (status, line.split_once(": ")) {
                (None, _) => status = Some(line.split(' ').nth(1)?.parse().unwrap()),
                (Some(_), Some((name, value))) => {
                    headers.append(
                        reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                        value.parse().unwrap(),
                    );
                }
                (Some(_), None) => break,
            }
        }
        let status = status?;
        let length =
            headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let mut body = vec![0; if to_head || status == 304 { 0 } else { length }];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Answer { status, headers, body })
    }
}
