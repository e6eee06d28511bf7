//! Reading a tar stream: members one after the other, their data in between. POSIX ustar, pax (1.0 to 0.0
//! sparse, xattrs, long names, sub-second times, large numbers) and GNU (long names, sparse). Bounded in
//! memory by constants, whatever the stream says. Writes nothing; that is [`super::tree`].

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::acl::Acl;
use super::pax::{records, time};

/// Bytes of a tar block.
const BLOCK: u64 = 512;
/// Largest pax header or GNU long name accepted; xattrs are at most 64 KiB each.
const EXTENSION_MAX: u64 = 1 << 20;
/// Most pieces of one sparse file.
const PIECES_MAX: usize = 1 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with data.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier member.
    HardLink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name as it stands there; not yet safe to use.
    pub path: Vec<u8>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nanos: u32,
    /// Device numbers.
    pub device: (u32, u32),
    /// Extended attributes, names with their prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// POSIX ACLs.
    pub acls: Vec<Acl>,
    /// Bytes of the file once written, holes included.
    pub size: u64,
    /// Offset and length of each piece of data in a sparse file; the rest are holes.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// A stream that is not a tar archive, or one beyond the limits.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream itself broke.
    #[error("reading the archive")]
    Read(#[source] io::Error),
    /// A header that cannot be read.
    #[error("member {number} of the archive: {what}")]
    Malformed {
        /// Number of the member, from 1.
        number: u64,
        /// What is wrong.
        what: String,
    },
}

/// A tar stream.
pub struct Archive<R> {
    input: R,
    /// Data bytes of the current member not yet read.
    left: u64,
    /// Padding after them.
    padding: u64,
    number: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    acls: Vec<Acl>,
    real_size: Option<u64>,
    sparse_major: Option<u64>,
    sparse_name: Option<Vec<u8>>,
    pieces: Vec<(u64, u64)>,
    offset: Option<u64>,
    sparse: bool,
}

