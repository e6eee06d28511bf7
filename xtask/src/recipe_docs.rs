//! The recipe reference, written from `schema/recipe.schema.json`: what the schema says to machines, said to people.
//! Pure: text in, text out. It knows JSON Schema as far as that file uses it, and no field by name.
//!
//! ```text
//!   recipe.schema.json ─▶ Json (keeps the order of keys) ─▶ index, fields, shared shapes, what goes with what ─▶ Markdown
//! ```

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Said before the fields. Everything below it comes from the schema.
const HEAD: &str = "\
<!-- Written by `cargo xtask docs` from schema/recipe.schema.json; a test fails when this file is stale. -->
# Recipe reference

A refusal lists every fault at once, each with a JSON Pointer to its place, a code and a remedy; values are never quoted,
because they may be secret. The schema itself is served at `GET /api/v1/schema/recipe` and travels on every task medium,
where the host checks the recipe once more. Whole examples are in [`recipes/`](../recipes), and a test checks each.

The contract is wider than what this tree carries out: the maintenance OS built from it offers `install-linux.target`
only. A recipe for another target is accepted and then refused by the host before anything is touched (`host.target`),
unless the site's own maintenance image brings that target (see [units/](../units/README.md)).
";

/// JSON whose objects keep the order they were written in: people put it there on purpose.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Plain(Value),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn at(&self, keys: &[&str]) -> Option<&Json> {
        keys.iter().try_fold(self, |json, key| json.get(key))
    }

    fn text(&self) -> Option<&str> {
        if let Self::Plain(Value::String(text)) = self { Some(text) } else { None }
    }

    fn number(&self) -> Option<u64> {
        if let Self::Plain(Value::Number(number)) = self { number.as_u64() } else { None }
    }

    fn list(&self) -> &[Json] {
        if let Self::List(items) = self { items } else { &[] }
    }

    fn entries(&self) -> &[(String, Json)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// On one line, with a blank after each colon and comma.
    fn compact(&self) -> String {
        match self {
            Self::Plain(value) => value.to_string(),
            Self::List(items) => format!("[{}]", joined(items.iter().map(Self::compact))),
            Self::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Self::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|(name, value)| format!("{}: {}", Value::String(name.clone()), value.compact()));
                format!("{{ {} }}", joined(pairs))
            }
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Json::Map(map))
    }
}

/// The whole page.
///
/// # Errors
/// The text is not JSON.
pub fn page(schema: &str) -> serde_json::Result<String> {
    let schema: Json = serde_json::from_str(schema)?;
    let book = Book { schema: &schema };
    let mut out = format!("{HEAD}\n{}\n", book.said(&schema, "description"));
    let fields = schema.get("properties").map(Json::entries).unwrap_or_default();
    let required = schema.get("required").map(Json::list).unwrap_or_default();
    book.index(&mut out, fields, required);
    out.push_str("\n## Fields\n");
    for (name, field) in fields {
        book.field(&mut out, name, field);
    }
    out.push_str("\n## Shapes that several fields share\n");
    for (name, shape) in schema.get("$defs").map(Json::entries).unwrap_or_default() {
        if shape.get("properties").is_some() {
            book.field(&mut out, name, shape);
        }
    }
    book.together(&mut out);
    Ok(out)
}

struct Book<'a> {
    schema: &'a Json,
}

impl<'a> Book<'a> {
    /// The shape that a field refers to, with its name.
    fn shared(&self, field: &'a Json) -> Option<(&'a str, &'a Json)> {
        let name = field.get("$ref")?.text()?.strip_prefix("#/$defs/")?;
        Some((name, self.schema.at(&["$defs", name])?))
    }

