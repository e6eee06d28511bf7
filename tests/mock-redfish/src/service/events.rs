//! Server-sent events: one when power, boot progress, the boot override or a drive changes. A hint for those who
//! poll, as on real BMCs: few streams at once, nothing is kept for who comes late, and a restart ends them.
//!
//! ```text
//!   change of the machine ─▶ snapshot ─▶ differs from the last? ─▶ id, data (an `Event` of Redfish), blank line
//! ```

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Response, body::Frame, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    deliver::{Outgoing, response},
    reply::{Message, Reply},
};
use crate::{fault::Fault, machine::Machine, resource, vendor::Events};

/// A comment is sent after that long without an event, so that a dead stream is seen.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is told when it changes: the resource, what is said of it, and the value.
type Snapshot = Vec<(String, &'static str, String)>;

/// One open stream.
struct Stream {
    machine: Machine,
    events: Events,
    changes: watch::Receiver<u64>,
    last: Snapshot,
    /// Restarts of the BMC when it was opened: the next one ends it.
    restarts: u32,
    sent: u64,
    manner: Manner,
    _permit: OwnedSemaphorePermit,
}

/// How truthful a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    Lies,
    Floods,
    Ends,
}

impl Manner {
    /// As a fault wants it that is armed for this stream.
    fn of(machine: &Machine, path: &str) -> Self {
        let armed = machine.faults().take_at("GET", path, |fault| match fault {
            Fault::EventsLie => Some(Self::Lies),
            Fault::EventsFlood => Some(Self::Floods),
            Fault::EventsEnd => Some(Self::Ends),
            _ => None,
        });
        armed.unwrap_or(Self::Honest)
    }

    /// How long without a change until something is sent all the same.
    fn pause(self) -> Duration {
        match self {
            Self::Honest | Self::Ends => KEEP_ALIVE,
            Self::Lies => Duration::from_millis(100),
            Self::Floods => Duration::from_millis(1),
        }
    }
}

/// Whether that path is the stream of this BMC.
pub(super) fn is_stream(machine: &Machine, path: &str) -> bool {
    machine.model().events.as_ref().is_some_and(|events| events.path == path)
}

/// Opens a stream, or says that there are too many.
pub(super) fn open(machine: &Machine) -> Response<Outgoing> {
    let (Some(events), Some(permit)) = (machine.model().events.clone(), machine.stream_permit()) else {
        let text = "The limit of server-sent event streams has been reached.";
        let reply = Reply::error(503, Message::new("CreateLimitReachedForResource", text));
        return response(reply.worded(&machine.model().words), false);
    };
    let mut changes = machine.changes();
    changes.mark_unchanged();
    let stream = Stream {
        last: snapshot(machine),
        restarts: machine.condition().restarts(),
        machine: machine.clone(),
        changes,
        sent: 0,
        manner: Manner::of(machine, &events.path),
        events,
        _permit: permit,
    };
    let hello = stream::once(async { Ok(Frame::data(Bytes::from_static(b": stream opened\n\n"))) });
    let pieces = stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok(Frame::data(piece)), stream))
    });
    let body = StreamBody::new(futures_util::StreamExt::chain(hello, pieces));
    let mut response = Response::new(BodyExt::boxed(body));
    let kind = header::HeaderValue::from_static("text/event-stream;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response.headers_mut().insert("OData-Version", header::HeaderValue::from_static("4.0"));
    response
}

impl Stream {
    /// What is sent although nothing changed.
    fn unasked(&mut self) -> Bytes {
        match self.manner {
            Manner::Honest | Manner::Ends => return Bytes::from_static(b": still here\n\n"),
            Manner::Floods | Manner::Lies => self.sent += 1,
        }
        if self.manner == Manner::Lies && self.sent.is_multiple_of(2) {
            return Bytes::from_static(b"id: \ndata: {\"Events\": [{\"MessageId\": \n\n");
        }
        let power = self.last.first().map_or("On", |(_, _, power)| power.as_str());
        let said = match (self.manner, power) {
            (Manner::Lies, "On") => "Off",
            (Manner::Lies, _) => "On",
            (_, power) => power,
        };
        let news = [(self.machine.system_path(), "PowerState", said.to_owned())];
        let event = event(&self.events, self.sent, &news, Timestamp::now());
        Bytes::from(format!("id: {}\ndata: {event}\n\n", self.sent))
    }

