//! One archive applied to a tree: a root filesystem, or one layer of a container image, whose whiteouts
//! remove what layers below it brought (OCI image specification, "Layer Filesystem Changeset").

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::acl::{Acl, Names};
use super::archive::{Archive, ArchiveError, Kind};
use super::tree::{Inside, Tree, TreeError, inside, split};

/// A file of this name hides everything that lower layers put in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// A file whose name begins so hides the lower file of the remaining name.
const WHITEOUT: &[u8] = b".wh.";
/// Names beginning so are notes of old storage drivers.
const DRIVER_NOTE: &[u8] = b".wh..wh.";

/// Most files with ACLs in one archive: each is remembered until its end.
const ACLS_MAX: usize = 200_000;

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
    // Set last of all: a folder's default ACL would be inherited by what is made in it, and names need /etc/passwd.
    let mut acls: HashMap<Inside, Vec<Acl>> = HashMap::new();
    let mut members = 0;
    tree.inherits = role == Role::Layer;
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
        // What has the name last counts; another name of a file has the file's own.
        if member.kind != Kind::HardLink {
            acls.remove(&path);
        }
        if matches!(member.kind, Kind::File | Kind::Folder) && !member.acls.is_empty() {
            if acls.len() == ACLS_MAX {
                return Err(TreeError::TooManyAcls { limit: ACLS_MAX }.into());
            }
            acls.insert(path.clone(), member.acls.clone());
        }
        if member.kind == Kind::Folder {
            folders.push((path, member.mtime, member.mtime_nanos));
        }
    }
    if !acls.is_empty() {
        let names = Names::read(&tree.text(b"etc/passwd"), &tree.text(b"etc/group"));
        for (path, acls) in &acls {
            for acl in acls {
                match acl.attribute(&names) {
                    Ok(Some((name, bytes))) => gone_is_fine(tree.attribute(path, name, &bytes))?,
                    Ok(None) => {}
                    Err(what) => tree.lose(&what),
                }
            }
        }
    }
    // Deepest first, so that nothing written later touches a folder again. A folder may be gone by now
    // when the same archive replaced it; its time does not matter then.
    for (path, seconds, nanos) in folders.iter().rev() {
        gone_is_fine(tree.stamp(path, *seconds, *nanos))?;
    }
    Ok(members)
}

/// A name that an archive brought may be gone again by its own doing.
fn gone_is_fine(outcome: Result<(), TreeError>) -> Result<(), TreeError> {
    use nix::errno::Errno::{ENOENT, ENOTDIR};
    let gone = |error: &std::io::Error| error.raw_os_error() == Some(ENOENT as i32);
    match outcome {
        Err(TreeError::Call { source: ENOENT | ENOTDIR, .. }) => Ok(()),
        Err(TreeError::Xattr { source, .. }) if gone(&source) => Ok(()),
        other => other,
    }
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
