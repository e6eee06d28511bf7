//! The whole controller in one process: opens what is kept, ties the rooms together, listens, and ends in order.
//! The only place that knows every room.
//!
//! ```text
//!            Config
//!              │ open: site, store, registry, maintenance medium
//!              ▼
//!   media::Shelf ─▶ MediaShelf ─┐
//!   Registry ─────▶ RegistryImages ─┼─▶ Workflow ─▶ API routes ┐
//!   RedfishBmcs ────────────────┘                 /v2, health ─┼─▶ api listener (TLS)
//!        └── shelf ────────────────────────────────────────────── media listener (plain, /m/ only)
//!                                              (and, where it is wanted: registry listener (plain, /v2 only))
//! ```

mod access;
mod bmcs;
mod checks;
mod direct;
mod guarded;
mod health;
mod images;
mod inherited;
mod linger;
mod listen;
mod pushes;
mod renew;
mod request;
mod routes;
mod shelf;
mod stream;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use inherited::{Inherited, InheritedError};

use crate::config::Config;
use crate::fetch::{AddressRules, HttpFetch};
use crate::media::{self, LibraryError, MaintenanceMedium, ShelfLimits, TrustError};
use crate::model::{ApiToken, Role, TokenId};
use crate::redfish::{Gates, Limits, ProfileError, Profiles, Rules, Waits};
use crate::registry::{self, Registry, error::RegistryError};
use crate::site::{self, Site, SiteError};
use crate::store::{self, SealError, Sealer, SqliteStore, Store, StoreError};
use crate::telemetry;
use crate::workflow::{Clock, Deps, Settings, SiteKeys, SystemClock, Workflow};

pub use bmcs::RedfishBmcs;
pub use health::Check;
pub use images::RegistryImages;
pub use listen::BindError;
pub use shelf::MediaShelf;
use upkeep::Upkeep;

