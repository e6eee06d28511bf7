//! Byte streams that take much at once. A TLS session reads its socket in pieces of 4 KiB and gives out one record of 16 KiB
//! at a time; a push of a gigabyte would cost a quarter of a million system calls and as many wake-ups.
//!
//! ```text
//! Lingering socket ─▶ Patient ─▶ Buffered (one read for many records) ─▶ TLS ─▶ Gathered (many records for one read) ─▶ HTTP
//! ```
//! And one that has patience: a client that takes nothing of its answer is cut off, however much it took before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a connection that sends little is read in.
const SMALL: usize = 8 << 10;
/// What one that sends much is read in.
const LARGE: usize = 256 << 10;

/// Reads ahead, in pieces that grow with what comes. A connection that is idle holds no buffer.
pub struct Buffered<T> {
    inner: T,
    buffer: Vec<u8>,
    /// The bytes of `buffer` from here to `end` have been read and not given out.
    start: usize,
    end: usize,
    /// How much is read next.
    next: usize,
}

impl<T> Buffered<T> {
    /// Around a socket.
    pub fn new(inner: T) -> Self {
        Self::holding(Vec::new(), inner)
    }

    /// Around a socket of which this was read before.
    pub fn holding(read: Vec<u8>, inner: T) -> Self {
        let end = read.len();
        Self { inner, buffer: read, start: 0, end, next: SMALL }
    }
}

impl<T: AsyncRead + Unpin> Buffered<T> {
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() < self.next {
            self.buffer.resize(self.next, 0);
        }
        let mut piece = ReadBuf::new(&mut self.buffer[..self.next]);
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, &mut piece) else {
            self.buffer = Vec::new();
            return Poll::Pending;
        };
        read?;
        (self.start, self.end) = (0, piece.filled().len());
        if self.end == self.next {
            self.next = (self.next * 4).min(LARGE);
        } else if self.end < self.next / 8 {
            self.next = (self.next / 2).max(SMALL);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end {
            if out.remaining() >= self.next {
                // Who takes as much at once needs no buffer in between.
                return Pin::new(&mut self.inner).poll_read(cx, out);
            }
            ready!(self.fill(cx))?;
        }
        let count = out.remaining().min(self.end - self.start);
        let (start, end) = (self.start, self.start + count);
        out.put_slice(&self.buffer[start..end]);
        self.start = end;
        Poll::Ready(Ok(()))
    }
}

/// Fills what it is given as far as that goes without waiting.
pub struct Gathered<T> {
    inner: T,
    /// What ended a read that had bytes to give out first.
    fault: Option<io::Error>,
}

impl<T> Gathered<T> {
    /// Around a session.
    pub fn new(inner: T) -> Self {
        Self { inner, fault: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(fault));
        }
        let before = out.filled().len();
        while out.remaining() > 0 {
            let held = out.filled().len();
            match Pin::new(&mut self.inner).poll_read(cx, out) {
                Poll::Ready(Ok(())) if out.filled().len() > held => {}
                Poll::Ready(Err(fault)) if held > before => {
                    self.fault = Some(fault);
                    break;
                }
                // The end of a stream is told again at the next read.
                Poll::Ready(Ok(())) | Poll::Pending if held > before => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes that end with an error when the other side takes nothing for too long.
pub struct Patient<T> {
    inner: T,
    patience: Duration,
    /// Since a write had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    /// Around a socket.
    pub fn new(inner: T, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }

    fn judge<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Writes go straight through.
macro_rules! write_through {
    ($name:ident) => {
        impl<T: AsyncWrite + Unpin> AsyncWrite for $name<T> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner).poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.inner.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_shutdown(cx)
            }
        }
    };
}

write_through!(Buffered);
write_through!(Gathered);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Gives out what it holds, piece by piece; an empty piece is a wait.
    struct Pieces(VecDeque<io::Result<Vec<u8>>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                None => Poll::Ready(Ok(())),
                Some(Ok(piece)) if piece.is_empty() => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Ok(mut piece)) => {
                    let rest = piece.split_off(piece.len().min(out.remaining()));
                    if !rest.is_empty() {
                        self.0.push_front(Ok(rest));
                    }
                    out.put_slice(&piece);
                    Poll::Ready(Ok(()))
                }
                Some(Err(error)) => Poll::Ready(Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn every_byte_comes_through_in_order_however_it_is_cut() {
        let content: Vec<u8> =
            (0..2_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        let mut pieces = VecDeque::new();
        let (mut rest, mut size) = (&content[..], 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(size));
            pieces.push_back(Ok(piece.to_vec()));
            if size % 5 == 0 {
                pieces.push_back(Ok(Vec::new()));
            }
            (rest, size) = (after, (size * 3) % 70_001 + 1);
        }
        let mut stream = Gathered::new(Buffered::new(Pieces(pieces)));
        let (mut read, mut buffer) = (Vec::new(), vec![0; 4097]);
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..count]);
        }
        assert!(read == content);
    }

    #[tokio::test]
    async fn what_came_before_a_fault_is_read_before_it_is_told() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let pieces = VecDeque::from([Ok(b"kept".to_vec()), Err(reset())]);
        let mut stream = Gathered::new(Buffered::new(Pieces(pieces)));
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(stream.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        use tokio::io::AsyncWriteExt as _;
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut stream = Patient::new(ours, Duration::from_millis(800));
        let slow = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                theirs.read_exact(&mut [0; 10]).await.unwrap();
            }
            theirs
        });
        stream.write_all(&[0; 50]).await.unwrap();
        let _silent = slow.await.unwrap();
        assert_eq!(stream.write_all(&[0; 50]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_buffer() {
        let pieces = VecDeque::from([Ok(vec![1; 600_000]), Ok(Vec::new()), Ok(vec![2; 10])]);
        let mut stream = Buffered::new(Pieces(pieces));
        let mut piece = vec![0; 4000];
        for _ in 0..150 {
            stream.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(stream.next, LARGE);
        let waited = std::future::poll_fn(|cx| {
            let mut buffer = [0; 64];
            Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending())
        });
        assert!(waited.await);
        assert_eq!(stream.buffer.capacity(), 0);
    }
}
