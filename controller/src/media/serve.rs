//! The media listener's handler: a request in, a hyper response out. Knows nothing of sockets; the server owns
//! those. Small ranges are one read on the spot (they come from the page cache); larger ones stream in
//! [`CHUNK`]s from blocking threads, so that memory per reader is bounded and a slow disk holds nobody else up.

use std::fs::File;
use std::future::Future as _;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::meter::Meter;
use super::object::Object;
use super::respond::{self, Answer};
use super::shelf::{Opened, Shelf};

/// Bytes of one streamed piece. QEMU and BMCs ask for 64 to 512 KiB at a time.
const CHUNK: u64 = 512 << 10;
/// Ranges up to this size are read at once, on the async thread: the cost of a thread hop is larger.
const INLINE: u64 = 64 << 10;

/// Answers one request for a medium that came from there. Never fails: a disk that cannot be read ends the connection mid-body.
pub fn serve<B>(
    shelf: &Shelf,
    request: &Request<B>,
    from: Option<IpAddr>,
    clock: &Clock,
) -> Response<MediumBody> {
    let found = if respond::reads(request.method()) { shelf.open(request.uri().path()) } else { None };
    let Some(opened) = found else {
        metrics::counter!("slipway_media_requests_total", "status" => "404").increment(1);
        return response(respond::nothing(), MediumBody::Empty);
    };
    let answer = respond::answer(request.method(), request.headers(), &opened.object);
    opened.meter.request(from, clock());
    metrics::counter!("slipway_media_requests_total", "status" => answer.status.as_u16().to_string())
        .increment(1);
    let body = if answer.body.is_empty() {
        MediumBody::Empty
    } else {
        MediumBody::Reading(Reading {
            next: answer.body.start,
            end: answer.body.end,
            opened,
            clock: Arc::clone(clock),
            pending: None,
        })
    };
    response(answer, body)
}

/// Tells the time to the meters.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

fn response(answer: Answer, body: MediumBody) -> Response<MediumBody> {
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// Body of an answer.
pub enum MediumBody {
    /// No bytes.
    Empty,
    /// Bytes of a medium.
    Reading(Reading),
}

/// Where a streamed answer has got to.
pub struct Reading {
    opened: Opened,
    next: u64,
    end: u64,
    clock: Clock,
    pending: Option<JoinHandle<std::io::Result<Bytes>>>,
}

impl Body for MediumBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Reading(reading) => reading.poll(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Reading(reading) => reading.next >= reading.end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Reading(reading) => SizeHint::with_exact(reading.end - reading.next),
        }
    }
}

/// Is told of bytes that have left.
pub type Sent = Box<dyn Fn(u64) + Send + Sync>;

/// A body whose bytes are those of a file, but for some places.
pub struct FileBody {
    /// The file.
    pub file: Arc<File>,
    /// Which bytes.
    pub range: Range<u64>,
    /// Where they must be read from `object` instead, in order.
    pub laid: Vec<Range<u64>>,
    /// The medium.
    pub object: Object,
    /// Must be told of what was sent.
    pub sent: Sent,
}

impl MediumBody {
    /// The body for whoever can send bytes of a file without reading them.
    pub fn file(&self) -> Option<FileBody> {
        let Self::Reading(reading) = self else { return None };
        let object = reading.opened.object.clone();
        let (meter, clock) = (Arc::clone(&reading.opened.meter), Arc::clone(&reading.clock));
        let (at, range) = (AtomicU64::new(reading.next), reading.next..reading.end);
        let sent: Sent = Box::new(move |count| {
            sent(&meter, &clock, at.fetch_add(count, Ordering::Relaxed), count);
        });
        Some(FileBody { file: object.file()?, laid: object.overlay.places(&range), range, object, sent })
    }
}

fn sent(meter: &Meter, clock: &Clock, offset: u64, count: u64) {
    meter.sent(offset, count, clock());
    metrics::counter!("slipway_media_bytes_total").increment(count);
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        let left = self.end - self.next;
        if left == 0 {
            return Poll::Ready(None);
        }
        let result = if let Some(pending) = &mut self.pending {
            let joined = ready!(Pin::new(pending).poll(cx));
            self.pending = None;
            joined.unwrap_or_else(|gone| Err(std::io::Error::other(gone)))
        } else if left <= INLINE {
            self.opened.object.read(self.next, usize::try_from(left).unwrap_or(0))
        } else {
            let (object, offset) = (self.opened.object.clone(), self.next);
            let count = usize::try_from(left.min(CHUNK)).unwrap_or(0);
            let mut handle = tokio::task::spawn_blocking(move || object.read(offset, count));
            match Pin::new(&mut handle).poll(cx) {
                Poll::Ready(joined) => joined.unwrap_or_else(|gone| Err(std::io::Error::other(gone))),
                Poll::Pending => {
                    self.pending = Some(handle);
                    return Poll::Pending;
                }
            }
        };
        if let Ok(bytes) = &result {
            let count = bytes.len() as u64;
            sent(&self.opened.meter, &self.clock, self.next, count);
            self.next += count;
        } else {
            self.next = self.end;
        }
        Poll::Ready(Some(result))
    }
}
