//! Answers reads on a plain connection so that files go from the page cache to the socket (`sendfile(2)`) and small answers
//! leave in one write. Not an HTTP server: what is not a plain read ([`head`]) goes to hyper, together with the rest of its
//! connection.
//!
//! ```text
//! socket ─▶ head ─┬─ GET, HEAD ─▶ service ─▶ a part of a file? ─▶ send        ─▶ next request
//!                 └─ other ─▶ hyper, for good
//! ```

mod head;
mod send;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;

use head::Head;

/// What is read at once; heads of real clients have a few hundred bytes.
const PIECE: usize = 4 << 10;

/// Bytes of a file that are a body.
pub struct Part {
    /// The file.
    pub file: Arc<File>,
    /// The first byte.
    pub first: u64,
    /// How many.
    pub length: u64,
    /// Where the body is not what the file has.
    pub over: Option<Over>,
    /// Is told of bytes that have left.
    pub sent: Option<Box<dyn Fn(u64) + Send + Sync>>,
}

/// Bytes laid over a file.
pub struct Over {
    /// Where, in order and apart.
    pub places: Vec<Range<u64>>,
    /// Reads that many bytes of the body from an offset of the file.
    pub read: Box<ReadOver>,
}

/// See [`Over::read`].
pub type ReadOver = dyn Fn(u64, usize) -> io::Result<Bytes> + Send + Sync;

/// How long a connection may wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, idle time before it included.
    pub head: Duration,
    /// For a client that takes nothing of an answer.
    pub stall: Duration,
    /// Longest head in bytes.
    pub longest: usize,
}

/// A connection that hyper must go on with, and what was read of it.
pub struct Rest {
    /// The connection.
    pub socket: TcpStream,
    /// Bytes that were read and not answered.
    pub read: Vec<u8>,
}

/// Answers reads until the connection ends or something else comes. An error is the connection's end.
pub async fn serve<S, F, B>(
    socket: TcpStream,
    peer: SocketAddr,
    patience: Patience,
    service: &S,
    part: fn(&mut Response<B>) -> Option<Part>,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<Option<Rest>>
where
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Response<B>>,
    B: http_body::Body,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let socket = Arc::new(socket);
    let sender = send::Sender { socket: Arc::clone(&socket), stall: patience.stall };
    let mut read = Vec::new();
    loop {
        let (request, length, stays) = match head::read(&read) {
            Head::Read { request, length, stays } => (request, length, stays),
            Head::Partial if read.len() < patience.longest => {
                if !more(&socket, &mut read, patience.head, stop).await? {
                    return Ok(None);
                }
                continue;
            }
            Head::Partial | Head::Other => {
                drop(sender);
                return Ok(Arc::into_inner(socket).map(|socket| Rest { socket, read }));
            }
        };
        read.drain(..length);
        let mut request = request.map(|()| Body::empty());
        request.extensions_mut().insert(ConnectInfo(peer));
        let asked = request.method() == Method::HEAD;
        let mut response = service(request).await;
        let stays = stays && !*stop.borrow();
        let part = if asked { None } else { part(&mut response) };
        sender.answer(response, part, asked, stays).await?;
        if !stays {
            return Ok(None);
        }
    }
}

/// Reads some more; whether there was any. Between requests a stop ends the waiting.
async fn more(
    socket: &TcpStream,
    read: &mut Vec<u8>,
    patience: Duration,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<bool> {
    let idle = read.is_empty();
    read.reserve(PIECE);
    let readable = async {
        loop {
            socket.readable().await?;
            match socket.try_read_buf(read) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    };
    let count = tokio::select! {
        count = tokio::time::timeout(patience, readable) => count.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?,
        _ = stop.wait_for(|stop| *stop), if idle => 0,
    };
    Ok(count > 0)
}
