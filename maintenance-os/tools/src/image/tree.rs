//! A folder that nothing written through it can leave. Every path is resolved by the kernel with this
//! folder as its root (`openat2`, `RESOLVE_IN_ROOT`), so absolute symbolic links of an image point into the
//! image, `..` stops at its top, and a name is never followed when it is created. Knows no archives.

use std::fs::File;
use std::io::{self, Read as _, Seek, SeekFrom, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};

use super::archive::{ArchiveError, Kind, Member};

/// A path inside the tree: components joined by `/`, none of them empty, `.` or `..`. Empty: the root.
pub type Inside = Vec<u8>;

/// Most links to folders not yet there that are followed for one name; the kernel's own limit for links.
const LINKS_MAX: u32 = 40;

/// Most things remembered that could not be kept.
const LOST_MAX: usize = 20;
/// Most bytes read of a file of the tree.
const TEXT_MAX: u64 = 4 << 20;

/// What could not be written, and why.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The root itself.
    #[error("opening {path}")]
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A name that would leave the tree.
    #[error("{path:?} leads out of the image; it was made to harm or by mistake")]
    Escapes {
        /// The name.
        path: String,
    },
    /// A call did not work.
    #[error("{what} {path:?}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Where, inside the tree.
        path: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Writing data did not work.
    #[error("writing {path:?}")]
    Write {
        /// Where, inside the tree.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An extended attribute could not be set.
    #[error("setting {name} of {path:?}")]
    Xattr {
        /// Name of the attribute.
        name: String,
        /// Where, inside the tree.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More files with ACLs than are kept in mind.
    #[error("the archive has more than {limit} files with POSIX ACLs; more are not kept in mind")]
    TooManyAcls {
        /// The most.
        limit: usize,
    },
    /// The data did not come.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The folder.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// The folder used last: archives list what is in one folder together.
    recent: Option<(Inside, OwnedFd)>,
    buffer: Vec<u8>,
    /// Attributes that could not be kept, by name, for one warning at the end.
    pub unsupported: Vec<String>,
    /// Whether folders may be there whose default ACL what is made in them would inherit.
    pub inherits: bool,
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn call(what: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> TreeError {
    let path = text(path);
    move |source| TreeError::Call { what, path, source }
}

/// Makes a name of an archive a path inside the tree, or refuses it.
pub fn inside(name: &[u8]) -> Result<Inside, TreeError> {
    let mut path = Inside::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(TreeError::Escapes { path: text(name) }),
            part if part.contains(&0) => return Err(TreeError::Escapes { path: text(name) }),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// Splits into folder and name; the root has no name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Where a link in a folder leads to, by its words alone; never out of the root.
fn follow(folder: &[u8], link: &[u8]) -> Inside {
    let mut parts: Vec<&[u8]> =
        if link.starts_with(b"/") { Vec::new() } else { folder.split(|b| *b == b'/').collect() };
    for part in link.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join(&b'/')
}

impl Tree {
    /// Opens the folder that is the root of everything.
    pub fn open(root: &Path) -> Result<Self, TreeError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(root, flags, Mode::empty())
            .map_err(|source| TreeError::Root { path: root.to_owned(), source })?;
        Ok(Self {
            root: fd,
            recent: None,
            buffer: vec![0; super::pipe::CHUNK],
            unsupported: Vec::new(),
            inherits: false,
        })
    }

    fn resolve(&self, folder: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let folder = if folder.is_empty() { b"." } else { folder };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, folder, how)
    }

    /// Opens a folder, making it and those above it where they are missing.
    fn folder(&mut self, folder: &[u8]) -> Result<&OwnedFd, TreeError> {
        if self.recent.as_ref().is_none_or(|(path, _)| path != folder) {
            let fd = self.reach(folder, LINKS_MAX)?;
            self.recent = Some((folder.to_vec(), fd));
        }
        match &self.recent {
            Some((_, fd)) => Ok(fd),
            None => Ok(&self.root),
        }
    }

    /// As [`Self::folder`]; a link to a folder that is not there yet is followed at most `links` times.
    fn reach(&self, folder: &[u8], links: u32) -> Result<OwnedFd, TreeError> {
        match self.resolve(folder, OFlag::O_PATH) {
            Err(Errno::ENOENT) if !folder.is_empty() => {}
            other => return other.map_err(call("opening the folder", folder)),
        }
        let (above, name) = split(folder);
        let parent = self.reach(above, links)?;
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) if links > 0 => {
                let link = readlinkat(&parent, name).map_err(call("reading the link", folder))?;
                let link = std::os::unix::ffi::OsStrExt::as_bytes(link.as_os_str());
                self.reach(&follow(above, link), links - 1)
            }
            Err(error) => Err(call("making the folder", folder)(error)),
            Ok(()) => self.resolve(folder, OFlag::O_PATH).map_err(call("opening the folder", folder)),
        }
    }

    /// Writes one member of an archive; `data` gives its bytes. The root only gets its owner and mode.
    pub fn put(
        &mut self,
        path: &[u8],
        member: &Member,
        data: &mut dyn FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<(), TreeError> {
        let (above, name) = split(path);
        if path.is_empty() {
            return if member.kind == Kind::Folder { self.dress(b"", b".", path, member) } else { Ok(()) };
        }
        match member.kind {
            Kind::File => {
                let file = self.make(path, |folder, name| {
                    let flags = OFlag::O_CREAT
                        | OFlag::O_EXCL
                        | OFlag::O_WRONLY
                        | OFlag::O_NOFOLLOW
                        | OFlag::O_CLOEXEC;
                    openat(folder, name, flags, Mode::from_bits_truncate(0o600))
                })?;
                self.fill(File::from(file), path, member, data)?;
            }
            Kind::Folder => {
                let mode = Mode::from_bits_truncate(0o700);
                let folder = self.folder(above)?;
                match mkdirat(folder, name, mode) {
                    Ok(()) => {}
                    Err(Errno::EEXIST) => {
                        let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                            .map_err(call("looking at", path))?;
                        if found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
                            self.make(path, |folder, name| mkdirat(folder, name, mode))?;
                        }
                    }
                    Err(error) => return Err(call("making the folder", path)(error)),
                }
            }
            Kind::Symlink => {
                self.make(path, |folder, name| symlinkat(member.link.as_slice(), folder, name))?;
            }
            Kind::HardLink => return self.link(path, &inside(&member.link)?),
            Kind::Char | Kind::Block | Kind::Fifo => {
                let kind = match member.kind {
                    Kind::Char => SFlag::S_IFCHR,
                    Kind::Block => SFlag::S_IFBLK,
                    _ => SFlag::S_IFIFO,
                };
                let device = nix::sys::stat::makedev(u64::from(member.device.0), u64::from(member.device.1));
                let mode = Mode::from_bits_truncate(0o600);
                self.make(path, |folder, name| mknodat(folder, name, kind, mode, device))?;
            }
        }
        self.dress(above, name, path, member)
    }

    /// Creates something under a name; what had the name before is removed.
    fn make<T>(
        &mut self,
        path: &[u8],
        create: impl Fn(&OwnedFd, &[u8]) -> nix::Result<T>,
    ) -> Result<T, TreeError> {
        let (above, name) = split(path);
        match create(self.folder(above)?, name) {
            Err(Errno::EEXIST) => {
                self.remove(path)?;
                create(self.folder(above)?, name)
            }
            other => other,
        }
        .map_err(call("creating", path))
    }

    fn fill(
        &mut self,
        mut file: File,
        path: &[u8],
        member: &Member,
        data: &mut dyn FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<(), TreeError> {
        let refuse = |source| TreeError::Write { path: text(path), source };
        let whole = [(0, member.size)];
        for (offset, length) in member.pieces.as_deref().unwrap_or(&whole) {
            if *offset > 0 {
                file.seek(SeekFrom::Start(*offset)).map_err(refuse)?;
            }
            let mut left = *length;
            while left > 0 {
                let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                let got = data(&mut self.buffer[..room])?;
                if got == 0 {
                    return Err(refuse(io::ErrorKind::UnexpectedEof.into()));
                }
                file.write_all(&self.buffer[..got]).map_err(refuse)?;
                left -= got as u64;
            }
        }
        if member.pieces.is_some() {
            file.set_len(member.size).map_err(refuse)?;
        }
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let (above, name) = split(target);
        let from = self.resolve(above, OFlag::O_PATH).map_err(call("opening the folder of", target))?;
        if path == target {
            return Ok(());
        }
        self.make(path, |folder, new| linkat(&from, name, folder, new, AtFlags::empty()))
    }

    /// Owner, mode, attributes and time, in this order: each one resets what the next one sets.
    fn dress(&mut self, above: &[u8], name: &[u8], path: &[u8], member: &Member) -> Result<(), TreeError> {
        let inherits = self.inherits;
        let folder = self.folder(above)?;
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        fchownat(folder, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(call("giving an owner to", path))?;
        if member.kind != Kind::Symlink {
            let mode = Mode::from_bits_truncate(member.mode);
            fchmodat(folder, name, mode, FchmodatFlags::FollowSymlink)
                .map_err(call("giving a mode to", path))?;
        }
        if inherits && matches!(member.kind, Kind::File | Kind::Folder) {
            let full = through(folder, name);
            for attribute in [super::acl::ACCESS, super::acl::DEFAULT] {
                // Most have none to lose, and some filesystems know none.
                let _none_there = xattr::remove(&full, os(attribute));
            }
        }
        for (attribute, value) in &member.xattrs {
            self.attribute(path, attribute, value)?;
        }
        if member.kind == Kind::Folder { Ok(()) } else { self.stamp(path, member.mtime, member.mtime_nanos) }
    }

    /// Sets an extended attribute. One that the filesystem does not know is remembered, unless programs would break.
    pub fn attribute(&mut self, path: &[u8], attribute: &[u8], value: &[u8]) -> Result<(), TreeError> {
        let (above, name) = split(path);
        let full = through(self.folder(above)?, if name.is_empty() { b"." } else { name });
        match xattr::set(full, os(attribute), value) {
            // A lost capability breaks programs; a lost label is the filesystem's choice.
            Err(error)
                if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
                    && attribute != b"security.capability" =>
            {
                self.lose(&text(attribute));
                Ok(())
            }
            other => {
                other.map_err(|source| TreeError::Xattr { name: text(attribute), path: text(path), source })
            }
        }
    }

    /// Remembers something that could not be kept.
    pub fn lose(&mut self, what: &str) {
        if self.unsupported.len() < LOST_MAX && !self.unsupported.iter().any(|known| known == what) {
            self.unsupported.push(what.to_owned());
        }
    }

    /// The text of a file in the tree, as far as it is one; empty when there is none.
    pub fn text(&self, path: &[u8]) -> String {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut bytes = Vec::new();
        if let Ok(file) = openat2(&self.root, path, how) {
            let _unreadable = File::from(file).take(TEXT_MAX).read_to_end(&mut bytes);
        }
        text(&bytes)
    }

    /// Sets the modification time. For folders last of all: writing into them changes it.
    pub fn stamp(&mut self, path: &[u8], seconds: i64, nanos: u32) -> Result<(), TreeError> {
        let (above, name) = split(path);
        let name = if name.is_empty() { b"." } else { name };
        let time = TimeSpec::new(seconds, i64::from(nanos));
        let folder = self.folder(above)?;
        utimensat(folder, name, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(call("giving a time to", path))
    }

    /// Removes whatever has that name, with all below it. A name that is not there is fine, and a folder
    /// that something is mounted on is only emptied.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let (above, name) = split(path);
        let folder = match self.resolve(above, OFlag::O_PATH) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            other => other.map_err(call("opening the folder of", path))?,
        };
        // The folder kept open may be the one that goes.
        self.recent = None;
        remove_in(&folder, name).map_err(call("removing", path))
    }

    /// Whether that name is a folder, and not a link to one.
    pub fn is_folder(&self, path: &[u8]) -> Result<bool, TreeError> {
        let (above, name) = split(path);
        let folder = self.resolve(above, OFlag::O_PATH).map_err(call("opening the folder of", path))?;
        let found = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(call("looking at", path))?;
        Ok(found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
    }

    /// Names in a folder; none if there is no such folder.
    pub fn names(&self, folder: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        let fd = match self.resolve(folder, OFlag::O_RDONLY) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            other => other.map_err(call("opening the folder", folder))?,
        };
        list(fd).map_err(call("listing", folder))
    }
}

/// A name in an open folder, as a path.
fn through(folder: &OwnedFd, name: &[u8]) -> PathBuf {
    let mut full = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    full.extend_from_slice(name);
    PathBuf::from(os(&full).to_owned())
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn list(folder: OwnedFd) -> nix::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(folder)?.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Depth is bounded: a path longer than 4096 bytes cannot have been made through [`Tree::folder`].
fn remove_in(folder: &OwnedFd, name: &[u8]) -> nix::Result<()> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(()),
        other => return other,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let inner = openat(folder, name, flags, Mode::empty())?;
    for name in list(inner.try_clone().map_err(|_| Errno::EMFILE)?)? {
        remove_in(&inner, &name)?;
    }
    match unlinkat(folder, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::EBUSY) => Ok(()),
        other => other,
    }
}
