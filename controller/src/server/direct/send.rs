//! Answers on their way out of a plain socket. A client may be as slow as it likes, as long as it takes something now and
//! then.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Buf as _;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Part;

/// Parts up to this size are read at once, here: the cost of a thread hop is larger, and they leave with their head.
const INLINE: u64 = 64 << 10;
/// What one call may send, so that a thread is free again soon.
const PIECE: u64 = 8 << 20;

/// More comes at once: the system shall not send this alone.
const MORE: MsgFlags = MsgFlags::from_bits_retain(nix::libc::MSG_MORE);

/// The way out of one connection.
pub struct Sender {
    pub socket: Arc<TcpStream>,
    pub stall: Duration,
}

impl Sender {
    /// Sends an answer: `part` of a file in place of its body when there is one, no body at all when only its head was `asked`
    /// for.
    pub async fn answer<B>(
        &self,
        response: Response<B>,
        part: Option<Part>,
        asked: bool,
        stays: bool,
    ) -> io::Result<()>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let status = parts.status;
        let mut head = Head::new(&parts, stays);
        if let Some(part) = part {
            return self.part(head.done(), &part).await;
        }
        let none = asked
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if none {
            return self.all(&head.done(), MsgFlags::empty()).await;
        }
        let framed = if parts.headers.contains_key(header::CONTENT_LENGTH) {
            false
        } else if let Some(length) = body.size_hint().exact() {
            head.line("content-length", length.to_string().as_bytes());
            false
        } else {
            head.line("transfer-encoding", b"chunked");
            true
        };
        self.body(head.done(), body, framed).await
    }

    /// A body from wherever it comes, together with its head while it is small.
    async fn body<B>(&self, mut out: Vec<u8>, body: B, framed: bool) -> io::Result<()>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = pin!(body.map_err(io::Error::other));
        while let Some(frame) = body.frame().await {
            // Trailers have no place here, and a chunk of no bytes would be the last.
            let Some(mut data) = frame?.into_data().ok().filter(bytes::Buf::has_remaining) else { continue };
            if framed {
                out.extend_from_slice(format!("{:x}\r\n", data.remaining()).as_bytes());
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                if out.len() + chunk.len() > usize::try_from(INLINE).unwrap_or(usize::MAX) {
                    self.all(&out, MORE).await?;
                    out.clear();
                    self.all(chunk, MsgFlags::empty()).await?;
                } else {
                    out.extend_from_slice(chunk);
                }
                let count = chunk.len();
                data.advance(count);
            }
            if framed {
                out.extend_from_slice(b"\r\n");
            }
        }
        if framed {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.all(&out, MsgFlags::empty()).await
    }

    async fn part(&self, mut out: Vec<u8>, part: &Part) -> io::Result<()> {
        if part.length <= INLINE {
            let (head, count) = (out.len(), usize::try_from(part.length).unwrap_or(0));
            if let Some(over) = &part.over {
                out.extend_from_slice(&(over.read)(part.first, count)?);
            } else {
                out.resize(head + count, 0);
                part.file.read_exact_at(&mut out[head..], part.first)?;
            }
            self.all(&out, MsgFlags::empty()).await?;
            part.sent(part.length);
            return Ok(());
        }
        self.all(&out, MORE).await?;
        let mut next = part.first;
        for place in part.over.iter().flat_map(|over| &over.places) {
            self.file(part, next..place.start).await?;
            self.over(part, place.clone()).await?;
            next = place.end;
        }
        self.file(part, next..part.first + part.length).await
    }

    /// Bytes that are laid over the file, a small piece at a time: they take memory.
    async fn over(&self, part: &Part, mut place: Range<u64>) -> io::Result<()> {
        while let (Some(over), false) = (&part.over, place.is_empty()) {
            let count = (place.end - place.start).min(INLINE);
            let bytes = (over.read)(place.start, usize::try_from(count).unwrap_or(0))?;
            place.start += count;
            let ends = place.start == part.first + part.length;
            self.all(&bytes, if ends { MsgFlags::empty() } else { MORE }).await?;
            part.sent(count);
        }
        Ok(())
    }

    /// Bytes of the file, from the page cache to the socket.
    async fn file(&self, part: &Part, Range { start: mut next, end }: Range<u64>) -> io::Result<()> {
        while next < end {
            self.writable().await?;
            let (socket, file) = (Arc::clone(&self.socket), Arc::clone(&part.file));
            // On a thread that may block: what is not in the page cache comes from the disk.
            let work = move || socket.try_io(Interest::WRITABLE, || send_file(&socket, &file, next, end));
            match tokio::task::spawn_blocking(work).await.map_err(io::Error::other)? {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    next += count;
                    part.sent(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends all of it.
    async fn all(&self, mut bytes: &[u8], flags: MsgFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                let socket = std::os::fd::AsRawFd::as_raw_fd(&*self.socket);
                Ok(nix::sys::socket::send(socket, bytes, flags | MsgFlags::MSG_NOSIGNAL)?)
            });
            match sent {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        let waited = tokio::time::timeout(self.stall, self.socket.writable()).await;
        waited.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl Part {
    fn sent(&self, count: u64) {
        self.sent.iter().for_each(|sent| sent(count));
    }
}

/// Sends as much of the file as the socket takes now.
fn send_file(socket: &TcpStream, file: &std::fs::File, next: u64, end: u64) -> io::Result<u64> {
    let mut offset = i64::try_from(next).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let count = usize::try_from((end - next).min(PIECE)).unwrap_or(usize::MAX);
    loop {
        match nix::sys::sendfile::sendfile(socket, file, Some(&mut offset), count) {
            Ok(sent) => return Ok(sent as u64),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A head being written.
struct Head(Vec<u8>);

impl Head {
    fn new(parts: &http::response::Parts, stays: bool) -> Self {
        let mut status = String::with_capacity(64);
        // Writing to a string cannot go wrong.
        let _ = write!(
            status,
            "HTTP/1.1 {} {}\r\n",
            parts.status.as_str(),
            parts.status.canonical_reason().unwrap_or_default()
        );
        let mut head = Self(Vec::with_capacity(1024));
        head.0.extend_from_slice(status.as_bytes());
        for (name, value) in &parts.headers {
            head.line(name.as_str(), value.as_bytes());
        }
        if !parts.headers.contains_key(header::DATE) {
            head.line("date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        }
        if !stays {
            head.line("connection", b"close");
        }
        head
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(piece);
        }
    }

    fn done(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}
