//! A range server for images and a small client, for the tests of this crate.
#![allow(dead_code)] // each test binary uses its part

pub mod efi;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::net::TcpListener;

/// Serves one image at every path, by range or only whole.
pub struct ImageServer {
    pub address: SocketAddr,
    pub gets: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl ImageServer {
    pub async fn start(image: Vec<u8>) -> Self {
        Self::serve(Bytes::from(image), true).await
    }

    pub async fn without_ranges(image: Vec<u8>) -> Self {
        Self::serve(Bytes::from(image), false).await
    }

    async fn serve(image: Bytes, ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gets = Arc::new(AtomicUsize::new(0));
        let counted = gets.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (image, gets) = (image.clone(), counted.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = part(&image, &request, ranges);
                        gets.fetch_add(1, Ordering::Relaxed);
                        async move { Ok::<_, std::convert::Infallible>(answer) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, gets, task }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

impl Drop for ImageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn part(image: &Bytes, request: &Request<Incoming>, ranges: bool) -> Response<Full<Bytes>> {
    let size = image.len();
    let head = request.method() == hyper::Method::HEAD;
    let wanted = request.headers().get("range").and_then(|v| v.to_str().ok()?.strip_prefix("bytes="));
    let builder = Response::builder().header("Accept-Ranges", if ranges { "bytes" } else { "none" });
    let (builder, body) = match wanted.filter(|_| ranges).and_then(|range| range.split_once('-')) {
        None => (builder.status(200), image.clone()),
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to.parse().unwrap_or(size - 1).min(size - 1);
            let range = format!("bytes {from}-{to}/{size}");
            (builder.status(206).header("Content-Range", range), image.slice(from..=to))
        }
    };
    let builder = builder.header("Content-Length", body.len());
    builder.body(Full::new(if head { Bytes::new() } else { body })).unwrap()
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// `MessageId` without registry, of the first message.
    pub fn message_id(&self) -> &str {
        let id = self.body["error"]["@Message.ExtendedInfo"][0]["MessageId"].as_str().unwrap_or_default();
        id.rsplit('.').next().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["@Message.ExtendedInfo"][0]["Message"].as_str().unwrap_or_default()
    }
}

/// Asks a BMC as `admin`.
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(machine: &mock_redfish::Machine) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(pem) = machine.certificate() {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
        }
        Self { http: builder.build().unwrap(), base: machine.base_url().into() }
    }

    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        // admin:password
        let mut all = vec![("Authorization", "Basic YWRtaW46cGFzc3dvcmQ=")];
        all.extend_from_slice(headers);
        self.raw(method, path, &all, body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, &[], Some(body)).await
    }

    pub async fn reset(&self, kind: &str) -> Answer {
        let body = serde_json::json!({ "ResetType": kind });
        self.post("/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", body).await
    }

    pub async fn insert(&self, slot: &str, url: &str) -> Answer {
        let path = format!("/redfish/v1/Managers/1/VirtualMedia/{slot}/Actions/VirtualMedia.InsertMedia");
        self.post(&path, serde_json::json!({ "Image": url })).await
    }

    pub async fn eject(&self, slot: &str) -> Answer {
        let path = format!("/redfish/v1/Managers/1/VirtualMedia/{slot}/Actions/VirtualMedia.EjectMedia");
        self.post(&path, serde_json::json!({})).await
    }

    pub async fn boot_once(&self, target: &str) -> Answer {
        let body = serde_json::json!({"Boot": {
            "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target, "BootSourceOverrideMode": "UEFI",
        }});
        self.patch("/redfish/v1/Systems/1", body).await
    }
}
