//! Whether everyone who reads discs finds the same files on a task medium, and those that its manifest lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cache;
use crate::run::Run;

/// Files of a medium by path, as SHA-256 in hex.
type Files = BTreeMap<String, String>;

/// A reader that unpacks an image into a folder.
type Unpack = fn(&Path, &Path) -> Run;

const UNPACKERS: [(&str, Unpack); 3] = [
    ("bsdtar", |iso, out| Run::new("bsdtar").args(["-x", "-f"]).arg(iso).arg("-C").arg(out)),
    ("xorriso", |iso, out| {
        let strict = Run::new("xorriso").args(["-abort_on", "WARNING", "-osirrox", "on", "-indev"]);
        strict.arg(iso).args(["-extract", "/"]).arg(out)
    }),
    ("7z", |iso, out| Run::new("7z").args(["x", "-y"]).arg(format!("-o{}", out.display())).arg(iso)),
];

/// What they agree on.
pub struct Agreed {
    /// The readers.
    pub readers: Vec<&'static str>,
    /// A folder with the files.
    pub tree: PathBuf,
    /// How many there are.
    pub files: usize,
}

/// Reads `iso` with each of them, inside `folder`.
pub fn agree(iso: &Path, folder: &Path) -> Result<Agreed> {
    let tree = folder.join(UNPACKERS[0].0);
    let mut readers = Vec::new();
    let mut first: Option<Files> = None;
    for (name, unpack) in UNPACKERS {
        let out = folder.join(name);
        fs::create_dir_all(&out)?;
        unpack(iso, &out).text()?;
        let found = files(&out)?;
        let wanted = first.get_or_insert_with(|| found.clone());
        ensure!(found == *wanted, "{name} reads other files than {}: {found:?}", UNPACKERS[0].0);
        readers.push(name);
    }
    let found = first.unwrap_or_default();
    for path in found.keys() {
        // isoinfo prints a file and nothing else; through a shell, because text would not keep every byte.
        let line = "isoinfo -R -x \"/$1\" -i \"$2\" | sha256sum";
        let text = Run::new("bash").args(["-o", "pipefail", "-c", line, "bash", path]).arg(iso).text()?;
        ensure!(text.split_whitespace().next() == found.get(path).map(String::as_str), "isoinfo: {path}");
    }
    readers.push("isoinfo");
    listed(&tree, &found)?;
    Ok(Agreed { readers, tree, files: found.len() })
}

/// Every file is one that the medium's own manifest lists with that digest, or the manifest and its signature.
fn listed(tree: &Path, found: &Files) -> Result<()> {
    let manifest: Value = serde_json::from_slice(&fs::read(tree.join("manifest.json"))?)?;
    let listed = manifest["files"].as_object().context("manifest.json lists files")?;
    ensure!(found.len() == listed.len() + 2, "{} files, {} in the manifest", found.len(), listed.len());
    for (path, digest) in listed {
        ensure!(
            found.get(path).map(String::as_str) == digest.as_str(),
            "{path} is not what the manifest says"
        );
    }
    Ok(())
}

fn files(root: &Path) -> Result<Files> {
    cache::files(root)?
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            Ok((name, hex::encode(Sha256::digest(fs::read(&path)?))))
        })
        .collect()
}
