//! Documents carried by a recipe: their bytes, their limits, and how they are shown to people (never by
//! their content: payloads hold passwords and join keys). Fetching the remote ones is the controller's.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::recipe::{Payload, PayloadBase64, PayloadContent, PayloadRemote, Recipe};

/// Largest `user_data`, `meta_data` or `network_config` in bytes.
pub const CLOUD_INIT_MAX: usize = 1 << 20;
/// Largest `unattend_xml` in bytes.
pub const UNATTEND_MAX: usize = 1 << 20;
/// Largest `ks_cfg` in bytes.
pub const KICKSTART_MAX: usize = 256 << 10;
/// Largest of the `first_boot_scripts` in bytes.
pub const SCRIPT_MAX: usize = 1 << 20;

impl Payload {
    /// The bytes; `None` for a remote payload, which somebody must fetch first, and for base64 that does
    /// not decode, which [`crate::validate`] refuses.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(content) | Self::Content(PayloadContent { content }) => {
                Some(content.clone().into_bytes())
            }
            Self::Base64(PayloadBase64 { content_base64 }) => STANDARD.decode(content_base64).ok(),
            Self::Remote(_) => None,
        }
    }

    /// Where a remote payload is to be fetched and what it must be.
    pub fn remote(&self) -> Option<&PayloadRemote> {
        if let Self::Remote(remote) = self { Some(remote) } else { None }
    }
}

impl Recipe {
    /// Every payload with the JSON Pointer of its field, in a fixed order.
    pub fn payloads(&self) -> Vec<(String, &Payload)> {
        let fields = [
            ("/user_data", &self.user_data),
            ("/meta_data", &self.meta_data),
            ("/network_config", &self.network_config),
            ("/unattend_xml", &self.unattend_xml),
            ("/ks_cfg", &self.ks_cfg),
        ];
        let single = fields.into_iter().filter_map(|(path, field)| Some((path.to_owned(), field.as_ref()?)));
        let scripts = self.first_boot_scripts.iter().flatten().zip(0..);
        single.chain(scripts.map(|(script, at)| (format!("/first_boot_scripts/{at}"), script))).collect()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(content) => write!(out, "Plain(<{} bytes>)", content.len()),
            Self::Content(content) => content.fmt(out),
            Self::Base64(base64) => base64.fmt(out),
            Self::Remote(remote) => remote.fmt(out),
        }
    }
}

impl fmt::Debug for PayloadContent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Content(<{} bytes>)", self.content.len())
    }
}

impl fmt::Debug for PayloadBase64 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Base64(<{} digits>)", self.content_base64.len())
    }
}

impl fmt::Debug for PayloadRemote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may carry a token.
        write!(out, "Remote(<url>, sha256 {})", self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_local_spelling_gives_its_bytes() {
        for (json, bytes) in [
            (r#""abc""#, Some(b"abc".to_vec())),
            (r#"{"content":"abc"}"#, Some(b"abc".to_vec())),
            (r#"{"content_base64":"YWJj"}"#, Some(b"abc".to_vec())),
            (r#"{"content_base64":"!"}"#, None),
            (r#"{"url":"https://h/x","sha256":"00"}"#, None),
        ] {
            let payload: Payload = serde_json::from_str(json).unwrap();
            assert_eq!(payload.bytes(), bytes, "{json}");
            assert_eq!(payload.remote().is_some(), json.contains("url"), "{json}");
        }
    }

    #[test]
    fn every_payload_of_a_recipe_is_listed_by_its_path() {
        let json = r#"{"task_target":"x.target","user_data":"a","meta_data":"b","network_config":"c",
            "unattend_xml":"d","ks.cfg":"e","first_boot_scripts":["f","g"]}"#;
        let recipe: Recipe = serde_json::from_str(json).unwrap();
        let found = recipe.payloads();
        let contents: Vec<_> = found.iter().filter_map(|(_, payload)| payload.bytes()).flatten().collect();
        assert_eq!(contents, b"abcdefg");
        assert_eq!(found[4].0, "/ks_cfg");
        assert_eq!(found[6].0, "/first_boot_scripts/1");
    }

    #[test]
    fn debug_output_never_shows_what_a_payload_says() {
        for json in [
            r#""hunter2""#,
            r#"{"content":"hunter2"}"#,
            r#"{"content_base64":"hunter2="}"#,
            r#"{"url":"https://h/?token=hunter2","sha256":"00"}"#,
        ] {
            let payload: Payload = serde_json::from_str(json).unwrap();
            assert!(!format!("{payload:?}").contains("hunter2"), "{json}");
        }
    }
}
