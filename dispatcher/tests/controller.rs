//! The wire: what is sent, what answers mean, and whom TLS trusts.
#![allow(clippy::unwrap_used, reason = "a test may end loudly")]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use dispatcher::console::RecordingScreen;
use dispatcher::controller::{
    Controller, HttpController, Reply, Token, Verdict, host_of, judge, percent_encoded,
};
use dispatcher::delivery::{Sender, Wire, chain};
use schema::event::{Received, ReportStatus};

#[path = "../../maintenance-os/tools/src/testing/proxy.rs"]
mod proxy;
mod support;
use proxy::TinyProxy;
use support::{BOOTSTRAP, FakeClock, FakeController, SESSION, job};

fn sender() -> Sender {
    Sender { job_id: "j".to_owned(), attempt: 1, boot_nonce: "n".to_owned() }
}

fn bootstrap() -> Token {
    Token::new(BOOTSTRAP).unwrap()
}

#[test]
fn a_report_goes_to_the_machines_own_path_with_the_token_in_the_header_only() {
    let server = FakeController::willing("");
    let controller = HttpController::new(&job(&server.url)).unwrap();
    let reply = controller.post(&bootstrap(), &sender().report(ReportStatus::Started, "")).unwrap();
    assert_eq!(reply.status, 200);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/api/v1/status-webhook/ABC%20123");
    assert_eq!(request.token, BOOTSTRAP);
    assert!(!serde_json::to_string(&request.report).unwrap().contains(BOOTSTRAP));
}

#[test]
fn leave_is_asked_until_there_is_an_answer() {
    let tries = Mutex::new(0);
    let server = FakeController::start(move |_| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => (503, "{}".to_owned()),
            2 => (200, "<html>".to_owned()),
            3 => (429, String::new()),
            _ => (200, format!(r#"{{"proceed":true,"session_token":"{SESSION}"}}"#)),
        }
    });
    let controller = HttpController::new(&job(&server.url)).unwrap();
    let (clock, screen) = (FakeClock::default(), RecordingScreen::default());
    let wire = Wire { controller: &controller, clock: &clock, screen: &screen };
    let token = wire.ask(&bootstrap(), &sender().report(ReportStatus::Started, "")).unwrap();
    assert_eq!(token.reveal(), SESSION);
    assert_eq!(server.requests().len(), 4);
    let ids: std::collections::BTreeSet<_> =
        server.requests().into_iter().map(|r| r.report.delivery_id).collect();
    assert_eq!(ids.len(), 1, "every try carries the same delivery id");
    assert!(clock.slept.lock().unwrap().as_secs() >= 4);
    assert!(screen.text().starts_with("waiting for the controller to take \"Started\""), "{}", screen.text());
}

