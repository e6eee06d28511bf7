//! What the client never does, whatever a service answers: follow links away, follow redirects, read without
//! end, crowd a BMC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use controller::redfish::{Bmc, BmcError, Entry, Gates, Limits, RedfishBmc, Waits};
use serde_json::{Value, json};

use super::support::{among, at, gates};

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A service with one system, whose parts a test may replace.
fn service(system: Value) -> Router {
    let root = json!({"Systems": {"@odata.id": "/redfish/v1/Systems"},
        "Links": {"Sessions": {"@odata.id": "/redfish/v1/S"}}});
    let systems = json!({"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]});
    let answer = |value: Value| get(move || std::future::ready(axum::Json(value.clone())));
    Router::new()
        .route("/redfish/v1/", answer(root))
        .route("/redfish/v1/Systems", answer(systems))
        .route("/redfish/v1/Systems/1", answer(system))
        .route("/redfish/v1/S", post(login))
}

async fn login() -> Response {
    let headers = [("x-auth-token", "t0ken"), ("location", "/redfish/v1/S/1")];
    (StatusCode::CREATED, headers).into_response()
}

fn stranger() -> (Router, Arc<AtomicUsize>) {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let router = Router::new().fallback(any(move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "thanks for the token" }
    }));
    (router, visits)
}

#[tokio::test]
async fn a_link_to_another_host_is_refused_and_never_visited() {
    let (router, visits) = stranger();
    let elsewhere = serve(router).await;
    let foreign = format!("http://{elsewhere}/redfish/v1/x");
    for system in [
        json!({"PowerState": "Off", "VirtualMedia": {"@odata.id": foreign}}),
        json!({"PowerState": "Off", "Links": {"ManagedBy": [{"@odata.id": foreign}]}}),
        json!({"PowerState": "Off", "@Redfish.Settings": {"SettingsObject": {"@odata.id": foreign}}}),
        json!({"PowerState": "On", "Actions": {"#ComputerSystem.Reset": {"target": foreign,
            "ResetType@Redfish.AllowableValues": ["ForceOff"]}}}),
    ] {
        let bmc = at(&format!("http://{}", serve(service(system.clone())).await));
        let error = bmc.set_power(controller::redfish::Power::Off).await.err();
        let error = match error {
            Some(error) => error,
            None => bmc.slots().await.unwrap_err(),
        };
        assert!(matches!(error, BmcError::ForeignLink { .. }), "{system}: {error}");
        assert!(!error.is_transient() && error.to_string().contains(&foreign), "{error}");
    }
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (router, visits) = stranger();
    let elsewhere = serve(router).await;
    let target = format!("http://{elsewhere}/");
    let redirecting = Router::new().fallback(any(move || {
        std::future::ready((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target.clone())]))
    }));
    let bmc = at(&format!("http://{}", serve(redirecting).await));
    assert!(matches!(bmc.power().await, Err(BmcError::Refused { status: 307, .. })));
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let endless = Router::new().fallback(any(|| async {
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
        axum::body::Body::from_stream(pieces)
    }));
    let bmc = at(&format!("http://{}", serve(endless).await));
    let error = bmc.power().await.unwrap_err();
    assert!(matches!(error, BmcError::Nonsense { .. }), "{error}");
}

