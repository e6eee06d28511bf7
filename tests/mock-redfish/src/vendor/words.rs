//! How a vendor words its errors: registries in front of the message ids, texts of its own, the shape of the body.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Version of the Base message registry of the book (bundle 2023.1).
const BASE: &str = "Base.1.16";

/// The wording of one BMC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// Registry of messages that are not in `phrases`.
    pub base: String,
    /// What is said for a message of the book, by its id without registry.
    pub phrases: BTreeMap<String, Phrase>,
    /// `@Message.ExtendedInfo` is an object and not a list.
    pub info_is_object: bool,
    /// There is no `code`.
    pub no_code: bool,
    /// `code` and `message` say that something is wrong, and only the messages say what.
    pub general_code: bool,
    /// `Severity` for `MessageSeverity`, as before 2020.
    pub old_severity: bool,
    /// `Message` and `MessageId` alone, without texts of the book.
    pub terse: bool,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            base: BASE.into(),
            phrases: BTreeMap::new(),
            info_is_object: false,
            no_code: false,
            general_code: false,
            old_severity: false,
            terse: false,
        }
    }
}

/// One message of a vendor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phrase {
    /// Whole `MessageId`.
    pub id: String,
    /// Text; empty: that of the book.
    pub text: String,
    /// `Resolution`; empty: that of the book.
    pub resolution: String,
    /// HTTP status, when not that of the book.
    pub status: Option<u16>,
}

/// One `@Message.ExtendedInfo`, before a vendor words it.
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
}

impl Words {
    /// The body of an error, and the status where the vendor has its own.
    pub(crate) fn error(&self, messages: &[Message]) -> (Value, Option<u16>) {
        let general =
            "A general error has occurred. See Resolution for information on how to resolve the error.";
        let said: Vec<(String, Value)> = messages.iter().map(|message| self.say(message)).collect();
        let (code, text) = match said.as_slice() {
            [(id, info)] if !self.general_code => {
                (id.clone(), info["Message"].as_str().unwrap_or_default().to_owned())
            }
            _ => (format!("{}.GeneralError", self.base), general.to_owned()),
        };
        let status = messages.first().and_then(|message| self.phrases.get(&message.id)?.status);
        let infos: Vec<Value> = said.into_iter().map(|(_, info)| info).collect();
        let infos = match <[Value; 1]>::try_from(infos) {
            Ok([one]) if self.info_is_object => one,
            Ok([one]) => json!([one]),
            Err(several) => json!(several),
        };
        let mut error = json!({"message": text, "@Message.ExtendedInfo": infos});
        if !self.no_code {
            error["code"] = json!(code);
        }
        (json!({ "error": error }), status)
    }

    /// One message with its whole id.
    fn say(&self, message: &Message) -> (String, Value) {
        let own = self.phrases.get(&message.id);
        let text_of = |own: Option<&String>, book: &str| match own {
            Some(text) if !text.is_empty() => text.clone(),
            _ => book.to_owned(),
        };
        let id = text_of(own.map(|own| &own.id), &format!("{}.{}", self.base, message.id));
        let mut info = json!({
            "MessageId": id,
            "Message": text_of(own.map(|own| &own.text), &message.text),
        });
        if self.terse {
            return (id, info);
        }
        info["@odata.type"] = json!("#Message.v1_1_2.Message");
        info["MessageArgs"] = json!(message.args);
        info[if self.old_severity { "Severity" } else { "MessageSeverity" }] = json!("Critical");
        info["Resolution"] =
            json!(text_of(own.map(|own| &own.resolution), "Correct the request and send it again."));
        if let Some(related) = &message.related {
            info["RelatedProperties"] = json!([related]);
        }
        (id, info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_says_it_in_its_own_words_and_shape() {
        let words: Words = toml::from_str(
            "base = 'Base.1.8'\ninfo_is_object = true\ngeneral_code = true\n\
             [phrases.ResourceInUse]\nid = 'IDRAC.2.8.RAC0720'\ntext = 'Already attached.'\nstatus = 500",
        )
        .unwrap();
        let (body, status) = words.error(&[Message::new("ResourceInUse", "book")]);
        assert_eq!(status, Some(500));
        assert_eq!(body["error"]["@Message.ExtendedInfo"]["MessageId"], "IDRAC.2.8.RAC0720");
        assert_eq!(body["error"]["@Message.ExtendedInfo"]["Message"], "Already attached.");
        assert_eq!(body["error"]["code"], "Base.1.8.GeneralError");
        let (body, status) = Words::default().error(&[Message::new("ResourceInUse", "book")]);
        assert_eq!((status, &body["error"]["message"]), (None, &json!("book")));
        assert_eq!(body["error"]["@Message.ExtendedInfo"][0]["MessageId"], "Base.1.16.ResourceInUse");
    }
}
