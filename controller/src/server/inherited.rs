//! Listening sockets that systemd opened and keeps (`sd_listen_fds(3)`): while a controller restarts, connections
//! wait in the socket's queue instead of being refused. A BMC that reads media in that moment sees a pause, not an
//! error.
//!
//! ```text
//!   slipway.socket: ListenStream=<api>, ListenStream=<media> ─▶ LISTEN_FDS=2 ─▶ first: api, second: media
//! ```

use std::net::TcpListener;

use listenfd::ListenFd;

/// How many sockets a controller has.
const SOCKETS: usize = 2;

/// The sockets that were passed, or none.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the API.
    pub api: Option<TcpListener>,
    /// For the media.
    pub media: Option<TcpListener>,
}

/// Passed sockets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// Too many or too few.
    #[error(
        "systemd passed {count} socket(s); slipway.socket must have two ListenStream= lines: API, then media"
    )]
    Count {
        /// How many came.
        count: usize,
    },
    /// Not a listening TCP socket.
    #[error("the {name} socket that systemd passed is not a listening TCP socket")]
    Kind {
        /// For what it was meant.
        name: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Inherited {
    /// Takes what systemd passed to this process. Nothing passed is no error.
    pub fn from_systemd() -> Result<Self, InheritedError> {
        Self::from_fds(&mut ListenFd::from_env())
    }

    fn from_fds(fds: &mut ListenFd) -> Result<Self, InheritedError> {
        match fds.len() {
            0 => Ok(Self::default()),
            SOCKETS => {
                let mut take = |index, name| {
                    fds.take_tcp_listener(index).map_err(|source| InheritedError::Kind { name, source })
                };
                Ok(Self { api: take(0, "api")?, media: take(1, "media")? })
            }
            count => Err(InheritedError::Count { count }),
        }
    }
}