    /// A keyword of the field, or of the shape it refers to.
    fn word(&self, field: &'a Json, keyword: &str) -> Option<&'a Json> {
        field.get(keyword).or_else(|| self.word(self.shared(field)?.1, keyword))
    }

    fn said(&self, field: &'a Json, keyword: &str) -> String {
        self.word(field, keyword).and_then(Json::text).unwrap_or_default().to_owned()
    }

    fn index(&self, out: &mut String, fields: &'a [(String, Json)], required: &[Json]) {
        out.push_str("\n| field | holds | default |\n|---|---|---|\n");
        for (name, field) in fields {
            let is_required = required.iter().any(|wanted| wanted.text() == Some(name));
            let default = match field.get("default") {
                Some(default) => format!("`{}`", default.compact()),
                None if is_required => "**required**".to_owned(),
                None => String::new(),
            };
            let _ = writeln!(out, "| [`{name}`](#{}) | {} | {default} |", anchor(name), self.kind(field));
        }
    }

    /// What a field holds, in a few words.
    fn kind(&self, field: &'a Json) -> String {
        if let Some((name, shape)) = self.shared(field)
            && shape.get("properties").is_some()
        {
            return format!("[{name}](#{})", anchor(name));
        }
        if let Some(choices) = self.word(field, "enum") {
            let choices = choices.list().iter().filter_map(Json::text).map(|choice| format!("`{choice}`"));
            return choices.collect::<Vec<_>>().join(" or ");
        }
        match self.word(field, "type") {
            Some(Json::List(kinds)) => {
                let kinds = kinds.iter().filter_map(Json::text).map(plain_kind);
                kinds.collect::<Vec<_>>().join(" or ")
            }
            Some(kind) if kind.text() == Some("array") => {
                let items = field.get("items").map(|items| self.kind(items)).unwrap_or_default();
                format!("list of {items}")
            }
            Some(kind) if kind.text() == Some("object") => {
                match self.word(field, "additionalProperties").filter(|values| values.get("type").is_some()) {
                    Some(values) => format!("map of names to {}", self.kind(values)),
                    None => "object".to_owned(),
                }
            }
            Some(kind) if kind.text() == Some("integer") => "whole number".to_owned(),
            Some(kind) => kind.text().map(plain_kind).unwrap_or_default().to_owned(),
            None => "any JSON".to_owned(),
        }
    }

    /// Bounds and the rule in the words that people are told when they break it.
    fn rules(&self, field: &'a Json) -> Vec<String> {
        let number = |keyword| self.word(field, keyword).and_then(Json::number);
        let mut rules = Vec::new();
        match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => rules.push(format!("{least} to {most}")),
            (Some(least), None) => rules.push(format!("at least {least}")),
            (None, Some(most)) => rules.push(format!("at most {most}")),
            (None, None) => {}
        }
        let lengths = [("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "names")];
        for (keyword, unit) in lengths {
            rules.extend(number(keyword).map(|most| format!("at most {most} {unit}")));
        }
        let names = self.word(field, "propertyNames").map(|names| ("names: ", names));
        let values = self.word(field, "additionalProperties").map(|values| ("values: ", values));
        let items = self.word(field, "items").map(|items| ("each: ", items));
        let inner = [names, values, items].into_iter().flatten();
        let inner = inner.filter(|(_, of)| self.word(of, "properties").is_none());
        for (of, schema) in [Some(("", field))].into_iter().flatten().chain(inner) {
            let told = self.said(schema, "x-message");
            if !told.is_empty() {
                rules.push(format!("{of}{told}"));
            }
        }
        rules
    }

    fn field(&self, out: &mut String, name: &str, field: &'a Json) {
        let _ = write!(out, "\n### {name}\n\n");
        let description = self.said(field, "description");
        if !description.is_empty() {
            let _ = write!(out, "{description}\n\n");
        }
        // The shape's own section holds its rules; here would be the same again.
        let is_shape = self.shared(field).is_some_and(|(_, shape)| shape.get("properties").is_some());
        let _ = writeln!(out, "- holds: {}", self.kind(field));
        if let Some(default) = field.get("default") {
            let _ = writeln!(out, "- default: `{}`", default.compact());
        }
        if !is_shape {
            for rule in self.rules(field) {
                let _ = writeln!(out, "- {}", escaped(&rule));
            }
            self.members(out, field);
        }
        if let Some(example) = self.word(field, "examples").map(Json::list).and_then(<[Json]>::first) {
            let pair = format!("\"{name}\": {}", example.compact());
            let _ = write!(out, "\n```json\n{pair}\n```\n");
        }
    }

    /// The members of an object, as a table.
    fn members(&self, out: &mut String, field: &'a Json) {
        let Some(members) = field.get("properties") else { return };
        let required = field.get("required").map(Json::list).unwrap_or_default();
        out.push_str("\n| member | holds | meaning |\n|---|---|---|\n");
        for (name, member) in members.entries() {
            let mut meaning = vec![self.said(member, "description")];
            if required.iter().any(|wanted| wanted.text() == Some(name)) {
                meaning.push("Required.".to_owned());
            }
            if let Some(default) = member.get("default") {
                meaning.push(format!("Default `{}`.", default.compact()));
            }
            meaning.extend(self.rules(member).into_iter().map(|rule| format!("{}.", capital(&rule))));
            for (inner, of) in member.get("properties").map(Json::entries).unwrap_or_default() {
                meaning.push(format!("`{inner}` ({}): {}", self.kind(of), self.said(of, "description")));
            }
            if let Some(example) = member.get("examples").map(Json::list).and_then(<[Json]>::first) {
                meaning.push(format!("Example: `{}`", example.compact()));
            }
            meaning.retain(|part| !part.is_empty());
            let _ = writeln!(out, "| `{name}` | {} | {} |", self.kind(member), escaped(&meaning.join(" ")));
        }
    }

    /// The rules between fields, in the words people are told.
    fn together(&self, out: &mut String) {
        out.push_str("\n## What goes with what\n\n");
        for rule in self.schema.get("allOf").map(Json::list).unwrap_or_default() {
            let mut told = Vec::new();
            messages(rule, &mut told);
            match rule.get("description").and_then(Json::text) {
                Some(description) => {
                    let _ = writeln!(out, "- {description}");
                    for message in told {
                        let _ = writeln!(out, "  - {message}");
                    }
                }
                None => told.iter().for_each(|message| {
                    let _ = writeln!(out, "- {message}");
                }),
            }
        }
    }
}

/// Every message in a rule, outermost first.
fn messages<'a>(rule: &'a Json, told: &mut Vec<&'a str>) {
    told.extend(rule.get("x-message").and_then(Json::text));
    for (_, inner) in rule.entries() {
        messages(inner, told);
    }
    for inner in rule.list() {
        messages(inner, told);
    }
}

fn plain_kind(kind: &str) -> &str {
    match kind {
        "string" => "text",
        "boolean" => "`true` or `false`",
        other => other,
    }
}

/// As GitHub names the anchor of a heading: lower case, without dots and dollars.
fn anchor(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-')).collect()
}

/// A line that Markdown leaves as it is, also inside a table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('*', "\\*")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = include_str!("../../schema/recipe.schema.json");

