//! Answers and error bodies as Redfish wants them (DSP0266: error responses, message registry Base).

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};

/// Version of the Base message registry the ids belong to (bundle 2023.1).
const BASE: &str = "Base.1.16";

/// An answer on its way out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// Its body.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    Json(Value),
    Text(&'static str, String),
}

/// One `@Message.ExtendedInfo`.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    id: String,
    text: String,
    args: Vec<String>,
    related: Option<String>,
}

impl Message {
    pub fn new(id: &str, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into(), args: Vec::new(), related: None }
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// Names the property at fault, as a JSON pointer fragment without `#/`.
    pub fn about(mut self, property: &str) -> Self {
        self.related = Some(format!("#/{property}"));
        self
    }

    fn json(&self) -> Value {
        let mut info = json!({
            "@odata.type": "#Message.v1_1_2.Message",
            "MessageId": format!("{BASE}.{}", self.id),
            "Message": self.text,
            "MessageArgs": self.args,
            "MessageSeverity": "Critical",
            "Resolution": "Correct the request and send it again.",
        });
        if let Some(related) = &self.related {
            info["RelatedProperties"] = json!([related]);
        }
        info
    }
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
        let (code, text) = match messages {
            [one] => (one.id.as_str(), one.text.as_str()),
            _ => (
                "GeneralError",
                "A general error has occurred. See Resolution for information on how to resolve the error.",
            ),
        };
        let info: Vec<Value> = messages.iter().map(Message::json).collect();
        let body = json!({"error": {"code": format!("{BASE}.{code}"), "message": text, "@Message.ExtendedInfo": info}});
        Self { status, body: Body::Json(body), ..Self::default() }
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

    pub fn into_response(self, head: bool) -> Response<Full<Bytes>> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut builder = Response::builder()
            .status(status)
            .header("OData-Version", "4.0")
            .header(header::CACHE_CONTROL, "no-cache");
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        let (kind, bytes) = match self.body {
            Body::Empty => (None, Bytes::new()),
            Body::Json(value) => (Some("application/json;charset=utf-8"), Bytes::from(value.to_string())),
            Body::Text(kind, text) => (Some(kind), Bytes::from(text)),
        };
        if let Some(kind) = kind {
            builder = builder.header(header::CONTENT_TYPE, kind).header(header::CONTENT_LENGTH, bytes.len());
        }
        let sent = if head { Bytes::new() } else { bytes };
        builder.body(Full::new(sent)).unwrap_or_else(|_| {
            let mut broken = Response::new(Full::new(Bytes::new()));
            *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            broken
        })
    }
}
