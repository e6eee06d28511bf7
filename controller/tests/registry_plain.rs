//! The registry's plain listener on a real server: blobs leave by `sendfile`, everything else as from the API's.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use controller::config::{Config, Fragment};
use controller::server::Server;
use sha2::{Digest as _, Sha256};

/// Larger than any buffer on the way.
const SIZE: usize = 24 << 20;

struct Rig {
    server: Server,
    address: SocketAddr,
    token: String,
    state: tempfile::TempDir,
}

async fn rig() -> Rig {
    drop(rustls::crypto::ring::default_provider().install_default());
    let state = tempfile::tempdir().unwrap();
    let fragment = Fragment {
        state_dir: Some(state.path().to_owned()),
        api_listen: Some("127.0.0.1:0".into()),
        media_listen: Some("127.0.0.1:0".into()),
        registry_listen: Some("127.0.0.1:0".into()),
        ..Fragment::default()
    };
    let server = Server::start(Config::check(fragment).unwrap()).await.unwrap();
    let address = server.registry_address.unwrap();
    let token = std::fs::read_to_string(state.path().join("admin.token")).unwrap().trim().to_owned();
    Rig { server, address, token, state }
}

/// One connection that is used for one request after another.
struct Client {
    socket: TcpStream,
    token: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr, token: &str) -> Self {
        Self { socket: TcpStream::connect(address).unwrap(), token: token.to_owned() }
    }

    fn ask(&mut self, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
        let length = if body.is_empty() && method == "GET" {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{length}{more}\r\n",
            self.token
        );
        self.send(&head, body)
    }

    fn send(&mut self, head: &str, body: &[u8]) -> Answer {
        self.socket.write_all(head.as_bytes()).unwrap();
        self.socket.write_all(body).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.socket.read_exact(&mut body).unwrap();
        Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
    }

    fn push(&mut self, content: &[u8]) -> String {
        let begun = self.ask("POST", "/v2/images/a/blobs/uploads/", "", &[]);
        assert_eq!(begun.status, 202, "{}", begun.head);
        let location =
            begun.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(content)));
        let done = self.ask("PUT", &format!("{location}?digest={digest}"), "", content);
        assert_eq!(done.status, 201, "{}", done.head);
        format!("/v2/images/a/blobs/{digest}")
    }
}

