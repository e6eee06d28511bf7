//! A socket that is closed the way a client can follow. Who is refused while it still sends its body must be able to read why:
//! closing a socket with unread bytes in it makes the system throw away the answer as well (RFC 9112 section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

/// How long a client that was answered may go on sending.
const WITHIN: Duration = Duration::from_secs(2);
/// And how much.
const MOST: u64 = 16 << 20;

/// A socket whose end is read to, when it is dropped before that has come.
pub struct Lingering {
    socket: Option<TcpStream>,
    /// The other side has ended, or the connection is broken.
    ended: bool,
}

impl Lingering {
    /// Around a socket.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket: Some(socket), ended: false }
    }

    fn with<R>(
        &mut self,
        call: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        // It is there until it is dropped.
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let done = call(Pin::new(socket));
        self.ended |= matches!(done, Poll::Ready(Err(_)));
        done
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take().filter(|_| !self.ended) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(WITHIN, read_out(socket)));
        }
    }
}

/// Says that nothing more comes, and reads what the other side still sends.
async fn read_out(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    tokio::io::copy(&mut socket.take(MOST), &mut tokio::io::sink()).await.map(drop)
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let asked = out.remaining() > 0;
        let done = self.with(|socket| socket.poll_read(cx, out));
        self.ended |= asked && done.is_ready() && out.filled().len() == before;
        done
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true // TCP sockets are
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_shutdown(cx))
    }
}
