//! The firmware's variable store, as OVMF keeps it in its VARS file: read whole, changed, written whole and
//! compacted. Pure; works on bytes. (UEFI specification §3.3, §8.2; EDK2 `VariableFormat.h`.)
//!
//! ```text
//!   ┌ volume header (72 bytes, "_FVH" at 40, its length at 48)
//!   ├ store header (28 bytes: GUID, size, 0x5a, 0xfe)
//!   ├ variable, variable, …    each: header (60 bytes), name in UTF-16, data, aligned to 4
//!   └ 0xff …                   the rest of the store; after it a spare area that is left as it is
//! ```

/// GUID of a store of authenticated variables, as stored.
const STORE_GUID: [u8; 16] =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
/// GUID of the variables the UEFI specification names (`EFI_GLOBAL_VARIABLE`), as stored.
const GLOBAL_GUID: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// Begins every variable.
const START: u16 = 0x55aa;
/// State of a live variable.
const LIVE: u8 = 0x3f;
/// State of a live variable whose successor was being written.
const LEAVING: u8 = 0x3e;
/// Length of a store header, in bytes.
const STORE_HEADER: usize = 28;
/// Length of a variable's header, in bytes.
const HEADER: usize = 60;
/// Non-volatile, for boot services, for the running system.
const ATTRIBUTES: u32 = 7;

/// What is wrong with a VARS file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VarsError {
    /// It is none.
    #[error("there is no firmware volume in it")]
    NoVolume,
    /// It is one of another kind of firmware.
    #[error("there is no store of authenticated variables in it")]
    NoStore,
    /// It is damaged.
    #[error("the variable at offset {0:#x} reaches beyond the store")]
    Cut(usize),
    /// It cannot take more.
    #[error("the store of {room} bytes has no room for {wanted} bytes")]
    Full {
        /// Bytes there are.
        room: usize,
        /// Bytes needed.
        wanted: usize,
    },
    /// Nobody has so many.
    #[error("all 65536 boot entries are taken")]
    NoNumber,
}

/// One live variable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// The header as found, with state and lengths set when written.
    header: [u8; HEADER],
    name: String,
    data: Vec<u8>,
}

impl Variable {
    fn global(&self) -> bool {
        self.header[44..60] == GLOBAL_GUID
    }

    fn same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.header[44..60] == other.header[44..60]
    }
}

/// A variable store.
#[derive(Debug, Clone)]
pub struct Vars {
    image: Vec<u8>,
    /// Where variables begin and where the store ends.
    first: usize,
    end: usize,
    variables: Vec<Variable>,
}

impl Vars {
    /// Reads a VARS file.
    pub fn parse(image: Vec<u8>) -> Result<Self, VarsError> {
        if image.get(40..44) != Some(b"_FVH") {
            return Err(VarsError::NoVolume);
        }
        let store = usize::from(u16_at(&image, 48).ok_or(VarsError::NoVolume)?);
        if image.get(store..store + 16) != Some(&STORE_GUID) {
            return Err(VarsError::NoStore);
        }
        let size = u32_at(&image, store + 16).ok_or(VarsError::NoStore)?;
        let end = store + size;
        if size < STORE_HEADER || end > image.len() {
            return Err(VarsError::NoStore);
        }
        let first = store + STORE_HEADER;
        let mut at = first;
        let (mut variables, mut leaving) = (Vec::<Variable>::new(), Vec::new());
        while at + HEADER <= end && u16_at(&image, at) == Some(START) {
            let cut = || VarsError::Cut(at);
            let name_size = u32_at(&image, at + 36).ok_or_else(cut)?;
            let data_size = u32_at(&image, at + 40).ok_or_else(cut)?;
            let name_at = at + HEADER;
            let data_at = name_at.checked_add(name_size).ok_or_else(cut)?;
            let next = data_at.checked_add(data_size).filter(|next| *next <= end).ok_or_else(cut)?;
            let units =
                image[name_at..data_at].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
            let mut header = [0; HEADER];
            header.copy_from_slice(&image[at..name_at]);
            let variable = Variable {
                header,
                name: String::from_utf16_lossy(&units),
                data: image[data_at..next].to_vec(),
            };
            match image[at + 2] {
                LIVE => variables.push(variable),
                LEAVING => leaving.push(variable),
                _ => {}
            }
            at = next.next_multiple_of(4);
        }
        for old in leaving {
            if !variables.iter().any(|new| new.same_as(&old)) {
                variables.push(old);
            }
        }
        Ok(Self { image, first, end, variables })
    }

    /// The file with the live variables only.
    pub fn into_image(mut self) -> Result<Vec<u8>, VarsError> {
        let mut bytes = Vec::new();
        for variable in &self.variables {
            let name: Vec<u8> = variable.name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
            let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
            let mut header = variable.header;
            header[2] = LIVE;
            header[36..40].copy_from_slice(&length(name.len()));
            header[40..44].copy_from_slice(&length(variable.data.len()));
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(&name);
            bytes.extend_from_slice(&variable.data);
            bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        }
        let room = self.end - self.first;
        if bytes.len() > room {
            return Err(VarsError::Full { room, wanted: bytes.len() });
        }
        bytes.resize(room, 0xff);
        self.image[self.first..self.end].copy_from_slice(&bytes);
        Ok(self.image)
    }

