//! One virtual machine with a BMC, known to a controller.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use mock_redfish::backend::qemu::{DiskConfig, Network, QemuConfig};
use mock_redfish::{Fault, Injection, MachineConfig, Power, Quirks, Rack, RackConfig};
use serde_json::{Value, json};

use crate::site::Site;

/// Memory of the machines: what the maintenance OS asks for.
const MEMORY_MIB: u32 = 4096;
/// Memory of a machine whose firmware fetches the disc: it keeps all of it in memory.
pub const HTTP_BOOT_MEMORY_MIB: u32 = 6144;
/// A slow BMC's time for an answer.
const SLOW_BMC_MS: u64 = 300;
const PASSWORD: &str = "password";

/// A machine and its rack.
pub struct Metal {
    rack: Rack,
    folder: tempfile::TempDir,
    /// Its disk.
    pub disk: PathBuf,
    /// Its serial.
    pub serial: String,
}

impl Metal {
    /// Powers up a BMC with a machine behind it and tells the controller of it.
    pub async fn enrolled(
        site: &Site,
        serial: &str,
        prepare: impl FnOnce(&Path) -> Result<()>,
        adjust: impl FnOnce(&mut QemuConfig, &mut Quirks),
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("slipway-rack").tempdir()?;
        let disk = folder.path().join("disk0.raw");
        prepare(&disk)?;
        let mut qemu = QemuConfig {
            memory_mib: MEMORY_MIB,
            disks: vec![DiskConfig {
                file: disk.display().to_string(),
                size_mib: crate::disk::SIZE >> 20,
                ..DiskConfig::default()
            }],
            network: Network::User,
            ..QemuConfig::default()
        };
        let mut quirks = Quirks::default();
        adjust(&mut qemu, &mut quirks);
        let mut config = RackConfig { folder: folder.path().to_owned(), ..RackConfig::default() };
        let mut machine = MachineConfig { quirks, ..MachineConfig::qemu("metal", qemu) };
        machine.serial = serial.to_owned();
        config.machines = vec![machine];
        let rack = Rack::start(config).await?;
        let metal = Self { rack, folder, disk, serial: serial.to_owned() };
        let (status, answer) = site.post("/api/v1/machines", &metal.record()).await?;
        ensure!(status == 201, "adding the machine: {status} {answer}");
        Ok(metal)
    }

    /// Its record as the controller is told it.
    fn record(&self) -> Value {
        json!({
            "serial": self.serial,
            "bmc": { "url": self.machine().base_url(), "user": "admin", "password": PASSWORD, "plain_http": true },
        })
    }

    /// Has the next job's disc be fetched by the firmware itself, which reaches this host as guests do.
    pub async fn boots_over_http(&self, site: &Site) -> Result<()> {
        let mut record = self.record();
        record["transport"] = json!("http-boot");
        record["media_url"] = json!(site.media_url_of_guests());
        let (status, answer) = site.put(&format!("/api/v1/machines/{}", self.serial), &record).await?;
        ensure!(status == 200, "changing the machine's record: {status} {answer}");
        Ok(())
    }

    /// The machine behind the BMC.
    pub fn machine(&self) -> mock_redfish::Machine {
        self.rack.machine(0).clone()
    }

    /// Makes the BMC take its time from now on, as real ones do, so that every phase lasts long enough to be seen.
    pub fn slow_bmc(&self) {
        self.machine().inject(Injection::always(Fault::Delay { ms: SLOW_BMC_MS }));
    }

    /// A folder that goes when the machine goes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Pulls the plug.
    pub async fn off(&self) -> Result<()> {
        let machine = self.machine();
        machine.pull_power().await?;
        machine.wait_power(Power::Off, Duration::from_secs(60)).await?;
        Ok(())
    }

    /// Switches it on and waits for a text that only this boot can have printed.
    pub async fn boots_to_login(&self, text: &str, within: Duration) -> Result<()> {
        let machine = self.machine();
        let boots = machine.boots();
        machine.power_on().await?;
        machine.wait_boots(boots + 1, Duration::from_secs(60)).await?;
        self.wait_console(text, within).await.map(drop)
    }

    /// The console since the newest boot began.
    pub fn newest_console(&self) -> String {
        let console = self.machine().console();
        console
            .rsplit_once("=== mock-redfish: boot ")
            .map_or(console.clone(), |(_, newest)| newest.to_owned())
    }

    /// Waits for a text on the serial console of the newest boot, and returns that console.
    pub async fn wait_console(&self, text: &str, within: Duration) -> Result<String> {
        let end = Instant::now() + within;
        while Instant::now() < end {
            let console = self.newest_console();
            if console.contains(text) {
                return Ok(console);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let console = self.newest_console();
        let tail: Vec<&str> = console.lines().rev().take(60).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        bail!("after {} s the console does not show {text:?}; it ends with:\n{tail}", within.as_secs())
    }
}
