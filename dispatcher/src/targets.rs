//! The targets that this maintenance OS offers: unit files of the image that carry `X-Slipway-Target=1`. A recipe
//! can name no other unit of the system, and what a target's steps are is read from the same file systemd reads.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Folder of the image's own units: what the image was built with, not what this boot wrote.
pub const TARGET_DIR: &str = "/usr/lib/systemd/system";
/// Says that a target may be started by a recipe.
const MARK: (&str, &str) = ("X-Slipway-Target", "1");
/// Largest unit file read, in bytes.
const UNIT_FILE_MAX: u64 = 64 << 10;
/// Units that report; they are no steps.
const REPORTING: &str = "provision-";

/// Why a target cannot be started.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// There is no such target.
    #[error("{name} is not a target of this maintenance OS; it offers: {offered}")]
    Unknown {
        /// What the recipe names.
        name: String,
        /// What there is.
        offered: String,
    },
    /// It is there, but not for recipes.
    #[error("{name} is no target for recipes: its unit file lacks X-Slipway-Target=1")]
    NotOurs {
        /// What the recipe names.
        name: String,
    },
    /// It requires no service.
    #[error("{name} requires no step, so there is nothing to do")]
    NoSteps {
        /// What the recipe names.
        name: String,
    },
}

/// The steps of a target in order, as unit names.
pub fn steps(folder: &Path, name: &str) -> Result<Vec<String>, TargetError> {
    let unknown = || TargetError::Unknown { name: name.to_owned(), offered: offered(folder).join(", ") };
    let is_plain = name.ends_with(".target") && !name.contains('/') && !name.starts_with('.');
    let text =
        Some(folder.join(name)).filter(|_| is_plain).and_then(|path| read(&path)).ok_or_else(unknown)?;
    if !is_marked(&text) {
        return Err(TargetError::NotOurs { name: name.to_owned() });
    }
    let steps = required_services(&text);
    if steps.is_empty() {
        return Err(TargetError::NoSteps { name: name.to_owned() });
    }
    Ok(steps)
}

/// The names of all targets that a recipe may start.
fn offered(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.retain(|name| {
        name.ends_with(".target") && read(&folder.join(name)).is_some_and(|text| is_marked(&text))
    });
    names.sort();
    names
}

fn read(path: &PathBuf) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(UNIT_FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_marked(text: &str) -> bool {
    values(text, MARK.0).last() == Some(MARK.1)
}

fn required_services(text: &str) -> Vec<String> {
    values(text, "Requires")
        .flat_map(str::split_whitespace)
        .filter(|unit| unit.ends_with(".service") && !unit.starts_with(REPORTING))
        .map(str::to_owned)
        .collect()
}

/// The values of a key in the `[Unit]` section, in order.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let mut in_unit = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with('[') {
            in_unit = line == "[Unit]";
        }
        let (name, value) = line.split_once('=').filter(|_| in_unit)?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{TargetError, steps};

    fn shipped() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../units")
    }

    #[test]
    fn the_shipped_targets_have_the_steps_that_the_contract_says() {
        for entry in fs::read_dir(shipped()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".target") {
                let contract =
                    schema::target::find(&name).expect("a shipped target is in schema/src/target.rs");
                let expected: Vec<String> =
                    contract.steps.iter().map(|step| format!("{step}.service")).collect();
                assert_eq!(steps(&shipped(), &name).unwrap(), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_recipe_cannot_start_just_any_unit() {
        let folder = tempfile::tempdir().unwrap();
        let unit = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        unit("poweroff.target", "[Unit]\nDescription=Off\nRequires=systemd-poweroff.service\n");
        unit("sly.target", "[Service]\nX-Slipway-Target=1\n[Unit]\nRequires=a.service\n");
        unit("unset.target", "[Unit]\nX-Slipway-Target=1\nX-Slipway-Target=0\nRequires=a.service\n");
        unit("empty.target", "[Unit]\nX-Slipway-Target=1\nRequires=provision-success.service\n");
        unit(
            "site.target",
            "[Unit]\n X-Slipway-Target = 1\nRequires=b.service a.service\nRequires=provision-site.service\n",
        );
        let of = |name| steps(folder.path(), name);
        for name in ["poweroff.target", "sly.target", "unset.target"] {
            assert_eq!(of(name), Err(TargetError::NotOurs { name: name.to_owned() }));
        }
        assert_eq!(of("empty.target"), Err(TargetError::NoSteps { name: "empty.target".to_owned() }));
        assert_eq!(of("site.target").unwrap(), ["b.service", "a.service"]);
        for name in ["nope.target", "../site.target", "site", ".target"] {
            let refusal = of(name).unwrap_err().to_string();
            assert!(refusal.ends_with("it offers: empty.target, site.target"), "{refusal}");
        }
    }
}
