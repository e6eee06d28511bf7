//! Which machine is this? Serials, UUIDs and MAC addresses as firmware writes them, and the one rule by
//! which a host decides whether a task medium is meant for it. Pure; who reads DMI is elsewhere.

use crate::task::Identity;

/// Serials that vendors leave behind when nobody filled the field in; compared by [`serial_key`].
const PLACEHOLDERS: &[&str] = &[
    "0123456789",
    "01234567890123456789",
    "123456789",
    "1234567890",
    "BASE BOARD SERIAL NUMBER",
    "CHASSIS SERIAL NUMBER",
    "DEFAULT",
    "DEFAULT STRING",
    "EMPTY",
    "INVALID",
    "N/A",
    "NA",
    "NIL",
    "NO SERIAL",
    "NONE",
    "NOT APPLICABLE",
    "NOT AVAILABLE",
    "NOT SET",
    "NOT SETTABLE",
    "NOT SPECIFIED",
    "NULL",
    "O.E.M.",
    "OEM",
    "SERIAL",
    "SERIAL NUMBER",
    "SERIALNUMBER",
    "SYSTEM SERIAL NUMBER",
    "TBD",
    "TO BE FILLED BY O.E.M",
    "TO BE FILLED BY O.E.M.",
    "TO BE FILLED BY OEM",
    "UNDEFINED",
    "UNKNOWN",
    "UNSPECIFIED",
];

/// UUIDs that whole product lines share, as 32 hex digits.
const SHARED_UUIDS: &[&str] = &["03000200040005000006000700080009", "123456781234567890abcddeefaabbcc"];

/// A serial as it is compared: trimmed, inner white space as one blank, upper case.
pub fn serial_key(serial: &str) -> String {
    let clean = serial.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control());
    clean.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase()
}

/// Whether two serials are the same machine's. A placeholder is nobody's.
pub fn same_serial(one: &str, other: &str) -> bool {
    !is_placeholder_serial(one) && serial_key(one) == serial_key(other)
}

/// Whether a serial identifies nothing: empty, a vendor's filler, or one filler character repeated.
pub fn is_placeholder_serial(serial: &str) -> bool {
    let key = serial_key(serial);
    let filler = |letter: char| matches!(letter, '0' | 'X' | 'F' | '.' | '-' | '_' | '*' | '?' | '#' | ' ');
    let Some(first) = key.chars().next() else { return true };
    PLACEHOLDERS.contains(&key.as_str())
        || PLACEHOLDERS.contains(&key.trim_matches(['<', '>', '[', ']', '(', ')', '"']))
        || (filler(first) && key.chars().all(|letter| letter == first))
}

/// A UUID as 32 lower-case hex digits; `None` when it is none, or all zero, all F or shared by a whole
/// product line, and so identifies nothing.
pub fn uuid_key(uuid: &str) -> Option<String> {
    let text = uuid.trim().trim_matches(['{', '}']);
    let hex: String = text.chars().filter(|letter| *letter != '-').collect::<String>().to_ascii_lowercase();
    let fits = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let repeated = hex.bytes().all(|byte| byte == b'0') || hex.bytes().all(|byte| byte == b'f');
    let shared = SHARED_UUIDS.iter().any(|shared| hex == *shared || hex == swap_uuid(shared));
    (fits && !repeated && !shared).then_some(hex)
}

/// Whether two UUIDs are the same machine's, in either SMBIOS byte order: the first three fields are
/// little-endian since SMBIOS 2.6 and big-endian before, and a BMC may read them the other way.
pub fn same_uuid(one: &str, other: &str) -> bool {
    match (uuid_key(one), uuid_key(other)) {
        (Some(one), Some(other)) => one == other || swap_uuid(&one) == other,
        _ => false,
    }
}

fn swap_uuid(hex: &str) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    ORDER.iter().filter_map(|byte| hex.get(byte * 2..byte * 2 + 2)).collect()
}

/// A MAC address as `aa:bb:cc:dd:ee:ff`, from any of the usual spellings; `None` when it is none, or is
/// all zero, broadcast or multicast, and so belongs to no single NIC.
pub fn mac_key(mac: &str) -> Option<String> {
    let mac = mac.trim();
    let hex: String = mac.chars().filter(|letter| !matches!(letter, ':' | '-' | '.')).collect();
    if hex.len() != 12 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let hex = hex.to_ascii_lowercase();
    let first = u8::from_str_radix(hex.get(..2)?, 16).ok()?;
    if first & 1 == 1 || hex.bytes().all(|byte| byte == b'0') {
        return None;
    }
    let pairs: Vec<&str> = (0..6).filter_map(|pair| hex.get(pair * 2..pair * 2 + 2)).collect();
    Some(pairs.join(":"))
}

/// Why a machine is not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The expected serial is a placeholder, which many machines share.
    #[error(
        "the expected serial {serial:?} is a placeholder and identifies no machine: register the machine by its real serial"
    )]
    Placeholder {
        /// The placeholder.
        serial: String,
    },
    /// Another serial.
    #[error(
        "this machine's serial is {found:?}, the task medium is for {expected:?}: check which BMC the medium was put in"
    )]
    Serial {
        /// The serial of the task medium.
        expected: String,
        /// The serial found.
        found: String,
    },
    /// The serial fits, but neither the UUID nor any MAC address does.
    #[error(
        "the serial {serial:?} fits but neither the system UUID nor any MAC address of the machine record does: correct the record if the board or NICs were replaced"
    )]
    Hardware {
        /// The serial.
        serial: String,
    },
}

