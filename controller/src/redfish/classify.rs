//! Why a BMC said no: from status and body to one kind and one text. Pure.
//!
//! Kinds go by the **end** of the `MessageId` (versions and registries in front of it change), then by the
//! status. The text for the operator is the BMC's own, Message and Resolution, with our remedy after it where
//! experience has one. Bodies come in every shape: a list, a lone object, notes on single properties, a page
//! of HTML, nothing.

use super::error::BmcError;
use super::wire::{Body, Node};

/// Longest text kept from one answer, in characters.
const TEXT_LIMIT: usize = 1000;
/// Most messages read from one answer.
const MESSAGE_LIMIT: usize = 20;

/// What a refusal means for what we do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A success in the shape of an error.
    Success,
    /// The session is gone: log in again.
    NoSession,
    /// The account may not.
    Forbidden,
    /// The account must get a new password first.
    PasswordExpired,
    /// No more sessions fit.
    SessionsFull,
    /// The feature is not licensed.
    Licence,
    /// Not while firmware runs its power-on self-test.
    DuringPost,
    /// Something already has it, or the state is not right yet.
    Conflict,
    /// A parameter or property is missing, unknown or has a wrong value.
    Parameter,
    /// The BMC could not read the image.
    Image,
    /// The ETag is not the current one.
    Stale,
    /// An ETag must be sent.
    EtagWanted,
    /// There is no such resource or action.
    Absent,
    /// Too busy; later.
    Busy,
    /// The service broke.
    Broken,
    /// None of these.
    Other,
}

/// A refusal, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What it means.
    pub kind: Kind,
    /// The telling `MessageId`.
    pub message_id: Option<String>,
    /// Message and Resolution, verbatim.
    pub text: String,
    /// Everything a parameter name may hide in: texts, arguments, related properties.
    hints: Vec<String>,
}

impl Refusal {
    /// Reads an answer that is not a success (or is one, in the shape of an error).
    pub fn read(status: u16, body: &Body) -> Self {
        let messages = messages(body.node());
        let mut texts: Vec<String> = Vec::new();
        let mut hints = Vec::new();
        let mut telling: Option<(Kind, String)> = None;
        for message in &messages {
            let id = message.get("MessageId").string().or_else(|| message.get("MessageID").string());
            if let Some(id) = id {
                let kind = by_message(&id);
                let open =
                    telling.as_ref().is_none_or(|(known, _)| matches!(known, Kind::Other | Kind::Success));
                if telling.is_none() || (open && kind.is_some_and(|kind| kind != Kind::Success)) {
                    telling = Some((kind.unwrap_or(Kind::Other), id));
                }
            }
            for key in ["Message", "Resolution"] {
                let text = message.get(key).text().filter(|text| !is_none_word(text));
                if let Some(text) = text.filter(|text| !texts.iter().any(|known| known == text)) {
                    texts.push(text.to_owned());
                }
            }
            hints.extend(message.get("MessageArgs").words());
            hints.extend(message.get("RelatedProperties").words());
        }
        let error = body.node().get("error");
        let code = error.get("code").string();
        // The code repeats the first message, or is all there is.
        if let Some(code) = code.filter(|_| telling.as_ref().is_none_or(|(kind, _)| *kind == Kind::Other)) {
            match by_message(&code) {
                Some(kind) => telling = Some((kind, code)),
                None if telling.is_none() => telling = Some((Kind::Other, code)),
                None => {}
            }
        }
        if texts.is_empty() {
            texts.extend(error.get("message").string());
            texts.extend(body.plain(TEXT_LIMIT));
        }
        let text = sentences(&texts);
        let (named, message_id) = match telling {
            Some((kind, id)) => (kind, Some(id)),
            None => (Kind::Other, None),
        };
        let kind = match named {
            Kind::Other if names_licence(&text) => Kind::Licence,
            Kind::Other => by_status(status),
            named => named,
        };
        let text = if text.is_empty() { format!("HTTP {status} without a word") } else { text };
        hints.push(text.clone());
        Self { status, kind, message_id, text, hints }
    }

    /// Whether the refusal speaks of this parameter or property, anywhere.
    pub fn names(&self, parameter: &str) -> bool {
        let wanted = parameter.to_ascii_lowercase();
        self.hints.iter().any(|hint| hint.to_ascii_lowercase().contains(&wanted))
    }

    /// Whether trying the very same again a little later is worth it.
    pub fn passes(&self) -> bool {
        matches!(self.kind, Kind::DuringPost | Kind::Conflict | Kind::Busy | Kind::Broken)
    }

