//! Sockets of one BMC: accepts, speaks TLS when asked to, hands requests to the service, cuts connections
//! that a fault wants cut.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::answer;
use crate::machine::Machine;

/// Deadline of a TLS handshake and of the header of a request.
const HELLO_DEADLINE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that a full file table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection shall be reset instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by an injected fault")]
pub(crate) struct Hangup;

/// Serves one BMC until the task is aborted; open connections end with it.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, machine: Machine, control: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // A BMC that restarts: whoever comes is turned away, as by a closed port that nobody else may take.
                Ok((stream, _)) if machine.condition().is_away(Instant::now()) => {
                    let turned_away = stream.set_zero_linger();
                    debug!(?turned_away, "the BMC is away");
                }
                Ok((stream, _)) => {
                    let (tls, machine) = (tls.clone(), machine.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection(stream, tls, machine, control).await {
                            debug!(%error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    debug!(%error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    machine: Machine,
    control: bool,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let twin = Arc::new(stream.try_clone()?);
    let stream = TcpStream::from_std(stream)?;
    match tls {
        None => speak(stream, twin, machine, control).await,
        Some(tls) => {
            let stream = tokio::time::timeout(HELLO_DEADLINE, tls.accept(stream)).await??;
            speak(stream, twin, machine, control).await
        }
    }
}

async fn speak<S>(
    stream: S,
    twin: Arc<std::net::TcpStream>,
    machine: Machine,
    control: bool,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (machine, twin) = (machine.clone(), twin.clone());
        async move {
            let answered = answer(&machine, request, control).await;
            if answered.as_ref().map_or(true, |(_, cut)| *cut) {
                // With a linger time of zero the close that follows sends RST.
                if let Ok(socket) = twin.try_clone().and_then(TcpStream::from_std) {
                    let set = socket.set_zero_linger();
                    debug!(?set, "resetting a connection");
                }
            }
            answered.map(|(response, _)| response)
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}