    /// The next piece; none when the BMC restarts or is gone.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.manner == Manner::Ends {
                return None;
            }
            match tokio::time::timeout(self.manner.pause(), self.changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(self.unasked()),
            }
            if self.machine.condition().restarts() != self.restarts {
                return None;
            }
            let now = snapshot(&self.machine);
            let news: Vec<_> = now.iter().filter(|seen| !self.last.contains(seen)).cloned().collect();
            self.last = now;
            if !news.is_empty() {
                self.sent += 1;
                let event = event(&self.events, self.sent, &news, Timestamp::now());
                return Some(Bytes::from(format!("id: {}\ndata: {event}\n\n", self.sent)));
            }
        }
    }
}

/// Everything that events tell of.
fn snapshot(machine: &Machine) -> Snapshot {
    let board = machine.board();
    let system = machine.system_path();
    let mut all = vec![
        (system.clone(), "PowerState", format!("{:?}", board.power)),
        (system.clone(), "BootProgress", resource::progress(board.power).to_owned()),
        (system, "BootSourceOverrideEnabled", format!("{:?}", board.next_boot().enabled)),
    ];
    let media = machine.media_path();
    for slot in &board.slots {
        let held = slot.image.clone().unwrap_or_else(|| "nothing".into());
        all.push((format!("{media}/{}", slot.id), "Image", held));
    }
    all
}

/// One `Event` with a record for each change, without what the vendor leaves out.
fn event(events: &Events, id: u64, news: &[(String, &'static str, String)], now: Timestamp) -> Value {
    let time = match &events.offset {
        Some(offset) => now.strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string(),
        None => now.to_string(),
    };
    let records = news.iter().enumerate().map(|(number, (path, name, value))| {
        let mut record = json!({
            "MemberId": number.to_string(),
            "EventId": format!("{id}.{number}"),
            "EventType": "ResourceUpdated",
            "EventTimestamp": time,
            "MessageId": "ResourceEvent.1.3.ResourceChanged",
            "Message": format!("{name} is {value}."),
            "MessageArgs": [],
            "MessageSeverity": "OK",
            "OriginOfCondition": {"@odata.id": path},
        });
        leave_out(&mut record, &events.lacks);
        record
    });
    let mut event = json!({
        "@odata.type": "#Event.v1_7_0.Event",
        "@odata.id": format!("{}#/Event{id}", events.path),
        "Id": id.to_string(),
        "Name": "Event Array",
        "Events": records.collect::<Vec<Value>>(),
    });
    leave_out(&mut event, &events.lacks);
    event
}

fn leave_out(body: &mut Value, names: &[String]) {
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, _| !names.iter().any(|lacks| lacks == name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_lacks_what_its_vendor_lacks() {
        let news = [("/redfish/v1/Systems/1".to_owned(), "PowerState", "On".to_owned())];
        let by_the_book = event(&Events::default(), 3, &news, Timestamp::UNIX_EPOCH);
        assert_eq!(by_the_book["@odata.id"], "/redfish/v1/EventService/SSE#/Event3");
        assert_eq!(by_the_book["Events"][0]["MemberId"], "0");
        let dell = Events {
            lacks: vec!["@odata.id".into(), "MemberId".into()],
            offset: Some("-0600".into()),
            ..Events::default()
        };
        let odd = event(&dell, 3, &news, Timestamp::UNIX_EPOCH);
        assert_eq!((odd.get("@odata.id"), odd["Events"][0].get("MemberId")), (None, None));
        assert_eq!(odd["Events"][0]["OriginOfCondition"]["@odata.id"], "/redfish/v1/Systems/1");
        assert_eq!(odd["Events"][0]["EventTimestamp"], "1970-01-01T00:00:00-0600");
    }
}
