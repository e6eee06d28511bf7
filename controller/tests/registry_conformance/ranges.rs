//! Pull: parts of blobs (end-2). The specification's SHOULD: ranges by RFC 9110, so that pulls can be resumed.

use reqwest::Method;

use crate::{
    registry_support::rig,
    support::{Way, ask, both, content},
};

/// Every satisfiable range MUST be 206 with exactly those bytes and their place.
#[tokio::test]
async fn parts_of_a_blob_can_be_read() {
    let rig = rig().await;
    let bytes = content(2_000_000);
    for digest in both(&bytes) {
        Way::PostPut.push(&rig, "a", &digest, &bytes).await;
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=5-", 5, 1_999_999),
            ("bytes=-7", 1_999_993, 1_999_999),
            ("bytes=100-1500000", 100, 1_500_000),
            ("bytes=1999999-5000000", 1_999_999, 1_999_999),
            ("bytes=-99999999", 0, 1_999_999),
        ] {
            let answer =
                ask(&rig, Method::GET, &format!("/v2/a/blobs/{digest}"), &[("range", range)], b"").await;
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/2000000"));
            assert_eq!(answer.header("content-length"), (last - first + 1).to_string());
            assert!(answer.body == bytes[first..=last], "{range}");
        }
    }
}

/// A range without a byte in it is 416 with the size, and the connection lives.
#[tokio::test]
async fn a_range_that_no_byte_is_in_is_416_with_the_size() {
    let rig = rig().await;
    for (bytes, ranges) in [
        (content(2048), ["bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=-0"]),
        (Vec::new(), ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-1"]),
    ] {
        let digest = rig.push_blob("a", &bytes).await;
        let path = format!("/v2/a/blobs/{digest}");
        for range in ranges {
            let answer = ask(&rig, Method::GET, &path, &[("range", range)], b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (416, "SIZE_INVALID"), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes */{}", bytes.len()));
            assert_eq!(ask(&rig, Method::GET, &path, &[], b"").await.body, bytes);
        }
    }
}

/// RFC 9110: an unknown unit is ignored, several ranges may be, and a range means something to GET alone.
#[tokio::test]
async fn ranges_that_need_not_be_understood_give_the_whole_blob() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    for range in ["lines=1-2", "bytes=0-1,4-5", "nonsense"] {
        let answer = ask(&rig, Method::GET, &path, &[("range", range)], b"").await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"0123456789".as_slice()), "{range}");
    }
    for range in ["bytes=1-2", "bytes=50-"] {
        let answer = ask(&rig, Method::HEAD, &path, &[("range", range)], b"").await;
        assert_eq!((answer.status, answer.header("content-length")), (200, "10"), "HEAD {range}");
    }
}

/// RFC 9110: `If-Range` gives a part only of the content that the client has begun; `If-None-Match` saves sending it.
#[tokio::test]
async fn conditions_are_answered_by_the_digest_as_entity_tag() {
    let rig = rig().await;
    let digest = rig.push_blob("a", b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    let whole = ask(&rig, Method::GET, &path, &[], b"").await;
    assert_eq!((whole.header("etag"), whole.header("accept-ranges")), (tag.as_str(), "bytes"));
    for (held, status, body) in [
        (tag.as_str(), 206, "12"),
        ("\"another\"", 200, "0123456789"),
        (&format!("W/{tag}"), 200, "0123456789"),
        ("Sat, 21 Nov 2026 10:00:00 GMT", 200, "0123456789"),
    ] {
        let answer = ask(&rig, Method::GET, &path, &[("range", "bytes=1-2"), ("if-range", held)], b"").await;
        assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()), "{held}");
    }
    for (held, status) in [(tag.as_str(), 304), ("*", 304), ("\"x\"", 200)] {
        let answer = ask(&rig, Method::GET, &path, &[("if-none-match", held)], b"").await;
        assert_eq!(answer.status, status, "{held}");
    }
}
