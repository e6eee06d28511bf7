//! What is left of a faulty recipe when the unreadable parts are taken out, so that the rules can still
//! judge the rest: somebody who misspelt a field also wants to hear of the layout that does not add up.

use serde_json::Value;

use super::Fault;
use crate::recipe::Recipe;

/// A recipe made readable.
pub(super) struct Pruned {
    /// What could be read.
    pub recipe: Recipe,
    /// Top-level fields that are missing from it although the rules might ask for them.
    gone: Vec<String>,
}

impl Pruned {
    /// Whether a rule's fault at that path only says that something was taken out.
    pub fn hides(&self, path: &str) -> bool {
        top(path).is_some_and(|top| self.gone.iter().any(|gone| gone == top))
    }
}

/// The readable part of a value, given the faults of its shape; `None` when nothing can be read.
pub(super) fn readable(value: &Value, faults: &[Fault]) -> Option<Pruned> {
    if let Ok(recipe) = serde_json::from_value(value.clone()) {
        return Some(Pruned { recipe, gone: Vec::new() });
    }
    let mut value = value.clone();
    for fault in faults.iter().filter(|fault| fault.code == "unknown_field") {
        remove(&mut value, &fault.path);
    }
    let mut gone: Vec<String> = Vec::new();
    if serde_json::from_value::<Recipe>(value.clone()).is_err() {
        for fault in faults.iter().filter(|fault| fault.code != "unknown_field") {
            if let (Some(top), Some(fields)) = (top(&fault.path), value.as_object_mut()) {
                fields.remove(top);
                gone.push(top.to_owned());
            }
        }
    }
    let fields = value.as_object_mut()?;
    if !fields.contains_key("task_target") {
        // A name that no rule knows: what a target needs is not judged when the target is unknown.
        fields.insert("task_target".to_owned(), Value::from("pruned.target"));
        gone.push("task_target".to_owned());
    }
    let recipe = serde_json::from_value(value).ok()?;
    Some(Pruned { recipe, gone })
}

fn top(path: &str) -> Option<&str> {
    path.strip_prefix('/').and_then(|rest| rest.split('/').next())
}

fn remove(value: &mut Value, path: &str) {
    let Some((parent, token)) = path.rsplit_once('/') else { return };
    let key = token.replace("~1", "/").replace("~0", "~");
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.remove(&key);
    }
}
