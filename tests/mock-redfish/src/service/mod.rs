//! One request, from bytes to answer: faults first, then `/mock`, then login, then routes. Decides statuses;
//! what a resource looks like is in [`crate::resource`].
//!
//! ```text
//!   request ─▶ body (bounded) ─▶ faults ─▶ /mock ─▶ login ─▶ GET: resource + ETag
//!                                                          ├▶ PATCH: If-Match, patch
//!                                                          └▶ POST / DELETE: sessions, actions
//! ```

mod action;
mod control;
pub(crate) mod listener;
mod login;
mod patch;
mod query;
pub(crate) mod reply;
mod session;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Method, Request, Response, body::Incoming};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    fault::Fault,
    journal::{RequestRecord, masked},
    machine::Machine,
    resource,
};
use listener::Hangup;
use query::Parameters;
use reply::{Body, Message, Reply};

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

/// Answers one request, or says that the connection shall be cut.
pub(crate) async fn answer(
    machine: &Machine,
    request: Request<Incoming>,
    control: bool,
) -> Result<Response<Full<Bytes>>, Hangup> {
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let asked = match collect(body).await {
        Ok(body) => {
            Asked { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, body }
        }
        Err(reply) => return Ok(reply.into_response(head)),
    };
    if asked.path.starts_with("/mock") {
        let reply =
            if control { control::answer(machine, &asked).await } else { Reply::not_found(&asked.path) };
        return Ok(reply.into_response(head));
    }
    let reply = with_faults(machine, &asked, &query).await;
    let body =
        (!asked.body.is_empty()).then(|| serde_json::from_slice(&asked.body).ok().map(masked)).flatten();
    machine.journal().add(RequestRecord {
        at: Timestamp::now(),
        method: asked.method.to_string(),
        path: asked.path.clone(),
        body,
        status: reply.as_ref().map_or(0, |reply| reply.status),
    });
    reply.map(|reply| reply.into_response(head))
}

async fn collect(body: Incoming) -> Result<Bytes, Reply> {
    let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Reply::text(413, "text/plain", "the body is larger than 64 KiB")),
        Err(_) => Err(Reply::text(408, "text/plain", "the body did not come in time")),
    }
}

async fn with_faults(machine: &Machine, asked: &Asked, query: &str) -> Result<Reply, Hangup> {
    let faults = machine.faults().at_request(asked.method.as_str(), &asked.path);
    let mut after = Vec::new();
    for fault in faults {
        match fault {
            Fault::Delay { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Fault::Status { status, message_id, message, retry_after } => {
                let id = message_id.unwrap_or_else(|| "GeneralError".into());
                let text = message.unwrap_or_else(|| "An injected fault.".into());
                let reply = Reply::error(status, Message::new(&id, text));
                return Ok(match retry_after {
                    Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                    None => reply,
                });
            }
            Fault::Page { status } => {
                let page = "<html><body><h1>This page is no JSON</h1></body></html>";
                return Ok(Reply::text(status, "text/html", page));
            }
            Fault::Reset => return Err(Hangup),
            other => after.push(other),
        }
    }
    let mut reply = route(machine, asked, query).await;
    for fault in after {
        match fault {
            Fault::ResetAfter => return Err(Hangup),
            Fault::StatusAfter { status } => {
                reply = Reply::error(status, Message::new("InternalError", "An injected fault."));
            }
            Fault::Replace { properties } => {
                if let Body::Json(Value::Object(body)) = &mut reply.body {
                    for (name, value) in properties {
                        if value.is_null() {
                            body.remove(&name);
                        } else {
                            body.insert(name, value);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(reply)
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
    match segments {
        ["$metadata"] => return Reply::text(200, "application/xml;charset=utf-8", resource::metadata()),
        ["odata"] => return Reply::json(resource::odata()),
        ["TaskService", "TaskMonitors", id] => return session::monitor(machine, &asked.path, id),
        _ => {}
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
