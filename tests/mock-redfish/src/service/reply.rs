//! Answers and error bodies as Redfish wants them (DSP0266: error responses, message registry Base).

use serde_json::Value;

pub(crate) use crate::vendor::words::Message;
use crate::vendor::words::Words;

/// An answer on its way out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    pub delivery: Delivery,
    /// It is no answer but a stream of events.
    pub streams: bool,
}

/// How its body travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    /// Half of it, then the connection is reset.
    Cut,
    /// In drops, with that many milliseconds between them.
    Drip(u64),
}

/// Its body.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Json(Value),
    /// Messages that the vendor has not worded yet.
    Error(Vec<Message>),
    Text(&'static str, String),
}

impl Reply {
    pub fn json(body: Value) -> Self {
        Self { status: 200, body: Body::Json(body), ..Self::default() }
    }

    pub fn empty() -> Self {
        Self { status: 204, ..Self::default() }
    }

    pub fn text(status: u16, content_type: &'static str, text: impl Into<String>) -> Self {
        Self { status, body: Body::Text(content_type, text.into()), ..Self::default() }
    }

    /// An error of one message.
    pub fn error(status: u16, message: Message) -> Self {
        Self::errors(status, &[message])
    }

    /// An error of several messages.
    pub fn errors(status: u16, messages: &[Message]) -> Self {
        Self { status, body: Body::Error(messages.to_vec()), ..Self::default() }
    }

    /// Puts an error into the vendor's words.
    #[must_use]
    pub fn worded(mut self, words: &Words) -> Self {
        if let Body::Error(messages) = &self.body {
            let (body, status) = words.error(messages);
            self.status = status.unwrap_or(self.status);
            self.body = Body::Json(body);
        }
        self
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn not_found(path: &str) -> Self {
        let text = format!("The resource at the URI '{path}' was not found.");
        Self::error(404, Message::new("ResourceMissingAtURI", text).args(&[path]))
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        let text = "The HTTP method is not allowed on this resource.";
        Self::error(405, Message::new("OperationNotAllowed", text)).with("Allow", allow)
    }

    /// The body as text with its media type.
    pub fn text_of_body(&self) -> (Option<&'static str>, String) {
        match &self.body {
            Body::Empty => (None, String::new()),
            Body::Json(value) => (Some("application/json;charset=utf-8"), value.to_string()),
            Body::Error(messages) => {
                (Some("application/json;charset=utf-8"), Words::default().error(messages).0.to_string())
            }
            Body::Text(kind, text) => (Some(kind), text.clone()),
        }
    }
}
