//! One site for one test: a state folder, the controller on it (killed and started again at will), a rack and its
//! hosts. Everything is on loopback, on ports that stay the same across restarts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use controller::config::{Config, Fragment};
use controller::server::{Pace, Server};
use mock_redfish::{Machine, MachineConfig, Rack, RackConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::Api;
use super::host::SimHost;
use super::image::{Pushed, push_image};
use super::maintenance::maintenance_iso;
use super::script::{Playbook, Stage};

/// Password of every BMC: a word that is found if it shows anywhere.
pub const PASSWORD: &str = "bmc-Pa55word-that-nobody-may-see";
/// How long a killed controller may take to let go of its folder and ports.
const LET_GO: Duration = Duration::from_secs(20);

/// What a site is made of.
pub struct Setup {
    /// Its machines.
    pub machines: Vec<MachineConfig>,
    /// How patient the controller is.
    pub pace: Pace,
    /// What its configuration says beyond the usual.
    pub fragment: Fragment,
    /// Put the maintenance medium in place.
    pub maintenance: bool,
    /// Connections to the API that are kept for the next request; none where the controller is killed meanwhile.
    pub kept: usize,
}

impl Setup {
    /// That many machines by the book.
    pub fn of(machines: usize) -> Self {
        Self::with((0..machines).map(|n| MachineConfig::sim(&format!("sim-{n}"))).collect())
    }

    /// These machines.
    pub fn with(machines: Vec<MachineConfig>) -> Self {
        let machines = machines
            .into_iter()
            .map(|machine| MachineConfig { password: PASSWORD.to_owned(), ..machine })
            .collect();
        Self { machines, pace: fast(), fragment: Fragment::default(), maintenance: true, kept: 0 }
    }

    /// Starts it all.
    pub async fn start(self) -> Result<Site> {
        Site::start(self).await
    }
}

/// The pace of simulated machines: a host that is told to power off does so within a tenth of a second.
pub fn fast() -> Pace {
    Pace { power_off_grace: Duration::from_millis(500), ..Pace::fast() }
}

/// A running site.
pub struct Site {
    folder: TempDir,
    config: Config,
    pace: Pace,
    server: Option<Server>,
    rack: Rack,
    playbook: Arc<Playbook>,
    api: Api,
}

impl Site {
    /// Starts a site, and adds its machines to the controller.
    pub async fn start(setup: Setup) -> Result<Self> {
        // An error only says that a provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        std::fs::create_dir_all(state.join("media"))?;
        if setup.maintenance {
            maintenance_iso(&state.join("media/maintenance.iso"))?;
        }
        let mut config = Config::check(setup.fragment.over(fragment(&state)))?;
        let server = Server::start_at(config.clone(), setup.pace.clone()).await?;
        // From now on these very ports: media URLs of open jobs name them.
        config.api_listen = server.api_address;
        config.media_listen = server.media_address;
        let playbook = Arc::new(Playbook::default());
        let host = Arc::new(SimHost::new(Arc::clone(&playbook))?);
        let rack_config = RackConfig {
            machines: setup.machines,
            folder: folder.path().join("rack"),
            ..RackConfig::default()
        };
        let rack = Rack::start_with_host(rack_config, host).await?;
        let ca = std::fs::read(state.join("site/ca.pem"))?;
        let token = std::fs::read_to_string(state.join("admin.token"))?;
        let api = Api::keeping(&server.api_url, &ca, token.trim(), setup.kept)?;
        let site = Self { folder, config, pace: setup.pace, server: Some(server), rack, playbook, api };
        for machine in site.rack.machines() {
            site.add(description(machine)).await?;
        }
        Ok(site)
    }

    /// Adds a machine to the controller.
    pub async fn add(&self, description: Value) -> Result<()> {
        let answer = self.api.post("/api/v1/machines", description).await?;
        ensure!(answer.status == 201, "the machine was not added: {} {}", answer.status, answer.text);
        Ok(())
    }

    /// Changes the description of a machine that the controller has.
    pub async fn describe(&self, n: usize, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut description = description(self.machine(n));
        change(&mut description);
        let path = format!("/api/v1/machines/{}", self.serial(n));
        let answer = self.api.ask(http::Method::PUT, &path, Some(description)).await?;
        ensure!(answer.status == 200, "the machine was not changed: {} {}", answer.status, answer.text);
        Ok(())
    }

    /// The API, as the first administrator.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The controller.
    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the controller is not running")
    }

    /// The folder of everything the controller keeps.
    pub fn state(&self) -> &Path {
        &self.config.state_dir
    }

    /// The site's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.config.api_listen
    }

    /// The BMC and machine of that number.
    pub fn machine(&self, n: usize) -> &Machine {
        self.rack.machine(n)
    }

    /// Serial of that machine.
    pub fn serial(&self, n: usize) -> &str {
        &self.rack.machine(n).config().serial
    }

    /// Script and ledger of that machine's host.
    pub fn stage(&self, n: usize) -> Arc<Stage> {
        self.playbook.stage(self.serial(n))
    }

    /// Pushes a small image under the name that [`Site::recipe`] uses.
    pub async fn push(&self) -> Result<Pushed> {
        push_image(&self.api, "images/debian", "trixie", b"a root filesystem, as far as anyone here looks")
            .await
    }

    /// A Linux install.
    pub fn recipe(&self) -> Value {
        linux_recipe()
    }

    /// The same with one field set.
    pub fn recipe_with(&self, field: &str, value: Value) -> Value {
        let mut recipe = self.recipe();
        recipe[field] = value;
        recipe
    }

    /// Ends the controller as a power cut would.
    pub async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Ends the controller in order.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Starts the controller again on what it left.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the controller is running");
        let end = tokio::time::Instant::now() + LET_GO;
        loop {
            match Server::start_at(self.config.clone(), self.pace.clone()).await {
                Ok(server) => {
                    self.server = Some(server);
                    return Ok(());
                }
                // Whatever the dead one still had open is closed by the kernel, or by a thread that ends soon.
                Err(error) if tokio::time::Instant::now() > end => {
                    bail!(anyhow::Error::new(error).context("starting again"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Ends everything and waits for it.
    pub async fn end(mut self) {
        self.stop().await;
        self.rack.shutdown().await;
    }
}

/// A machine as it is described to the controller.
pub fn description(machine: &Machine) -> Value {
    let config = machine.config();
    json!({
        "serial": config.serial,
        "uuid": config.uuid,
        "macs": config.macs,
        "bmc": {
            "url": machine.base_url(),
            "user": config.user,
            "password": config.password,
            "plain_http": true,
        },
    })
}

/// A Linux install of the image that [`Site::push`] pushes.
pub fn linux_recipe() -> Value {
    json!({
        "task_target": "install-linux.target",
        "target_disk": { "min_size": "4G" },
        "oci_url": "images/debian:trixie",
        "partition_layout": [
            { "size": "256M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi" },
            { "size": "rest", "type_guid": "8304", "format": "ext4", "mountpoint": "/" },
        ],
    })
}

/// The configuration of a controller whose machines are on loopback; its ports are free ones.
pub fn fragment(state: &Path) -> Fragment {
    Fragment {
        state_dir: Some(state.to_owned()),
        api_listen: Some("127.0.0.1:0".to_owned()),
        media_listen: Some("127.0.0.1:0".to_owned()),
        allow_loopback: Some(true),
        allow_plain_http_bmcs: Some(true),
        heartbeat_seconds: Some(1),
        allow_outgoing: Some(vec!["127.0.0.0/8".to_owned()]),
        ..Fragment::default()
    }
}
