//! A folder that is a filesystem of its own, made anew for every round, as the disk of a host is. On one that is
//! used again and again the kernel's search for inodes that were not deleted a moment ago takes longer than all
//! the writing (ext4's `recently_deleted`), and every round is slower than the one before, whoever runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::packages::sudo;

/// Room for a server's root filesystem, twice.
const SIZE: u64 = 3 << 30;

/// A place for one filesystem after another.
pub struct Scratch {
    image: PathBuf,
    folder: PathBuf,
}

/// A mounted, empty filesystem; unmounted when dropped.
pub struct Mounted<'a>(&'a Path);

impl Scratch {
    /// In that folder, which must be there.
    pub fn new(inside: &Path) -> Result<Self> {
        let (image, folder) = (inside.join("scratch.img"), inside.join("scratch"));
        File::create(&image)?.set_len(SIZE)?;
        // Blocks are reserved now, so that no round looks for them.
        sudo("fallocate").args(["--length", &SIZE.to_string()]).arg(&image).text()?;
        std::fs::create_dir_all(&folder)?;
        Ok(Self { image, folder })
    }

    /// An empty ext4, all of its tables written, nothing left to be written back.
    pub fn fresh(&self) -> Result<Mounted<'_>> {
        sudo("mkfs.ext4")
            .args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&self.image)
            .text()?;
        sudo("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.folder).text()?;
        let mounted = Mounted(&self.folder);
        sudo("sync").arg("--file-system").arg(&self.folder).text()?;
        sudo("sync").arg("--data").arg(&self.image).text()?;
        Ok(mounted)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.image);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

impl Mounted<'_> {
    /// Its root.
    pub fn path(&self) -> &Path {
        self.0
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = sudo("umount").arg(self.0).text();
    }
}
