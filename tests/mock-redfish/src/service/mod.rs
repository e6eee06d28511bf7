//! One request, from bytes to answer: faults first, then `/mock`, then login, then routes. Decides statuses;
//! what a resource looks like is in [`crate::resource`].
//!
//! ```text
//!   request ─▶ body (bounded) ─▶ faults ─▶ /mock ─▶ login ─▶ GET: resource + ETag
//!                                                          ├▶ PATCH: If-Match, patch
//!                                                          └▶ POST / DELETE: sessions, actions
//! ```

mod action;
mod boot_patch;
mod control;
mod deliver;
mod events;
pub(crate) mod listener;
mod login;
mod misbehave;
mod patch;
mod query;
pub(crate) mod reply;
mod session;
mod settling;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{HeaderMap, Method, Request, Response, body::Incoming};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    fault::Fault,
    journal::{RequestRecord, masked},
    machine::Machine,
    resource,
};
use deliver::{Outgoing, response};
use listener::Hangup;
use query::Parameters;
use reply::{Delivery, Message, Reply};

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 64 << 10;
/// Deadline for a request body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A request as the routes see it.
pub(crate) struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a JSON object, or the error to answer.
    pub fn object(&self) -> Result<serde_json::Map<String, Value>, Reply> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(map)) => Ok(map),
            _ => Err(Reply::error(
                400,
                Message::new(
                    "MalformedJSON",
                    "The request body submitted was malformed JSON and could not be parsed by the receiving service.",
                ),
            )),
        }
    }
}

/// Answers one request, or says that the connection shall be cut. Beside the answer: whether it is to end in a reset.
pub(crate) async fn answer(
    machine: &Machine,
    request: Request<Incoming>,
    control: bool,
) -> Result<(Response<Outgoing>, bool), Hangup> {
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let asked = match collect(body).await {
        Ok(body) => {
            Asked { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, body }
        }
        Err(reply) => return Ok((response(reply, head), false)),
    };
    if asked.path.starts_with("/mock") {
        let reply =
            if control { control::answer(machine, &asked).await } else { Reply::not_found(&asked.path) };
        return Ok((response(reply, head), false));
    }
    if machine.condition().is_away(Instant::now()) {
        return Err(Hangup);
    }
    let faults = machine.faults().at_request(asked.method.as_str(), &asked.path);
    let names = faults.iter().map(Fault::kind).collect();
    let reply = served(machine, &asked, &query, faults).await;
    let body =
        (!asked.body.is_empty()).then(|| serde_json::from_slice(&asked.body).ok().map(masked)).flatten();
    let streams = asked.method == Method::GET && reply.as_ref().is_ok_and(|reply| reply.streams);
    let reply = reply.map(|reply| reply.worded(&machine.model().words));
    machine.journal().add(RequestRecord {
        at: Timestamp::now(),
        method: asked.method.to_string(),
        path: asked.path.clone(),
        body,
        faults: names,
        status: reply.as_ref().map_or(0, |reply| reply.status),
    });
    if streams {
        return Ok((events::open(machine), false));
    }
    reply.map(|reply| {
        let cut = reply.delivery == Delivery::Cut;
        (response(reply, head), cut)
    })
}

async fn served(machine: &Machine, asked: &Asked, query: &str, faults: Vec<Fault>) -> Result<Reply, Hangup> {
    let (instead, left) = misbehave::before(machine, faults).await?;
    if let Some(reply) = instead {
        return Ok(reply);
    }
    if machine.condition().is_unready() {
        let text = "The service is temporarily unavailable. Retry in 1 seconds.";
        return Ok(Reply::error(503, Message::new("ServiceTemporarilyUnavailable", text).args(&["1"])));
    }
    // The wording comes first, so that what is done to the body is done to what is sent.
    let reply = route(machine, asked, query).await.worded(&machine.model().words);
    misbehave::after(reply, left)
}

async fn collect(body: Incoming) -> Result<Bytes, Reply> {
    let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Reply::text(413, "text/plain", "the body is larger than 64 KiB")),
        Err(_) => Err(Reply::text(408, "text/plain", "the body did not come in time")),
    }
}

