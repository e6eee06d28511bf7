//! The answer to one request for a medium, without its bytes: status, headers, and which bytes follow. Pure.
//!
//! Firmware and BMCs are the readers, so the answers are plain: no redirects, no chunks, no compression, one range
//! at most, and always a length. Whatever is not a GET or HEAD of a staged medium is a 404.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use super::object::Object;
use super::range::{self, Asked};

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, 206, 404 or 416.
    pub status: StatusCode,
    /// All headers but `Date` and `Connection`.
    pub headers: HeaderMap,
    /// Bytes of the object that follow; empty for HEAD.
    pub body: Range<u64>,
}

/// Whether the method reads at all.
pub fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The answer where there is nothing.
pub fn nothing() -> Answer {
    Answer {
        status: StatusCode::NOT_FOUND,
        headers: HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]),
        body: 0..0,
    }
}

/// The answer to a GET or HEAD of `object`.
pub fn answer(method: &Method, request: &HeaderMap, object: &Object) -> Answer {
    let date = http_date(object.last_modified);
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // RFC 9110 §14.2: Range is defined for GET only; HEAD shows the whole file's headers.
    let wanted = if method == Method::GET && range::still_current(text(IF_RANGE), &object.etag, &date) {
        range::asked(text(RANGE), object.len)
    } else {
        Asked::Whole
    };
    let mut headers = HeaderMap::new();
    let mut put = |name, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    put(ACCEPT_RANGES, "bytes".to_owned());
    put(CACHE_CONTROL, "private, no-transform".to_owned());
    put(CONTENT_TYPE, "application/octet-stream".to_owned());
    put(ETAG, object.etag.clone());
    put(LAST_MODIFIED, date);
    let (status, body) = match wanted {
        Asked::Whole => (StatusCode::OK, 0..object.len),
        Asked::Part(part) => {
            put(CONTENT_RANGE, format!("bytes {}-{}/{}", part.start, part.end - 1, object.len));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Asked::Unsatisfiable => {
            put(CONTENT_RANGE, format!("bytes */{}", object.len));
            (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
        }
    };
    put(CONTENT_LENGTH, (body.end - body.start).to_string());
    let body = if method == Method::HEAD { 0..0 } else { body };
    Answer { status, headers, body }
}

/// The date in the one form HTTP writes.
pub fn http_date(time: Timestamp) -> String {
    let seconds = u64::try_from(time.as_second()).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::super::object::Source;
    use super::super::overlay::Overlay;
    use super::super::packed::Packed;
    use super::*;

    fn object() -> Object {
        Object {
            len: 1000,
            etag: "\"abc\"".into(),
            last_modified: "2026-11-21T08:45:00Z".parse().unwrap(),
            source: Source::Packed(Packed::pack(&[0; 1000]).unwrap()),
            overlay: Overlay::default(),
        }
    }

    fn shown(method: &Method, headers: &[(&'static str, &'static str)]) -> String {
        let request = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let answer = answer(method, &request, &object());
        let mut lines: Vec<String> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        format!("{} {:?}\n{}", answer.status.as_u16(), answer.body, lines.join("\n"))
    }

    #[test]
    fn a_get_shows_everything_a_bmc_may_ask_for() {
        insta::assert_snapshot!(shown(&Method::GET, &[]));
    }

    #[test]
    fn a_head_shows_the_same_headers_and_no_bytes() {
        let get = shown(&Method::GET, &[]);
        let head = shown(&Method::HEAD, &[("range", "bytes=0-1")]);
        assert_eq!(head, get.replace("0..1000", "0..0"));
    }

    #[test]
    fn one_range_is_a_206() {
        insta::assert_snapshot!(shown(&Method::GET, &[("range", "bytes=10-19"), ("if-range", "\"abc\"")]));
    }

    #[test]
    fn a_range_of_another_file_gets_the_whole_file() {
        assert!(
            shown(&Method::GET, &[("range", "bytes=10-19"), ("if-range", "\"old\"")])
                .starts_with("200 0..1000")
        );
        assert!(
            shown(&Method::GET, &[("range", "bytes=10-19"), ("if-range", "Sat, 21 Nov 2026 08:45:00 GMT")])
                .starts_with("206 10..20")
        );
    }

    #[test]
    fn a_range_behind_the_end_is_a_416_with_the_length() {
        let text = shown(&Method::GET, &[("range", "bytes=1000-")]);
        assert!(text.starts_with("416 0..0") && text.contains("content-range: bytes */1000"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_a_404_without_a_word() {
        let answer = nothing();
        assert_eq!((answer.status.as_u16(), answer.headers.len(), answer.body), (404, 1, 0..0));
    }
}
