//! Numbers of a tar header. A field that is empty counts as 0, as bsdtar, Go and Python read it; some writers
//! leave owners out.

use tar::Header;

type Read<T> = Result<T, &'static str>;

fn empty(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

fn number<T: Default>(field: &[u8], read: std::io::Result<T>, what: &'static str) -> Read<T> {
    if empty(field) { Ok(T::default()) } else { read.map_err(|_| what) }
}

fn id(field: &[u8], read: std::io::Result<u64>, what: &'static str) -> Read<u32> {
    number(field, read, what)?.try_into().map_err(|_| what)
}

/// Bytes of data that follow.
pub fn size(header: &Header) -> Read<u64> {
    number(&header.as_old().size, header.entry_size(), "its size is not a number")
}

/// Permission bits with set-id and sticky.
pub fn mode(header: &Header) -> Read<u32> {
    Ok(number(&header.as_old().mode, header.mode(), "its mode is not a number")? & 0o7777)
}

/// Owner.
pub fn uid(header: &Header) -> Read<u32> {
    id(&header.as_old().uid, header.uid(), "its owner is no 32-bit number")
}

/// Group.
pub fn gid(header: &Header) -> Read<u32> {
    id(&header.as_old().gid, header.gid(), "its group is no 32-bit number")
}

/// Seconds since 1970; 0 where it cannot be read, for no file is worth less without it.
pub fn mtime(header: &Header) -> i64 {
    header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0)
}

/// Major and minor number of a device. Unlike an owner they cannot be guessed.
pub fn device(header: &Header) -> Read<(u32, u32)> {
    let read = |number: std::io::Result<Option<u32>>| number.ok().flatten();
    read(header.device_major()).zip(read(header.device_minor())).ok_or("a device without numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_owner_is_root_and_a_wrong_one_is_refused() {
        for (field, read) in [
            (*b"\0\0\0\0\0\0\0\0", Ok(0)),
            (*b"       \0", Ok(0)),
            (*b"0001750\0", Ok(1000)),
            (*b"   1750 ", Ok(1000)),
            (*b"x\0\0\0\0\0\0\0", Err("its owner is no 32-bit number")),
            (*b"\x80\0\0\x01\0\0\0\0", Err("its owner is no 32-bit number")),
        ] {
            let mut header = Header::new_gnu();
            header.as_old_mut().uid = field;
            assert_eq!(uid(&header), read, "{field:?}");
        }
    }
}
