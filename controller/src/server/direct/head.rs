//! The head of a request, when it is one that can be answered without more machinery: a GET or HEAD of HTTP/1.1 without a
//! body. Everything else is for hyper, with the very bytes that came, so that there is one place for what is odd.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

/// Most header lines; more are for hyper to refuse.
const LINES: usize = 64;

/// What the bytes at the beginning of a request are.
#[derive(Debug)]
pub enum Head {
    /// Not a whole head yet.
    Partial,
    /// A request that is answered here.
    Read {
        /// The request.
        request: Box<Request<()>>,
        /// How many bytes it was.
        length: usize,
        /// Whether the connection goes on afterwards.
        stays: bool,
    },
    /// Something else.
    Other,
}

/// Reads the head at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Head {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Partial) => Head::Partial,
        Ok(httparse::Status::Complete(length)) => request(&parsed).map_or(Head::Other, |request| {
            let stays = !listed(request.headers(), &header::CONNECTION, "close");
            Head::Read { request: Box::new(request), length, stays }
        }),
        Err(_) => Head::Other,
    }
}

fn request(parsed: &httparse::Request<'_, '_>) -> Option<Request<()>> {
    let method = match parsed.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let path = parsed.path.filter(|path| parsed.version == Some(1) && path.starts_with('/'))?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    let carries = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE];
    if carries.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// Whether a header that is a list holds this word.
fn listed(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|held| held.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match read(text.as_bytes()) {
            Head::Partial => "partial".to_owned(),
            Head::Other => "other".to_owned(),
            Head::Read { request, length, stays } => {
                format!("{} {} {length} {stays}", request.method(), request.uri())
            }
        }
    }

    #[test]
    fn only_a_plain_read_is_answered_here() {
        for (text, expected) in [
            ("GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nGET", "GET /a?b 30 true"),
            ("HEAD / HTTP/1.1\r\n\r\n", "HEAD / 19 true"),
            ("GET / HTTP/1.1\r\nConnection: Keep-Alive, Close\r\n\r\n", "GET / 49 false"),
            ("GET / HTTP/1.1\r\nHost: x\r\n", "partial"),
            ("", "partial"),
            ("GET / HTTP/1.0\r\n\r\n", "other"),
            ("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "other"),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "other"),
            ("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "other"),
            ("GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", "other"),
            ("POST / HTTP/1.1\r\n\r\n", "other"),
            ("GET http://x/ HTTP/1.1\r\n\r\n", "other"),
            ("OPTIONS * HTTP/1.1\r\n\r\n", "other"),
            ("GET / HTTP/1.1\r\nA B: c\r\n\r\n", "other"),
            ("\u{16}\u{3}\u{1}", "other"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(LINES + 1));
        assert_eq!(shown(&many), "other");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_left_and_never_longer_than_it_is(
            text in "(GET|HEAD|PUT) /[a-z%]{0,9} HTTP/1.[01](\r\n[A-Za-z-]{1,12}: ?[ -~]{0,12}){0,5}\r\n\r\n[ -~]{0,9}",
            cut in 0_usize..200,
        ) {
            let bytes = &text.as_bytes()[..cut.min(text.len())];
            if let Head::Read { length, .. } = read(bytes) {
                prop_assert!(length <= bytes.len());
                prop_assert!(bytes[..length].ends_with(b"\r\n\r\n"));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(read(&bytes));
        }
    }
}
