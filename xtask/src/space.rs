//! Free disk space, asked before an hour of work rather than found out by a linker in the middle of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a cold `cargo xtask test` leaves below target/, with room for its scratch files.
pub const TEST: u64 = 14 << 30;
/// The same of `cargo xtask demo`.
pub const DEMO: u64 = 10 << 30;

/// Refuses where `folder` cannot grow to `bytes`. What is in it from earlier runs counts as there already.
pub fn ensure(folder: &Path, bytes: u64) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let stat =
        nix::sys::statvfs::statvfs(folder).with_context(|| format!("looking at {}", folder.display()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    let wanted = bytes.saturating_sub(used(folder));
    if free < wanted {
        bail!(
            "{} has {} GiB free, and this needs {}: free some, or set CARGO_TARGET_DIR to a folder on a larger disk",
            folder.display(),
            free >> 30,
            wanted >> 30
        );
    }
    Ok(())
}

/// Bytes that a folder takes on its disk. What cannot be read, or vanishes meanwhile, counts as nothing.
fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => used(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_need_not_fit_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deeper");
        fs::create_dir(&file).unwrap();
        fs::write(file.join("file"), vec![7; 1 << 20]).unwrap();
        assert!(used(folder.path()) >= 1 << 20);
        ensure(folder.path(), 1 << 20).unwrap();
        let refusal = ensure(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(refusal.contains("GiB free") && refusal.contains("CARGO_TARGET_DIR"), "{refusal}");
    }
}
