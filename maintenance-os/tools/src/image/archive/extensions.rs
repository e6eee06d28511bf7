//! Extended headers: what did not fit a tar header, said before it.

use super::super::acl::Acl;
use super::pax::{records, time};

/// What extended headers said of the member that follows them.
#[derive(Default)]
pub struct Extensions {
    /// Its name.
    pub path: Option<Vec<u8>>,
    /// What it links to.
    pub link: Option<Vec<u8>>,
    /// Its bytes in the archive.
    pub size: Option<u64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Names with their prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// POSIX ACLs.
    pub acls: Vec<Acl>,
    /// Bytes of a sparse file with its holes.
    pub real_size: Option<u64>,
    /// 1: the map stands before the data.
    pub sparse_major: Option<u64>,
    /// The real name of a sparse file.
    pub sparse_name: Option<Vec<u8>>,
    /// The map, where it stands in the header.
    pub pieces: Vec<(u64, u64)>,
    /// Of the piece whose length comes next (format 0.0).
    offset: Option<u64>,
    /// Whether anything of a sparse file was said.
    pub sparse: bool,
}

impl Extensions {
    /// Takes in one pax header (POSIX.1-2017, pax "Extended Header"; GNU tar's sparse formats 0.0 to 1.0).
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for (key, value) in records(bytes).ok_or("a malformed pax header")? {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let number = || text.parse::<u64>().map_err(|_| "a pax number that is none");
            let id = || text.parse::<u32>().map_err(|_| "an owner that is no 32-bit number");
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(id()?),
                b"gid" => self.gid = Some(id()?),
                b"mtime" => {
                    self.mtime = Some(time(text).ok_or("a pax time that is none")?);
                }
                b"GNU.sparse.major" => (self.sparse, self.sparse_major) = (true, Some(number()?)),
                b"GNU.sparse.name" => (self.sparse, self.sparse_name) = (true, Some(value.to_vec())),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                    (self.sparse, self.real_size) = (true, Some(number()?));
                }
                b"GNU.sparse.offset" => self.offset = Some(number()?),
                b"GNU.sparse.numbytes" => {
                    let offset = self.offset.take().ok_or("a malformed sparse map")?;
                    self.pieces.push((offset, number()?));
                }
                b"GNU.sparse.map" => {
                    let numbers = text.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
                    let numbers = numbers.map_err(|_| "a malformed sparse map")?;
                    self.pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                }
                _ => {
                    if let Some(acl) = Acl::from_record(key, value) {
                        self.acls.push(acl);
                    } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}
