//! Reading a tar stream: members one after the other, their data in between. POSIX ustar, pax (1.0 to 0.0
//! sparse, xattrs, long names, sub-second times, large numbers) and GNU (long names, sparse). Bounded in
//! memory by constants, whatever the stream says. Writes nothing; that is [`super::tree`].

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::acl::Acl;
use extensions::Extensions;

mod extensions;
mod fields;
mod pax;
mod sparse;

/// Bytes of a tar block.
const BLOCK: u64 = 512;
/// Largest pax header or GNU long name accepted; xattrs are at most 64 KiB each.
const EXTENSION_MAX: u64 = 1 << 20;

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
            let size = fields::size(&header).map_err(|what| self.wrong(what))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(size)?;
                    extensions.read(&bytes).map_err(|what| self.wrong(what))?;
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
        self.begin(size)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                length => bytes.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn begin(&mut self, size: u64) -> Result<(), ArchiveError> {
        if i64::try_from(size).is_err() {
            return Err(self.wrong("its size is more than a file can have"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(())
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
                self.begin(stored)?;
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
        self.begin(if matches!(kind, Kind::File | Kind::HardLink) { stored } else { 0 })?;

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
        let wrong = |what| self.wrong(what);
        let (mtime, mtime_nanos) = extensions.mtime.unwrap_or_else(|| (fields::mtime(header), 0));
        let device = match kind {
            Kind::Char | Kind::Block => fields::device(header).map_err(wrong)?,
            _ => (0, 0),
        };
        Ok(Some(Member {
            kind,
            mode: fields::mode(header).map_err(wrong)?,
            uid: extensions.uid.map_or_else(|| fields::uid(header), Ok).map_err(wrong)?,
            gid: extensions.gid.map_or_else(|| fields::gid(header), Ok).map_err(wrong)?,
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
