//! One archive applied to a tree: a root filesystem, or one layer of a container image, whose whiteouts
//! remove what layers below it brought (OCI image specification, "Layer Filesystem Changeset").

use std::collections::HashSet;
use std::io::Read;

use super::archive::{Archive, ArchiveError, Kind};
use super::tree::{Inside, Tree, TreeError, inside, split};

/// A file of this name hides everything that lower layers put in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// A file whose name begins so hides the lower file of the remaining name.
const WHITEOUT: &[u8] = b".wh.";
/// Names beginning so are notes of old storage drivers.
const DRIVER_NOTE: &[u8] = b".wh..wh.";

/// An archive that could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk, or a name that must not be.
    #[error(transparent)]
    Tree(TreeError),
}

impl From<TreeError> for LayerError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Archive(error) => Self::Archive(error),
            other => Self::Tree(other),
        }
    }
}

/// What an archive is applied as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The whole root filesystem: a file named `.wh.x` is a file named `.wh.x`.
    Root,
    /// A layer over others: whiteouts mean what they say.
    Layer,
}

/// Applies the archive to the tree and returns the number of its members.
pub fn apply<R: Read>(tree: &mut Tree, archive: &mut Archive<R>, role: Role) -> Result<u64, LayerError> {
    let mut folders: Vec<(Inside, i64, u32)> = Vec::new();
    // Paths of this layer: an opaque mark hides lower layers only, in whatever order the archive has them.
    let mut own: HashSet<Inside> = HashSet::new();
    let mut members = 0;
    while let Some(member) = archive.next_member()? {
        members += 1;
        let path = inside(&member.path)?;
        let (above, name) = split(&path);
        if role == Role::Layer {
            if name == OPAQUE {
                hide_lower(tree, above, &own)?;
                continue;
            }
            if name.starts_with(DRIVER_NOTE) {
                continue;
            }
            if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                if hidden.is_empty() || hidden == b"." || hidden == b".." {
                    return Err(
                        TreeError::Escapes { path: String::from_utf8_lossy(&path).into_owned() }.into()
                    );
                }
                let hidden = join(above, hidden);
                if !own.contains(&hidden) {
                    tree.remove(&hidden)?;
                }
                continue;
            }
            note(&mut own, &path);
        }
        tree.put(&path, &member, &mut |buffer| archive.read(buffer))?;
        if member.kind == Kind::Folder {
            folders.push((path, member.mtime, member.mtime_nanos));
        }
    }
    // Deepest first, so that nothing written later touches a folder again. A folder may be gone by now
    // when the same archive replaced it; its time does not matter then.
    for (path, seconds, nanos) in folders.iter().rev() {
        match tree.stamp(path, *seconds, *nanos) {
            Err(TreeError::Call {
                source: nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR, ..
            }) => {}
            other => other?,
        }
    }
    Ok(members)
}

fn join(folder: &[u8], name: &[u8]) -> Inside {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// Remembers a path and the folders above it.
fn note(own: &mut HashSet<Inside>, path: &[u8]) {
    let mut path = path;
    while !path.is_empty() && own.insert(path.to_vec()) {
        path = split(path).0;
    }
}

/// Removes everything in the folder that this layer has not brought itself.
fn hide_lower(tree: &mut Tree, folder: &[u8], own: &HashSet<Inside>) -> Result<(), TreeError> {
    for name in tree.names(folder)? {
        let path = join(folder, &name);
        if !own.contains(&path) {
            tree.remove(&path)?;
        } else if tree.is_folder(&path)? {
            hide_lower(tree, &path, own)?;
        }
    }
    Ok(())
}