#[test]
fn what_is_no_clear_yes_is_a_no() {
    for (status, body) in [
        (409, r#"{"error":"conflict","message":"another boot of this attempt has begun"}"#),
        (403, ""),
        (301, ""),
        (200, r#"{"proceed":false,"session_token":"x"}"#),
        (200, r#"{"proceed":true,"session_token":""}"#),
        (200, "{\"proceed\":true,\"session_token\":\"a\\nb\"}"),
    ] {
        let server = FakeController::start(move |_| (status, body.to_owned()));
        let controller = HttpController::new(&job(&server.url)).unwrap();
        let (clock, screen) = (FakeClock::default(), RecordingScreen::default());
        let wire = Wire { controller: &controller, clock: &clock, screen: &screen };
        let refusal = wire.ask(&bootstrap(), &sender().report(ReportStatus::Started, "")).unwrap_err();
        assert_eq!((refusal.status, server.requests().len()), (status, 1), "{body}");
        if status == 409 {
            assert_eq!(
                refusal.to_string(),
                "the controller refused with 409: another boot of this attempt has begun"
            );
        }
    }
}

#[test]
fn answers_are_judged_by_their_status() {
    let verdict = |status| judge::<Received>(&Reply { status, body: br#"{"received":true}"#.to_vec() });
    assert!(matches!(verdict(200), Verdict::Acknowledged(_)));
    for status in [408, 425, 429, 500, 502, 503, 599] {
        assert!(matches!(verdict(status), Verdict::Later(_)), "{status}");
    }
    for status in [204, 302, 400, 401, 403, 404, 409, 410, 422] {
        assert!(matches!(verdict(status), Verdict::Refused(_)), "{status}");
    }
}

#[test]
fn a_machine_that_is_faster_than_its_controller_asks_again() {
    let conflict = |code: &str| {
        let body = format!(r#"{{"error":"{code}","message":"not yet"}}"#).into_bytes();
        judge::<Received>(&Reply { status: 409, body })
    };
    for code in ["report.early", "report.busy"] {
        assert_eq!(conflict(code), Verdict::Later("not yet".to_owned()), "{code}");
    }
    for code in ["report.late", "report.second_boot", ""] {
        assert!(matches!(conflict(code), Verdict::Refused(_)), "{code}");
    }
}

#[test]
fn tokens_are_not_sent_in_clear_and_a_controller_without_authority_is_nobodys() {
    let fault =
        |url: &str| HttpController::new(&job(url)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(fault("http://10.0.0.5:8080").contains("not https://"));
    assert!(fault("https://10.0.0.5:8443").contains("no site_ca"));
    assert!(fault("10.0.0.5").contains("not a URL"));
}

#[test]
fn no_token_is_ever_printed() {
    assert_eq!(format!("{:?}", bootstrap()), "***");
    for bad in ["", "a b", "a\r\nX-Evil: 1", "\u{e9}", &"x".repeat(5000)] {
        assert!(Token::new(bad).is_none());
    }
}

#[test]
fn hosts_and_serials_are_taken_from_and_put_into_urls() {
    assert_eq!(host_of("https://10.0.0.5:8443").as_deref(), Some("10.0.0.5"));
    assert_eq!(host_of("https://[fd00::5]:8443/x").as_deref(), Some("fd00::5"));
    assert_eq!(percent_encoded("A/B 1%"), "A%2FB%201%25");
}

/// An authority and a server certificate for 127.0.0.1 and controller.invalid by it.
fn authority() -> (String, Arc<rustls::ServerConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "controller.invalid".to_owned()]).unwrap();
    let certificate = server.signed_by(&server_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    (pem, Arc::new(config))
}

#[test]
fn tls_trusts_the_sites_authority_and_no_other() {
    let (pem, config) = authority();
    let (other_pem, _) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = log.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let answer = |_: &support::Request| (200, r#"{"received":true}"#.to_owned());
            support::serve(rustls::StreamOwned::new(connection, stream), &answer, &heard);
        }
    });
    let with = |authority: &str| {
        let job = schema::task::TaskJob { site_ca: Some(authority.to_owned()), ..job(&url) };
        HttpController::new(&job).unwrap().post(&bootstrap(), &sender().report(ReportStatus::Heartbeat, ""))
    };
    assert_eq!(with(&pem).unwrap().status, 200);
    let error = chain(&with(&other_pem).unwrap_err());
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(log.lock().unwrap().len(), 1, "nothing was said to a stranger");
}

/// A TLS controller that says yes to everything.
fn listening() -> (String, String, Arc<Mutex<Vec<support::Request>>>) {
    let (pem, config) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = log.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let answer = |_: &support::Request| (200, r#"{"received":true}"#.to_owned());
            support::serve(rustls::StreamOwned::new(connection, stream), &answer, &heard);
        }
    });
    (pem, address, log)
}

#[test]
fn reports_take_the_jobs_proxy_and_only_the_controller_can_read_them() {
    let (pem, address, log) = listening();
    let proxy = TinyProxy::start(&address);
    let job = schema::task::TaskJob {
        site_ca: Some(pem),
        proxy: Some(proxy.url.clone()),
        // Nobody resolves this name here: that is the proxy's to do.
        ..job("https://controller.invalid:8443")
    };
    let controller = HttpController::new(&job).unwrap();
    let reply = controller.post(&bootstrap(), &sender().report(ReportStatus::Heartbeat, "")).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(log.lock().unwrap()[0].token, BOOTSTRAP);
    let asked = proxy.asked.lock().unwrap().clone();
    assert_eq!(asked, [("controller.invalid:8443".to_owned(), "Basic dXNlcjpzZWNyZXQ=".to_owned())]);
}

#[test]
fn a_controller_on_this_very_machine_takes_no_proxy_and_an_unusable_proxy_is_named_without_its_password() {
    let (pem, address, _) = listening();
    let proxy = TinyProxy::start("127.0.0.1:9");
    let with = |url: &str, proxy: &str| {
        let job =
            schema::task::TaskJob { site_ca: Some(pem.clone()), proxy: Some(proxy.to_owned()), ..job(url) };
        let controller = HttpController::new(&job).map_err(|error| chain(&error))?;
        controller
            .post(&bootstrap(), &sender().report(ReportStatus::Heartbeat, ""))
            .map_err(|error| chain(&error))
    };
    assert_eq!(with(&format!("https://{address}"), &proxy.url).unwrap().status, 200);
    assert!(proxy.asked.lock().unwrap().is_empty());
    for unusable in ["gopher://user:hunter2@proxy:70", "http://user:hunter2@127.0.0.1:9"] {
        let error = with("https://controller.invalid:8443", unusable).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
