//! Looks after what ends by itself while the controller runs: the API's certificate.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;

use crate::site::Certificate;
use crate::workflow::{Clock, chain};

/// Between two looks. Certificates are renewed a year before they end: a failed try is no hurry.
const LOOK_EVERY: Duration = Duration::from_secs(12 * 3600);

/// Renews the certificate when its time comes, until `stopped`.
pub async fn certificate(
    certificate: Arc<Certificate>,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let pause = SignedDuration::try_from(LOOK_EVERY).unwrap_or(SignedDuration::MAX);
        let next = clock.now().checked_add(pause).unwrap_or(jiff::Timestamp::MAX);
        tokio::select! {
            () = clock.sleep_until(next) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let (renewed, now) = (Arc::clone(&certificate), clock.now());
        match tokio::task::spawn_blocking(move || renewed.renew(now)).await {
            Ok(Ok(true)) => tracing::info!("the API has a new certificate; the authority is the same"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::error!(error = chain(&error), "the API's certificate is not renewed"),
            Err(error) => tracing::error!(error = chain(&error), "the API's certificate is not renewed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::site::Site;
    use crate::workflow::FakeClock;

    /// The client's clock.
    #[derive(Debug)]
    struct At(jiff::Timestamp);

    impl rustls::time_provider::TimeProvider for At {
        fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
            let since = Duration::from_secs(self.0.as_second().unsigned_abs());
            Some(rustls::pki_types::UnixTime::since_unix_epoch(since))
        }
    }

    /// The certificate that a client which trusts the site's authority is shown.
    async fn shown(certificate: &Arc<Certificate>, ca_pem: &str, clock: &FakeClock) -> Vec<u8> {
        use rustls::pki_types::pem::PemObject as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(certificate.tls().unwrap());
        let server = tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rustls::ClientConfig::builder_with_details(provider, Arc::new(At(clock.now())))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = connector.connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        server.await.unwrap().unwrap();
        leaf
    }

    #[tokio::test]
    async fn clients_are_shown_a_new_certificate_without_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::at("2026-11-21T09:00:00Z".parse().unwrap()));
        let site = Site::open(state.path(), clock.now()).unwrap();
        let certificate = site.certificate(&["127.0.0.1".to_owned()], clock.now()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let keeper = tokio::spawn(super::certificate(Arc::clone(&certificate), clock.clone(), stopped));
        let first = shown(&certificate, &site.ca_pem, &clock).await;
        assert_eq!(first, shown(&certificate, &site.ca_pem, &clock).await);

        let begun = std::time::Instant::now();
        let day = Duration::from_secs(24 * 3600);
        clock.advance(day * 455); // a year and five days are left
        loop {
            clock.advance(day);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if shown(&certificate, &site.ca_pem, &clock).await != first {
                break;
            }
            assert!(begun.elapsed().as_secs() < 60, "it is never renewed");
        }
        stop.send_replace(true);
        keeper.await.unwrap();
    }
}
