//! Faults of shape, found by the JSON Schema and told in our own words. What people read is the
//! `x-message` beside the broken keyword, or a sentence made from the keyword's own numbers; the value
//! itself is never quoted.

use std::sync::LazyLock;

use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind as Kind};
use serde_json::Value;

use super::{FAULTS_MAX, Fault, join};

/// The JSON Schema of a recipe, as people and editors read it.
pub const RECIPE_SCHEMA: &str = include_str!("../../recipe.schema.json");
/// The JSON Schema of a status webhook's body.
pub const EVENT_SCHEMA: &str = include_str!("../../event.schema.json");

/// Longest name of an unknown field that is repeated to the writer, in characters.
const NAME_SHOWN: usize = 64;
/// Most fields listed to somebody who wrote an unknown one.
const FIELDS_SHOWN: usize = 10;

struct Compiled {
    schema: Value,
    validator: Validator,
}

static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let schema: Value =
        serde_json::from_str(RECIPE_SCHEMA).expect("the embedded schema is JSON: a test reads it");
    let validator =
        jsonschema::draft202012::new(&schema).expect("the embedded schema compiles: a test compiles it");
    Compiled { schema, validator }
});

/// Whether the JSON Schema alone accepts a value.
#[cfg(test)]
pub(super) fn accepts(value: &Value) -> bool {
    COMPILED.validator.is_valid(value)
}

/// Every fault of shape, unsorted.
pub(super) fn faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    for error in COMPILED.validator.iter_errors(value).take(FAULTS_MAX * 2) {
        tell(&error, error.instance_path().as_str(), &COMPILED.schema, &mut faults);
    }
    faults
}

fn tell(error: &ValidationError<'_>, path: &str, schema: &Value, faults: &mut Vec<Fault>) {
    let place = Place::of(schema, error.schema_path().as_str());
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            for name in unexpected.iter().take(FAULTS_MAX * 2) {
                faults.push(unknown_field(path, name, &place));
            }
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let message = place
                .needs
                .map_or_else(|| format!("{name} is missing"), |needs| format!("{name} is missing: {needs}"));
            faults.push(Fault::new(join(path, name), "required", message));
        }
        Kind::PropertyNames { error: inner } => {
            let name = inner.instance().as_str().unwrap_or_default();
            tell(inner, &join(path, &shown(name)), schema, faults);
        }
        kind => {
            let message = match (kind, place.message) {
                (Kind::Type { .. } | Kind::Enum { .. }, _) | (_, None) => sentence(kind),
                (_, Some(message)) => message.to_owned(),
            };
            let code = match kind {
                Kind::Not { .. } => "conflict",
                Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => "choice",
                kind => kind.keyword(),
            };
            faults.push(Fault::new(path, code, message));
        }
    }
}

fn unknown_field(path: &str, name: &str, place: &Place<'_>) -> Fault {
    let known: Vec<&str> = place
        .node
        .and_then(|node| node.get("properties")?.as_object())
        .map_or_else(Vec::new, |properties| properties.keys().map(String::as_str).collect());
    let nearest = known
        .iter()
        .map(|known| (distance(known, name), known))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance);
    let remedy = match nearest {
        Some((_, known)) => format!("did you mean {known}?"),
        None if known.len() <= FIELDS_SHOWN => format!("the fields here are {}", known.join(", ")),
        None => "take it out, or keep it under metadata".to_owned(),
    };
    Fault::new(
        join(path, name),
        "unknown_field",
        format!("there is no field {:?} here: {remedy}", shown(name)),
    )
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN).collect()
}

/// A sentence from the keyword's own numbers; never from the value.
fn sentence(kind: &Kind) -> String {
    let words = |options: &Value| {
        let list = options.as_array().map_or_else(Vec::new, |list| list.iter().map(word).collect());
        list.join(", ")
    };
    match kind {
        Kind::Type { kind: TypeKind::Single(one) } => format!("must be {}", type_name(&one.to_string())),
        Kind::Type { kind: TypeKind::Multiple(many) } => {
            let names: Vec<&str> = many.iter().map(|one| type_name(one.as_str())).collect();
            format!("must be {}", names.join(" or "))
        }
        Kind::Enum { options } => format!("must be one of {}", words(options)),
        Kind::Constant { expected_value } => format!("must be {}", word(expected_value)),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxItems { limit } | Kind::MaxProperties { limit } => {
            format!("must have at most {limit} {}", entries(*limit))
        }
        Kind::MinItems { limit } | Kind::MinProperties { limit } => {
            format!("must have at least {limit} {}", entries(*limit))
        }
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        kind => format!("breaks the rule {} of the schema", kind.keyword()),
    }
}

