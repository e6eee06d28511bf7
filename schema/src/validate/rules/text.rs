//! The patterns of `recipe.schema.json`, as predicates. A property test holds the two together.

/// `^[0-9a-f]{64}$`
pub(super) fn sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `http://` or `https://`, then printable ASCII without blanks, at most 2048 in all.
pub(super) fn url(text: &str) -> bool {
    let rest = text.strip_prefix("http").map(|rest| rest.strip_prefix('s').unwrap_or(rest));
    let rest = rest.and_then(|rest| rest.strip_prefix("://"));
    text.len() <= 2048
        && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Letters, digits and `_ . / : @ = + , -`.
pub(super) fn env_value(text: &str) -> bool {
    text.len() <= 4096 && text.bytes().all(|byte| device_byte(byte) || byte == b'/')
}

fn device_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'@' | b'=' | b'+' | b',' | b'-')
}

/// One component of a device path.
pub(super) fn device_name(text: &str) -> bool {
    text.len() <= 255 && alphanumeric_first(text) && text.bytes().all(device_byte)
}

/// `/dev/…`, at most 255 characters.
pub(super) fn device_path(text: &str) -> bool {
    text.len() <= 255 && text.strip_prefix("/dev/").is_some_and(|rest| rest.split('/').all(device_name))
}

/// Begins with a letter or digit.
pub(super) fn alphanumeric_first(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// 1 to 128 printable ASCII characters without blanks at the ends.
pub(super) fn hint(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

/// A world wide name in hex, perhaps with a prefix.
pub(super) fn wwn(text: &str) -> bool {
    let plain = |text: &str| {
        (8..=128).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_hexdigit())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    let rest = ["0x", "naa.", "eui.", "nvme.", "uuid."].iter().find_map(|prefix| text.strip_prefix(prefix));
    plain(text) || rest.is_some_and(plain)
}

/// Name of a step or phase.
pub(super) fn step_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// Host name or IP address.
pub(super) fn host(text: &str) -> bool {
    let named = alphanumeric_first(text)
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-'));
    text.len() <= 253 && (named || (text.contains("::") && address(text)))
}

/// The characters of an IP address.
pub(super) fn address(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
}

/// `aa:bb:cc:dd:ee:ff`, with colons or dashes, in either case.
pub(super) fn mac(text: &str) -> bool {
    text.len() == 17
        && text.bytes().enumerate().all(|(at, byte)| match at % 3 {
            2 => matches!(byte, b':' | b'-'),
            _ => byte.is_ascii_hexdigit(),
        })
}

/// An absolute path of plain components, without `.` and `..` and without a slash at the end.
pub(super) fn mountpoint(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'+' | b'-');
    let component = |part: &str| {
        let rest = part.strip_prefix('.').unwrap_or(part);
        rest.bytes().next().is_some_and(plain) && rest.bytes().all(|byte| plain(byte) || byte == b'.')
    };
    text.len() <= 255
        && (text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(component)))
}

/// Letters, digits, blanks and `. _ + -`, beginning with a letter or digit, not ending in a blank.
pub(super) fn label(text: &str) -> bool {
    text.len() <= 36
        && alphanumeric_first(text)
        && !text.ends_with(' ')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'_' | b'+' | b'-'))
}

/// The digits and unit of a size in bytes, whatever its value.
pub(super) fn bytes(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_fits = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')).unwrap_or(unit) {
        "" => matches!(unit, "" | "B"),
        letter => matches!(letter, "K" | "M" | "G" | "T" | "P"),
    };
    (1..=20).contains(&number.len()) && !number.starts_with('0') && unit_fits
}

/// Four hex digits, or a GUID.
pub(super) fn type_guid(text: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let guid = text.len() == 36
        && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.split('-').all(|part| hex(part, part.len()));
    hex(text, 4) || guid
}

/// `[1-9][0-9]{0,5}[smh]`
pub(super) fn duration(text: &str) -> bool {
    let number = text.strip_suffix(['s', 'm', 'h']).unwrap_or_default();
    (1..=6).contains(&number.len())
        && !number.starts_with('0')
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// An OpenSSH public key on one line: kind, base64, perhaps a comment. Gives kind and base64.
pub(super) fn ssh_key(text: &str) -> Option<(&str, &str)> {
    const KINDS: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let (kind, rest) = text.split_once(' ')?;
    let (key, comment) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = key.trim_end_matches('=');
    let fits = KINDS.contains(&kind)
        && text.len() <= 8192
        && !digits.is_empty()
        && key.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && comment.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    fits.then_some((kind, key))
}
