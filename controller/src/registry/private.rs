//! Folders and files that are the registry's alone: images may hold what their makers would not show everyone.
//! What an older version left open to others is closed when it is opened.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of every folder.
const FOLDER: u32 = 0o700;
/// Mode of every file.
pub const FILE: u32 = 0o600;
/// What others must not have.
const OTHERS: u32 = 0o077;

/// Makes a folder, and its parents, unless it is there.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)?;
    close(path, FOLDER)
}

/// Makes an empty file unless it is there.
pub fn file(path: &Path) -> io::Result<()> {
    File::options().create(true).truncate(false).write(true).mode(FILE).open(path)?;
    close(path, FILE)
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    if fs::metadata(path)?.mode() & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_closed_and_what_was_open_is_closed_too() {
        let place = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let deep = place.path().join("a/b");
        folder(&deep).unwrap();
        let name = deep.join("index");
        file(&name).unwrap();
        assert_eq!((mode(&place.path().join("a")), mode(&deep), mode(&name)), (FOLDER, FOLDER, FILE));

        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&name, Permissions::from_mode(0o644)).unwrap();
        fs::write(&name, "kept").unwrap();
        folder(&deep).unwrap();
        file(&name).unwrap();
        assert_eq!((mode(&deep), mode(&name)), (FOLDER, FILE));
        assert_eq!(fs::read_to_string(&name).unwrap(), "kept");
    }
}