    #[test]
    fn the_recipe_reference_says_what_the_schema_says() {
        let written = include_str!("../../docs/recipes.md");
        assert!(written == page(SCHEMA).unwrap(), "docs/recipes.md is stale; run `cargo xtask docs`");
    }

    #[test]
    fn the_targets_that_the_page_offers_are_those_with_a_unit() {
        let units = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../units")).unwrap();
        let names = units.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let targets: Vec<String> = names.filter(|name| name.ends_with(".target")).collect();
        let offered = format!("offers `{}`\nonly", targets.join("`, `"));
        assert!(HEAD.contains(&offered), "the maintenance OS now offers {targets:?}; say so in HEAD");
    }

    #[test]
    fn every_field_of_the_schema_has_a_section_with_what_it_holds() {
        let page = page(SCHEMA).unwrap();
        let schema: Json = serde_json::from_str(SCHEMA).unwrap();
        for (name, _) in schema.get("properties").unwrap().entries() {
            let section = page.split(&format!("\n### {name}\n")).nth(1).unwrap_or_default();
            let holds = section.lines().find_map(|line| line.strip_prefix("- holds: ")).unwrap_or_default();
            assert!(!holds.is_empty(), "{name}");
            assert!(page.contains(&format!("(#{})", anchor(name))), "{name} is not in the index");
        }
    }

    #[test]
    fn fields_stand_in_the_order_of_the_schema_with_rule_default_and_example() {
        let schema = r##"{
            "description": "A thing.",
            "required": ["zoo"],
            "properties": {
                "zoo": { "description": "Where.", "$ref": "#/$defs/place", "examples": ["b|c", "a"] },
                "age": { "type": "integer", "minimum": 1, "maximum": 9, "default": 3 },
                "box": { "type": "object", "properties": { "lid": { "enum": ["on", "off"] } } }
            },
            "$defs": { "place": { "type": "string", "maxLength": 5, "x-message": "write a|b" } },
            "allOf": [{ "then": { "x-message": "keep one" } }]
        }"##;
        let page = page(schema).unwrap();
        let body = page.strip_prefix(HEAD).unwrap();
        assert!(body.starts_with("\nA thing.\n"), "{body}");
        assert!(
            body.contains("| [`zoo`](#zoo) | text | **required** |\n| [`age`](#age) | whole number | `3` |")
        );
        let zoo = "### zoo\n\nWhere.\n\n- holds: text\n- at most 5 characters\n- write a\\|b\n\n```json\n\"zoo\": \"b|c\"\n```";
        assert!(body.contains(zoo), "{body}");
        assert!(body.contains("### age\n\n- holds: whole number\n- default: `3`\n- 1 to 9\n"), "{body}");
        assert!(body.contains("| `lid` | `on` or `off` |  |"), "{body}");
        assert!(body.ends_with("## What goes with what\n\n- keep one\n"), "{body}");
    }
}