    /// A variable of the UEFI specification.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.variables.iter().find(|variable| variable.global() && variable.name == name)?;
        Some(&found.data)
    }

    /// Sets a variable of the UEFI specification.
    pub fn set(&mut self, name: &str, data: Vec<u8>) {
        self.remove(name);
        let mut header = [0; HEADER];
        header[0..2].copy_from_slice(&START.to_le_bytes());
        header[4..8].copy_from_slice(&ATTRIBUTES.to_le_bytes());
        header[44..60].copy_from_slice(&GLOBAL_GUID);
        self.variables.push(Variable { header, name: name.into(), data });
    }

    /// Removes a variable of the UEFI specification.
    pub fn remove(&mut self, name: &str) {
        self.variables.retain(|variable| !(variable.global() && variable.name == name));
    }

    /// `BootOrder`.
    pub fn boot_order(&self) -> Vec<u16> {
        let data = self.get("BootOrder").unwrap_or_default();
        data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    /// Puts entries first in `BootOrder`; the others keep their order behind them.
    pub fn put_first(&mut self, entries: &[u16]) {
        let mut order = entries.to_vec();
        order.extend(self.boot_order().into_iter().filter(|number| !entries.contains(number)));
        self.set("BootOrder", order.into_iter().flat_map(u16::to_le_bytes).collect());
    }

    /// Number of the boot entry with exactly that load option; it is made when absent.
    pub fn ensure_entry(&mut self, load_option: &[u8]) -> Result<u16, VarsError> {
        let name = |number: u16| format!("Boot{number:04X}");
        if let Some(found) = (0..=u16::MAX).find(|number| self.get(&name(*number)) == Some(load_option)) {
            return Ok(found);
        }
        let free =
            (0..=u16::MAX).find(|number| self.get(&name(*number)).is_none()).ok_or(VarsError::NoNumber)?;
        self.set(&name(free), load_option.to_vec());
        Ok(free)
    }

    /// Boots that entry once, before everything else.
    pub fn boot_next(&mut self, entry: u16) {
        self.set("BootNext", entry.to_le_bytes().to_vec());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty store of 4 KiB in a volume of 8 KiB.
    fn empty() -> Vec<u8> {
        let mut image = vec![0xff; 8192];
        image[40..44].copy_from_slice(b"_FVH");
        image[48..50].copy_from_slice(&72_u16.to_le_bytes());
        image[72..88].copy_from_slice(&STORE_GUID);
        image[88..92].copy_from_slice(&4096_u32.to_le_bytes());
        image
    }

    #[test]
    fn what_is_set_is_read_back_and_the_rest_of_the_file_stays() {
        let mut vars = Vars::parse(empty()).unwrap();
        let first = vars.ensure_entry(b"first option").unwrap();
        let second = vars.ensure_entry(b"second option").unwrap();
        assert_eq!(vars.ensure_entry(b"first option").unwrap(), first);
        vars.put_first(&[first]);
        vars.put_first(&[second]);
        vars.boot_next(second);
        let image = vars.into_image().unwrap();
        assert_eq!(image.len(), 8192);
        assert_eq!(image[72 + 4096..], empty()[72 + 4096..]);
        let mut vars = Vars::parse(image).unwrap();
        assert_eq!(vars.boot_order(), [second, first]);
        assert_eq!(vars.get("BootNext"), Some(second.to_le_bytes().as_slice()));
        assert_eq!(vars.get("Boot0000"), Some(b"first option".as_slice()));
        vars.remove("BootNext");
        assert_eq!(Vars::parse(vars.into_image().unwrap()).unwrap().get("BootNext"), None);
    }

    #[test]
    fn a_deleted_variable_is_dead_and_a_leaving_one_lives_until_its_successor_does() {
        let mut vars = Vars::parse(empty()).unwrap();
        vars.set("Old", b"1".to_vec());
        let mut image = vars.into_image().unwrap();
        for (state, lives) in [(LIVE, true), (LEAVING, true), (0x3d, false), (0x7f, false)] {
            image[100 + 2] = state;
            assert_eq!(Vars::parse(image.clone()).unwrap().get("Old").is_some(), lives, "{state:#x}");
        }
        image[100 + 2] = LEAVING;
        let length = (HEADER + 8 + 1_usize).next_multiple_of(4);
        image.copy_within(100..100 + length, 100 + length);
        image[100 + length + 2] = LIVE;
        image[100 + length + HEADER + 8] = b'2';
        let vars = Vars::parse(image).unwrap();
        assert_eq!((vars.get("Old"), vars.variables.len()), (Some(b"2".as_slice()), 1));
    }

    #[test]
    fn a_damaged_file_is_refused_and_never_read_beyond() {
        assert_eq!(Vars::parse(Vec::new()).unwrap_err(), VarsError::NoVolume);
        let mut image = empty();
        image[72] = 0;
        assert_eq!(Vars::parse(image).unwrap_err(), VarsError::NoStore);
        let mut image = empty();
        image[88..92].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Vars::parse(image).unwrap_err(), VarsError::NoStore);
        let mut vars = Vars::parse(empty()).unwrap();
        vars.set("Some", vec![0; 100]);
        let mut image = vars.into_image().unwrap();
        image[140..144].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Vars::parse(image).unwrap_err(), VarsError::Cut(100));
    }

    #[test]
    fn a_full_store_says_so() {
        let mut vars = Vars::parse(empty()).unwrap();
        vars.set("Big", vec![0; 5000]);
        assert!(matches!(vars.into_image(), Err(VarsError::Full { room: 4068, .. })));
    }
}
