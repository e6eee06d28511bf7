//! Partition types: sgdisk's four-digit codes and the GUIDs they stand for.

/// EFI system partition.
pub const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// BIOS boot partition.
pub const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
/// Linux filesystem.
pub const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
/// Linux swap.
pub const SWAP: &str = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";
/// Microsoft basic data; also the config drive's.
pub const BASIC_DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
/// Microsoft reserved.
pub const MSR: &str = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE";

/// Code as sgdisk knows it, GUID, and what it is.
pub const CODES: &[(&str, &str, &str)] = &[
    ("0700", BASIC_DATA, "Microsoft basic data"),
    ("0c01", MSR, "Microsoft reserved"),
    ("2700", "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC", "Windows recovery"),
    ("8200", SWAP, "Linux swap"),
    ("8300", LINUX, "Linux filesystem"),
    ("8302", "933AC7E1-2EB4-4F13-B844-0E14E2AEF915", "Linux /home"),
    ("8303", "44479540-F297-41B2-9AF7-D131D5F0458A", "Linux root (x86)"),
    ("8304", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "Linux root (x86-64)"),
    ("8305", "B921B045-1DF0-41C3-AF44-4C6F280D3FAE", "Linux root (ARM64)"),
    ("8306", "3B8F8425-20E0-4F3B-907F-1A25A76F98E8", "Linux /srv"),
    ("8309", "CA7D7CCB-63ED-4C53-861C-1742536059CC", "LUKS"),
    ("8310", "4D21B016-B534-45C2-A9FB-5C16E091FD2D", "Linux /var"),
    ("8311", "7EC6F557-3BC5-4ACA-B293-16EF5DF639D1", "Linux /var/tmp"),
    ("8e00", "E6D6D379-F507-44C2-A23C-238F2A3DF928", "Linux LVM"),
    ("ea00", "BC13C2FF-59E6-4262-A352-B275FD6F7172", "XBOOTLDR"),
    ("ef00", ESP, "EFI system"),
    ("ef02", BIOS_BOOT, "BIOS boot"),
    ("fd00", "A19D880F-05FC-4D3B-A006-743F0F84911E", "Linux RAID"),
];

/// The GUID in upper case that a code or GUID means, in either case of letters; `None` for anything else.
pub fn resolve(text: &str) -> Option<String> {
    if let Some((_, guid, _)) = CODES.iter().find(|(code, _, _)| code.eq_ignore_ascii_case(text)) {
        return Some((*guid).to_owned());
    }
    is_guid(text).then(|| text.to_ascii_uppercase())
}

/// What the type is called, where it is known.
pub fn describe(guid: &str) -> Option<&'static str> {
    CODES.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(guid)).map(|(_, _, name)| *name)
}

/// Every code, for error texts.
pub fn known_codes() -> String {
    CODES.iter().map(|(code, _, _)| *code).collect::<Vec<_>>().join(", ")
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_its_guid_mean_the_same_in_any_case() {
        for (code, guid, name) in CODES {
            assert_eq!(resolve(code).as_deref(), Some(*guid));
            assert_eq!(resolve(&code.to_uppercase()).as_deref(), Some(*guid));
            assert_eq!(resolve(&guid.to_lowercase()).as_deref(), Some(*guid));
            assert_eq!(describe(guid), Some(*name));
            assert!(is_guid(guid), "{code}");
        }
    }

    #[test]
    fn what_is_neither_code_nor_guid_is_refused() {
        for text in [
            "",
            "ef",
            "ffff",
            "ef000",
            "C12A7328F81F11D2BA4B00A0C93EC93B",
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93G",
        ] {
            assert_eq!(resolve(text), None, "{text}");
        }
    }
}
