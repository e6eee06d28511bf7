//! Manners that clients rely on: sizes are always said, connections live on after refusals, nothing is asked for in vain.

use crate::{
    registry_support::{MANIFEST, image, rig, sha256},
    support::Line,
};

fn sized(body: &[u8]) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

/// One connection for a whole push, pull and every refusal in between. Each answer says its length, or has no body.
#[tokio::test]
async fn a_connection_lives_through_every_refusal_and_every_answer_says_its_length() {
    let rig = rig().await;
    let (known, _) = rig.push_image("a", "1", b"layer").await;
    let manifest = image(&sha256(b"{}"), &[], None).to_string();
    let upload = rig.begin("a").await;
    let unknown = sha256(b"unknown");
    let large = vec![b' '; 5 * 1024 * 1024];
    let table: [(&str, String, String, &[u8], u16); 24] = [
        ("GET", "/v2/".into(), String::new(), b"", 200),
        ("HEAD", "/v2/".into(), String::new(), b"", 200),
        ("GET", "/v2/a/unknown".into(), String::new(), b"", 404),
        ("PUT", "/v2/A/manifests/1".into(), String::new(), manifest.as_bytes(), 400),
        ("PUT", "/v2/a/manifests/-".into(), String::new(), &large, 400),
        ("PUT", "/v2/a/manifests/1".into(), format!("Content-Type: {MANIFEST}\r\n"), &large, 413),
        ("POST", "/v2/a/blobs/uploads/?digest=x".into(), String::new(), &large, 400),
        ("POST", format!("/v2/a/blobs/uploads/?digest={unknown}"), String::new(), &large, 400),
        ("POST", "/v2/a/blobs/uploads/".into(), String::new(), b"a body that nobody reads", 202),
        ("POST", format!("/v2/b/blobs/uploads/?mount={}", sha256(b"layer")), String::new(), &large, 201),
        ("PATCH", "/v2/a/blobs/uploads/0".into(), String::new(), &large, 404),
        ("PATCH", upload.clone(), "Content-Range: 7-9\r\n".into(), b"xyz", 416),
        ("PATCH", upload.clone(), "Content-Range: nonsense\r\n".into(), &large, 400),
        ("PATCH", upload.clone(), "Content-Range: 0-2\r\n".into(), b"xyz", 202),
        ("GET", upload.clone(), String::new(), b"", 204),
        ("PUT", format!("{upload}?digest={}", sha256(b"xyz!")), String::new(), b"!", 201),
        ("PUT", format!("{upload}?digest={}", sha256(b"xyz!")), String::new(), b"said again", 201),
        ("GET", format!("/v2/a/blobs/{}", sha256(b"xyz!")), "Range: bytes=9-\r\n".into(), b"", 416),
        ("GET", format!("/v2/a/manifests/{known}"), format!("If-None-Match: \"{known}\"\r\n"), b"", 304),
        ("HEAD", format!("/v2/a/blobs/{unknown}"), String::new(), b"", 404),
        ("BREW", "/v2/a/tags/list".into(), String::new(), &large, 405),
        ("DELETE", format!("/v2/a/manifests/{unknown}"), String::new(), b"", 404),
        ("DELETE", format!("/v2/a/manifests/{known}"), String::new(), b"and a body", 202),
        ("GET", "/v2/a/tags/list".into(), String::new(), b"", 200),
    ];
    let mut line = Line::open(&rig).await;
    for (method, path, headers, body, status) in table {
        line.say(method, path.as_bytes(), &format!("{headers}{}", sized(body)), body).await;
        let answer = line.hear(method == "HEAD").await.unwrap_or_else(|| panic!("{method} {path}: hung up"));
        assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("connection"), "", "{method} {path}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0", "{method} {path}");
        let said = answer.headers.contains_key("content-length");
        assert!(said || matches!(status, 204 | 304), "{method} {path}");
    }
}

/// Requests that are sent ahead are answered in order.
#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let rig = rig().await;
    rig.push_image("a", "1", b"layer").await;
    let mut line = Line::open(&rig).await;
    let paths = [
        ("/v2/a/manifests/1", 200),
        ("/v2/a/manifests/2", 404),
        ("/v2/A/tags/list", 400),
        ("/v2/a/tags/list", 200),
    ];
    for (path, _) in paths {
        line.say("GET", path.as_bytes(), "", b"").await;
    }
    for (path, status) in paths {
        assert_eq!(line.hear(false).await.unwrap().status, status, "{path}");
    }
}

/// A client that asks before it sends (`Expect: 100-continue`) is refused before it has sent anything.
#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let rig = rig().await;
    let ask = "Expect: 100-continue\r\nContent-Length: 1000000000\r\n";
    for (method, path, status) in [
        ("POST", "/v2/a/blobs/uploads/?digest=x", 400),
        ("PUT", "/v2/a/blobs/uploads/0?digest=x", 404),
        ("PUT", "/v2/A/manifests/1", 400),
    ] {
        let mut line = Line::open(&rig).await;
        line.say(method, path.as_bytes(), ask, b"").await;
        assert_eq!(line.hear(false).await.unwrap().status, status, "{method} {path}");
    }
    let digest = sha256(b"content");
    let mut line = Line::open(&rig).await;
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    line.say("POST", path.as_bytes(), "Expect: 100-continue\r\nContent-Length: 7\r\n", b"").await;
    assert_eq!(line.hear(false).await.unwrap().status, 100);
    line.add(b"content").await;
    assert_eq!(line.hear(false).await.unwrap().status, 201);
}
