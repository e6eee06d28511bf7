//! Starts machines and their listeners, and stops them when dropped.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    backend::{
        Backend, BackendError,
        host::{Host, HostPower},
        qemu::Qemu,
        sim::Sim,
    },
    config::{BackendConfig, RackConfig},
    machine::{Console, Machine, driver},
    media::Fetch,
    service::listener,
    vendor::{Events, Vendor},
};

/// Orders a machine may have waiting.
const ORDERS_WAITING: usize = 64;

/// Why a rack could not start.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// A port is taken or the address is not ours.
    #[error("machine {machine} cannot listen on {address}; give it another port or 0")]
    Listen {
        /// Machine name.
        machine: String,
        /// Address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Two machines have one name.
    #[error("two machines are named {0}; names must differ")]
    SameName(String),
    /// A name that is no folder name.
    #[error("machine name {0:?} must be 1 to 64 letters, digits, '-', '_' or '.', and not begin with '.'")]
    BadName(String),
    /// The certificate could not be made.
    #[error("making the certificate of the BMCs")]
    Certificate(#[source] rcgen::Error),
    /// TLS does not take the certificate.
    #[error("setting up TLS of the BMCs")]
    Tls(#[source] rustls::Error),
    /// The client that probes media could not be made.
    #[error("setting up the client that probes media")]
    Client(#[source] reqwest::Error),
    /// A vendor's embedded file is broken.
    #[error("the model of {vendor} cannot be read")]
    Vendor {
        /// Which.
        vendor: Vendor,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// QEMU's firmware has two drives of known names.
    #[error("machine {machine} is a QEMU machine; those have generic BMCs and not {vendor}")]
    QemuVendor {
        /// Machine name.
        machine: String,
        /// What was asked for.
        vendor: Vendor,
    },
    /// The backend could not be prepared.
    #[error("preparing machine {machine}")]
    Backend {
        /// Machine name.
        machine: String,
        /// Why.
        #[source]
        source: BackendError,
    },
}

/// A running rack. Dropping it ends every listener and cuts every machine's power.
#[derive(Debug)]
pub struct Rack {
    machines: Vec<Machine>,
    stop: watch::Sender<bool>,
    drivers: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Rack {
    /// Starts a rack whose simulated machines run nothing.
    pub async fn start(config: RackConfig) -> Result<Self, RackError> {
        Self::start_inner(config, None).await
    }

    /// Starts a rack whose simulated machines are played by `host`.
    pub async fn start_with_host(config: RackConfig, host: Arc<dyn Host>) -> Result<Self, RackError> {
        Self::start_inner(config, Some(host)).await
    }

    async fn start_inner(config: RackConfig, host: Option<Arc<dyn Host>>) -> Result<Self, RackError> {
        // Another part of the process may have installed the same provider before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        check_names(&config)?;
        let identity = if config.tls { Some(certificate(&config)?) } else { None };
        let fetch = Fetch::new().map_err(RackError::Client)?;
        let (stop, stopped) = watch::channel(false);
        let mut rack = Self { machines: Vec::new(), stop, drivers: Vec::new(), listeners: Vec::new() };
        for machine in config.machines {
            let model = machine
                .vendor
                .model()
                .map_err(|source| RackError::Vendor { vendor: machine.vendor, source: Box::new(source) })?;
            let generic = machine.vendor == Vendor::GenericTwoSlot;
            if !generic && matches!(machine.backend, BackendConfig::Qemu(_)) {
                return Err(RackError::QemuVendor { machine: machine.name, vendor: machine.vendor });
            }
            let machine = machine.completed().of_model(&model);
            let mut model = model.with(&machine.quirks);
            if machine.events && model.events.is_none() {
                model.events = Some(Events::default());
            }
            let address = SocketAddr::new(config.bind, machine.port);
            let listen = |source| RackError::Listen { machine: machine.name.clone(), address, source };
            let listener = TcpListener::bind(address).await.map_err(listen)?;
            let address = listener.local_addr().map_err(listen)?;
            let scheme = if config.tls { "https" } else { "http" };
            let (orders, ordered) = mpsc::channel(ORDERS_WAITING);
            let (ends, ended) = mpsc::unbounded_channel();
            let (backend, console): (Box<dyn Backend>, Console) = match &machine.backend {
                BackendConfig::Sim => {
                    let power = HostPower::default();
                    (Box::new(Sim::new(host.clone(), power.clone(), ends)), Console::Memory(power))
                }
                BackendConfig::Qemu(qemu) => {
                    let folder = config.folder.join(&machine.name);
                    let named = |source| RackError::Backend { machine: machine.name.clone(), source };
                    let qemu = Qemu::prepare(&machine, qemu, folder, ends).await.map_err(named)?;
                    let console = Console::File(qemu.console_path());
                    (Box::new(qemu), console)
                }
            };
            let (acceptor, pem) = match &identity {
                Some((acceptor, pem)) => (Some(acceptor.clone()), Some(pem.clone())),
                None => (None, None),
            };
            let base_url = format!("{scheme}://{address}");
            let machine = Machine::new((machine, model), base_url, pem, orders, console, fetch.clone());
            rack.drivers.push(driver::spawn(&machine, backend, ordered, ended, stopped.clone()));
            let serve = listener::serve(listener, acceptor, machine.clone(), config.control);
            rack.listeners.push(tokio::spawn(serve));
            rack.machines.push(machine);
        }
        Ok(rack)
    }

    /// The machines in the order of the configuration.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine of that position. Panics when there is none, as indexing does.
    pub fn machine(&self, index: usize) -> &Machine {
        &self.machines[index]
    }

    /// The machine of that name.
    pub fn named(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    /// Stops listening, cuts every machine's power and waits until that is done.
    pub async fn shutdown(mut self) {
        for listener in self.listeners.drain(..) {
            listener.abort();
        }
        // No receiver is left only when every driver has ended already.
        let _ = self.stop.send(true);
        for driver in self.drivers.drain(..) {
            let _ = driver.await;
        }
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        // Drivers end by themselves when `stop` is dropped with the rack.
    }
}

fn check_names(config: &RackConfig) -> Result<(), RackError> {
    let mut seen = std::collections::BTreeSet::new();
    for machine in &config.machines {
        let name = &machine.name;
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(good) {
            return Err(RackError::BadName(name.clone()));
        }
        if !seen.insert(name) {
            return Err(RackError::SameName(name.clone()));
        }
    }
    Ok(())
}

/// A self-signed certificate for the bind address, and the acceptor that shows it.
fn certificate(config: &RackConfig) -> Result<(TlsAcceptor, String), RackError> {
    let names = vec![config.bind.to_string(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(RackError::Certificate)?;
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(RackError::Tls)?;
    Ok((TlsAcceptor::from(Arc::new(tls)), made.cert.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineConfig;

    #[tokio::test]
    async fn names_that_clash_or_escape_the_folder_are_refused() {
        for (names, words) in [(["a", "a"], "two machines are named a"), (["a", "../b"], "machine name")] {
            let machines = names.iter().map(|name| MachineConfig::sim(name)).collect();
            let config = RackConfig { machines, ..RackConfig::default() };
            let error = Rack::start(config).await.unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
