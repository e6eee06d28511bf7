//! `$expand`: links replaced by the resources they lead to (DSP0266, query parameters). Pure but for the reads.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{etag, get, segments};
use crate::machine::Machine;

/// Most levels that are expanded; the service root says so.
pub(crate) const MOST_LEVELS: u8 = 3;

/// Which links are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// `*`
    All,
    /// `~`: those inside `Links`.
    Related,
    /// `.`: those outside `Links`.
    Subordinate,
}

/// A `$expand` as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expand {
    which: Which,
    levels: u8,
}

/// What is wrong with a `$expand`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadExpand {
    /// Nothing the standard knows.
    Format,
    /// More levels than the service expands, or none.
    Levels,
}

impl Expand {
    /// Reads the value of the parameter: `.`, `*` or `~`, then perhaps `($levels=2)`.
    pub fn parse(value: &str) -> Result<Self, BadExpand> {
        let value = percent_decode_str(value).decode_utf8().map_err(|_| BadExpand::Format)?;
        let mut rest = value.chars();
        let which = match rest.next() {
            Some('*') => Which::All,
            Some('~') => Which::Related,
            Some('.') => Which::Subordinate,
            _ => return Err(BadExpand::Format),
        };
        let levels = match rest.as_str() {
            "" => 1,
            option => {
                let number = option.strip_prefix("($levels=").and_then(|option| option.strip_suffix(')'));
                let number =
                    number.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
                let number = number.ok_or(BadExpand::Format)?.parse().map_err(|_| BadExpand::Levels)?;
                if number == 0 || number > MOST_LEVELS {
                    return Err(BadExpand::Levels);
                }
                number
            }
        };
        Ok(Self { which, levels })
    }

    /// Replaces the links of a resource.
    pub fn apply(self, machine: &Machine, body: &mut Value) {
        if let Value::Object(map) = body {
            self.object(machine, map, false);
        }
    }

    fn object(self, machine: &Machine, map: &mut Map<String, Value>, related: bool) {
        for (name, value) in map {
            self.value(machine, value, related || name == "Links");
        }
    }

    fn value(self, machine: &Machine, value: &mut Value, related: bool) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|item| self.value(machine, item, related)),
            Value::Object(map) => match link_of(map) {
                None => self.object(machine, map, related),
                Some(path) if self.takes(related) => {
                    if let Some(found) = self.follow(machine, path) {
                        *value = found;
                    }
                }
                Some(_) => {}
            },
            _ => {}
        }
    }

    fn takes(self, related: bool) -> bool {
        match self.which {
            Which::All => true,
            Which::Related => related,
            Which::Subordinate => !related,
        }
    }

    /// The resource at the end of a link, expanded by one level less.
    fn follow(self, machine: &Machine, path: &str) -> Option<Value> {
        let mut found = get(machine, &segments(path)?)?;
        found["@odata.etag"] = json!(etag(machine, &found));
        if let (true, Some(map)) = (machine.config().quirks.expand_broken, found.as_object_mut()) {
            map.retain(|name, _| !matches!(name.as_str(), "Id" | "Name"));
        }
        if self.levels > 1 {
            Self { levels: self.levels - 1, ..self }.apply(machine, &mut found);
        }
        Some(found)
    }
}

/// The path of an object that is nothing but a link.
fn link_of(map: &Map<String, Value>) -> Option<&str> {
    if map.len() == 1 { map.get("@odata.id")?.as_str() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expand_is_read_as_the_standard_writes_it() {
        let read = |which, levels| Ok(Expand { which, levels });
        for (value, wanted) in [
            (".", read(Which::Subordinate, 1)),
            ("*", read(Which::All, 1)),
            ("~($levels=2)", read(Which::Related, 2)),
            (".(%24levels=3)", read(Which::Subordinate, 3)),
            ("%2A", read(Which::All, 1)),
            (".($levels=4)", Err(BadExpand::Levels)),
            (".($levels=0)", Err(BadExpand::Levels)),
            (".($levels=999)", Err(BadExpand::Levels)),
            (".($levels=)", Err(BadExpand::Format)),
            (".($levels=-1)", Err(BadExpand::Format)),
            (".($levels=2", Err(BadExpand::Format)),
            ("", Err(BadExpand::Format)),
            ("Members", Err(BadExpand::Format)),
            ("%FF", Err(BadExpand::Format)),
        ] {
            assert_eq!(Expand::parse(value), wanted, "{value:?}");
        }
    }
}
