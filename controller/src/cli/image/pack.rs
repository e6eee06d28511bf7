//! The folder of a root filesystem as one tar, compressed and sent while it is read: nothing is written to a disk
//! here. Sorted by name, with numeric owners, whole modes, hard links, device nodes and extended attributes (so file
//! capabilities), so that the same folder gives the same bytes. Sockets are left out: they mean nothing at rest.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use schema::recipe::ImageKind;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tokio::sync::{mpsc, oneshot};

use super::bar;
use super::manifest::{Codec, Image};
use super::upload::Repository;

/// zstd's own default: more costs much time for little.
const LEVEL: i32 = 3;
/// Sent at a time.
const PIECE: usize = 1 << 20;
/// Pieces between the packer and the connection.
const AHEAD: usize = 8;
/// How pax names an extended attribute.
const XATTR: &str = "SCHILY.xattr.";

/// Packs and pushes `root`.
pub async fn push(repository: &Repository<'_>, root: &Path) -> anyhow::Result<Image> {
    if !root.join("usr").is_dir() && !root.join("etc").is_dir() {
        anyhow::bail!("it holds neither usr nor etc, so it is no root filesystem; name the root itself");
    }
    let bar = bar("sending", None);
    let (pieces, receiver) = mpsc::channel(AHEAD);
    let (done, packed) = oneshot::channel();
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || {
        let outcome = stream(&root, pieces);
        // Nobody waits any more: the push has ended with an error of its own.
        let _ = done.send(outcome);
    });
    let mut facts = (0, 0);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece: io::Result<Bytes>| (piece, receiver))
    });
    let digest = repository
        .push_stream(body, &bar, async {
            let sent = packed.await.context("packing was interrupted")??;
            facts = (sent.size, sent.unpacked);
            Ok(sent.digest)
        })
        .await?;
    bar.finish_and_clear();
    Ok(Image { kind: ImageKind::Rootfs, codec: Codec::Zstd, digest, size: facts.0, unpacked: facts.1 })
}

struct Sent {
    digest: String,
    size: u64,
    unpacked: u64,
}

/// Packs into the channel; a fault also ends the body, so that the registry keeps nothing.
fn stream(root: &Path, pieces: mpsc::Sender<io::Result<Bytes>>) -> anyhow::Result<Sent> {
    let fault = pieces.clone();
    let result =
        compress(root, Pieces { out: pieces, held: Vec::with_capacity(PIECE), hash: Sha256::new(), size: 0 });
    if result.is_err() {
        let _ = fault.blocking_send(Err(io::Error::other("the folder could not be packed")));
    }
    result
}

fn compress(root: &Path, out: Pieces) -> anyhow::Result<Sent> {
    let encoder = zstd::Encoder::new(out, LEVEL).context("starting the compression")?;
    let mut counted = Counted(encoder, 0);
    tree(root, &mut counted)?;
    let unpacked = counted.1;
    let mut out = counted.0.finish().context("sending what was packed")?;
    out.flush().context("sending what was packed")?;
    Ok(Sent { digest: format!("sha256:{}", hex::encode(out.hash.finalize())), size: out.size, unpacked })
}

/// Where compressed bytes leave: hashed, gathered to pieces, into a bounded channel.
struct Pieces {
    out: mpsc::Sender<io::Result<Bytes>>,
    held: Vec<u8>,
    hash: Sha256,
    size: u64,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.held, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the connection is gone");
        self.out.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

struct Counted<W>(W, u64);

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1 += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes everything below `root` as a tar.
pub fn tree(root: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let mut tar = Builder::new(out);
    let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
    // Folders whose entries are still to be written, deepest last: memory grows with depth, not with the tree.
    let mut open = vec![names(root, Path::new("."))?];
    add(&mut tar, root, Path::new("."), &mut links)?;
    while let Some(folder) = open.last_mut() {
        let Some(name) = folder.pop() else {
            open.pop();
            continue;
        };
        if add(&mut tar, root, &name, &mut links)? {
            open.push(names(root, &name)?);
        }
    }
    tar.into_inner().context("ending the tar")?;
    Ok(())
}

/// The entries of a folder, last first.
fn names(root: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
        names.push(folder.join(entry.file_name()));
    }
    names.sort_unstable_by(|one, other| other.as_os_str().as_bytes().cmp(one.as_os_str().as_bytes()));
    Ok(names)
}

