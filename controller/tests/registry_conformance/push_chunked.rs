//! Push: a blob in chunks. end-5 (PATCH), end-6 (closing PUT), end-13 (status), end-14 (cancel).

use reqwest::Method;

use crate::{
    registry_support::{Rig, rig, sha256},
    support::{Answer, ask, content, get},
};

/// `rig.chunk` with its answer whole.
async fn chunk(rig: &Rig, location: &str, first: usize, bytes: &[u8]) -> Answer {
    Answer::of(rig.chunk(location, Some(first), bytes).await).await
}

/// end-5 MUST: 202 with Location and the Range so far; the next chunk goes on after it.
#[tokio::test]
async fn each_chunk_is_202_with_where_to_go_on_and_how_far_it_is() {
    let rig = rig().await;
    let bytes = content(10_000);
    let mut location = rig.begin("a").await;
    for (first, last) in [(0, 3999), (4000, 4000), (4001, 9998)] {
        let answer = chunk(&rig, &location, first, &bytes[first..=last]).await;
        assert_eq!((answer.status, answer.header("content-length")), (202, "0"));
        assert_eq!(answer.header("range"), format!("0-{last}"));
        location = answer.header("location").to_owned();
    }
    let digest = sha256(&bytes).to_string();
    assert_eq!(
        rig.close(&location, &digest, &bytes[9999..]).await.status(),
        201,
        "the last chunk MAY come with PUT"
    );
    assert!(get(&rig, &format!("/v2/a/blobs/{digest}")).await.body == bytes);
    assert_eq!(get(&rig, &location).await.code(), "BLOB_UPLOAD_UNKNOWN", "a closed session is over");
}

/// The POST SHOULD announce `OCI-Chunk-Min-Length` where there is one; a client that sends less is served all the same.
#[tokio::test]
async fn the_chunk_size_that_pays_is_announced_and_smaller_ones_are_taken() {
    let rig = rig().await;
    let begun = ask(&rig, Method::POST, "/v2/a/blobs/uploads/", &[], b"").await;
    assert_eq!(begun.header("oci-chunk-min-length"), "65536");
    for (first, byte) in [(0, b"x"), (1, b"y"), (2, b"z")] {
        assert_eq!(chunk(&rig, begun.header("location"), first, byte).await.status, 202);
    }
    assert_eq!(rig.close(begun.header("location"), &sha256(b"xyz").to_string(), b"").await.status(), 201);
}

/// end-5, end-6 MUST: a chunk out of order is 416; it says where the session is, and the session goes on from there.
#[tokio::test]
async fn a_chunk_out_of_order_is_416_with_where_the_session_is() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let early = chunk(&rig, &location, 5, b"56789").await;
    assert_eq!((early.status, early.header("range")), (416, "0-0"), "the first chunk begins with 0");
    chunk(&rig, &location, 0, b"01234").await;
    let digest = sha256(b"0123456789").to_string();
    for method in [Method::PATCH, Method::PUT] {
        for first in [0, 3, 6, 9, u64::MAX - 5] {
            let range = format!("{first}-{}", first + 4);
            let path = format!("{location}?digest={digest}");
            let answer = ask(&rig, method.clone(), &path, &[("content-range", &range)], b"56789").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (416, "BLOB_UPLOAD_INVALID"),
                "{method} {range}"
            );
            assert_eq!((answer.header("range"), answer.header("location")), ("0-4", location.as_str()));
            let status = get(&rig, &location).await;
            assert_eq!(
                (status.status, status.header("range")),
                (204, "0-4"),
                "end-13 after {method} {range}"
            );
        }
    }
    let closing = format!("{location}?digest={digest}");
    let last = ask(&rig, Method::PUT, &closing, &[("content-range", "5-9")], b"56789").await;
    assert_eq!(last.status, 201);
}

/// end-5: Content-Range MUST be `first-last`, both inclusive, and as long as the body; if not, nothing is taken.
#[tokio::test]
async fn a_content_range_that_is_none_or_lies_is_400_and_nothing_is_taken() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    for (range, code) in [
        ("x-y", "BLOB_UPLOAD_INVALID"),
        ("5-1", "BLOB_UPLOAD_INVALID"),
        ("-2", "BLOB_UPLOAD_INVALID"),
        ("0-", "BLOB_UPLOAD_INVALID"),
        ("0-18446744073709551615", "BLOB_UPLOAD_INVALID"),
        ("0-1", "SIZE_INVALID"),
        ("0-9", "SIZE_INVALID"),
    ] {
        let answer = ask(&rig, Method::PATCH, &location, &[("content-range", range)], b"abc").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{range}");
        assert_eq!(get(&rig, &location).await.header("range"), "0-0", "{range}");
    }
    let http = ask(&rig, Method::PATCH, &location, &[("content-range", "bytes 0-2/*")], b"abc").await;
    assert_eq!(
        (http.status, http.header("range")),
        (202, "0-2"),
        "as RFC 9110 writes it, for clients that do"
    );
}

/// end-13 MUST: 204 with Location and Range, from any Location of the session.
#[tokio::test]
async fn the_status_of_an_upload_is_204_with_location_and_range() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    for (bytes, range) in [(b"".as_slice(), "0-0"), (b"0123", "0-3"), (b"45", "0-5")] {
        ask(&rig, Method::PATCH, &location, &[], bytes).await;
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&rig, method, &location, &[], b"").await;
            assert_eq!((answer.status, answer.header("range")), (204, range));
            assert_eq!((answer.header("location"), answer.body.len()), (location.as_str(), 0));
        }
    }
}

/// end-14 SHOULD: 204, and the session is over.
#[tokio::test]
async fn a_cancelled_upload_is_204_and_over() {
    let rig = rig().await;
    for bytes in [b"".as_slice(), b"0123"] {
        let location = rig.begin("a").await;
        ask(&rig, Method::PATCH, &location, &[], bytes).await;
        assert_eq!(ask(&rig, Method::DELETE, &location, &[], b"").await.status, 204);
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let path = format!("{location}?digest={}", sha256(b"x"));
            let answer = ask(&rig, method.clone(), &path, &[], b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
        }
    }
}

/// end-5, end-6, end-13, end-14: a session that there is not, or not in this repository, MUST be 404.
#[tokio::test]
async fn a_session_that_is_not_there_is_404() {
    let rig = rig().await;
    let location = rig.begin("a").await;
    let id = location.rsplit('/').next().unwrap();
    for path in [
        format!("/v2/b/blobs/uploads/{id}"),
        format!("/v2/a/b/blobs/uploads/{id}"),
        "/v2/a/blobs/uploads/0".to_owned(),
        "/v2/a/blobs/uploads/not-a-uuid".to_owned(),
        format!("/v2/a/blobs/uploads/{}", uuid::Uuid::new_v4()),
    ] {
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let answer =
                ask(&rig, method.clone(), &format!("{path}?digest={}", sha256(b"x")), &[], b"x").await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (404, "BLOB_UPLOAD_UNKNOWN"),
                "{method} {path}"
            );
        }
    }
    assert_eq!(get(&rig, &location).await.status, 204, "the real one is unharmed");
}
