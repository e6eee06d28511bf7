//! What makes a readable recipe a sensible one. One file per part of the recipe. A code with a dot in it
//! marks a rule that JSON Schema cannot say; every other rule is in `recipe.schema.json` too.

#[cfg(test)]
#[path = "../../../tests/corpus/mod.rs"]
mod corpus;
mod fields;
mod layout;
mod network;
mod payloads;
mod targets;
#[cfg(test)]
mod tests;
mod text;

use super::Fault;
use crate::recipe::Recipe;

/// The target that installs Linux.
pub(super) const LINUX: &str = "install-linux.target";

/// Every fault of sense, unsorted.
pub(super) fn check(recipe: &Recipe) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    fields::check(recipe, &mut faults);
    targets::check(recipe, &mut faults);
    layout::check(recipe, &mut faults);
    payloads::check(recipe, &mut faults);
    network::check(recipe, &mut faults);
    faults.0
}

/// Every fault of a fetched payload.
pub(super) fn fetched(path: &str, bytes: &[u8]) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    payloads::fetched(path, bytes, &mut faults);
    faults.0
}

/// The faults found so far.
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, code: &str, message: impl Into<String>) {
        self.0.push(Fault::new(path, code, message));
    }

    /// A fault where something is not as it must be.
    fn unless(&mut self, fits: bool, path: impl Into<String>, code: &str, message: &str) {
        if !fits {
            self.add(path, code, message);
        }
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.0.len()
    }
}
