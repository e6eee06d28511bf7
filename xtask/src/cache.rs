//! What is expensive is kept under `target/slipway/`, in files named by a key of everything that went into them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The repository's root, where cargo found this crate.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// `target/slipway/<name>`, made if absent. Always inside the checkout, whatever CARGO_TARGET_DIR says.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = repository().join("target/slipway").join(name);
    fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    Ok(path)
}

/// Where cargo puts what it builds.
pub fn cargo_target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// A key over names, modes and contents of files and folders, and over plain words. 16 hex digits.
pub fn key(paths: &[&Path], words: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    for path in paths {
        for file in files(path)? {
            hash.update(file.strip_prefix(path).unwrap_or(&file).to_string_lossy().as_bytes());
            hash.update([0]);
            hash.update(fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
            hash.update([0]);
        }
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// All regular files below a path, sorted; the path itself when it is a file.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("listing {}", path.display()))? {
        found.extend(files(&entry?.path())?);
    }
    found.sort();
    Ok(found)
}

/// Removes older files `<stem>-<key>*` in a folder, keeping the one of this key.
pub fn forget_others(folder: &Path, stem: &str, key: &str) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!("{stem}-")) && !name.starts_with(&format!("{stem}-{key}")) {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}