#[tokio::test]
async fn every_request_has_manners_and_only_the_token() {
    async fn check(headers: HeaderMap) -> Response {
        let bad = headers.get("accept-encoding").is_some()
            || headers.get("authorization").is_some()
            || headers.get("x-auth-token").is_none_or(|token| token != "t0ken")
            || headers.get("odata-version").is_none_or(|version| version != "4.0")
            || headers.get("connection").is_none_or(|connection| connection != "close");
        if bad {
            return (StatusCode::IM_A_TEAPOT, format!("{headers:?}")).into_response();
        }
        axum::Json(json!({"PowerState": "On"})).into_response()
    }
    let root = json!({"Systems": {"@odata.id": "/redfish/v1/Systems"},
        "Links": {"Sessions": {"@odata.id": "/redfish/v1/S"}}});
    let router = Router::new()
        .route("/redfish/v1/", get(move || std::future::ready(axum::Json(root.clone()))))
        .route("/redfish/v1/S", post(login))
        .route("/redfish/v1/Systems/1", get(check));
    let mut address = super::support::plain(&format!("http://{}", serve(router).await));
    address.system = Some("/redfish/v1/Systems/1".into());
    let waits = controller::redfish::Waits::fast();
    let bmc =
        controller::redfish::RedfishBmc::connect_with(&address, super::support::admin(), waits).unwrap();
    bmc.power().await.unwrap();
}

#[tokio::test]
async fn a_bmc_is_never_asked_more_than_two_things_at_once_whoever_asks() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_in, most_in) = (Arc::clone(&now), Arc::clone(&most));
    let layer = axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
        let (now, most) = (Arc::clone(&now_in), Arc::clone(&most_in));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answer = next.run(request).await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    });
    let address = serve(service(json!({"PowerState": "On"})).layer(layer)).await;
    let gates = gates();
    let clients: Vec<_> = (0..6).map(|_| among(&gates, &format!("http://{address}"), false)).collect();
    // Log in one after another: a login is a change, and would be counted beside two reads.
    for client in &clients {
        client.power().await.unwrap();
    }
    most.store(0, Ordering::SeqCst);
    futures_util::future::join_all(clients.iter().map(Bmc::power)).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn two_systems_behind_one_bmc_must_be_told_apart() {
    let system = |id: &str| {
        json!({"@odata.id": format!("/redfish/v1/Systems/{id}"), "Id": id, "PowerState": "On",
            "Boot": {"BootSourceOverrideEnabled": "Disabled"},
            "Actions": {"#ComputerSystem.Reset": {"target": "/r"}}})
    };
    let members = json!({"Members": [system("System_0"), system("DGX"),
        {"@odata.id": "/redfish/v1/Systems/HGX", "Id": "HGX", "PowerState": "On"}]});
    let root = json!({"Systems": {"@odata.id": "/redfish/v1/Systems"},
        "ProtocolFeaturesSupported": {"ExpandQuery": {"Levels": true, "NoLinks": true, "MaxLevels": 1}}});
    let router = Router::new()
        .route("/redfish/v1/", get(move || std::future::ready(axum::Json(root.clone()))))
        .route("/redfish/v1/Systems", get(move || std::future::ready(axum::Json(members.clone()))));
    let bmc = at(&format!("http://{}", serve(router).await));
    let error = bmc.power().await.unwrap_err().to_string();
    assert!(error.contains("System_0 and DGX") && !error.contains("HGX"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_to_where_no_bmc_may_be_however_it_is_written() {
    let (router, visits) = stranger();
    let port = serve(router).await.port();
    let judge = |address: std::net::IpAddr| address.is_loopback().then_some("loopback");
    let gates = Gates::judged(Limits::default(), jiff::Timestamp::now, Arc::new(judge));
    let connect = |url: &str| {
        let entry = Entry { gates: &gates, site: "", by_hand: false };
        let waits = Waits { retry: Duration::from_millis(1), ..Waits::fast() };
        RedfishBmc::connect_through(&super::support::plain(url), super::support::admin(), waits, entry)
    };
    for url in [format!("http://127.0.0.1:{port}"), format!("http://[::1]:{port}")] {
        let error = connect(&url).unwrap_err();
        assert!(matches!(error, BmcError::Address { .. }), "{error}");
        assert!(error.to_string().contains("(loopback); list it in allow_outgoing"), "{error}");
    }
    let error = connect(&format!("http://localhost:{port}")).unwrap().power().await.unwrap_err();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    assert!(cause.to_string().contains("(loopback); list it in allow_outgoing"), "{cause}");
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}
