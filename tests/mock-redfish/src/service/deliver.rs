//! An answer becomes bytes: whole, cut in the middle, or in drops.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Response, StatusCode, body::Frame, header};

use super::{
    listener::Hangup,
    reply::{Delivery, Reply},
};

/// What is sent.
pub(crate) type Outgoing = BoxBody<Bytes, Hangup>;

/// Bytes of a drop of an answer that drips.
const DROP: usize = 16;
/// Time for the first half of a cut answer to leave before the connection is reset.
const HALF_LEAVES: Duration = Duration::from_millis(10);

/// The response of an answer; that of HEAD has no body.
pub(crate) fn response(reply: Reply, head: bool) -> Response<Outgoing> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = Response::builder()
        .status(status)
        .header("OData-Version", "4.0")
        .header(header::CACHE_CONTROL, "no-cache");
    let (kind, text) = reply.text_of_body();
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    let bytes = Bytes::from(text);
    if let Some(kind) = kind {
        builder = builder.header(header::CONTENT_TYPE, kind).header(header::CONTENT_LENGTH, bytes.len());
    }
    let body = if head { whole(Bytes::new()) } else { travelling(bytes, reply.delivery) };
    builder.body(body).unwrap_or_else(|_| {
        let mut broken = Response::new(whole(Bytes::new()));
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}

/// A body that is sent at once.
pub(crate) fn whole(bytes: Bytes) -> Outgoing {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn travelling(bytes: Bytes, delivery: Delivery) -> Outgoing {
    match delivery {
        Delivery::Whole => whole(bytes),
        Delivery::Cut => {
            let half = bytes.slice(..bytes.len() / 2);
            let end = stream::once(async {
                tokio::time::sleep(HALF_LEAVES).await;
                Err(Hangup)
            });
            let pieces = stream::iter([Ok(Frame::data(half))]).chain(end);
            BodyExt::boxed(StreamBody::new(pieces))
        }
        Delivery::Drip(ms) => {
            let pieces = stream::unfold(bytes, move |mut left| async move {
                if left.is_empty() {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(ms)).await;
                let piece = left.split_to(DROP.min(left.len()));
                Some((Ok(Frame::data(piece)), left))
            });
            BodyExt::boxed(StreamBody::new(pieces))
        }
    }
}