    /// The refusal as the caller's error, with the remedy experience knows.
    pub fn into_error(self, endpoint: &str, what: impl Into<String>) -> BmcError {
        let remedy = match self.kind {
            Kind::Licence => Some("the BMC lacks the licence for this; install it, or use another transport"),
            Kind::PasswordExpired => Some("set a new password on the BMC, then store it here"),
            Kind::SessionsFull => Some("end old sessions on the BMC, or wait until they time out"),
            Kind::Forbidden => Some("give the account the administrator or operator role"),
            Kind::Image => Some("check that the BMC itself reaches this URL: address, route, firewall"),
            _ => None,
        };
        let message = match remedy {
            Some(remedy) => format!("{} ({remedy})", self.text.trim_end_matches('.')),
            None => self.text,
        };
        BmcError::Refused {
            endpoint: endpoint.to_owned(),
            what: what.into(),
            status: self.status,
            kind: self.kind,
            message_id: self.message_id,
            message,
        }
    }
}

/// Every message in an answer, wherever the service put it.
fn messages(node: Node<'_>) -> Vec<Node<'_>> {
    const INFO: &str = "@Message.ExtendedInfo";
    let error = node.get("error");
    let mut found = error.get(INFO).items();
    found.extend(node.get(INFO).items());
    for (key, value) in node.entries().chain(error.entries()) {
        if key.len() > INFO.len() && key.ends_with(INFO) {
            found.extend(value.items());
        }
    }
    found.truncate(MESSAGE_LIMIT);
    found
}

/// Texts one after another, each closed as a sentence where another follows.
fn sentences(texts: &[String]) -> String {
    let mut whole = String::new();
    for text in texts {
        if !whole.is_empty() {
            whole.push_str(if whole.ends_with(['.', '!', '?', ':']) { " " } else { ". " });
        }
        whole.push_str(text);
    }
    whole.chars().take(TEXT_LIMIT).collect()
}

fn is_none_word(text: &str) -> bool {
    matches!(text.trim_end_matches('.').to_ascii_lowercase().as_str(), "none" | "none required")
}

fn names_licence(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("license") || text.contains("licence")
}

/// The kind a `MessageId` names by its last part.
fn by_message(id: &str) -> Option<Kind> {
    let suffix = id.rsplit('.').next().unwrap_or(id);
    Some(match suffix {
        "Success" | "NoOperation" => Kind::Success,
        "NoValidSession" | "UnauthorizedLoginAttempt" => Kind::NoSession,
        "InsufficientPrivilege" | "AccessDenied" => Kind::Forbidden,
        "PasswordChangeRequired" | "PasswordResetRequired" => Kind::PasswordExpired,
        // RAC0218: Dell's own, of iDRAC.
        "SessionLimitExceeded" | "CreateLimitReachedForResource" | "RAC0218" => Kind::SessionsFull,
        "LicenseKeyRequired" | "LicenseRequired" | "OperationNotAllowedLicense" | "LicenseNotInstalled" => {
            Kind::Licence
        }
        "UnableToModifyDuringSystemPOST" => Kind::DuringPost,
        "ActionParameterValueConflict"
        | "ResourceInUse"
        | "ResourceInStandby"
        | "InvalidOperationForSystemState"
        | "ResourceBusy"
        | "PropertyValueResourceConflict" => Kind::Conflict,
        "ActionParameterMissing"
        | "PropertyMissing"
        | "ActionParameterUnknown"
        | "ActionParameterNotSupported"
        | "ActionParameterValueFormatError"
        | "ActionParameterValueTypeError"
        | "ActionParameterValueNotInList"
        | "ActionParameterValueError"
        | "ActionParameterDuplicate"
        | "PropertyNotWritable"
        | "PropertyUnknown"
        | "PropertyValueNotInList"
        | "PropertyValueTypeError"
        | "PropertyValueFormatError"
        | "PropertyValueError"
        | "PropertyValueConflict" => Kind::Parameter,
        "RAC0904"
        | "CouldNotEstablishConnection"
        | "ResourceAtUriInUnknownFormat"
        | "ResourceAtUriUnauthorized"
        | "SourceDoesNotSupportProtocol"
        | "ConnectionFailed"
        | "FileTransferProtocolMismatch"
        | "ResourceMissingAtURI" => Kind::Image,
        "PreconditionFailed" => Kind::Stale,
        "PreconditionRequired" => Kind::EtagWanted,
        "ActionNotSupported" | "ResourceNotFound" => Kind::Absent,
        "ServiceTemporarilyUnavailable"
        | "ServiceShuttingDown"
        | "ServiceInUnknownState"
        | "SYS446"
        | "SYS518" => Kind::Busy,
        _ => return None,
    })
}

/// The kind a bare status stands for.
fn by_status(status: u16) -> Kind {
    match status {
        401 => Kind::NoSession,
        403 => Kind::Forbidden,
        404 | 405 | 410 | 501 => Kind::Absent,
        409 => Kind::Conflict,
        412 => Kind::Stale,
        428 => Kind::EtagWanted,
        429 | 503 => Kind::Busy,
        500..=599 => Kind::Broken,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::wire::tests::any_json;
    use super::*;

    fn info(id: &str, message: &str) -> Value {
        json!({"MessageId": id, "Message": message, "Resolution": "Try again."})
    }

    #[test]
    fn every_shape_of_refusal_has_its_kind() {
        let table: &[(u16, Value, Kind)] = &[
            (
                400,
                json!({"error": {"@Message.ExtendedInfo": [info("Base.1.8.ActionParameterMissing", "x")]}}),
                Kind::Parameter,
            ),
            (400, json!({"error": {"@Message.ExtendedInfo": info("IDRAC.2.8.RAC0904", "x")}}), Kind::Image),
            (400, json!({"error": {"code": "iLO.2.14.UnableToModifyDuringSystemPOST"}}), Kind::DuringPost),
            (
                400,
                json!({"error": {"code": "Base.1.0.GeneralError", "@Message.ExtendedInfo": [info("Base.1.0.GeneralError", "x"), info("iLO.2.LicenseKeyRequired", "y")]}}),
                Kind::Licence,
            ),
            (403, json!({"error": {"message": "This feature needs an Advanced License."}}), Kind::Licence),
            (
                200,
                json!({"Image@Message.ExtendedInfo": [info("Base.1.1.PropertyNotWritable", "x")]}),
                Kind::Parameter,
            ),
            (400, json!({"@Message.ExtendedInfo": [info("Base.1.0.Success", "x")]}), Kind::Success),
            (
                403,
                json!({"error": {"@Message.ExtendedInfo": [info("Base.1.5.PasswordChangeRequired", "x")]}}),
                Kind::PasswordExpired,
            ),
            (
                503,
                json!({"error": {"@Message.ExtendedInfo": [info("Base.1.5.SessionLimitExceeded", "x")]}}),
                Kind::SessionsFull,
            ),
            (
                503,
                json!({"error": {"@Message.ExtendedInfo": [info("IDRAC.2.8.RAC0218", "x")]}}),
                Kind::SessionsFull,
            ),
            (401, json!(null), Kind::NoSession),
            (403, json!({}), Kind::Forbidden),
            (404, json!({}), Kind::Absent),
            (409, json!({}), Kind::Conflict),
            (412, json!({}), Kind::Stale),
            (428, json!({}), Kind::EtagWanted),
            (500, json!({"error": {"code": "Base.1.0.GeneralError"}}), Kind::Broken),
            (503, json!({}), Kind::Busy),
            (400, json!({"error": {"code": "Base.1.0.GeneralError"}}), Kind::Other),
        ];
        for (status, body, kind) in table {
            let refusal = Refusal::read(*status, &Body::Json(body.clone()));
            assert_eq!(refusal.kind, *kind, "{status} {body}");
        }
    }

    #[test]
    fn message_and_resolution_reach_the_operator_in_the_bmcs_words() {
        let body = json!({"error": {"code": "Base.1.8.GeneralError", "message": "See ExtendedInfo.",
            "@Message.ExtendedInfo": [{"MessageId": "IDRAC.2.8.RAC0904", "Message": "Unable to mount.",
            "Resolution": "Check the path."}, {"MessageId": "Base.1.8.Success", "Message": "Unable to mount.",
            "Resolution": "None."}]}});
        let error =
            Refusal::read(400, &Body::Json(body)).into_error("https://bmc", "inserting http://a/b.iso");
        assert_eq!(
            error.to_string(),
            "BMC https://bmc refuses inserting http://a/b.iso: Unable to mount. Check the path (check that the \
             BMC itself reaches this URL: address, route, firewall)"
        );
    }

    #[test]
    fn a_parameter_is_found_wherever_it_is_named() {
        for body in [
            json!({"error": {"@Message.ExtendedInfo": [{"RelatedProperties": ["#/TransferProtocolType"]}]}}),
            json!({"error": {"@Message.ExtendedInfo": {"MessageArgs": ["InsertMedia", "TransferProtocolType"]}}}),
            json!({"error": {"message": "The transferprotocoltype is missing"}}),
        ] {
            assert!(Refusal::read(400, &Body::Json(body.clone())).names("TransferProtocolType"), "{body}");
            assert!(!Refusal::read(400, &Body::Json(body)).names("TransferMethod"));
        }
    }

    #[test]
    fn a_page_of_html_or_nothing_still_says_something() {
        let page = Refusal::read(403, &Body::read(b"<html><body>Access Denied</body></html>"));
        assert_eq!((page.kind, page.text.as_str()), (Kind::Forbidden, "Access Denied"));
        assert_eq!(Refusal::read(500, &Body::Empty).text, "HTTP 500 without a word");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_classifier_panic_or_ramble(status in 100u16..600, json in any_json()) {
            let refusal = Refusal::read(status, &Body::Json(json));
            prop_assert!(!refusal.text.is_empty() && refusal.text.chars().count() <= TEXT_LIMIT);
        }
    }
}