fn content() -> Vec<u8> {
    (0..SIZE / 4)
        .flat_map(|number| u32::try_from(number).unwrap().wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_the_same_by_file_and_by_tls_whole_and_in_ranges() {
    let rig = rig().await;
    let (address, token) = (rig.address, rig.token.clone());
    let path = tokio::task::spawn_blocking(move || {
        let content = content();
        let mut client = Client::new(address, &token);
        let before = client.ask("GET", "/v2/", "", &[]);
        assert_eq!(before.status, 200, "{}", before.head);
        // From here on hyper has the connection; a second one is new.
        let path = client.push(&content);
        let mut fresh = Client::new(address, &token);
        for client in [&mut client, &mut fresh] {
            let whole = client.ask("GET", &path, "", &[]);
            assert!(whole.status == 200 && whole.body == content, "{}", whole.head);
            assert!(whole.head.contains("docker-content-digest: sha256:"), "{}", whole.head);
            for (first, last) in [(0, 0), (1000, 70_000), (5, SIZE - 1)] {
                let part = client.ask("GET", &path, &format!("range: bytes={first}-{last}\r\n"), &[]);
                assert!(part.status == 206 && part.body == content[first..=last], "{}", part.head);
            }
            let beyond = client.ask("GET", &path, &format!("range: bytes={SIZE}-\r\n"), &[]);
            assert_eq!(beyond.status, 416, "{}", beyond.head);
        }
        let head = fresh.ask("GET", &path, "if-none-match: *\r\n", &[]);
        assert_eq!(head.status, 304, "{}", head.head);
        let mut stranger = Client::new(address, "guessed");
        assert_eq!(stranger.ask("GET", &path, "", &[]).status, 401);
        let outside = fresh.ask("GET", "/api/v1/machines", "", &[]);
        assert_eq!(outside.status, 404, "the plain listener has the registry alone");
        path
    })
    .await
    .unwrap();
    // By TLS the same bytes, through buffers.
    let ca = std::fs::read(rig.state.path().join("site/ca.pem")).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("https://{}{path}", rig.server.api_address);
    let answer = client.get(url).bearer_auth(&rig.token).send().await.unwrap();
    assert!(answer.bytes().await.unwrap() == content());
    counted(&client, &rig).await;
    rig.server.stop().await;
}

/// All of that is in the metrics, whether it was sent by file or by TLS, and the repository says when it was pulled.
async fn counted(client: &reqwest::Client, rig: &Rig) {
    let ask = async |path: &str| {
        let url = format!("https://{}{path}", rig.server.api_address);
        client.get(url).bearer_auth(&rig.token).send().await.unwrap().text().await.unwrap()
    };
    let metrics = ask("/metrics").await;
    let number = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    };
    assert!(number("slipway_registry_received_bytes_total") >= SIZE as u64);
    assert!(number("slipway_registry_sent_bytes_total") >= 5 * SIZE as u64);
    assert!(number("slipway_registry_requests_total{endpoint=\"blob\",status=\"2xx\"}") >= 9);
    assert!(number("slipway_registry_requests_total{endpoint=\"upload\",status=\"2xx\"}") >= 2);
    assert!(number("slipway_registry_requests_total{endpoint=\"blob\",status=\"4xx\"}") >= 2);
    // Other tests of this process may push meanwhile.
    assert!(metrics.contains("\nslipway_registry_uploads_in_flight "), "{metrics}");
    assert!(metrics.contains("slipway_registry_seconds"), "{metrics}");
    let usage: serde_json::Value = serde_json::from_str(&ask("/api/v1/registry/usage").await).unwrap();
    let pulled = usage["repositories"][0]["pulled_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(jiff::Timestamp::now().duration_since(pulled).as_secs() < 600, "{pulled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_buy_their_tokens_where_they_came_and_behind_a_tls_proxy_by_tls() {
    let rig = rig().await;
    let (address, token) = (rig.address, rig.token.clone());
    tokio::task::spawn_blocking(move || {
        let mut stranger = Client::new(address, "guessed");
        for (more, wanted) in [
            (String::new(), format!("http://{address}")),
            (
                format!("host: localhost:{}\r\n", address.port()),
                format!("http://localhost:{}", address.port()),
            ),
            ("host: localhost\r\nx-forwarded-proto: https\r\n".to_owned(), "https://localhost".to_owned()),
        ] {
            let head =
                format!("GET /v2/ HTTP/1.1\r\n{}\r\n", if more.is_empty() { "host: x\r\n" } else { &more });
            let answer = stranger.send(&head, &[]);
            assert_eq!(answer.status, 401, "{}", answer.head);
            let realm = format!("www-authenticate: bearer realm=\"{wanted}/v2/token\"");
            assert!(answer.head.contains(&realm), "{wanted}: {}", answer.head);
        }
        let login = STANDARD.encode(format!("anybody:{token}"));
        let head = format!(
            "GET /v2/token?service=registry HTTP/1.1\r\nhost: x\r\nauthorization: Basic {login}\r\n\r\n"
        );
        let sold: serde_json::Value = serde_json::from_slice(&stranger.send(&head, &[]).body).unwrap();
        let mut client = Client::new(address, sold["token"].as_str().unwrap());
        assert_eq!(client.ask("GET", "/v2/_catalog", "", &[]).status, 200, "the token is worth its login");
    })
    .await
    .unwrap();
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_machines_pull_at_once_and_one_that_goes_away_hurts_nobody() {
    let rig = rig().await;
    let (address, token) = (rig.address, rig.token.clone());
    tokio::task::spawn_blocking(move || {
        let content = content();
        let path = Client::new(address, &token).push(&content);
        std::thread::scope(|scope| {
            for number in 0..64 {
                let (path, token, content) = (&path, &token, &content);
                scope.spawn(move || {
                    let mut client = Client::new(address, token);
                    if number % 8 == 0 {
                        let head = format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\n\r\n");
                        client.socket.write_all(head.as_bytes()).unwrap();
                        client.socket.read_exact(&mut vec![0; 100_000]).unwrap();
                        return; // gone in the middle
                    }
                    let whole = client.ask("GET", path, "", &[]);
                    assert!(whole.status == 200 && whole.body == *content, "{}", whole.head);
                });
            }
        });
    })
    .await
    .unwrap();
    rig.server.stop().await;
}
