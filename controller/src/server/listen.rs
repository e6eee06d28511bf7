//! Listeners: sockets in, requests to a service, and an orderly end. Knows neither media nor API.
//!
//! ```text
//! bind ─▶ accept ─┬─ TLS ─▶ hyper, one task per connection ─▶ service
//!            ▲     └─ plain ─▶ direct ─(what is not a read)─▶ hyper
//!            │
//!   at most CONNECTIONS_MAX         stop: finish the request, then close; cut off after GRACE
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::direct::{self, Part, Patience};
use super::linger::Lingering;
use super::stream::{Buffered, Gathered, Patient};

/// Open connections of one listener. A thousand machines hold two or three each.
const CONNECTIONS_MAX: usize = 8192;
/// From connection to the end of the TLS handshake.
const TLS_DEADLINE: Duration = Duration::from_secs(15);
/// For the head of a request, idle time between requests included. BMCs pause for long while firmware thinks.
const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// For a client that takes nothing of its answer.
const STALL_DEADLINE: Duration = Duration::from_secs(120);
/// Longest request head, and largest piece of a body that is read at once.
const HEAD_MAX: usize = 256 << 10;
/// What running requests get after a stop.
pub const GRACE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A bound listener.
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// The bound socket.
    pub socket: TcpListener,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// A listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{name} listener: binding {address}; is another process using it?")]
pub struct BindError {
    /// Its name.
    pub name: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl Listener {
    /// Takes up the socket that was inherited, or binds the address.
    pub async fn open(
        name: &'static str,
        inherited: Option<std::net::TcpListener>,
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Self, BindError> {
        let socket = match inherited {
            Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
            None => TcpListener::bind(address).await,
        };
        let socket = socket.map_err(|source| BindError { name, address, source })?;
        Ok(Self { name, socket, tls })
    }

    /// The address it got.
    pub fn address(&self) -> Result<SocketAddr, BindError> {
        let name = self.name;
        self.socket.local_addr().map_err(|source| BindError {
            name,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source,
        })
    }

    /// Serves until `stop` turns true; returns when every connection has ended or [`GRACE`] is over. Requests carry
    /// the peer as axum's [`ConnectInfo`]. Where `part` finds that an answer is a part of a file, it is sent without being
    /// read, unless TLS is spoken.
    pub async fn serve<S, F, B>(
        self,
        service: S,
        part: fn(&mut Response<B>) -> Option<Part>,
        mut stop: watch::Receiver<bool>,
    ) where
        S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let acceptor = self.tls.map(tokio_rustls::TlsAcceptor::from);
        let mut connections = JoinSet::new();
        let open = metrics::gauge!("slipway_connections", "listener" => self.name);
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "accepting a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (service, stop, acceptor, open) =
                (service.clone(), stop.clone(), acceptor.clone(), open.clone());
            open.increment(1.0);
            connections.spawn(async move {
                connection(socket, peer, acceptor, service, part, stop).await;
                open.decrement(1.0);
                drop(permit);
            });
        }
        drop(self.socket);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::info!(
                listener = self.name,
                left = connections.len(),
                "cutting off what is still running"
            );
        }
        connections.shutdown().await;
    }
}

async fn connection<S, F, B>(
    socket: TcpStream,
    peer: SocketAddr,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    service: S,
    part: fn(&mut Response<B>) -> Option<Part>,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Answers are whole when they are written; waiting for more only delays small ones.
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        let patience = Patience { head: HEAD_DEADLINE, stall: STALL_DEADLINE, longest: HEAD_MAX };
        return match direct::serve(socket, peer, patience, &service, part, &mut stop).await {
            Ok(Some(rest)) => {
                let socket = Patient::new(Lingering::new(rest.socket), STALL_DEADLINE);
                http(Buffered::holding(rest.read, socket), peer, service, stop).await;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%peer, %error, "connection ended"),
        };
    };
    let socket = Buffered::new(Patient::new(Lingering::new(socket), STALL_DEADLINE));
    match tokio::time::timeout(TLS_DEADLINE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => http(Gathered::new(stream), peer, service, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn http<T, S, F, B>(stream: T, peer: SocketAddr, service: S, mut stop: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = service(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stopped = async move { stop.wait_for(|stop| *stop).await.map(|_| ()) };
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        _ = stopped => None,
    };
    let result = if let Some(result) = ended {
        result
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = Listener::open("test", None, "127.0.0.1:0".parse().unwrap(), tls).await.unwrap();
        let address = listener.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        let service = |request: Request<Body>| async move {
            let slow = request.uri().path() == "/slow";
            tokio::time::sleep(Duration::from_millis(if slow { 300 } else { 0 })).await;
            // The body of a request is dropped unread.
            Response::new(http_body_util::Full::new(bytes::Bytes::from("done")))
        };
        (address, stop, tokio::spawn(listener.serve(service, |_| None, stopped)))
    }

    #[tokio::test]
    async fn a_stop_lets_a_running_request_finish_and_takes_no_new_ones() {
        let (address, stop, served) = start(None).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.send_replace(true);
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_still_sends_when_the_answer_comes_can_read_it() {
        let (address, stop, served) = start(None).await;
        let body = vec![0; 8 << 20];
        for _ in 0..20 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let head = format!("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all(head.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = socket.split();
            let mut answer = String::new();
            // As clients do that look at the answer when all is sent, however long ago it came.
            writer.write_all(&body).await.unwrap();
            reader.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        }
        stop.send_replace(true);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_speaks_no_tls_ends_without_harm() {
        let state = tempfile::tempdir().unwrap();
        let now = jiff::Timestamp::now();
        let tls = crate::site::Site::open(state.path(), now)
            .unwrap()
            .certificate(&["127.0.0.1".into()], now)
            .unwrap()
            .tls()
            .unwrap();
        let (address, stop, served) = start(Some(tls)).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
        stop.send_replace(true);
        served.await.unwrap();
    }
}
