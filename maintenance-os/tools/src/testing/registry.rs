//! A registry small enough to be seen through: one thread, paths and bytes, HEAD, GET and ranges.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use schema::recipe::ImageKind;
use schema::task::{TaskImage, TaskJob};
use sha2::{Digest as _, Sha256};

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The registry; ends with the test process.
#[derive(Clone)]
pub struct TinyRegistry {
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// Path to bytes.
    pub files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    /// `METHOD path range` of each request.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// The next answer with a body stops after this many bytes, once.
    pub break_off: Arc<Mutex<Option<usize>>>,
}

impl TinyRegistry {
    /// Starts on a free port of the loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            files: Arc::default(),
            requests: Arc::default(),
            break_off: Arc::default(),
        };
        let served = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.answer(stream));
            }
        });
        registry
    }

    /// Starts with TLS, with that certificate.
    pub fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = Self::start();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let registry = Self { base, ..plain };
        let served = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let (served, stream) = (served.clone(), rustls::StreamOwned::new(connection, stream));
                std::thread::spawn(move || served.answer(stream));
            }
        });
        registry
    }

    fn answer<S: std::io::Read + std::io::Write>(&self, stream: S) {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        if reader.read_line(&mut first).is_err() {
            // A client that does not trust us says goodbye instead of asking.
            return;
        }
        let mut words = first.split_whitespace();
        let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
        let (mut range, mut allowed) = (None, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() <= 2 {
                break;
            }
            let lower = line.to_lowercase();
            if let Some(from) = lower.strip_prefix("range: bytes=") {
                range = from.trim().trim_end_matches('-').parse::<usize>().ok();
            }
            allowed |= line.trim().ends_with("Bearer session-token");
        }
        let note = range.map_or(format!("{method} {path}"), |from| format!("{method} {path} from {from}"));
        self.requests.lock().unwrap().push(note);
        let found = self.files.lock().unwrap().get(&path).cloned();
        let (status, bytes) = match found {
            _ if !allowed => ("401 Unauthorized", Vec::new()),
            None => ("404 Not Found", Vec::new()),
            Some(bytes) => match range {
                None => ("200 OK", bytes),
                Some(from) => ("206 Partial Content", bytes[from.min(bytes.len())..].to_vec()),
            },
        };
        let mut stream = reader.into_inner();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len())
            .unwrap();
        if method == "GET" {
            let mut until = bytes.len();
            if path.contains("/blobs/")
                && let Some(limit) = self.break_off.lock().unwrap().take()
            {
                until = until.min(limit);
            }
            // The client may have seen enough.
            let _ = stream.write_all(&bytes[..until]);
        }
    }

    /// Puts a blob in and returns its digest.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.files.lock().unwrap().insert(format!("/v2/images/debian/blobs/{digest}"), bytes.to_vec());
        digest
    }

    /// Puts an image of those layers in and returns a job for it.
    pub fn job(&self, kind: ImageKind, layers: &[&[u8]]) -> TaskJob {
        let layers: Vec<_> = layers
            .iter()
            .map(|bytes| serde_json::json!({"digest": self.blob(bytes), "size": bytes.len()}))
            .collect();
        let manifest = serde_json::json!({"schemaVersion": 2, "layers": layers}).to_string().into_bytes();
        let digest = digest(&manifest);
        self.files.lock().unwrap().insert(format!("/v2/images/debian/manifests/{digest}"), manifest);
        let job = super::job(kind, &self.base);
        let image = job.image.clone().map(|image| TaskImage { digest, ..image });
        TaskJob { image, ..job }
    }

    /// Damages the last byte of a blob.
    pub fn damage(&self, bytes: &[u8]) {
        let path = format!("/v2/images/debian/blobs/{}", digest(bytes));
        if let Some(last) = self.files.lock().unwrap().get_mut(&path).and_then(|blob| blob.last_mut()) {
            *last ^= 0xff;
        }
    }
}
