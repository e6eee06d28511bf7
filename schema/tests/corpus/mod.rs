//! Reads folders of JSON files for tests. Long runs are written `«x*1048577»` in them, so that the files
//! stay readable.

#![allow(clippy::unwrap_used, reason = "test code outside a test function")]

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Every JSON file of a folder beside `Cargo.toml`, sorted by name, long runs written out.
pub fn files(folder: &str) -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let value = written_out(serde_json::from_str(&text).unwrap());
            (path, value)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn written_out(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(match (text.find('«'), text.find('»')) {
            (Some(start), Some(end)) => {
                let run = &text[start + '«'.len_utf8()..end];
                let (letter, times) = run.split_once('*').unwrap();
                let long = letter.repeat(times.parse().unwrap());
                format!("{}{long}{}", &text[..start], &text[end + '»'.len_utf8()..])
            }
            _ => text,
        }),
        Value::Array(list) => Value::Array(list.into_iter().map(written_out).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key, written_out(value))).collect())
        }
        other => other,
    }
}