/// Whether the machine found is the one expected: the serial must match, and where a UUID or MAC
/// addresses are known, the UUID or one of the addresses as well.
pub fn check(expected: &Identity, found: &Identity) -> Result<(), Mismatch> {
    if is_placeholder_serial(&expected.serial) {
        return Err(Mismatch::Placeholder { serial: expected.serial.clone() });
    }
    if !same_serial(&expected.serial, &found.serial) {
        return Err(Mismatch::Serial { expected: expected.serial.clone(), found: found.serial.clone() });
    }
    let uuid = expected.uuid.as_deref().filter(|uuid| uuid_key(uuid).is_some());
    let known: Vec<String> = expected.macs.iter().filter_map(|mac| mac_key(mac)).collect();
    if uuid.is_none() && known.is_empty() {
        return Ok(());
    }
    let uuid_fits = matches!((uuid, &found.uuid), (Some(uuid), Some(found)) if same_uuid(uuid, found));
    let mac_fits = found.macs.iter().filter_map(|mac| mac_key(mac)).any(|mac| known.contains(&mac));
    if uuid_fits || mac_fits { Ok(()) } else { Err(Mismatch::Hardware { serial: expected.serial.clone() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(serial: &str, uuid: Option<&str>, macs: &[&str]) -> Identity {
        Identity {
            serial: serial.to_owned(),
            uuid: uuid.map(str::to_owned),
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
        }
    }

    #[test]
    fn serials_are_trimmed_and_compared_without_case() {
        assert!(same_serial(" 7xk2p93\n", "7XK2P93\0"));
        assert!(same_serial("VMware-42  1e", "vmware-42 1E"));
        assert!(!same_serial("7XK2P93", "7XK2P94"));
    }

    #[test]
    fn placeholders_identify_nothing() {
        for text in [
            "",
            "   ",
            "To Be Filled By O.E.M.",
            "to be filled by oem",
            "0123456789",
            "Default string",
            "None",
            "Not Specified",
            "<empty>",
            "0",
            "00000000",
            "xxxxxxx",
            "FFFF",
            "....",
            "System Serial Number",
            " N/A ",
        ] {
            assert!(is_placeholder_serial(text), "{text}");
            assert!(!same_serial(text, text), "{text}");
        }
        for text in ["7XK2P93", "S1", "10", "F0F0", "SLIPWAY-1", "00001"] {
            assert!(!is_placeholder_serial(text), "{text}");
        }
    }

    #[test]
    fn either_byte_order_of_a_uuid_matches() {
        let one = "4C4C4544-0058-4B10-8032-B7C04F503933";
        assert!(same_uuid(one, "44454c4c-5800-104b-8032-b7c04f503933"));
        assert!(same_uuid(one, " {4c4c454400584b108032b7c04f503933} "));
        assert!(!same_uuid(one, "4C4C4544-0058-4B10-8032-B7C04F503934"));
        for nobody in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "00020003-0004-0005-0006-000700080009",
            "not a uuid",
        ] {
            assert!(!same_uuid(nobody, nobody), "{nobody}");
        }
    }

    #[test]
    fn mac_addresses_are_read_in_every_usual_spelling() {
        for text in ["AA:BB:CC:0D:EE:0F", "aa-bb-cc-0d-ee-0f", "aabb.cc0d.ee0f", " aabbcc0dee0f "] {
            assert_eq!(mac_key(text).as_deref(), Some("aa:bb:cc:0d:ee:0f"), "{text}");
        }
        for text in [
            "",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "aa:bb:cc:dd:ee",
            "gg:bb:cc:dd:ee:ff",
        ] {
            assert_eq!(mac_key(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_takes_a_medium_only_when_serial_and_hardware_fit() {
        const UUID: &str = "4C4C4544-0058-4B10-8032-B7C04F503933";
        const MAC: &str = "aa:bb:cc:0d:ee:0f";
        let found = identity("s1", Some(UUID), &["52:54:00:00:00:01", "AA-BB-CC-0D-EE-0F"]);
        assert_eq!(check(&identity("S1", None, &[]), &found), Ok(()));
        assert_eq!(check(&identity("S1", Some(UUID), &[]), &found), Ok(()));
        assert_eq!(check(&identity("S1", Some("44454c4c-5800-104b-8032-b7c04f503933"), &[]), &found), Ok(()));
        assert_eq!(
            check(&identity("S1", Some("11111111-2222-3333-4444-555555555555"), &[MAC]), &found),
            Ok(())
        );
        assert_eq!(check(&identity("S1", Some("00000000-0000-0000-0000-000000000000"), &[]), &found), Ok(()));
        let hardware = Err(Mismatch::Hardware { serial: "S1".to_owned() });
        assert_eq!(
            check(&identity("S1", Some("11111111-2222-3333-4444-555555555555"), &[]), &found),
            hardware
        );
        assert_eq!(check(&identity("S1", None, &["52:54:00:00:00:02"]), &found), hardware);
        assert_eq!(check(&identity("S1", Some(UUID), &[]), &identity("S1", None, &[])), hardware);
        assert!(matches!(check(&identity("S2", None, &[]), &found), Err(Mismatch::Serial { .. })));
        assert!(matches!(
            check(&identity("None", None, &[]), &identity("None", None, &[])),
            Err(Mismatch::Placeholder { .. })
        ));
    }

    proptest! {
        #[test]
        fn nothing_firmware_writes_makes_this_panic(one in "\\PC{0,40}", other in "\\PC{0,40}") {
            let _: bool = is_placeholder_serial(&one);
            let _: Option<String> = uuid_key(&one);
            let _: Option<String> = mac_key(&other);
            prop_assert!(same_serial(&one, &one) != is_placeholder_serial(&one));
        }
    }
}
