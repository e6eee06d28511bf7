//! What an insert request carries: as little as possible, more only on evidence. Pure.
//!
//! The first request is the image alone, because some BMCs refuse attributes they consider read-only. Each
//! refusal may ask for more: by naming a parameter, or by an action description that requires it.

use serde_json::{Value, json};

use super::classify::{Kind, Refusal};

/// One parameter that may be added to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Extra {
    /// `TransferProtocolType`, as the URL says.
    Protocol,
    /// `TransferMethod`: `Stream`.
    Method,
    /// `UserName` and `Password`, both `none`.
    Account,
    /// `Inserted`.
    Inserted,
    /// `WriteProtected`.
    WriteProtected,
}

impl Extra {
    const ALL: [Self; 5] =
        [Self::Protocol, Self::Method, Self::Account, Self::Inserted, Self::WriteProtected];

    /// The parameters it stands for.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Protocol => &["TransferProtocolType"],
            Self::Method => &["TransferMethod"],
            Self::Account => &["UserName", "Password"],
            Self::Inserted => &["Inserted"],
            Self::WriteProtected => &["WriteProtected"],
        }
    }

    /// Whether a refusal that merely mentions the word asks for it. `Inserted` is said of many a slot.
    fn is_asked_by(self, refusal: &Refusal) -> bool {
        let needs_proof = matches!(self, Self::Inserted | Self::WriteProtected);
        (!needs_proof || refusal.kind == Kind::Parameter)
            && self.parameters().iter().any(|parameter| refusal.names(parameter))
    }
}

/// The parameters beside the image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload(Vec<Extra>);

impl Payload {
    /// What a family is sent from the first request on.
    pub fn of(first: &[Extra]) -> Self {
        Self(first.to_vec())
    }

    /// The request body for `url`.
    pub fn body(&self, url: &str) -> Value {
        let mut body = json!({"Image": url});
        for extra in &self.0 {
            match extra {
                Extra::Protocol => {
                    let secure = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
                    body["TransferProtocolType"] = json!(if secure { "HTTPS" } else { "HTTP" });
                }
                Extra::Method => body["TransferMethod"] = json!("Stream"),
                // Ours need none; some BMCs want the parameters all the same.
                Extra::Account => {
                    body["UserName"] = json!("none");
                    body["Password"] = json!("none");
                }
                Extra::Inserted => body["Inserted"] = json!(true),
                Extra::WriteProtected => body["WriteProtected"] = json!(true),
            }
        }
        body
    }

    /// The payload to try after `refusal`, given what the action requires; none when nothing new is asked for.
    pub fn after(&self, refusal: &Refusal, required: &[String]) -> Option<Self> {
        let open = || Extra::ALL.into_iter().filter(|extra| !self.0.contains(extra));
        let required = open().filter(|extra| {
            extra.parameters().iter().any(|parameter| required.iter().any(|name| name == parameter))
        });
        let mut more: Vec<Extra> = open().filter(|extra| extra.is_asked_by(refusal)).collect();
        for extra in required {
            if !more.contains(&extra) {
                more.push(extra);
            }
        }
        if more.is_empty() && asks_without_saying_what(refusal) {
            more.extend(open().find(|extra| *extra == Extra::Protocol));
        }
        if more.is_empty() { None } else { Some(Self([self.0.clone(), more].concat())) }
    }
}

/// Some firmware says no more than "parameter missing" or "general error" when it wants the protocol.
fn asks_without_saying_what(refusal: &Refusal) -> bool {
    let suffix = refusal.message_id.as_deref().and_then(|id| id.rsplit('.').next());
    refusal.status == 400
        && matches!(suffix, Some("ActionParameterMissing" | "PropertyMissing" | "GeneralError"))
}

#[cfg(test)]
mod tests {
    use super::super::wire::Body;
    use super::*;

    fn refusal(id: &str, text: &str) -> Refusal {
        let info = json!({"error": {"@Message.ExtendedInfo": [{"MessageId": id, "Message": text}]}});
        Refusal::read(400, &Body::Json(info))
    }

    #[test]
    fn the_ladder_adds_what_the_evidence_names() {
        let url = "http://10.0.0.5/m/a.iso";
        let table: &[(&str, &str, &[&str], Option<Value>)] = &[
            (
                "Base.1.8.ActionParameterMissing",
                "TransferProtocolType is missing",
                &[],
                Some(json!({"Image": url, "TransferProtocolType": "HTTP"})),
            ),
            (
                "Base.1.8.ActionParameterMissing",
                "TransferMethod is missing",
                &[],
                Some(json!({"Image": url, "TransferMethod": "Stream"})),
            ),
            (
                "",
                "UserName and Password are required",
                &[],
                Some(json!({"Image": url, "UserName": "none", "Password": "none"})),
            ),
            (
                "Base.1.8.GeneralError",
                "A general error has occurred",
                &[],
                Some(json!({"Image": url, "TransferProtocolType": "HTTP"})),
            ),
            (
                "Base.1.8.PropertyMissing",
                "The property Inserted is missing",
                &[],
                Some(json!({"Image": url, "Inserted": true})),
            ),
            ("Vendor.1.0.Odd", "The media is already inserted", &[], None),
            (
                "Vendor.1.0.Odd",
                "No",
                &["Image", "WriteProtected"],
                Some(json!({"Image": url, "WriteProtected": true})),
            ),
            ("IDRAC.2.8.RAC0904", "Unable to reach the file", &[], None),
        ];
        for (id, text, required, wanted) in table {
            let required: Vec<String> = required.iter().map(|&name| name.to_owned()).collect();
            let got = Payload::default().after(&refusal(id, text), &required).map(|next| next.body(url));
            assert_eq!(got, *wanted, "{id} {text}");
        }
    }

    #[test]
    fn the_first_request_is_the_image_alone() {
        assert_eq!(Payload::default().body("https://a/b.iso"), json!({"Image": "https://a/b.iso"}));
    }

    #[test]
    fn the_protocol_follows_the_url() {
        let payload = Payload(vec![Extra::Protocol]);
        assert_eq!(payload.body("HTTPS://a/b.iso")["TransferProtocolType"], "HTTPS");
        assert_eq!(payload.body("http://a/b.iso")["TransferProtocolType"], "HTTP");
    }

    #[test]
    fn the_ladder_ends() {
        let everything = refusal(
            "Base.1.8.ActionParameterMissing",
            "TransferProtocolType TransferMethod UserName Password Inserted WriteProtected",
        );
        let full = Payload::default().after(&everything, &[]).unwrap();
        assert_eq!(full.after(&everything, &[]), None);
    }
}
