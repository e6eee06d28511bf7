//! What comes over the wire, read without expecting anything.
//!
//! A real BMC leaves out what the schema requires, sends `null` for a list, an object for a list, `""` for an
//! ETag and a web page for an error. So bodies stay JSON values and are read through [`Node`], where a missing
//! or ill-typed thing is simply absent. Nothing here fails, blocks or decides.

use serde_json::Value;

/// One answer's body, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// JSON.
    Json(Value),
    /// Anything else: plain text or a web page.
    Text(String),
}

impl Body {
    /// Reads a body of any kind.
    pub fn read(bytes: &[u8]) -> Self {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Self::Empty;
        }
        match serde_json::from_slice(bytes) {
            Ok(value) => Self::Json(value),
            Err(_) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The body as a node; absent when it is not JSON.
    pub fn node(&self) -> Node<'_> {
        match self {
            Self::Json(value) => Node(value),
            Self::Empty | Self::Text(_) => ABSENT,
        }
    }

    /// Text of a body that is not JSON, without markup, at most `most` characters.
    pub fn plain(&self, most: usize) -> Option<String> {
        let Self::Text(text) = self else { return None };
        let mut inside = false;
        let bare: String = text
            .chars()
            .map(|c| match c {
                '<' => {
                    inside = true;
                    ' '
                }
                '>' if inside => {
                    inside = false;
                    ' '
                }
                _ if inside || c.is_control() => ' ',
                c => c,
            })
            .collect();
        let words = bare.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(words.chars().take(most).collect()).filter(|text: &String| !text.is_empty())
    }
}

/// A resource that was read, with the tag it was read under.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    /// Its JSON.
    pub json: Value,
    /// The `ETag` header, else `@odata.etag`; never empty.
    pub etag: Option<String>,
}

impl Resource {
    /// Pairs a body with the `ETag` header it came with.
    pub fn new(json: Value, header: Option<&str>) -> Self {
        let etag = match header.map(str::trim).filter(|tag| !tag.is_empty()) {
            Some(tag) => Some(tag.to_owned()),
            None => Node(&json).get("@odata.etag").text().map(str::to_owned),
        };
        Self { json, etag }
    }

    /// The resource as a node.
    pub fn node(&self) -> Node<'_> {
        Node(&self.json)
    }
}

/// A place in a JSON document that may or may not be there.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a>(pub &'a Value);

/// The node that is not there.
pub const ABSENT: Node<'static> = Node(&Value::Null);

impl<'a> Node<'a> {
    /// A member of an object.
    pub fn get(self, key: &str) -> Node<'a> {
        self.0.get(key).map_or(ABSENT, Node)
    }

    /// Whether an object has this key, also with `null` under it.
    pub fn has(self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// Text that is more than white space, trimmed.
    pub fn text(self) -> Option<&'a str> {
        self.0.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The same, owned.
    pub fn string(self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// A truth value, also when written as text.
    pub fn flag(self) -> Option<bool> {
        match self.0 {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A whole number.
    pub fn number(self) -> Option<u64> {
        self.0.as_u64()
    }

    /// The items of a list; a lone object counts as a list of one, `null` as an empty one.
    pub fn items(self) -> Vec<Node<'a>> {
        match self.0 {
            Value::Array(items) => items.iter().map(Node).collect(),
            Value::Object(_) => vec![self],
            _ => Vec::new(),
        }
    }

    /// The texts in a list.
    pub fn words(self) -> Vec<String> {
        match self.0 {
            Value::Array(items) => items.iter().filter_map(|item| Node(item).string()).collect(),
            Value::String(_) => self.string().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Where a reference leads: `{"@odata.id": …}`, or the bare text some services put there.
    pub fn link(self) -> Option<&'a str> {
        self.get("@odata.id").text().or_else(|| self.text())
    }

    /// Where the members of a list of references, or of a collection, lead.
    pub fn links(self) -> Vec<String> {
        let list = if self.has("Members") { self.get("Members") } else { self };
        list.items().into_iter().filter_map(|item| item.link().map(str::to_owned)).collect()
    }

    /// The entries of an object.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.0.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), Node(value)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_missing_or_ill_typed_thing_is_absent() {
        let odd = json!({
            "Members": null, "Name": 7, "Links": {"ManagedBy": {"@odata.id": "/redfish/v1/Managers/1"}},
            "Flag": "True", "Blank": "  ", "Types": "CD",
        });
        let node = Node(&odd);
        assert!(node.links().is_empty());
        assert!(node.has("Members") && node.get("Members").0.is_null());
        assert_eq!(node.get("Name").text(), None);
        assert_eq!(node.get("Blank").text(), None);
        assert_eq!(node.get("Flag").flag(), Some(true));
        assert_eq!(node.get("Types").words(), ["CD"]);
        assert_eq!(node.get("Links").get("ManagedBy").links(), ["/redfish/v1/Managers/1"]);
        assert_eq!(node.get("Nope").get("Deeper").link(), None);
    }

    #[test]
    fn an_empty_etag_header_falls_back_to_the_body_and_an_empty_one_there_is_none() {
        let body = json!({"@odata.etag": "W/\"7\""});
        assert_eq!(Resource::new(body.clone(), Some("")).etag.as_deref(), Some("W/\"7\""));
        assert_eq!(Resource::new(body, Some("\"8\"")).etag.as_deref(), Some("\"8\""));
        assert_eq!(Resource::new(json!({"@odata.etag": ""}), Some(" ")).etag, None);
    }

    #[test]
    fn a_web_page_is_read_as_its_words() {
        let page =
            Body::read(b"<html><head><title>403</title></head>\n<body><h1>Forbidden</h1></body></html>");
        assert_eq!(page.plain(100).as_deref(), Some("403 Forbidden"));
        assert_eq!(page.plain(3).as_deref(), Some("403"));
        assert!(page.node().0.is_null());
        assert_eq!(Body::read(b" \r\n"), Body::Empty);
    }

    /// Any JSON at all, three levels deep, with the keys the readers look for.
    pub fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            prop::sample::select(vec![
                "@odata.id",
                "@odata.etag",
                "Members",
                "Boot",
                "Actions",
                "error",
                "@Message.ExtendedInfo",
                "MessageId",
                "Message",
                "RelatedProperties",
                "MediaTypes",
                "Inserted",
                "Image",
                "TaskState",
                "#VirtualMedia.InsertMedia",
                "target",
                "Links",
                "ManagedBy",
                "Parameters",
                "PowerState",
            ])
            .prop_map(str::to_owned),
            "[a-z]{0,6}",
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let body = Body::read(&bytes);
            let _ = (body.plain(50), body.node().links(), body.node().words());
        }

        #[test]
        fn every_link_found_is_text_from_the_document(json in any_json()) {
            let whole = json.to_string();
            for link in Node(&json).links() {
                let quoted = serde_json::to_string(&link).unwrap();
                prop_assert!(whole.contains(quoted.trim_matches('"')), "{link} is not in {whole}");
            }
        }
    }
}
