//! As much of an HTTP/1.1 client as the load needs: one connection, bodies of known length.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Access;

/// A server that says nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(60);
/// What is read at once of a body.
const PIECE: usize = 256 << 10;
/// Longest answer head.
const HEAD_MAX: usize = 64 << 10;

/// A server and how to be let in.
#[derive(Clone)]
pub struct Server {
    host: String,
    tls: Option<Arc<ClientConfig>>,
    authorization: String,
}

/// Bytes both ways.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    piece: Vec<u8>,
}

/// What an answer begins with.
pub struct Head {
    pub status: u16,
    pub length: u64,
    pub location: Option<String>,
}

impl Server {
    /// The server of a URL, and the URL's path.
    pub fn of(url: &str, access: &Access) -> Result<(Self, String)> {
        let (scheme, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let tls = if scheme == "https" { Some(tls(access)?) } else { None };
        let authorization = match &access.token_file {
            Some(path) => format!("Authorization: Bearer {}\r\n", fs::read_to_string(path)?.trim()),
            None => String::new(),
        };
        Ok((Self { host: host.to_owned(), tls, authorization }, path.to_owned()))
    }

    /// Connects; a TLS handshake happens with the first request.
    pub fn connect(&self) -> Result<Connection> {
        let socket =
            TcpStream::connect(&self.host).with_context(|| format!("connecting to {}", self.host))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.set_write_timeout(Some(SILENCE))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
                let client = ClientConnection::new(Arc::clone(tls), ServerName::try_from(name.to_owned())?)?;
                Box::new(StreamOwned::new(client, socket))
            }
        };
        Ok(Connection { stream: BufReader::with_capacity(PIECE, stream), piece: vec![0; PIECE] })
    }

    /// The head of a request, whole; `more` are header lines with their ends.
    pub fn request(&self, method: &str, path: &str, more: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{more}\r\n", self.host, self.authorization)
    }
}

/// The path of a `Location`, which some servers give as a URL.
pub fn path_of(location: &str) -> String {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned()),
        None => location.to_owned(),
    }
}

fn tls(access: &Access) -> Result<Arc<ClientConfig>> {
    let path = access.ca.as_ref().context("https needs --ca")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).with_context(|| format!("reading {}", path.display()))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Connection {
    /// Sends a request or a piece of one.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Result<Head> {
        self.stream.get_mut().flush()?;
        let mut head = Head { status: 0, length: 0, location: None };
        let (mut line, mut read) = (String::new(), 0);
        loop {
            line.clear();
            read += self.stream.read_line(&mut line)?;
            ensure!(
                !line.is_empty() && read < HEAD_MAX,
                "the server ended the connection in an answer's head"
            );
            let text = line.trim_end();
            if text.is_empty() {
                return Ok(head);
            }
            if head.status == 0 {
                head.status =
                    text.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
            } else if let Some((name, value)) = text.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => head.length = value.trim().parse()?,
                    "location" => head.location = Some(value.trim().to_owned()),
                    "transfer-encoding" => bail!("the answer has no length"),
                    _ => {}
                }
            }
        }
    }

    /// Reads some of a body, at most `most` bytes, and drops it.
    pub fn some(&mut self, most: u64) -> Result<u64> {
        let most = usize::try_from(most).unwrap_or(PIECE).min(PIECE);
        let read = self.stream.read(&mut self.piece[..most])?;
        ensure!(read > 0, "the server ended the connection in a body");
        Ok(read as u64)
    }

    /// Reads a whole body and drops it.
    pub fn rest(&mut self, length: u64) -> Result<()> {
        let mut left = length;
        while left > 0 {
            left -= self.some(left)?;
        }
        Ok(())
    }
}
