//! POSIX ACLs: from the text that tar archives carry (pax records `SCHILY.acl.access` and `SCHILY.acl.default`) to the
//! bytes of the attributes `system.posix_acl_*` that the kernel takes. Names are looked up in the image's own
//! `/etc/passwd` and `/etc/group`: the host that unpacks does not know the image's users.
//!
//! ```text
//!   GNU tar  user::rwx\nuser:lisa:r-x\t#effective:r--\nmask::r--\n…
//!   star     user::rwx,user:lisa:r-x:1001,mask::r--,…          one number behind the name
//!   bsdtar   user::rwx,user:lisa:r-x:1001,…                    the same
//! ```

use std::collections::HashMap;

/// Version of the attribute's layout (`linux/posix_acl_xattr.h`).
const VERSION: u32 = 2;
/// Most entries of one ACL; an attribute holds 64 KiB.
const ENTRIES_MAX: usize = 8000;
/// Id of an entry that names nobody.
const NOBODY: u32 = u32::MAX;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The access ACL's attribute.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The default ACL's attribute, of folders alone.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Name and bytes of an extended attribute.
pub type Attribute = (&'static [u8], Vec<u8>);

/// An ACL as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acl {
    /// In words: the attribute it is for, and the text.
    Text(&'static [u8], String),
    /// As the attribute's bytes (`SCHILY.xattr.system.posix_acl_*`).
    Bytes(&'static [u8], Vec<u8>),
}

impl Acl {
    /// The ACL in a pax record, if it holds one.
    pub fn from_record(key: &[u8], value: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(value).into_owned();
        let raw = |name| {
            (key.strip_prefix(b"SCHILY.xattr.") == Some(name)).then(|| Self::Bytes(name, value.to_vec()))
        };
        match key {
            b"SCHILY.acl.access" => Some(Self::Text(ACCESS, text())),
            b"SCHILY.acl.default" => Some(Self::Text(DEFAULT, text())),
            _ => raw(ACCESS).or_else(|| raw(DEFAULT)),
        }
    }

    /// Name and bytes of the attribute to set; `Err` says in words what is not understood.
    pub fn attribute(&self, names: &Names) -> Result<Option<Attribute>, String> {
        match self {
            Self::Bytes(name, bytes) => Ok(Some((name, bytes.clone()))),
            Self::Text(name, text) => attribute(text, names)
                .map(|bytes| bytes.map(|bytes| (*name, bytes)))
                .map_err(|what| format!("{} ({what})", String::from_utf8_lossy(name))),
        }
    }
}

/// Users and groups of an image.
#[derive(Debug, Default)]
pub struct Names {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Names {
    /// From the texts of `/etc/passwd` and `/etc/group`.
    pub fn read(passwd: &str, group: &str) -> Self {
        let ids = |text: &str| {
            text.lines()
                .filter_map(|line| {
                    let mut fields = line.split(':');
                    Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
                })
                .collect()
        };
        Self { users: ids(passwd), groups: ids(group) }
    }
}

/// One entry: tag, permissions, id.
type Entry = (u16, u16, u32);

/// The attribute of an ACL's text; `Err` names what is not understood. An empty text is no ACL.
pub fn attribute(text: &str, names: &Names) -> Result<Option<Vec<u8>>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.split(['\n', ',']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} entries"));
        }
        entries.push(entry(line, names).ok_or_else(|| line.to_owned())?);
    }
    if entries.is_empty() {
        return Ok(None);
    }
    // The kernel takes them in this order and no other.
    entries.sort_unstable_by_key(|(tag, _, id)| (*tag, *id));
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Ok(Some(bytes))
}

/// `kind:[name]:permissions[:id]`; `mask:rwx` and `other:r--` without a name are older spellings.
fn entry(line: &str, names: &Names) -> Option<Entry> {
    let fields: Vec<&str> = line.split(':').collect();
    let (kind, name, permissions, id) = match fields.as_slice() {
        [kind, permissions] => (*kind, "", *permissions, None),
        [kind, name, permissions] => (*kind, *name, *permissions, None),
        [kind, name, permissions, id] => (*kind, *name, *permissions, Some(*id)),
        _ => return None,
    };
    let of = |known: &HashMap<String, u32>| {
        // A number in the place of a name is an id; a name of the image wins over the number behind it.
        name.parse().ok().or_else(|| known.get(name).copied()).or_else(|| id?.parse().ok())
    };
    let (tag, id) = match (kind, name.is_empty()) {
        ("user" | "u", true) => (USER_OBJ, NOBODY),
        ("user" | "u", false) => (USER, of(&names.users)?),
        ("group" | "g", true) => (GROUP_OBJ, NOBODY),
        ("group" | "g", false) => (GROUP, of(&names.groups)?),
        ("mask" | "m", true) => (MASK, NOBODY),
        ("other" | "o", true) => (OTHER, NOBODY),
        _ => return None,
    };
    let mut bits = 0;
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return None,
        };
    }
    Some((tag, bits, id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        Names::read(
            "root:x:0:0::/root:/bin/sh\nlisa:x:1001:100::/:/bin/sh\nbroken\n",
            "root:x:0:\nops:x:2002:lisa\n",
        )
    }

    fn words(bytes: &[u8]) -> Vec<Entry> {
        assert_eq!(bytes[..4], VERSION.to_le_bytes());
        let entry = |entry: &[u8]| {
            let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            (half(0), half(2), u32::from_le_bytes(entry[4..8].try_into().unwrap()))
        };
        bytes[4..].chunks_exact(8).map(entry).collect()
    }

    #[test]
    fn every_spelling_of_an_acl_gives_the_kernels_bytes_in_its_order() {
        let wanted = [
            (USER_OBJ, 7, NOBODY),
            (USER, 5, 1001),
            (GROUP_OBJ, 5, NOBODY),
            (GROUP, 6, 2002),
            (MASK, 7, NOBODY),
            (OTHER, 0, NOBODY),
        ];
        for text in [
            "user::rwx\nuser:lisa:r-x\t#effective:r-x\ngroup::r-x\ngroup:ops:rw-\nmask::rwx\nother::---\n",
            "other::---,mask::rwx,group:ops:rw-:9,group::r-x,user:lisa:r-x:9,user::rwx",
            "u::rwx,u:1001:rx,g::rx,g:2002:rw,m:rwx,o:---",
            "user::rwx,user:gone:r-x:1001,group::r-x,group:gone:rw-:2002,mask::rwx,other::---",
        ] {
            assert_eq!(words(&attribute(text, &names()).unwrap().unwrap()), wanted, "{text}");
        }
        assert_eq!(attribute("\n", &names()), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, named) in [
            ("user::rwx,user:nobody-here:r--", "user:nobody-here:r--"),
            ("user::rwz", "user::rwz"),
            ("mask:lisa:rwx", "mask:lisa:rwx"),
            ("everyone@:rwx:allow:x:y", "everyone@:rwx:allow:x:y"),
        ] {
            assert_eq!(attribute(text, &names()), Err(named.to_owned()), "{text}");
        }
        let many = "user::rwx,".repeat(ENTRIES_MAX + 1);
        assert!(attribute(&many, &names()).unwrap_err().starts_with("more than"));
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(text in "\\PC{0,200}") {
            let _ = attribute(&text, &names());
        }
    }
}
