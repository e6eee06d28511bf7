//! Who may ask: Basic authentication or a session token. What is open to all is what DSP0266 opens.

use std::time::Instant;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::Method;
use subtle::ConstantTimeEq;

use super::{
    Asked,
    reply::{Message, Reply},
};
use crate::machine::Machine;

/// Whether that needs no login.
pub(crate) fn open_to_all(method: &Method, segments: &[&str]) -> bool {
    match segments {
        [] | ["$metadata" | "odata"] => method == Method::GET || method == Method::HEAD,
        ["SessionService", "Sessions"] | ["SessionService", "Sessions", "Members"] => method == Method::POST,
        _ => false,
    }
}

/// Lets a request pass or says what to answer.
pub(crate) fn check(machine: &Machine, asked: &Asked) -> Result<(), Reply> {
    if let Some(token) = asked.header("x-auth-token") {
        if !machine.config().quirks.no_sessions && machine.sessions().touch(token, Instant::now()).is_some() {
            return Ok(());
        }
        let text = "There is no valid session established with the implementation.";
        return Err(unauthorized(Message::new("NoValidSession", text)));
    }
    let basic = asked.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let decoded = basic.and_then(|value| BASE64_STANDARD.decode(value.trim()).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((user, password)) = text.as_deref().and_then(|text| text.split_once(':'))
        && knows(machine, user, password)
    {
        return Ok(());
    }
    let text = "While accessing the resource the service received an authorization error.";
    Err(unauthorized(Message::new("ResourceAtUriUnauthorized", text).args(&[&asked.path, "unauthorized"])))
}

/// Whether that is the account's user and password.
pub(crate) fn knows(machine: &Machine, user: &str, password: &str) -> bool {
    let config = machine.config();
    let name = user.as_bytes().ct_eq(config.user.as_bytes());
    let secret = password.as_bytes().ct_eq(config.password.as_bytes());
    bool::from(name & secret)
}

/// 401 with the challenge that clients wait for.
pub(crate) fn unauthorized(message: Message) -> Reply {
    Reply::error(401, message).with("WWW-Authenticate", "Basic realm=\"mock-redfish\"")
}
