//! The house's rules about who may import whom, as a test: it reads the sources and names every line that breaks one.
//!
//! ```text
//! model(1) < store, media, redfish*, fetch(2) < workflow(3) < api, web, netboot, registry*(4) < server(5) < cli(6)
//! ```
//! `*` imports nothing of ours. `config`, `site` and `telemetry` are beside the stack: anyone may use telemetry,
//! nobody below the server uses config and site.

#![allow(clippy::unwrap_used)] // helpers of tests
#![allow(clippy::case_sensitive_file_extension_comparisons)] // our own file names

use std::path::{Path, PathBuf};

/// Layer of a room; rooms of one layer do not import each other.
const LAYERS: &[(&str, u8)] = &[
    ("model", 1),
    ("store", 2),
    ("media", 2),
    ("redfish", 2),
    ("fetch", 2),
    ("workflow", 3),
    ("api", 4),
    ("web", 4),
    ("netboot", 4),
    ("registry", 4),
    ("config", 5),
    ("site", 5),
    ("server", 5),
    ("cli", 6),
];
/// Rooms that import nothing of ours at all.
const ALONE: &[&str] = &["redfish", "registry"];
/// Rooms anyone may import; they import only each other and `model`.
const BESIDE: &[&str] = &["telemetry"];
/// Pairs of one layer that may know each other: the server is made of its configuration and identity; telemetry
/// is set up by the configuration; the configuration is checked in the model's terms.
const PAIRS: &[(&str, &str)] = &[
    ("server", "config"),
    ("server", "site"),
    ("telemetry", "config"),
    ("workflow", "fetch"),
    ("web", "api"),
];
/// Who may use a crate; everyone else may not.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["api", "web", "netboot", "registry", "server"]),
    ("rusqlite", &["store/sqlite", "registry/index"]),
    ("reqwest", &["redfish", "fetch", "cli"]),
    ("hadris_iso", &["media", "cli"]),
    ("clap", &["cli", "main.rs"]),
];
/// Words that only these files may hold.
const WORDS: &[(&str, &[&str])] = &[
    ("Command::new(", &["runner"]),
    ("std::env::var", &["config", "main.rs"]),
    ("env::var(", &["config", "main.rs"]),
    (
        "Timestamp::now()",
        &[
            "main.rs",
            "server",
            "cli",
            "workflow/clock.rs",
            "telemetry",
            "registry/options.rs",
            "redfish/http.rs",
        ],
    ),
    ("SystemTime::now()", &["main.rs", "server", "cli", "workflow/clock.rs"]),
];
/// Where a request is refused, besides the rooms that speak other protocols than ours.
const STATUS: &[&str] = &[
    "api/error.rs",
    "registry/error.rs",
    "media/respond.rs",
    "server/guarded.rs",
    "server/health.rs",
    "server/request.rs",
    "fetch",
    "redfish",
    "cli",
    "netboot",
    "web",
];
/// Statuses of success: handlers may say what they did.
const SUCCESS: &[&str] = &["OK", "CREATED", "ACCEPTED", "NO_CONTENT", "PARTIAL_CONTENT", "NOT_MODIFIED"];
/// Rooms that must not say the word.
const NO_JOBS: &[&str] = &["redfish", "registry"];

struct Source {
    /// Path below `src`, such as `media/shelf.rs`.
    path: String,
    /// Lines of code: comments and unit tests left out, numbered from 1.
    lines: Vec<(usize, String)>,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place
                || self.path.starts_with(&format!("{place}/"))
                || self.path.strip_suffix(".rs") == Some(place)
                || self.path.ends_with(&format!("/{place}.rs"))
        })
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if name != "tests" && name != "snapshots" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: relative, lines: code(&std::fs::read_to_string(&path).unwrap()) });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Lines of code without comments, up to the unit tests.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            // `#[cfg(test)] mod tests;` and the inline form both end the file.
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        if !code.trim().is_empty() {
            lines.push((number + 1, code.to_owned()));
        }
    }
    lines
}