/// The store's file in the state folder.
const STORE_FILE: &str = "slipway.sqlite";
/// Key of everything sealed in the store.
const SEAL_KEY: &str = "seal.key";
/// Folder of the registry in the state folder.
const REGISTRY_FOLDER: &str = "registry";
/// What the site's secret is derived into.
const LABEL_MEDIA: &str = "media names 1";
const LABEL_TOKENS: &str = "host tokens 1";

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Keys and certificates.
    #[error("opening the site's identity")]
    Site(#[from] SiteError),
    /// The key that seals.
    #[error("opening the key {path}")]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: SealError,
    },
    /// The store.
    #[error("opening the store")]
    Store(#[from] StoreError),
    /// A profile of a BMC family.
    #[error("reading the profiles of BMC families")]
    Profiles(#[from] ProfileError),
    /// The registry.
    #[error("opening the registry in {path}")]
    Registry {
        /// Its folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// The maintenance medium is there, but not one.
    #[error("opening the maintenance medium")]
    Maintenance(#[source] LibraryError),
    /// The site has too many keys.
    #[error("putting the site's keys on the maintenance medium")]
    Trust(#[from] TrustError),
    /// A listener.
    #[error("starting to listen")]
    Bind(#[from] BindError),
    /// TLS cannot be set up.
    #[error("setting up TLS of the API")]
    Tls(#[from] rustls::Error),
    /// A prefix that the fetch room reads otherwise.
    #[error("allow_outgoing holds {prefix}, which cannot be used")]
    Outgoing {
        /// The prefix.
        prefix: String,
    },
    /// A thread died.
    #[error("a thread ended while the controller started")]
    Interrupted(#[from] tokio::task::JoinError),
    /// Sockets that systemd passed cannot be used.
    #[error("taking the sockets of slipway.socket")]
    Sockets(#[from] InheritedError),
    /// Signals cannot be heard.
    #[error("listening for SIGTERM")]
    Signals(#[source] std::io::Error),
}

/// A running controller. Dropping it leaves its tasks running; [`Server::stop`] ends them.
pub struct Server {
    /// Bound address of the API.
    pub api_address: SocketAddr,
    /// Bound address of the media listener.
    pub media_address: SocketAddr,
    /// Bound address of the registry's plain listener, when there is one.
    pub registry_address: Option<SocketAddr>,
    /// URL of the API as hosts see it.
    pub api_url: String,
    /// URL of the media as BMCs see it.
    pub media_url: String,
    /// The jobs.
    pub workflow: Arc<Workflow>,
    /// The registry.
    pub registry: Arc<Registry>,
    /// The media that can be read.
    pub shelf: Arc<media::Shelf>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// How patient the controller is with machines.
#[derive(Debug, Clone)]
pub struct Pace {
    /// What BMCs are given.
    pub waits: Waits,
    /// Between two looks at a BMC that is waited for.
    pub poll: Duration,
    /// What a host is given to power itself off.
    pub power_off_grace: Duration,
    /// A host's silence after which its BMC is asked.
    pub silence: Duration,
    /// A host's silence after which its job fails.
    pub lost: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let settings = Settings::new("", "");
        Self {
            waits: Waits::field(),
            poll: settings.poll,
            power_off_grace: settings.power_off_grace,
            silence: settings.silence,
            lost: settings.lost,
        }
    }
}

impl Pace {
    /// For emulated machines that answer at once.
    pub fn fast() -> Self {
        Self {
            waits: Waits::fast(),
            poll: Duration::from_millis(20),
            power_off_grace: Duration::from_secs(2),
            ..Self::default()
        }
    }
}

/// Runs the controller until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), ServerError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
    let server = Server::start_on(config, Pace::default(), Inherited::from_systemd()?).await?;
    tracing::info!(api = %server.api_address, media = %server.media_address, api_url = server.api_url, "ready");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping; open jobs go on at the next start"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping; open jobs go on at the next start"),
    }
    server.stop().await;
    Ok(())
}

/// What is kept on disk, opened.
struct Kept {
    site: Site,
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    maintenance: Option<Arc<MaintenanceMedium>>,
}

impl Server {
    /// Opens everything, takes up open jobs, and listens.
    pub async fn start(config: Config) -> Result<Self, ServerError> {
        Self::start_at(config, Pace::default()).await
    }

    /// The same at another pace, for machines that exist in memory only.
    pub async fn start_at(config: Config, pace: Pace) -> Result<Self, ServerError> {
        Self::start_on(config, pace, Inherited::default()).await
    }

    /// The same on sockets that exist already; without them it binds its own.
    pub async fn start_on(config: Config, pace: Pace, sockets: Inherited) -> Result<Self, ServerError> {
        telemetry::describe();
        let opened = config.clone();
        let kept = tokio::task::spawn_blocking(move || open(&opened)).await??;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let certificate = kept.site.certificate(&config.api_names, clock.now())?;
        let tls = certificate.tls()?;
        let api = listen::Listener::open("api", sockets.api, config.api_listen, Some(tls)).await?;
        let media = listen::Listener::open("media", sockets.media, config.media_listen, None).await?;
        let images = match config.registry_listen {
            Some(address) => Some(listen::Listener::open("registry", None, address, None).await?),
            None => None,
        };
        let (api_address, media_address) = (api.address()?, media.address()?);
        let registry_address = images.as_ref().map(listen::Listener::address).transpose()?;
        let (api_url, media_url) = config.urls(api_address, media_address);
        first_token(&config, &kept.store).await?;

        let shelf = Arc::new(media::Shelf::new(
            kept.site.derive(LABEL_MEDIA),
            kept.site.signing.clone(),
            &kept.site.previous,
            kept.maintenance,
            ShelfLimits::default(),
        )?);
        let profiles = match &config.bmc_profiles {
            Some(folder) => Profiles::with_folder(folder)?,
            None => Profiles::builtin(),
        };
        let site_keys = SiteKeys::new(kept.site.derive(LABEL_TOKENS));
        let registry = Arc::clone(&kept.registry);
        let own_hosts = own_hosts(&config, &api_url, api_address.port());
        let bmc_rules = bmc_rules(&config)?;
        let workflow = Workflow::start(Deps {
            store: kept.store,
            bmcs: Arc::new(RedfishBmcs {
                allow_plain_http: config.allow_plain_http_bmcs,
                gates: Gates::judged(
                    Limits { rules: Rules::paced(pace.waits.retry), ..config.bmc_traffic.limits },
                    Timestamp::now,
                    Arc::new(move |address| bmc_rules.refuses(address)),
                ),
                site_label: config.bmc_traffic.site_label.clone(),
                waits: pace.waits,
                profiles: Arc::new(profiles),
                walks: Arc::default(),
            }),
            shelf: Arc::new(MediaShelf::new(Arc::clone(&shelf))),
            images: Arc::new(RegistryImages::new(Arc::clone(&registry), own_hosts)),
            fetch: Arc::new(HttpFetch::new(address_rules(&config)?)),
            clock: Arc::clone(&clock),
            settings: Settings {
                site_ca: Some(kept.site.ca_pem.clone()),
                allow_loopback: config.allow_loopback,
                deadlines: config.deadlines.clone(),
                heartbeat: Duration::from_secs(config.heartbeat_seconds.into()),
                poll: pace.poll,
                power_off_grace: pace.power_off_grace,
                silence: pace.silence,
                lost: pace.lost,
                ..Settings::new(api_url.clone(), media_url.clone())
            },
            site_keys,
        })
        .await?;

        let (stop, stopped) = watch::channel(false);
        let upkeep = Upkeep::new(Arc::clone(&registry));
        let plain_url = registry_address.map(|bound| config.plain_registry_url(bound, &api_url));
        let urls = (api_url.as_str(), media_url.as_str(), plain_url.as_deref());
        let routes = routes::router(&config, &workflow, &upkeep, &shelf, urls)?;
        let mut tasks = vec![
            tokio::spawn(routes::serve_routes(api, routes.all, stopped.clone())),
            tokio::spawn(routes::serve_media(media, Arc::clone(&shelf), stopped.clone())),
            tokio::spawn(Arc::clone(&upkeep).run(stopped.clone())),
            tokio::spawn(pushes::follow(Arc::clone(&registry), Arc::clone(&workflow), stopped.clone())),
            tokio::spawn(renew::certificate(certificate, clock, stopped.clone())),
        ];
        if let Some(images) = images {
            tasks.push(tokio::spawn(routes::serve_routes(images, routes.plain, stopped)));
        }
        Ok(Self {
            api_address,
            media_address,
            registry_address,
            api_url,
            media_url,
            workflow,
            registry,
            shelf,
            stop,
            tasks,
        })
    }

    /// Finishes running requests, puts BMC sessions away, and ends. Open jobs go on at the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.registry.stop_collecting();
        for task in self.tasks {
            // A task that panicked has said so already.
            let _ = task.await;
        }
        self.workflow.shutdown().await;
    }

    /// Ends at once, as a power cut would: for tests of what a restart makes of it.
    pub async fn kill(self) {
        self.registry.stop_collecting();
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            let _ = task.await;
        }
        self.workflow.kill().await;
    }
}

/// Opens what is kept. Blocks: it hashes the maintenance medium.
fn open(config: &Config) -> Result<Kept, ServerError> {
    let site = Site::open(&config.state_dir, Timestamp::now())?;
    let path = config.state_dir.join(SEAL_KEY);
    let sealer = Sealer::from_file(&path).map_err(|source| ServerError::Seal { path, source })?;
    let store = Arc::new(SqliteStore::open(&config.state_dir.join(STORE_FILE), sealer)?);
    let path = config.state_dir.join(REGISTRY_FOLDER);
    let retention = config.registry_retention.iter().map(|rule| registry::Rule {
        repository: rule.repository.clone(),
        tags: rule.tags.clone(),
        keep_last: rule.keep_last,
        untagged_after: rule.untagged_after,
    });
    let options = registry::Options {
        retention: retention.collect(),
        immutable: config.registry_immutable.clone(),
        quotas: config.registry_quota.clone(),
        ..registry::Options::default()
    };
    let registry = Registry::open(&path, options).map_err(|source| ServerError::Registry { path, source })?;
    let maintenance = if config.maintenance_iso.exists() {
        Some(Arc::new(MaintenanceMedium::open(&config.maintenance_iso).map_err(ServerError::Maintenance)?))
    } else {
        // The rest is useful without it: machines can be added and images pushed. Readiness tells.
        tracing::warn!(path = %config.maintenance_iso.display(), "no maintenance medium: jobs are refused until there is one");
        None
    };
    Ok(Kept { site, store, registry, maintenance })
}

/// Makes the first admin token when there is no token at all.
async fn first_token(config: &Config, store: &Arc<dyn Store>) -> Result<(), ServerError> {
    if !store::on(store, Store::tokens).await?.is_empty() {
        return Ok(());
    }
    let (path, secret) = site::write_admin_token(&config.state_dir)?;
    let token = ApiToken {
        id: TokenId::fresh(),
        name: "first admin".to_owned(),
        role: Role::Admin,
        scopes: Vec::new(),
        created_at: Timestamp::now(),
        expires_at: None,
        revoked_at: None,
    };
    let sha256 = Sha256::digest(secret.as_bytes()).into();
    store::on(store, move |store| store.add_token(token, sha256)).await?;
    tracing::info!(path = %path.display(), "the first admin token is in this file");
    Ok(())
}

/// Names by which a recipe may call the embedded registry.
fn own_hosts(config: &Config, api_url: &str, port: u16) -> Vec<String> {
    let mut hosts: Vec<String> = config.api_names.iter().map(|name| format!("{name}:{port}")).collect();
    hosts.extend(api_url.split_once("://").map(|(_, host)| host.to_owned()));
    hosts
}

fn address_rules(config: &Config) -> Result<AddressRules, ServerError> {
    let parse = |prefix: &crate::config::Prefix| {
        prefix.to_string().parse().map_err(|_| ServerError::Outgoing { prefix: prefix.to_string() })
    };
    Ok(AddressRules { allow: config.allow_outgoing.iter().map(parse).collect::<Result<_, _>>()? })
}

/// Where BMCs may be: on loopback only where machines may be.
fn bmc_rules(config: &Config) -> Result<AddressRules, ServerError> {
    let mut rules = address_rules(config)?;
    if config.allow_loopback {
        rules.allow.extend(AddressRules::loopback());
    }
    Ok(rules)
}
