//! Is this text a recipe? Every fault at once, sorted by path. No message quotes what was written where
//! that could be a secret: payload contents, URLs and environment values are never echoed.
//!
//! ```text
//!   text ──parse──▶ Value ──structure──▶ faults of shape   (JSON Schema, the words people can read)
//!                     │                       │
//!                     └──prune──▶ Recipe ──rules──▶ faults of sense   (Rust)
//! ```
//!
//! The rules repeat what the JSON Schema says, so a [`Recipe`] built in Rust can be checked by
//! [`check`] alone, and add what JSON Schema cannot say; only those have a code with a dot in it.

mod parse;
mod prune;
mod rules;
mod structure;

use serde::{Deserialize, Serialize};

pub use self::structure::{EVENT_SCHEMA, RECIPE_SCHEMA};
use crate::recipe::{ImageKind, Recipe};
use crate::target;

/// Largest recipe in bytes; checked before parsing.
pub const RECIPE_MAX: usize = 4 << 20;
/// Deepest nesting of arrays and objects in a recipe.
pub const DEPTH_MAX: usize = 64;
/// Most faults listed; more are counted in a last one.
pub const FAULTS_MAX: usize = 100;
/// Longest path shown, in characters; keys of a recipe may be longer.
const PATH_MAX: usize = 512;

/// One thing wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer to it; for a missing field, to where it should be.
    pub path: String,
    /// Stable word for programs, such as `pattern`, `required` or `layout.two_rests`.
    pub code: String,
    /// One sentence for people, with the remedy.
    pub message: String,
}

impl Fault {
    fn new(path: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { path: path.into(), code: code.to_owned(), message: message.into() }
    }
}

/// Why a text is refused: at least one fault, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", list(faults))]
pub struct Refusal {
    /// Every fault found.
    pub faults: Vec<Fault>,
}

impl Refusal {
    fn of(mut faults: Vec<Fault>) -> Result<(), Self> {
        for fault in &mut faults {
            if let Some((end, _)) = fault.path.char_indices().nth(PATH_MAX) {
                fault.path.truncate(end);
            }
        }
        faults.sort();
        faults.dedup();
        if faults.len() > FAULTS_MAX {
            let more = faults.len() - FAULTS_MAX;
            faults.truncate(FAULTS_MAX);
            faults.push(Fault::new("", "too_many_faults", format!("{more} more faults are not listed")));
            faults.sort();
        }
        if faults.is_empty() { Ok(()) } else { Err(Self { faults }) }
    }
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match fault.path.as_str() {
            "" => fault.message.clone(),
            path => format!("{path}: {}", fault.message),
        })
        .collect();
    lines.join("\n")
}

/// Reads and checks a recipe, at most [`RECIPE_MAX`] bytes of JSON.
pub fn recipe(text: &str) -> Result<Recipe, Refusal> {
    let value = parse::strict(text).map_err(|fault| Refusal { faults: vec![fault] })?;
    let mut faults = structure::faults(&value);
    let pruned = prune::readable(&value, &faults);
    if let Some(pruned) = &pruned {
        let shape: Vec<String> = faults.iter().map(|fault| fault.path.clone()).collect();
        let news = rules::check(&pruned.recipe).into_iter().map(|fault| spelled(fault, &value));
        faults.extend(news.filter(|fault| !pruned.hides(&fault.path) && !shape.contains(&fault.path)));
    }
    Refusal::of(faults)?;
    match pruned {
        Some(pruned) => Ok(pruned.recipe),
        // Not reached while the schema and the types agree, which a property test proves.
        None => Err(Refusal {
            faults: vec![Fault::new("", "types", "the recipe cannot be read: report this as a bug")],
        }),
    }
}

/// Checks a recipe that exists as a value already.
pub fn check(recipe: &Recipe) -> Result<(), Refusal> {
    Refusal::of(rules::check(recipe))
}

/// Whether the recipe's target is one that Slipway ships or that the site's own list offers. [`recipe`]
/// lets every well-formed name pass, since it cannot know what a site's maintenance OS holds.
pub fn for_target(recipe: &Recipe, site_targets: &[String]) -> Result<(), Refusal> {
    let name = &recipe.task_target;
    if target::find(name).is_some() || site_targets.contains(name) {
        return Ok(());
    }
    let mut known: Vec<&str> = target::TARGETS.iter().map(|target| target.name).collect();
    known.extend(site_targets.iter().map(String::as_str));
    let message = format!("{name} is not offered by this maintenance OS; it offers {}", known.join(", "));
    Refusal::of(vec![Fault::new("/task_target", "target.unknown", message)])
}

/// Whether the recipe fits the kind of image its reference turned out to be, once that is known.
pub fn for_image(recipe: &Recipe, kind: ImageKind) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    if let Some(wanted) = recipe.image_kind.filter(|wanted| *wanted != kind) {
        let message = format!(
            "the image says that it is {}, image_kind says {}: correct image_kind or leave it out",
            kind.as_str(),
            wanted.as_str()
        );
        faults.push(Fault::new("/image_kind", "image.kind", message));
    }
    match (kind, &recipe.partition_layout) {
        (ImageKind::Disk, Some(_)) => faults.push(Fault::new(
            "/partition_layout",
            "image.layout",
            "the image says that it is disk and brings its own partitions: leave partition_layout out",
        )),
        (ImageKind::Rootfs | ImageKind::Container, None) if recipe.task_target == rules::LINUX => {
            faults.push(Fault::new(
                "/partition_layout",
                "image.layout",
                "the image is no whole disk: say which partitions to make",
            ));
        }
        _ => {}
    }
    Refusal::of(faults)
}

/// Checks the bytes of a remote payload once they are fetched: the limit of its field and, for
/// `/unattend_xml`, the XML. `path` is as [`Recipe::payloads`] gives it; the digest is the fetcher's to check.
pub fn fetched(path: &str, bytes: &[u8]) -> Result<(), Refusal> {
    Refusal::of(rules::fetched(path, bytes))
}

/// The path as the writer spelled it: `ks.cfg` and `ks_cfg` are one field.
fn spelled(mut fault: Fault, value: &serde_json::Value) -> Fault {
    if value.get("ks.cfg").is_some() && value.get("ks_cfg").is_none() && fault.path.starts_with("/ks_cfg") {
        fault.path.replace_range(.."/ks_cfg".len(), "/ks.cfg");
    }
    fault
}

/// One more token on a JSON Pointer, escaped.
fn join(path: &str, token: &str) -> String {
    format!("{path}/{}", token.replace('~', "~0").replace('/', "~1"))
}
