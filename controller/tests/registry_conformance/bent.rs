//! Bent request targets: pieces that fooled servers before, as they are, percent-encoded once and twice, overlong, and
//! any bytes at all; among them what is really there, so that bent requests reach far.

use proptest::{prelude::*, sample::select};

/// Long enough to be refused, short enough for one request line.
const LONG: usize = 5000;
pub const METHODS: &[&str] = &["GET", "GET", "HEAD", "PUT", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];
const ENDPOINTS: &[&str] = &[
    "/v2/{n}/manifests/{r}",
    "/v2/{n}/blobs/{r}",
    "/v2/{n}/blobs/sha256:{r}",
    "/v2/{n}/blobs/uploads/{r}",
    "/v2/{n}/blobs/uploads/",
    "/v2/{n}/tags/list",
    "/v2/{n}/referrers/{r}",
    "/v2/{n}/referrers/sha512:{r}",
    "/v2/{n}/{r}",
    "/v2/{n}",
    "/v2/_catalog",
    "/{n}/{r}",
];
/// Each is tried as it is, encoded once and encoded twice.
const PIECES: &[&str] = &[
    "a",
    "A",
    "known",
    "..",
    ".",
    "/",
    "\\",
    "~",
    "\0",
    "\n",
    "\r\nx-injected: 1",
    " ",
    "%",
    "%2",
    "%zz",
    ":",
    "@",
    "+",
    "?",
    "#",
    ";",
    "*",
    "'",
    "\"",
    "<x>",
    "$(id)",
    "\u{e4}",
    "\u{202e}",
    "\u{ff0f}",
    "\u{2024}\u{2024}",
    "CON",
    "nul",
    "../secret",
    "../../secret",
    "/etc/passwd",
    "..\\secret",
    "index.sqlite",
    "../index.sqlite",
    "../../index.sqlite-wal",
    "uploads",
    "../uploads/x",
    "blobs",
    "manifests",
    "tags/list",
    "_catalog",
    "token",
    "sha256",
    "sha256:",
    "sha512:",
    "md5:00",
    "{digest}",
    "{upload}",
    "file:///etc/passwd",
    "http://127.0.0.1/",
    "' OR 1=1 --",
    "%00",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "%c0%ae%c0%ae/",
    "%e0%80%af",
    "%ff",
    "\u{1f980}",
];
const PARAMETERS: &[&str] = &[
    "digest",
    "mount",
    "from",
    "tag",
    "n",
    "last",
    "artifactType",
    "digest-algorithm",
    "service",
    "unknown",
];

#[derive(Debug, Clone, Copy)]
enum Spelling {
    Plain,
    Encoded,
    Twice,
    Overlong,
}

fn spelled(piece: &str, spelling: Spelling) -> Vec<u8> {
    let encode =
        |bytes: &[u8]| bytes.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect::<Vec<u8>>();
    match spelling {
        // What would end the request line is encoded, or it would never reach the registry.
        Spelling::Plain => {
            piece.bytes().flat_map(|byte| if byte <= b' ' { encode(&[byte]) } else { vec![byte] }).collect()
        }
        Spelling::Encoded => encode(piece.as_bytes()),
        Spelling::Twice => encode(&encode(piece.as_bytes())),
        Spelling::Overlong => spelled(piece, Spelling::Plain).repeat(LONG / piece.len().max(1)),
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let spelling = select(vec![Spelling::Plain, Spelling::Plain, Spelling::Encoded, Spelling::Twice]);
    let some = prop::collection::vec((select(PIECES), spelling), 1..4)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, how)| spelled(piece, how)).collect());
    let long = select(PIECES).prop_map(|piece| spelled(piece, Spelling::Overlong));
    let any = prop::collection::vec(0x21_u8..=0xff, 1..40);
    let good = select(vec!["known", "a", "{digest}", "{upload}"]).prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![20 => some, 10 => good, 1 => long, 3 => any]
}

/// A request target.
pub fn target() -> impl Strategy<Value = Vec<u8>> {
    let query = prop::collection::vec((select(PARAMETERS), part()), 0..3);
    (select(ENDPOINTS), part(), part(), query).prop_map(|(endpoint, name, reference, query)| {
        let mut target = Vec::new();
        for (number, text) in endpoint.split("{n}").enumerate() {
            target.extend_from_slice(if number > 0 { &name } else { b"" });
            for (number, text) in text.split("{r}").enumerate() {
                target.extend_from_slice(if number > 0 { &reference } else { b"" });
                target.extend_from_slice(text.as_bytes());
            }
        }
        for (number, (parameter, value)) in query.into_iter().enumerate() {
            target.extend_from_slice(if number > 0 { b"&" } else { b"?" });
            target.extend_from_slice(parameter.as_bytes());
            target.extend_from_slice(b"=");
            target.extend_from_slice(&value);
        }
        target
    })
}