async fn route(machine: &Machine, asked: &Asked, query: &str) -> Reply {
    if asked.path == "/redfish" || asked.path == "/redfish/" {
        return Reply::json(serde_json::json!({"v1": "/redfish/v1/"}));
    }
    if asked.header("odata-version").is_some_and(|version| version != "4.0") {
        let text = "The OData-Version of the request is not supported; the service speaks 4.0.";
        return Reply::error(412, Message::new("PreconditionFailed", text));
    }
    let Some(segments) = resource::segments(&asked.path) else { return Reply::not_found(&asked.path) };
    let parameters = match Parameters::read(machine, &asked.method, query) {
        Ok(parameters) => parameters,
        Err(reply) => return reply,
    };
    // What an expanded answer contains is not open to all, even where the resource itself is.
    let open = parameters.expand.is_none() && login::open_to_all(&asked.method, &segments);
    if !open && let Err(reply) = login::check(machine, asked) {
        return reply;
    }
    match asked.method {
        Method::GET | Method::HEAD => get(machine, asked, &segments, &parameters),
        Method::PATCH => patch::patch(machine, asked, &segments).await,
        Method::POST => post(machine, asked, &segments).await,
        Method::DELETE => session::delete(machine, asked, &segments),
        _ => unsupported(machine, asked, &segments),
    }
}

async fn post(machine: &Machine, asked: &Asked, segments: &[&str]) -> Reply {
    if let ["SessionService", "Sessions"] | ["SessionService", "Sessions", "Members"] = segments {
        return session::create(machine, asked);
    }
    if segments.contains(&"Actions") {
        return action::act(machine, asked, segments).await;
    }
    unsupported(machine, asked, segments)
}

/// 405 where there is a resource, 404 where there is none.
fn unsupported(machine: &Machine, asked: &Asked, segments: &[&str]) -> Reply {
    match resource::get(machine, segments) {
        Some(_) => Reply::method_not_allowed(resource::methods(machine, segments)),
        None => Reply::not_found(&asked.path),
    }
}

fn get(machine: &Machine, asked: &Asked, segments: &[&str], parameters: &Parameters) -> Reply {
    if events::is_stream(machine, &asked.path) {
        return Reply { status: 200, streams: true, ..Reply::default() };
    }
    match segments {
        ["$metadata"] => {
            return Reply::text(200, "application/xml;charset=utf-8", resource::metadata(machine));
        }
        ["odata"] => return Reply::json(resource::odata()),
        ["TaskService", "TaskMonitors", id] => return session::monitor(machine, &asked.path, id),
        _ => {}
    }
    if shows_boot(machine, segments) {
        machine.board().look_at_boot();
    }
    let Some(mut body) = resource::get(machine, segments) else { return Reply::not_found(&asked.path) };
    if let Some(expand) = parameters.expand {
        body["@odata.etag"] = Value::from(resource::etag(machine, &body));
        expand.apply(machine, &mut body);
        // No ETag header: the tag of the resource says nothing of what it is expanded by.
        return Reply::json(body).with("Allow", resource::methods(machine, segments));
    }
    let etag = resource::etag(machine, &body);
    if asked.header("if-none-match") == Some(&etag) {
        return Reply { status: 304, ..Reply::default() }.with("ETag", etag);
    }
    body["@odata.etag"] = Value::from(etag.clone());
    let allow = resource::methods(machine, segments);
    let schema = resource::schema_of(&body);
    let reply = Reply::json(body).with("ETag", etag).with("Allow", allow);
    match schema {
        Some(schema) => reply.with("Link", format!("<{schema}>; rel=describedby")),
        None => reply,
    }
}

/// Whether a read shows the boot override.
fn shows_boot(machine: &Machine, segments: &[&str]) -> bool {
    let layout = &machine.model().layout;
    match segments {
        ["Systems", id] => *id == layout.system,
        ["Systems", _, last] => *last == layout.settings,
        ["Managers", _, "Attributes"] => true,
        _ => false,
    }
}