/// Writes one entry; whether it is a folder to go into.
fn add<W: Write>(
    tar: &mut Builder<W>,
    root: &Path,
    name: &Path,
    links: &mut HashMap<(u64, u64), PathBuf>,
) -> anyhow::Result<bool> {
    let path = root.join(name);
    let work = || -> io::Result<bool> {
        let meta = fs::symlink_metadata(&path)?;
        let kind = meta.file_type();
        let mut header = header(&meta);
        if kind.is_socket() {
            return Ok(false);
        }
        if !kind.is_dir() && meta.nlink() > 1 {
            if let Some(first) = links.get(&(meta.dev(), meta.ino())) {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                tar.append_link(&mut header, name, first)?;
                return Ok(false);
            }
            links.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        attributes(tar, &path)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, name, fs::read_link(&path)?)?;
        } else if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(meta.len());
            let mut whole = Exactly { file: File::open(&path)?, left: meta.len() };
            tar.append_data(&mut header, name, &mut whole)?;
            if whole.left > 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
        } else {
            header.set_entry_type(match () {
                () if kind.is_dir() => EntryType::Directory,
                () if kind.is_char_device() => EntryType::Char,
                () if kind.is_block_device() => EntryType::Block,
                () => EntryType::Fifo,
            });
            tar.append_data(&mut header, name, io::empty())?;
        }
        Ok(kind.is_dir())
    };
    let mut work = work;
    work().with_context(|| format!("packing {} (run this as root to read everything)", path.display()))
}

fn header(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(u64::from(meta.uid()));
    header.set_gid(u64::from(meta.gid()));
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    let device = meta.rdev();
    // Only a device has a number; a header of its kind has room for both halves.
    if device != 0 {
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let _ = header.set_device_major(u32::try_from(major).unwrap_or(u32::MAX));
        let _ = header.set_device_minor(u32::try_from(minor).unwrap_or(u32::MAX));
    }
    header
}

/// Extended attributes, as pax records before the entry they belong to.
fn attributes<W: Write>(tar: &mut Builder<W>, path: &Path) -> io::Result<()> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        // This filesystem has none.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for name in names {
        if let (Some(text), Some(value)) = (name.to_str(), xattr::get(path, &name)?) {
            records.push((format!("{XATTR}{text}"), value));
        }
    }
    records.sort();
    if records.is_empty() {
        return Ok(());
    }
    tar.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

/// A file's bytes up to the size its header says, even if it grows meanwhile.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn sample() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("etc/ssl")).unwrap();
        fs::write(at("etc/hostname"), "host\n").unwrap();
        fs::hard_link(at("etc/hostname"), at("etc/name")).unwrap();
        symlink("../etc/hostname", at("etc/ssl/link")).unwrap();
        fs::write(at("etc.conf"), "").unwrap();
        fs::set_permissions(at("etc/hostname"), fs::Permissions::from_mode(0o4755)).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        root
    }

    fn packed(root: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        tree(root, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_tree_is_packed_in_order_with_links_modes_and_without_sockets() {
        let root = sample();
        let bytes = packed(root.path());
        let mut archive = tar::Archive::new(&bytes[..]);
        let lines: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let link = entry
                    .link_name()
                    .unwrap()
                    .map(|link| format!(" -> {}", link.display()))
                    .unwrap_or_default();
                let header = entry.header();
                format!(
                    "{:?} {} {} {:o}{link}",
                    header.entry_type(),
                    entry.path().unwrap().display(),
                    entry.size(),
                    if header.entry_type() == EntryType::Regular { header.mode().unwrap() } else { 0 },
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(bytes, packed(root.path()), "the same folder, other bytes");
    }

    #[test]
    fn extended_attributes_travel() {
        let root = sample();
        if xattr::set(root.path().join("etc/hostname"), "user.slipway", b"\0yes").is_err() {
            eprintln!("skipped: the temporary folder's filesystem keeps no user attributes");
            return;
        }
        let bytes = packed(root.path());
        let found = tar::Archive::new(&bytes[..]).entries().unwrap().any(|entry| {
            let mut entry = entry.unwrap();
            let is_it = entry.path().unwrap() == Path::new("etc/hostname");
            is_it
                && entry.pax_extensions().unwrap().is_some_and(|mut records| {
                    records.any(|record| {
                        let record = record.unwrap();
                        record.key() == Ok("SCHILY.xattr.user.slipway") && record.value_bytes() == b"\0yes"
                    })
                })
        });
        assert!(found);
    }
}