impl<R: Read> Archive<R> {
    /// Starts at the first header.
    pub fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, number: 0 }
    }

    /// Gives the stream back, at whatever place it is.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn wrong(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed { number: self.number, what: what.into() }
    }

    /// Goes to the next member; `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            self.number += 1;
            let size = header.entry_size().map_err(|_| self.wrong("its size is not a number"))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(size)?;
                    self.pax(&bytes, &mut extensions)?;
                }
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                EntryType::GNULongName => extensions.path = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.extension(size)?)),
                kind => {
                    if let Some(member) = self.member(&header, kind, size, extensions)? {
                        return Ok(Some(member));
                    }
                    extensions = Extensions::default();
                }
            }
        }
    }

    /// Reads data of the current member, in the order it is stored; 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let length = self.input.read(&mut buffer[..room]).map_err(ArchiveError::Read)?;
        if length == 0 {
            return Err(self.wrong("the archive ends inside of it"));
        }
        self.left -= length as u64;
        Ok(length)
    }

    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let length = super::pipe::read_full(&mut self.input, bytes).map_err(ArchiveError::Read)?;
        if length == 0 || bytes.iter().all(|byte| *byte == 0) {
            // The end mark is two empty blocks; some writers leave them out.
            return Ok(None);
        }
        self.number += 1;
        if length < bytes.len() {
            return Err(self.wrong("the archive ends inside its header"));
        }
        let sum: u32 = bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(self.wrong("its checksum is wrong; this is no tar archive, or a damaged one"));
        }
        self.number -= 1;
        Ok(Some(header))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > EXTENSION_MAX {
            return Err(
                self.wrong(format!("an extended header of {size} bytes; at most {EXTENSION_MAX} are read"))
            );
        }
        self.begin(size);
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                length => bytes.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), ArchiveError> {
        let mut buffer = [0; 16 << 10];
        while bytes > 0 {
            let room = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
            match self.input.read(&mut buffer[..room]).map_err(ArchiveError::Read)? {
                0 => return Err(self.wrong("the archive ends inside of it")),
                length => bytes -= length as u64,
            }
        }
        Ok(())
    }

    fn pax(&self, bytes: &[u8], into: &mut Extensions) -> Result<(), ArchiveError> {
        for (key, value) in records(bytes).ok_or_else(|| self.wrong("a malformed pax header"))? {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let number = || text.parse::<u64>().map_err(|_| self.wrong("a pax number that is none"));
            let id = || text.parse::<u32>().map_err(|_| self.wrong("an owner that is no 32-bit number"));
            match key {
                b"path" => into.path = Some(value.to_vec()),
                b"linkpath" => into.link = Some(value.to_vec()),
                b"size" => into.size = Some(number()?),
                b"uid" => into.uid = Some(id()?),
                b"gid" => into.gid = Some(id()?),
                b"mtime" => {
                    into.mtime = Some(time(text).ok_or_else(|| self.wrong("a pax time that is none"))?);
                }
                b"GNU.sparse.major" => (into.sparse, into.sparse_major) = (true, Some(number()?)),
                b"GNU.sparse.name" => (into.sparse, into.sparse_name) = (true, Some(value.to_vec())),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                    (into.sparse, into.real_size) = (true, Some(number()?));
                }
                b"GNU.sparse.offset" => into.offset = Some(number()?),
                b"GNU.sparse.numbytes" => {
                    let offset = into.offset.take().ok_or_else(|| self.wrong("a malformed sparse map"))?;
                    into.pieces.push((offset, number()?));
                }
                b"GNU.sparse.map" => {
                    let numbers = text.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
                    let numbers = numbers.map_err(|_| self.wrong("a malformed sparse map"))?;
                    into.pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                }
                _ => {
                    if let Some(acl) = Acl::from_record(key, value) {
                        into.acls.push(acl);
                    } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        into.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        mut extensions: Extensions,
    ) -> Result<Option<Member>, ArchiveError> {
        let stored = extensions.size.unwrap_or(size);
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Char => Kind::Char,
            EntryType::Block => Kind::Block,
            EntryType::Fifo => Kind::Fifo,
            // A volume label or something vendors made up: nothing that could be written.
            _ => {
                self.begin(stored);
                return Ok(None);
            }
        };
        let path = extensions
            .sparse_name
            .take()
            .or(extensions.path.take())
            .unwrap_or_else(|| header.path_bytes().into_owned());
        // Before POSIX a folder was a file with a slash at the end of its name.
        let kind = if kind == Kind::File && path.ends_with(b"/") { Kind::Folder } else { kind };
        let link = extensions.link.take().unwrap_or_else(|| {
            header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        // Links and devices carry no data, whatever their size says; hard links in pax archives may.
        self.begin(if matches!(kind, Kind::File | Kind::HardLink) { stored } else { 0 });

        let mut size = stored;
        let mut pieces = None;
        if kind == Kind::File && header.entry_type() == EntryType::GNUSparse {
            let (real, map) = self.gnu_sparse(header)?;
            (size, pieces) = (real, Some(map));
        } else if kind == Kind::File && extensions.sparse {
            size = extensions.real_size.ok_or_else(|| self.wrong("a sparse file without its size"))?;
            let map = if extensions.sparse_major == Some(1) { self.sparse_map()? } else { extensions.pieces };
            pieces = Some(map);
        }
        if let Some(pieces) = &pieces {
            self.check_pieces(pieces, size)?;
        }
        let number = |value: io::Result<u64>, what| {
            value.ok().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| self.wrong(what))
        };
        let (mtime, mtime_nanos) = match extensions.mtime {
            Some(time) => time,
            None => (header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0), 0),
        };
        let device = match kind {
            Kind::Char | Kind::Block => (
                header.device_major().ok().flatten().ok_or_else(|| self.wrong("a device without numbers"))?,
                header.device_minor().ok().flatten().ok_or_else(|| self.wrong("a device without numbers"))?,
            ),
            _ => (0, 0),
        };
        Ok(Some(Member {
            kind,
            mode: header.mode().map_err(|_| self.wrong("its mode is not a number"))? & 0o7777,
            uid: extensions.uid.map_or_else(|| number(header.uid(), "its owner is no 32-bit number"), Ok)?,
            gid: extensions.gid.map_or_else(|| number(header.gid(), "its group is no 32-bit number"), Ok)?,
            path,
            link,
            mtime,
            mtime_nanos,
            device,
            xattrs: extensions.xattrs,
            acls: extensions.acls,
            size,
            pieces,
        }))
    }

    /// The map of a GNU sparse member: in its header, and in blocks after it.
    fn gnu_sparse(&mut self, header: &Header) -> Result<(u64, Vec<(u64, u64)>), ArchiveError> {
        let gnu = header.as_gnu().ok_or_else(|| self.wrong("a sparse file without a GNU header"))?;
        let real = gnu.real_size().map_err(|_| self.wrong("a sparse file without its size"))?;
        let mut pieces = Vec::new();
        let mut add = |block: &tar::GnuSparseHeader| -> Option<()> {
            if !block.is_empty() {
                pieces.push((block.offset().ok()?, block.length().ok()?));
            }
            Some(())
        };
        let malformed = "a malformed sparse map";
        for block in &gnu.sparse {
            add(block).ok_or_else(|| self.wrong(malformed))?;
        }
        let mut extended = gnu.is_extended();
        let mut blocks = 0;
        while extended {
            blocks += 1;
            let mut block = tar::GnuExtSparseHeader::new();
            let length =
                super::pipe::read_full(&mut self.input, block.as_mut_bytes()).map_err(ArchiveError::Read)?;
            if length < 512 || blocks > PIECES_MAX / 21 {
                return Err(self.wrong(malformed));
            }
            for piece in block.sparse() {
                add(piece).ok_or_else(|| self.wrong(malformed))?;
            }
            extended = block.is_extended();
        }
        Ok((real, pieces))
    }

    /// The map of a pax 1.0 sparse member: decimal lines before its data, filled up to a whole block.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, ArchiveError> {
        let mut buffer = Vec::new();
        let mut at = 0;
        let mut line = |archive: &mut Self| -> Result<u64, ArchiveError> {
            let mut value: Option<u64> = None;
            loop {
                if at == buffer.len() {
                    let mut block = [0; 512];
                    let mut filled = 0;
                    while filled < block.len() {
                        match archive.read(&mut block[filled..])? {
                            0 => return Err(archive.wrong("a malformed sparse map")),
                            length => filled += length,
                        }
                    }
                    (buffer, at) = (block.to_vec(), 0);
                }
                let byte = buffer[at];
                at += 1;
                match (byte, value) {
                    (b'\n', Some(value)) => return Ok(value),
                    (b'0'..=b'9', old) => {
                        value = old
                            .unwrap_or(0)
                            .checked_mul(10)
                            .and_then(|value| value.checked_add(u64::from(byte - b'0')));
                        if value.is_none() {
                            return Err(archive.wrong("a malformed sparse map"));
                        }
                    }
                    _ => return Err(archive.wrong("a malformed sparse map")),
                }
            }
        };
        let count = line(self)?;
        if count > PIECES_MAX as u64 {
            return Err(self.wrong("a sparse map with too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push((line(self)?, line(self)?));
        }
        Ok(pieces)
    }

    fn check_pieces(&self, pieces: &[(u64, u64)], size: u64) -> Result<(), ArchiveError> {
        let (mut end, mut data) = (0_u64, 0_u64);
        for (offset, length) in pieces {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(|| self.wrong("a sparse map whose pieces overlap or leave the file"))?;
            data += length;
        }
        if data == self.left { Ok(()) } else { Err(self.wrong("a sparse map that does not match the data")) }
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_extended_header_beyond_the_limit_is_refused_before_it_is_read() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(EXTENSION_MAX + 1);
        header.set_cksum();
        let endless = io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(0));
        let error = Archive::new(endless).next_member().unwrap_err().to_string();
        assert!(error.contains("extended header of 1048577 bytes"), "{error}");
    }

    #[test]
    fn a_damaged_header_is_an_error_and_not_an_end() {
        let mut header = Header::new_ustar();
        header.set_path("a").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes[0] = b'b';
        assert!(Archive::new(bytes.as_slice()).next_member().is_err());
        assert!(Archive::new(&bytes[..100]).next_member().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut archive = Archive::new(bytes.as_slice());
            while let Ok(Some(_)) = archive.next_member() {}
        }

        #[test]
        fn arbitrary_pax_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            let mut stream = header.as_bytes().to_vec();
            stream.extend(&bytes);
            stream.resize(stream.len().next_multiple_of(512), 0);
            let mut file = Header::new_ustar();
            file.set_size(0);
            file.set_cksum();
            stream.extend(file.as_bytes());
            let mut archive = Archive::new(stream.as_slice());
            while let Ok(Some(_)) = archive.next_member() {}
        }
    }
}
