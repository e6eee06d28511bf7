//! Query parameters of Redfish: those that begin with `$`. Others are ignored, as the standard wants.

use hyper::Method;

use super::reply::{Message, Reply};
use crate::{
    machine::Machine,
    resource::expand::{BadExpand, Expand, MOST_LEVELS},
};

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub expand: Option<Expand>,
}

impl Parameters {
    /// Reads the query, or says what to answer.
    pub fn read(machine: &Machine, method: &Method, query: &str) -> Result<Self, Reply> {
        let mut read = Self::default();
        for part in query.split('&') {
            let Some(part) = part.strip_prefix('$').or_else(|| part.strip_prefix("%24")) else { continue };
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let reads = method == Method::GET || method == Method::HEAD;
            if name != "expand" || !machine.config().quirks.expands {
                let text = format!("The query parameter '${name}' is not supported.");
                let message = Message::new("QueryParameterUnsupported", text).args(&[name]);
                return Err(Reply::error(501, message));
            }
            if !reads {
                let text = "Query parameters are not supported on the requested operation.";
                return Err(Reply::error(400, Message::new("QueryNotSupportedOnOperation", text)));
            }
            read.expand = Some(Expand::parse(value).map_err(|bad| refusal(bad, value))?);
        }
        Ok(read)
    }
}

fn refusal(bad: BadExpand, value: &str) -> Reply {
    let message = match bad {
        BadExpand::Format => {
            let text = format!(
                "The value '{value}' for the query parameter $expand is of a different format than the parameter can accept."
            );
            Message::new("QueryParameterValueFormatError", text).args(&[value, "$expand"])
        }
        BadExpand::Levels => {
            let range = format!("1-{MOST_LEVELS}");
            let text =
                format!("The value '{value}' for the query parameter $expand is out of range {range}.");
            Message::new("QueryParameterOutOfRange", text).args(&[value, "$expand", &range])
        }
    };
    Reply::error(400, message)
}
