//! Signs of a BMC that something changed: its stream of server-sent events, listened to and not believed.
//!
//! ```text
//!   ServiceRoot.EventService ─▶ ServerSentEventUri ─▶ stream ─▶ scan ─▶ a count that grows ─▶ somebody looks
//! ```
//! What an event says is not read: events lack fields, come late, come twice, and tell of what never was. That one
//! came is a reason to look, and the look is the truth. So nothing here can be wrong, only absent: where a BMC has no stream,
//! refuses one, answers it with a page or ends it, the listening is over and polling is what there is.
//!
//! Nothing of it counts against the BMC (`gate`), waits for its turn, or is tried again.

mod scan;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use scan::Scanner;

use super::http::Endpoint;
use super::session::Login;

/// Longest that one stream is listened to: longer than any phase that listens.
const STREAM_TIME: Duration = Duration::from_secs(2 * 3600);
/// Most that is read of one stream: a BMC that says more than this within a boot says nothing.
const STREAM_BYTES: usize = 16 << 20;
/// What a stream is served as.
const STREAM_TYPE: &str = "text/event-stream";

/// Signs from one BMC. Dropped, the stream is closed.
#[derive(Debug)]
pub struct Signs {
    count: watch::Receiver<u64>,
    task: Option<AbortHandle>,
}

impl Signs {
    /// Signs given by hand, for BMCs that are no real ones: whenever the number changes.
    pub fn of(count: watch::Receiver<u64>) -> Self {
        Self { count, task: None }
    }

    /// Waits for the next sign; false when there will be none any more. Those that came meanwhile are one.
    pub async fn next(&mut self) -> bool {
        self.count.changed().await.is_ok()
    }
}

impl Drop for Signs {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Begins to listen to the event service at `service`, with this login.
pub(super) fn listen(endpoint: Arc<Endpoint>, login: Login, service: String) -> Signs {
    let (tell, count) = watch::channel(0);
    let task = tokio::spawn(async move {
        let why = follow(&endpoint, &login, &service, &tell).await;
        tracing::debug!(bmc = %endpoint.shown(), why, "no events are listened to any more");
    });
    Signs { count, task: Some(task.abort_handle()) }
}

/// Follows the stream to its end; why it ended.
async fn follow(
    endpoint: &Endpoint,
    login: &Login,
    service: &str,
    tell: &watch::Sender<u64>,
) -> &'static str {
    let Some(_place) = endpoint.place() else { return "there is no room for a stream" };
    let Some(service) = endpoint.read_aside(service, login).await else {
        return "the event service does not answer";
    };
    let node = service.node();
    if node.get("ServiceEnabled").flag() == Some(false) {
        return "the event service is switched off";
    }
    let path = node.get("ServerSentEventUri").text().and_then(|link| endpoint.path(link).ok());
    let Some(path) = path else { return "it has no stream on this BMC" };
    let wanted = HeaderValue::from_static(STREAM_TYPE);
    let Some(mut stream) = endpoint.stream(&path, wanted, login, STREAM_TIME).await else {
        return "the stream was not opened";
    };
    let kind = stream.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !stream.status().is_success() || !kind.to_ascii_lowercase().starts_with(STREAM_TYPE) {
        return "the stream was refused";
    }
    tracing::debug!(bmc = %endpoint.shown(), path, "listening to events");
    let (mut scanner, mut read) = (Scanner::default(), 0_usize);
    while let Ok(Some(piece)) = stream.chunk().await {
        let signs = scanner.feed(&piece);
        if signs > 0 {
            tell.send_modify(|count| *count = count.wrapping_add(signs));
        }
        read = read.saturating_add(piece.len());
        if read > STREAM_BYTES {
            return "the BMC says too much";
        }
    }
    "the stream ended"
}
