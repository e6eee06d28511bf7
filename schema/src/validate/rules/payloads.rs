//! Rules for the documents a recipe carries: spelling, size, base64, XML. Their content is never quoted.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Faults, text};
use crate::payload::{CLOUD_INIT_MAX, KICKSTART_MAX, SCRIPT_MAX, UNATTEND_MAX};
use crate::recipe::{Payload, PayloadBase64, PayloadContent, Recipe};

/// Most first-boot scripts.
const SCRIPTS_MAX: usize = 64;
/// Most XML nodes read, so that a small file cannot take much memory.
const XML_NODES_MAX: u32 = 100_000;
/// Most attributes in one tag: the parser compares each with each.
const XML_ATTRIBUTES_MAX: usize = 500;
/// Most namespace declarations: the parser copies those in scope at each.
const XML_NAMESPACES_MAX: usize = 1000;

pub(super) fn check(recipe: &Recipe, faults: &mut Faults) {
    for (name, payload, limit) in [
        ("user_data", &recipe.user_data, CLOUD_INIT_MAX),
        ("meta_data", &recipe.meta_data, CLOUD_INIT_MAX),
        ("network_config", &recipe.network_config, CLOUD_INIT_MAX),
        ("ks_cfg", &recipe.ks_cfg, KICKSTART_MAX),
    ] {
        if let Some(payload) = payload {
            one(payload, limit, &format!("/{name}"), faults);
        }
    }
    let answers = recipe.unattend_xml.as_ref();
    let answers = answers.and_then(|payload| one(payload, UNATTEND_MAX, "/unattend_xml", faults));
    if let Some(Err((code, message))) = answers.as_deref().map(well_formed) {
        faults.add("/unattend_xml", code, message);
    }
    let scripts = recipe.first_boot_scripts.as_deref().unwrap_or_default();
    faults.unless(
        scripts.len() <= SCRIPTS_MAX,
        "/first_boot_scripts",
        "maxItems",
        "must have at most 64 entries",
    );
    for (script, at) in scripts.iter().take(SCRIPTS_MAX).zip(0..) {
        one(script, SCRIPT_MAX, &format!("/first_boot_scripts/{at}"), faults);
    }
}

/// Checks one payload; its bytes, where they are here and within the limit.
fn one(payload: &Payload, limit: usize, path: &str, faults: &mut Faults) -> Option<Vec<u8>> {
    let (bytes, path) = match payload {
        Payload::Plain(content) => (content.clone().into_bytes(), path.to_owned()),
        Payload::Content(PayloadContent { content }) => {
            (content.clone().into_bytes(), format!("{path}/content"))
        }
        Payload::Base64(PayloadBase64 { content_base64 }) => {
            let path = format!("{path}/content_base64");
            let Ok(bytes) = STANDARD.decode(content_base64) else {
                let message = "is not standard base64: encode it with `base64 -w0`";
                faults.add(path, "payload.base64", message);
                return None;
            };
            (bytes, path)
        }
        Payload::Remote(remote) => {
            let message = "write a URL that begins with https:// or http:// and holds no blanks";
            faults.unless(text::url(&remote.url), format!("{path}/url"), "pattern", message);
            let message = "write the SHA-256 as 64 lower-case hex digits";
            faults.unless(text::sha256(&remote.sha256), format!("{path}/sha256"), "pattern", message);
            return None;
        }
    };
    if bytes.len() > limit {
        let message = format!(
            "has {} bytes: at most {limit} are carried; give a shorter one that fetches the rest",
            bytes.len()
        );
        faults.add(path, "payload.too_large", message);
        return None;
    }
    Some(bytes)
}

/// Checks the bytes of the remote payload at that path, once somebody has fetched them.
pub(super) fn fetched(path: &str, bytes: &[u8], faults: &mut Faults) {
    let limit = match path {
        "/ks_cfg" => KICKSTART_MAX,
        "/unattend_xml" => UNATTEND_MAX,
        path if path.starts_with("/first_boot_scripts/") => SCRIPT_MAX,
        _ => CLOUD_INIT_MAX,
    };
    if bytes.len() > limit {
        let message = format!("what was fetched has {} bytes: at most {limit} are carried", bytes.len());
        faults.add(path, "payload.too_large", message);
    } else if let ("/unattend_xml", Err((code, message))) = (path, well_formed(bytes)) {
        faults.add(path, code, message);
    }
}

