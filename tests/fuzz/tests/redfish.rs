//! Redfish answers, bent on their way from the mock BMC to the client: every probe ends, by an answer or an error.
#![allow(clippy::unwrap_used)] // a test: what cannot go on ends it

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use controller::redfish::{
    Bmc as _, BmcAddress, BmcError, Credentials, Password, RedfishBmc, TlsTrust, Waits,
};
use fuzz::{Seeded, bent, runs};
use mock_redfish::{MachineConfig, Rack, RackConfig};

/// Probes are a thousand times slower than parsing one text.
const SLOWER: u64 = 40;
/// For one probe.
const DEADLINE: Duration = Duration::from_secs(30);
/// One answer in so many is bent, so that a probe gets deep before it meets one.
const ONE_IN: u64 = 8;

#[derive(Clone)]
struct Line {
    http: reqwest::Client,
    bmc: String,
    seed: Arc<AtomicU64>,
    bent: Arc<AtomicU64>,
}

/// Carries a request to the BMC and its answer back, which may be bent.
async fn carry(State(line): State<Line>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove("host");
    let asked = line.http.request(parts.method, format!("{}{path}", line.bmc)).headers(headers).body(body);
    let answer = asked.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            response = response.header(name, value);
        }
    }
    let mut bytes = answer.bytes().await.unwrap();
    let seed = line.seed.fetch_add(1, Ordering::Relaxed);
    let mut seeded = Seeded::new(seed);
    if seeded.draw().is_multiple_of(ONE_IN) {
        line.bent.fetch_add(1, Ordering::Relaxed);
        bytes = Bytes::from(bent(&[bytes.to_vec()], &mut seeded));
    }
    response.body(bytes.into()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_of_bent_answers_ends_in_time_by_an_answer_or_an_error() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let machines = vec![MachineConfig::sim("s1")];
    let rack = Rack::start(RackConfig { machines, ..RackConfig::default() }).await.unwrap();
    let line = Line {
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        bmc: rack.machine(0).base_url().to_owned(),
        seed: Arc::default(),
        bent: Arc::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(carry).with_state(line.clone());
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let (mut good, mut bad) = (0, 0);
    for number in 0..(runs() / SLOWER).max(20) {
        line.seed.store(number << 16, Ordering::Relaxed);
        let address = BmcAddress {
            url: url.clone(),
            system: None,
            tls: TlsTrust::SystemRoots,
            plain_http_allowed: true,
        };
        let who = Credentials { user: "admin".into(), password: Password::new("password") };
        let bmc = RedfishBmc::connect_with(&address, who, Waits::fast()).unwrap();
        let probe = async {
            let probe = bmc.probe().await;
            bmc.close().await;
            probe
        };
        let probed: Result<_, BmcError> =
            tokio::time::timeout(DEADLINE, probe).await.unwrap_or_else(|_| panic!("probe {number} hangs"));
        match probed {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(!error.to_string().contains("password\""), "{error}");
                bad += 1;
            }
        }
    }
    let bent = line.bent.load(Ordering::Relaxed);
    assert!(good > 0 && bad > 0 && bent > 20, "{good} good, {bad} bad, {bent} answers bent");
    served.abort();
}
