//! What a vendor's resources have more or less than the book. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A change of one kind of resource.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Put in; objects are joined. Texts may hold `{serial}`, `{uuid}`, `{here}` (the path of the resource).
    pub set: Map<String, Value>,
    /// Taken out; names of nested objects are joined by `|`.
    pub remove: Vec<String>,
    /// Made `null`, likewise.
    pub null: Vec<String>,
}

/// What stands behind the words in braces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub serial: &'a str,
    pub uuid: &'a str,
    pub here: &'a str,
}

impl Change {
    /// Changes a resource.
    pub(crate) fn apply(&self, body: &mut Value, filling: Filling<'_>) {
        for path in &self.remove {
            if let Some((parent, name)) = parent(body, path) {
                parent.remove(name);
            }
        }
        for path in &self.null {
            if let Some((parent, name)) = parent(body, path) {
                parent.insert(name.to_owned(), Value::Null);
            }
        }
        if let Value::Object(map) = body {
            join(map, &self.set, filling);
        }
    }
}

/// The object that holds the last name of a path.
fn parent<'b, 'p>(body: &'b mut Value, path: &'p str) -> Option<(&'b mut Map<String, Value>, &'p str)> {
    let mut names: Vec<&str> = path.split('|').collect();
    let last = names.pop()?;
    let mut at = body;
    for name in names {
        at = at.get_mut(name)?;
    }
    at.as_object_mut().map(|map| (map, last))
}

fn join(into: &mut Map<String, Value>, from: &Map<String, Value>, filling: Filling<'_>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(more)) => join(there, more, filling),
            _ => {
                into.insert(name.clone(), filled(value, filling));
            }
        }
    }
}

fn filled(value: &Value, filling: Filling<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(
            text.replace("{serial}", filling.serial)
                .replace("{uuid}", filling.uuid)
                .replace("{here}", filling.here),
        ),
        Value::Array(list) => list.iter().map(|item| filled(item, filling)).collect(),
        Value::Object(map) => map.iter().map(|(name, item)| (name.clone(), filled(item, filling))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_joins_removes_and_fills() {
        let change: Change = toml::from_str(
            "remove = ['Vendor', 'Boot|Mode']\nnull = ['Empty']\n[set]\nSKU = '{serial}'\nBoot = {Order = ['a']}",
        )
        .unwrap();
        let mut body = json!({"Vendor": "x", "Boot": {"Mode": "UEFI", "Target": "Cd"}});
        change.apply(&mut body, Filling { serial: "S1", uuid: "", here: "" });
        assert_eq!(body, json!({"Boot": {"Target": "Cd", "Order": ["a"]}, "SKU": "S1", "Empty": null}));
    }
}