/// Whether an answer file is XML that can be read without harm.
fn well_formed(bytes: &[u8]) -> Result<(), (&'static str, String)> {
    let Some(text) = decoded(bytes) else {
        let message =
            "the answer file is neither UTF-8 nor UTF-16 with a byte order mark: save it as one of them";
        return Err(("xml.encoding", message.to_owned()));
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if namespaces(text) > XML_NAMESPACES_MAX || crowded(text) {
        let message = format!(
            "the answer file is not read: at most {XML_ATTRIBUTES_MAX} attributes in one tag and {XML_NAMESPACES_MAX} namespaces in all are"
        );
        return Err(("xml.crowded", message));
    }
    let options =
        roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: XML_NODES_MAX, ..Default::default() };
    match roxmltree::Document::parse_with_options(text, options) {
        Ok(_) => Ok(()),
        Err(roxmltree::Error::DtdDetected) => {
            Err(("xml.dtd", "the answer file has a DOCTYPE: take it out, entities are not read".to_owned()))
        }
        Err(error) => {
            // The parser's own text may name elements of the file; its place says enough.
            let at = error.pos();
            let message =
                format!("the answer file is not well-formed XML (line {}, column {})", at.row, at.col);
            Err(("xml.malformed", message))
        }
    }
}

/// The text of an XML file: Windows tools save UTF-8 or UTF-16, and of the latter the byte order mark says which.
fn decoded(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let read = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().filter(|_| bytes.len().is_multiple_of(2)).map(Cow::Owned)
    };
    match bytes {
        [0xff, 0xfe, ..] => read(u16::from_le_bytes),
        [0xfe, 0xff, ..] => read(u16::from_be_bytes),
        _ => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    }
}

/// How many namespaces a text can declare at most.
fn namespaces(text: &str) -> usize {
    text.matches("xmlns").count()
}

/// Whether a tag has more than [`XML_ATTRIBUTES_MAX`] attributes. Walks comments, CDATA and quotes as the
/// parser does; where the text is malformed the walk is wrong, but there the parser stops.
fn crowded(text: &str) -> bool {
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = rest.get(start..).unwrap_or_default();
        let aside = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];
        if let Some((_, end)) = aside.into_iter().find(|(start, _)| rest.starts_with(start)) {
            let Some(at) = rest.find(end) else { return false };
            rest = rest.get(at..).unwrap_or_default();
            continue;
        }
        let (mut quote, mut equals, mut length) = (None, 0, rest.len());
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            match (quote, byte) {
                (Some(open), byte) if open == byte => quote = None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'=') => equals += 1,
                (None, b'>') => {
                    length = at;
                    break;
                }
                _ => {}
            }
        }
        if equals > XML_ATTRIBUTES_MAX {
            return true;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_files_are_read_in_every_encoding_that_windows_tools_save() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-16\"?><a b=\"\u{fc}\u{1f600}\"/>";
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let (little, big) = (wide(u16::to_le_bytes), wide(u16::to_be_bytes));
        for bytes in [text.as_bytes(), text.trim_start_matches('\u{feff}').as_bytes(), &little, &big] {
            assert_eq!(well_formed(bytes), Ok(()), "{:?}", &bytes[..4]);
        }
        let lone_surrogate = [0xff, 0xfe, 0x00, 0xd8, b'<', 0];
        for bytes in [&little[2..], &big[2..], &little[..little.len() - 1], &lone_surrogate, b"\xff\xff"] {
            let code = well_formed(bytes).unwrap_err().0;
            assert!(matches!(code, "xml.encoding" | "xml.malformed"), "{code}");
        }
        assert_eq!(well_formed(&little[..little.len() - 1]).unwrap_err().0, "xml.encoding");
        assert_eq!(well_formed(&little[..20]).unwrap_err().0, "xml.malformed");
    }
}
