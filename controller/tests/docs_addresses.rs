//! What strangers copy from the book leads nowhere: addresses in documents, recipes and help texts are those that are
//! set aside for documentation (RFC 5737, 3849), loopback, or QEMU's name for its host; names end in example.com.

#![allow(clippy::unwrap_used)] // a test: what is not there fails it

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Folders that are read whole, and the endings of what is read there. Snapshots of help texts are help texts.
const PLACES: &[(&str, &[&str])] = &[
    ("", &["md"]),
    ("docs", &["md", "json"]),
    ("recipes", &["md", "json"]),
    ("schema", &["md", "json"]),
    ("controller/tests/snapshots", &["cli_help__every_page_of_help_is_as_it_was_last_read.snap"]),
    ("units", &["md"]),
    ("quadlets", &["md"]),
    ("maintenance-os", &["md"]),
    ("tests", &["md"]),
    ("xtask", &["md"]),
];
/// Folders of builds, of other people, and of recipes that are refused.
const ELSEWHERE: &[&str] = &["target", "node_modules", ".git", "refused"];
/// The host as a guest of QEMU's user network sees it.
const QEMU_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Endings of names that are nobody's; `example` alone is none that people recognise.
const NAMES: &[&str] = &["example.com"];
/// Endings that make a word after `://` a name of somebody, in text where every other host is ours.
const REAL: &[&str] = &[
    "github.com",
    "opencontainers.org",
    "json-schema.org",
    "spdx.org",
    "standardwebhooks.com",
    "slipway.dev",
];

fn files() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for (place, endings) in PLACES {
        let deep = !place.is_empty();
        let mut folders = vec![root.join(place)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    if deep && !ELSEWHERE.contains(&name.as_str()) {
                        folders.push(path);
                    }
                } else if endings.iter().any(|end| name == *end || name.ends_with(&format!(".{end}"))) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.push((path, text));
                }
            }
        }
    }
    found
}

/// Words that could be an address: digits, dots, colons and hex, with what is around them cut off.
fn addresses(line: &str) -> Vec<IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    line.split(|c: char| !is_part(c) && !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .filter_map(|word| {
            let word = word.trim_matches(|c| c == '.' || c == ':');
            let bare = word.rsplit_once(':').map_or(word, |(host, port)| {
                if host.contains(':') || port.parse::<u16>().is_err() { word } else { host }
            });
            // A version such as 1.2.3.4 would be an address too; there is none.
            bare.parse().ok().filter(|address: &IpAddr| address.is_ipv4() || word.contains("::"))
        })
        .collect()
}

fn is_nobodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_documentation() || v4.is_loopback() || v4.is_unspecified() || v4 == QEMU_HOST,
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6 == Ipv6Addr::UNSPECIFIED || v6.segments()[..2] == [0x2001, 0xdb8]
        }
    }
}

/// Hosts of URLs that are names.
fn names(line: &str) -> Vec<String> {
    line.split("://")
        .skip(1)
        .filter_map(|rest| {
            let rest =
                rest.split(|c: char| c == '/' || c.is_whitespace() || "\"'`<>)]".contains(c)).next()?;
            let host = rest.rsplit('@').next()?.split(':').next()?.trim_end_matches(['.', ',', ';']);
            let is_name = host.contains('.') && host.chars().any(|c| c.is_ascii_alphabetic());
            is_name.then(|| host.to_owned())
        })
        .collect()
}

#[test]
fn the_book_names_no_address_and_no_host_of_anybody() {
    let mut wrong = Vec::new();
    let (mut pages, mut seen) = (0, 0);
    for (path, text) in files() {
        pages += 1;
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            for address in addresses(line) {
                seen += 1;
                if !is_nobodys(address) {
                    wrong
                        .push(format!("{at}: {address}; use 192.0.2.0/24, 198.51.100.0/24 or 2001:db8::/32"));
                }
            }
            for name in names(line) {
                let ends = |end: &&str| name == **end || name.ends_with(&format!(".{end}"));
                if !NAMES.iter().any(ends) && !REAL.iter().any(ends) {
                    wrong.push(format!("{at}: {name}; use a name under example.com"));
                }
            }
        }
    }
    assert!(pages > 20 && seen > 15, "{pages} pages, {seen} addresses: does this test still read the book?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_addresses_reads_every_form() {
    let table: [(&str, &[&str]); 8] = [
        ("https://10.0.0.5:8443/x", &["10.0.0.5"]),
        ("(10.1.2.3), `10.0.0.0/8`.", &["10.1.2.3", "10.0.0.0"]),
        ("\"fd00:20::17/64\"", &["fd00:20::17"]),
        ("http://[fe80::1]:80", &["fe80::1"]),
        ("52:54:00:12:34:56 at 10:20:30", &[]),
        ("version 1.2.3, sha256:abc", &[]),
        ("from 0.0.0.0:8080", &["0.0.0.0"]),
        ("crate::x, std::y", &[]),
    ];
    for (line, wanted) in table {
        let wanted: Vec<IpAddr> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(addresses(line), wanted, "{line}");
    }
    assert_eq!(
        names("see https://user@mirror.example.org:80/x and http://192.0.2.1/"),
        ["mirror.example.org"]
    );
    assert!(!is_nobodys("10.0.0.5".parse().unwrap()) && is_nobodys("10.0.2.2".parse().unwrap()));
}