/// Rooms that a line of code names by `crate::`, lists like `crate::{a, b::c}` included.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, mark) in line.match_indices("crate::") {
        let rest = &line[at + mark.len()..];
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => rooms.push(word(std::mem::take(&mut item).trim())),
                    _ => {}
                }
                if depth == 0 && c != ',' {
                    item.push(c);
                }
            }
            rooms.push(word(item.trim()));
        } else {
            rooms.push(word(rest));
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

/// Whether code in `from` may name `to`.
fn may_import(from: &str, to: &str) -> bool {
    if from == to || PAIRS.contains(&(from, to)) {
        return true;
    }
    if ALONE.contains(&from) {
        return false;
    }
    if BESIDE.contains(&to) {
        return true;
    }
    match (layer(from), layer(to)) {
        (Some(from), Some(to)) => to < from,
        (None, Some(to)) if BESIDE.contains(&from) => to == 1,
        // lib.rs and main.rs name every room; they hold nothing else.
        (None, _) => from == "lib" || from == "main",
        // A name that is no room: a macro, or an item of lib.rs.
        (Some(_), None) => true,
    }
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "{} lines break the house's rules:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn lower_rooms_never_import_higher_ones() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in &source.lines {
            for room in rooms_named(line) {
                if !may_import(source.room(), &room) {
                    broken.push(format!(
                        "src/{}:{number}: {} may not import {room}",
                        source.path,
                        source.room()
                    ));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn crates_stay_in_the_rooms_that_own_them() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, places) in CRATES {
            if source.is_in(places) {
                continue;
            }
            let uses = [format!("{name}::"), format!("use {name};")];
            for (number, line) in &source.lines {
                let named = uses.iter().any(|use_| {
                    line.match_indices(use_.as_str()).any(|(at, _)| {
                        !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                    })
                });
                if named {
                    broken.push(format!(
                        "src/{}:{number}: {name} belongs to {}",
                        source.path,
                        places.join(", ")
                    ));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn processes_environment_and_clocks_have_their_places() {
    let mut broken = Vec::new();
    for source in sources() {
        for (word, places) in WORDS {
            if source.is_in(places) {
                continue;
            }
            for (number, _) in source.lines.iter().filter(|(_, line)| line.contains(word)) {
                broken.push(format!("src/{}:{number}: {word} belongs to {}", source.path, places.join(", ")));
            }
        }
    }
    report(&broken);
}

#[test]
fn refusing_statuses_are_chosen_in_few_places() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in(STATUS)) {
        for (number, line) in &source.lines {
            let names = line.match_indices("StatusCode::").map(|(at, mark)| &line[at + mark.len()..]);
            let refuses = |rest: &str| {
                let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                !name.is_empty() && !SUCCESS.contains(&name.as_str())
            };
            if names.into_iter().any(refuses) {
                broken.push(format!(
                    "src/{}:{number}: statuses are chosen in {}",
                    source.path,
                    STATUS.join(", ")
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn redfish_and_registry_know_nothing_of_jobs() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_in(NO_JOBS)) {
        for (number, line) in &source.lines {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
            // Redfish has a JobService of its own; a string that names it is data, not knowledge of ours.
            if words.into_iter().any(|word| word == "job") && !line.contains('"') {
                broken.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    report(&broken);
}

#[test]
fn no_file_is_a_defect() {
    let mut broken = Vec::new();
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        if ["utils.rs", "common.rs", "helpers.rs", "types.rs", "manager.rs", "handler.rs"].contains(&name) {
            broken.push(format!("src/{}: a name that says nothing", source.path));
        }
        if source.lines.len() > 600 {
            broken.push(format!(
                "src/{}: {} lines of code, 600 is a defect",
                source.path,
                source.lines.len()
            ));
        }
    }
    report(&broken);
}

#[test]
fn the_reader_of_imports_reads_every_form() {
    let table: [(&str, &[&str]); 6] = [
        ("use crate::model::Job;", &["model"]),
        ("use crate::{model::{Job, Id}, store, media::x};", &["model", "store", "media"]),
        ("    let x: crate::store::Page<crate::model::Job>;", &["store", "model"]),
        ("pub(crate) fn f()", &[]),
        ("use super::super::x;", &[]),
        ("use crate::{", &[]),
    ];
    for (line, wanted) in table {
        assert_eq!(rooms_named(line), wanted, "{line}");
    }
    assert!(
        may_import("workflow", "model") && may_import("workflow", "media") && may_import("cli", "server")
    );
    assert!(
        !may_import("model", "store") && !may_import("media", "store") && !may_import("media", "workflow")
    );
    assert!(!may_import("redfish", "model") && !may_import("registry", "telemetry"));
    assert!(
        !may_import("workflow", "config") && may_import("server", "config") && may_import("api", "telemetry")
    );
}
