//! JSON, strictly: bounded in size and depth, and no key twice in one object, where two readers could
//! each believe another one. Gives a plain value; knows nothing of recipes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DEPTH_MAX, Fault, RECIPE_MAX};

/// The value of a JSON text.
pub(super) fn strict(text: &str) -> Result<Value, Fault> {
    if text.len() > RECIPE_MAX {
        let message = format!("the recipe has {} bytes: at most {RECIPE_MAX} are read", text.len());
        return Err(Fault::new("", "too_large", message));
    }
    let mut from = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut from).map_err(|error| refused(&error))?;
    from.end().map_err(|error| refused(&error))?;
    Ok(value)
}

fn refused(error: &serde_json::Error) -> Fault {
    // serde_json's own texts may quote the input; of ours only the sentence is kept, of its own the place.
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = [TWICE, TOO_DEEP].into_iter().find(|known| text.starts_with(known));
    let what = what.unwrap_or("the text is not JSON");
    Fault::new("", "json", format!("{what} (line {line}, column {column})"))
}

const TWICE: &str = "a key stands twice in one object: keep one of them";
const TOO_DEEP: &str = "the recipe nests too deeply: at most 64 levels are read";

struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX { Err(E::custom(TOO_DEEP)) } else { Ok(Self { depth: self.depth + 1 }) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.deeper()?)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x\u00e9"],"b":{"c":{}}}"#;
        assert_eq!(strict(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_is_no_strict_json_is_refused_without_quoting_it() {
        let deep = "[".repeat(100_000);
        let level = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let large = " ".repeat(RECIPE_MAX + 1);
        for (text, code, says) in [
            ("", "json", "not JSON (line 1, column 0)"),
            ("{\"a\":hunter2}", "json", "not JSON"),
            ("{} hunter2", "json", "not JSON"),
            ("{\"a\":{\"b\":1,\"b\":2}}", "json", "twice"),
            (&deep, "json", "64 levels"),
            (&level, "json", "64 levels"),
            (&large, "too_large", "4194305 bytes"),
        ] {
            let fault = strict(text).unwrap_err();
            assert_eq!((fault.path.as_str(), fault.code.as_str()), ("", code));
            assert!(fault.message.contains(says) && !fault.message.contains("hunter2"), "{}", fault.message);
        }
        let fits = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert!(strict(&fits).is_ok());
    }
}
