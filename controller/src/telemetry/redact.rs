//! What never reaches a log line, by field name and by shape. The second net: code keeps secrets in types whose
//! `Debug` prints `***`, and this catches what slips past.

/// Field and header names whose values are secret, lower case, `-` written as `_`.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "proxy_authorization",
    "cookie",
    "set_cookie",
    "x_auth_token",
    "x_webhook_secret",
    "password",
    "passwd",
    "secret",
    "token",
    "bootstrap_token",
    "session_token",
    "api_key",
    "private_key",
    "credentials",
    "user_data",
    "unattend_xml",
    "ks_cfg",
    "recipe",
    "env",
];

/// Text before a secret, how many characters make one, and of which kind.
type Mark = (&'static str, usize, fn(char) -> bool);
/// What a secret follows, and how many characters of which kind make one.
const MARKS: &[Mark] = &[
    ("Bearer ", 8, is_secret_char),
    ("bearer ", 8, is_secret_char),
    ("Basic ", 8, is_secret_char),
    ("basic ", 8, is_secret_char),
    // People's tokens, hosts' tokens, the registry's, and names of media.
    ("slipway_", 32, is_hex),
    ("slb.", 36, is_secret_char),
    ("sls.", 36, is_secret_char),
    ("slr.", 36, is_secret_char),
    ("/m/", 26, is_base32),
];
/// What stands in their place.
const HIDDEN: &str = "***";

/// Whether a field or header of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    SECRET_NAMES.contains(&name.as_str())
}

/// Replaces secrets by their shape inside a text: bearer and basic credentials, our tokens, media names, and
/// passwords in URLs.
pub fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, keep)) = next_secret(rest) {
        out.push_str(&rest[..at + keep]);
        out.push_str(HIDDEN);
        let tail = &rest[at + keep..];
        let end = tail.find(|c: char| !is_secret_char(c)).unwrap_or(tail.len());
        rest = &tail[end..];
    }
    out.push_str(rest);
    scrub_urls(&out)
}

/// Position of the next secret and how much of the match stays.
fn next_secret(text: &str) -> Option<(usize, usize)> {
    let found = |(mark, least, is_part): &Mark| {
        text.match_indices(*mark)
            .find(|(at, _)| {
                text[at + mark.len()..].chars().take(*least).filter(|c| is_part(*c)).count() == *least
            })
            .map(|(at, _)| (at, mark.len()))
    };
    MARKS.iter().filter_map(found).min()
}

fn is_hex(c: char) -> bool {
    c.is_ascii_hexdigit()
}

fn is_base32(c: char) -> bool {
    c.is_ascii_lowercase() || ('2'..='7').contains(&c)
}

fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=".contains(c)
}

/// `scheme://user:password@host` keeps the user.
fn scrub_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => {
                out.push_str(user);
                out.push(':');
                out.push_str(HIDDEN);
                out.push('@');
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redaction_table() {
        let hex = "0123456789abcdef".repeat(4);
        let table = [
            ("nothing to hide", "nothing to hide".to_owned()),
            ("Authorization: Bearer abcdefgh12345678 end", "Authorization: Bearer *** end".into()),
            ("Basic cm9vdDpjYWx2aW4=", "Basic ***".into()),
            ("the bearer of news", "the bearer of news".into()),
            (&format!("token slipway_{hex}, then"), "token slipway_***, then".into()),
            ("slipway_media_bytes_total /m/x/task.iso", "slipway_media_bytes_total /m/x/task.iso".into()),
            ("GET /m/abcdefghijklmnopqrstuvwxyz/task.iso 206", "GET /m/*** 206".into()),
            ("https://root:calvin@10.0.0.1/redfish", "https://root:***@10.0.0.1/redfish".into()),
            ("http://10.0.0.1:8080/x http://a@b/", "http://10.0.0.1:8080/x http://a@b/".into()),
            ("Bearer ", "Bearer ".into()),
            ("Bearer aaaaaaaa Bearer bbbbbbbb", "Bearer *** Bearer ***".into()),
        ];
        for (text, wanted) in table {
            assert_eq!(scrub(text), wanted, "{text}");
        }
    }

    #[test]
    fn secret_names_are_known_in_every_spelling() {
        for name in ["Authorization", "X-Auth-Token", "set-cookie", "password", "session_token", "user.data"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["serial", "job_id", "path", "status", "tokens_in_use"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_a_token_never_survives(before in ".{0,20}", after in ".{0,20}") {
            let token = format!("slipway_{}", "f0".repeat(32));
            let shown = scrub(&format!("{before} {token} {after}"));
            proptest::prop_assert!(!shown.contains(&"f0".repeat(32)), "{}", shown);
        }
    }
}