fn entries(limit: u64) -> &'static str {
    if limit == 1 { "entry" } else { "entries" }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn type_name(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "object" => "an object",
        "array" => "a list",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "null",
    }
}

/// What the schema says around a broken keyword.
struct Place<'s> {
    /// The schema object that holds the keyword.
    node: Option<&'s Value>,
    /// Its `x-message`.
    message: Option<&'s str>,
    /// Description of the conditional it stands in.
    needs: Option<&'s str>,
}

impl<'s> Place<'s> {
    fn of(schema: &'s Value, path: &str) -> Self {
        let mut trail = vec![schema];
        for token in path.split('/').skip(1) {
            let Some(here) = trail.last() else { break };
            let next = match (token, here) {
                ("$ref", here) => here
                    .get("$ref")
                    .and_then(Value::as_str)
                    .and_then(|to| schema.pointer(to.trim_start_matches('#'))),
                (token, Value::Array(list)) => token.parse::<usize>().ok().and_then(|at| list.get(at)),
                (token, here) => here.get(token.replace("~1", "/").replace("~0", "~")),
            };
            let Some(next) = next else { break };
            trail.push(next);
        }
        // The last is the keyword's own value; what holds it is one up.
        trail.pop();
        let node = trail.last().copied();
        let text = |node: &'s Value, key: &str| node.get(key).and_then(Value::as_str);
        let conditionals =
            trail.iter().rev().filter(|node| node.get("if").is_some() && node.get("type").is_none());
        Self {
            node,
            message: node.and_then(|node| text(node, "x-message")),
            needs: conditionals
                .filter_map(|node| text(node, "description"))
                .map(|text| text.trim_end_matches('.'))
                .next(),
        }
    }
}

/// Edits between two names, counted up to 3.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) =
        (one.chars().collect(), other.chars().take(NAME_SHOWN).collect());
    if one.len().abs_diff(other.len()) > 2 {
        return 3;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut last = at + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            // `last` is the cell to the left, `diagonal` the one above it.
            *cell = (above + 1).min(last + 1).min(diagonal + usize::from(left != right));
            diagonal = above;
            last = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemas_are_json_schemas_of_draft_2020_12() {
        for text in [RECIPE_SCHEMA, EVENT_SCHEMA] {
            let schema: Value = serde_json::from_str(text).unwrap();
            assert!(jsonschema::draft202012::meta::is_valid(&schema));
            assert!(jsonschema::draft202012::new(&schema).is_ok());
        }
    }

    #[test]
    fn every_field_is_described_and_its_examples_are_valid() {
        fn walk(schema: &Value, node: &Value, at: &str) {
            let Some(properties) = node.get("properties").and_then(Value::as_object) else { return };
            for (name, field) in properties {
                let at = format!("{at}/{name}");
                assert!(field.get("description").is_some(), "{at} has no description");
                let mut alone = field.clone();
                alone["$defs"] = schema.get("$defs").cloned().unwrap_or_else(|| serde_json::json!({}));
                let validator = jsonschema::draft202012::new(&alone).unwrap();
                for example in field.get("examples").and_then(Value::as_array).into_iter().flatten() {
                    assert!(validator.is_valid(example), "{at}: {example}");
                }
                walk(schema, field, &at);
            }
        }
        for text in [RECIPE_SCHEMA, EVENT_SCHEMA] {
            let schema: Value = serde_json::from_str(text).unwrap();
            walk(&schema, &schema, "");
            for (name, part) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
                walk(&schema, part, name);
            }
        }
    }

    #[test]
    fn edits_are_counted_up_to_three() {
        for (one, other, edits) in [
            ("abc", "abc", 0),
            ("oci_url", "oci_ur", 1),
            ("oci_url", "oci_ulr", 2),
            ("wipe", "xyz", 4),
            ("a", "abcd", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }
}
