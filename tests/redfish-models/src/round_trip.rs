//! A value through a model and back. What comes back must be what went in, but for what the models drop on
//! reading (they are written for servers): annotations, `Id`, `Name` and `null`.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Properties that a server writes and the models therefore do not read.
const WRITTEN_ONLY: &[&str] = &["Id", "Name"];

/// Why a value is not what the schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No model bears that name, or no request goes there.
    NoModel(String),
    /// The model refuses the value.
    Refused {
        /// Which model.
        model: String,
        /// In serde's words.
        reason: String,
    },
    /// The model has no property of that name, or takes its value for another.
    Strange {
        /// Which model.
        model: String,
        /// Pointers of the properties.
        properties: Vec<String>,
    },
}

/// What a model makes of a value: the value as it writes it.
pub(crate) type Echo = fn(&Value) -> Result<Value, serde_json::Error>;

/// Reads a value by a model and writes it again.
pub(crate) fn echo<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(value)?)
}

/// Holds a value against a model.
pub(crate) fn check(model: &str, echo: Echo, value: &Value) -> Result<(), Fault> {
    let returned =
        echo(value).map_err(|error| Fault::Refused { model: model.to_owned(), reason: error.to_string() })?;
    let mut properties = Vec::new();
    compare(value, &returned, "", &mut properties);
    if properties.is_empty() { Ok(()) } else { Err(Fault::Strange { model: model.to_owned(), properties }) }
}

/// Notes where `returned` is not `sent`.
fn compare(sent: &Value, returned: &Value, at: &str, strange: &mut Vec<String>) {
    match (sent, returned) {
        (Value::Object(sent), Value::Object(returned)) => {
            for (name, value) in sent {
                let here = format!("{at}/{name}");
                match returned.get(name) {
                    _ if value.is_null() || is_annotation(name) => {}
                    Some(_) if WRITTEN_ONLY.contains(&name.as_str()) => {}
                    Some(returned) => compare(value, returned, &here, strange),
                    None => strange.push(here),
                }
            }
        }
        (Value::Array(sent), Value::Array(returned)) if sent.len() == returned.len() => {
            for (index, (sent, returned)) in sent.iter().zip(returned).enumerate() {
                compare(sent, returned, &format!("{at}/{index}"), strange);
            }
        }
        (Value::Number(sent), Value::Number(returned)) if sent.as_f64() == returned.as_f64() => {}
        _ if sent == returned => {}
        _ => strange.push(at.to_owned()),
    }
}

/// Annotations of OData and Redfish, of a resource or of one of its properties. Counts are properties to the models.
fn is_annotation(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, term)| {
        (term.starts_with("odata.") && term != "odata.count") || term.starts_with("Redfish.")
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Drive {
        #[serde(skip_deserializing)]
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<f64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<Kind>,
    }

    #[derive(Serialize, Deserialize)]
    enum Kind {
        Fast,
        Slow,
    }

    fn fault(value: &Value) -> Option<Fault> {
        check("Drive", echo::<Drive>, value).err()
    }

    #[test]
    fn what_the_model_knows_passes_with_its_annotations() {
        let value = json!({
            "@odata.id": "/d/1", "Id": "1", "Size": 7, "Kinds": ["Fast", "Slow"], "Kinds@Redfish.AllowableValues": ["Fast"],
        });
        assert_eq!(fault(&value), None);
    }

    #[test]
    fn a_property_of_another_name_and_a_value_of_another_kind_are_found() {
        let strange = |properties: &[&str]| {
            let properties = properties.iter().map(|&name| name.to_owned()).collect();
            Some(Fault::Strange { model: "Drive".into(), properties })
        };
        assert_eq!(fault(&json!({"Sise": 7})), strange(&["/Sise"]));
        assert_eq!(fault(&json!({"Kinds@odata.count": 1})), strange(&["/Kinds@odata.count"]));
        assert!(matches!(fault(&json!({"Kinds": ["Medium"]})), Some(Fault::Refused { .. })));
        assert!(matches!(fault(&json!({"Size": "7"})), Some(Fault::Refused { .. })));
    }
}
