//! Whose certificate is believed.

use controller::redfish::{
    Bmc, BmcAddress, BmcError, Fingerprint, Power, RedfishBmc, TlsTrust, Waits, fetch_fingerprint,
};
use mock_redfish::{Rack, RackConfig};

use super::support::{admin, machine, rack};

async fn secure() -> Rack {
    Rack::start(RackConfig { tls: true, machines: vec![machine()], ..RackConfig::default() }).await.unwrap()
}

fn trusting(url: &str, tls: TlsTrust) -> RedfishBmc {
    let address = BmcAddress { url: url.into(), system: None, tls, plain_http_allowed: false };
    RedfishBmc::connect_with(&address, admin(), Waits::fast()).unwrap()
}

#[tokio::test]
async fn a_certificate_seen_first_can_be_pinned() {
    let rack = secure().await;
    let url = rack.machine(0).base_url();
    let seen = fetch_fingerprint(url).await.unwrap();
    assert!(rack.machine(0).requests().is_empty(), "looking sends no request");
    assert_eq!(trusting(url, TlsTrust::Pinned(seen)).power().await.unwrap(), Power::Off);
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_gets_no_password() {
    let rack = secure().await;
    let url = rack.machine(0).base_url();
    let seen = fetch_fingerprint(url).await.unwrap();
    for trust in [TlsTrust::Pinned(Fingerprint([7; 32])), TlsTrust::SystemRoots] {
        let error = trusting(url, trust.clone()).power().await.unwrap_err();
        let BmcError::Certificate { found, .. } = &error else { panic!("{trust:?}: {error:?}") };
        assert_eq!(*found, seen.to_string(), "{trust:?}");
        assert!(!error.is_transient());
    }
    assert!(rack.machine(0).requests().is_empty());
}

#[tokio::test]
async fn a_certificate_under_a_given_authority_is_believed() {
    let rack = secure().await;
    let authority = TlsTrust::Authorities(rack.machine(0).certificate().unwrap().to_owned());
    assert_eq!(trusting(rack.machine(0).base_url(), authority).power().await.unwrap(), Power::Off);
}

#[tokio::test]
async fn authorities_that_are_no_certificates_are_refused() {
    let address = BmcAddress {
        url: "https://127.0.0.1:1".into(),
        system: None,
        tls: TlsTrust::Authorities("not a certificate".into()),
        plain_http_allowed: false,
    };
    assert!(matches!(RedfishBmc::connect(&address, admin()), Err(BmcError::Address { .. })));
}

#[tokio::test]
async fn there_is_no_fingerprint_where_there_is_no_tls() {
    let rack = rack(machine()).await;
    let plain = rack.machine(0).base_url();
    assert!(matches!(fetch_fingerprint(plain).await, Err(BmcError::Address { .. })));
    let dressed_up = plain.replace("http://", "https://");
    assert!(matches!(fetch_fingerprint(&dressed_up).await, Err(BmcError::Unreachable { .. })));
}
