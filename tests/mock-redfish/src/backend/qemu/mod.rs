//! A real machine: QEMU with OVMF firmware, one process per boot.
//!
//! ```text
//!   start: VARS (BootNext by the override) ─▶ setpriv ─▶ qemu -S ─▶ QMP: discs in, cont
//!                                                           │
//!   guest reset ─▶ SHUTDOWN guest-reset ─▶ exit ─▶ Restarted │ stop: SIGKILL (the plug is pulled)
//!   guest off   ─▶ SHUTDOWN guest-shutdown ─▶ exit ─▶ PoweredOff
//! ```
//!
//! No device has a `bootindex`: it would make the firmware rewrite its boot order at every boot. A one-time
//! boot is `BootNext` in the variables, which the firmware clears by itself.

mod command;
pub mod config;
mod files;
mod load_option;
mod process;
mod qmp;
pub mod vars;
mod wire;

use std::path::PathBuf;

use async_trait::async_trait;
pub use config::{DiskBus, DiskConfig, DiskFormat, Network, QemuConfig};
use serde_json::json;
use tracing::warn;

use super::{
    Backend, BackendError, EndSender,
    host::{Boot, BootSource},
};
use crate::config::MachineConfig;
use files::{Files, disk_option, drive_option};
use load_option::{Device, load_option};
use process::Process;
use wire::Wire;

/// Seconds QEMU waits for the server of a disc.
const DISC_TIMEOUT_SECONDS: u64 = 30;
/// Bytes QEMU reads ahead of what the guest asks of a disc.
const DISC_READAHEAD: u64 = 512 << 10;

/// See the module.
pub(crate) struct Qemu {
    machine: MachineConfig,
    config: QemuConfig,
    drives: Vec<String>,
    files: Files,
    ends: EndSender,
    running: Option<(Process, Option<Wire>)>,
}

impl Qemu {
    /// Finds the firmware; makes folder, disks and variables where they do not exist.
    pub async fn prepare(
        machine: &MachineConfig,
        config: &QemuConfig,
        folder: PathBuf,
        ends: EndSender,
    ) -> Result<Self, BackendError> {
        let files = Files::prepare(&folder, config).await?;
        files.make_disks(&config.disks).await?;
        let drives: Vec<String> =
            if machine.quirks.single_slot { vec!["Cd".into()] } else { vec!["Cd".into(), "Usb".into()] };
        if !files.vars().exists() {
            files.wipe_vars(config, &drives).await?;
        }
        Ok(Self { machine: machine.clone(), config: config.clone(), drives, files, ends, running: None })
    }

    /// File of the serial console.
    pub fn console_path(&self) -> PathBuf {
        self.files.console()
    }

    /// Load option the firmware shall boot once; `None`: its own order.
    fn boot_next(&self, source: &BootSource) -> Option<Vec<u8>> {
        match source {
            BootSource::Order => None,
            BootSource::Slot { slot } => {
                let index = self.drives.iter().position(|id| id == slot)?;
                Some(drive_option(slot, u8::try_from(index).ok()?))
            }
            BootSource::Disk => Some(disk_option(self.config.disks.first()?, 0)),
            BootSource::Pxe => {
                let mac = mac_bytes(self.machine.macs.first()?)?;
                Some(load_option("Network", &Device::Pxe { index: 0, mac }))
            }
            BootSource::UefiHttp { uri } => {
                Some(load_option("HTTP boot", &Device::Http { uri: uri.clone() }))
            }
        }
    }

    async fn launch(&mut self, boot: &Boot) -> Result<(), BackendError> {
        self.files.set_boot_next(self.boot_next(&boot.source)).await?;
        self.files.mark_console(&format!("boot {} from {:?}", boot.number, boot.source)).await?;
        let from_network = matches!(boot.source, BootSource::Pxe | BootSource::UefiHttp { .. });
        self.open(boot.number, from_network).await?;
        for medium in &boot.media {
            let Some(slot) = self.drives.iter().position(|id| *id == medium.slot) else { continue };
            // A BMC powers on all the same when an image server is gone; the drive is empty then.
            if let Err(error) = self.insert(slot, &medium.url).await {
                warn!(machine = self.machine.name, slot = medium.slot, %error, "the drive stays empty");
                self.files.mark_console(&format!("drive {} stays empty: {error}", medium.slot)).await?;
            }
        }
        self.qmp("cont", json!({})).await
    }

    /// Starts QEMU with the machine stopped and its drives empty.
    async fn open(&mut self, boot: u64, from_network: bool) -> Result<(), BackendError> {
        let wire = match self.config.network {
            Network::NoDhcp => Some(Wire::lay().await.map_err(|source| {
                files::file_error("laying the network cable of", &self.files.folder, source)
            })?),
            Network::User | Network::None => None,
        };
        let (vars, console) = (self.files.vars(), self.files.console());
        let run = command::Run {
            code: &self.files.code,
            vars: &vars,
            console: &console,
            disks: self.config.disks.iter().map(|d| self.files.disk(d).display().to_string()).collect(),
            wire: wire.as_ref().map(|wire| wire.ends),
            network_boot: self.config.network_boot || from_network,
            drives: self.drives.len(),
        };
        let arguments = command::arguments(&self.machine, &self.config, &run);
        let process = Process::start(&arguments, &self.files, boot, self.ends.clone()).await?;
        self.running = Some((process, wire));
        Ok(())
    }

    async fn qmp(&mut self, command: &str, arguments: serde_json::Value) -> Result<(), BackendError> {
        match &mut self.running {
            Some((process, _)) => process.qmp.run(command, arguments).await.map(drop),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Qemu {
    async fn start(&mut self, boot: &Boot) -> Result<(), BackendError> {
        self.stop().await?;
        let launched = self.launch(boot).await;
        if launched.is_err() {
            self.stop().await?;
        }
        launched
    }

    async fn stop(&mut self) -> Result<(), BackendError> {
        match self.running.take() {
            Some((process, _wire)) => process.kill().await,
            None => Ok(()),
        }
    }

    async fn press_button(&mut self) -> Result<(), BackendError> {
        self.qmp("system_powerdown", json!({})).await
    }

    async fn insert(&mut self, slot: usize, url: &str) -> Result<(), BackendError> {
        if slot >= self.drives.len() {
            return Err(BackendError::NoDrive(slot));
        }
        let driver = if url.starts_with("https:") { "https" } else { "http" };
        let mut file = json!({
            "driver": driver, "url": url, "timeout": DISC_TIMEOUT_SECONDS, "readahead": DISC_READAHEAD,
        });
        if driver == "https" {
            file["sslverify"] = json!(false);
        }
        let image = json!({"driver": "raw", "file": file});
        let arguments = json!({
            "id": format!("drive{slot}"),
            "filename": format!("json:{image}"),
            "read-only-mode": "read-only",
            "force": true,
        });
        self.qmp("blockdev-change-medium", arguments).await
    }

    async fn eject(&mut self, slot: usize) -> Result<(), BackendError> {
        if slot >= self.drives.len() {
            return Err(BackendError::NoDrive(slot));
        }
        self.qmp("eject", json!({"id": format!("drive{slot}"), "force": true})).await
    }

    async fn wipe_nvram(&mut self) -> Result<(), BackendError> {
        self.files.wipe_vars(&self.config, &self.drives).await
    }
}

fn mac_bytes(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_or_refused() {
        assert_eq!(mac_bytes("52:54:00:0a:0b:0c"), Some([0x52, 0x54, 0, 0x0a, 0x0b, 0x0c]));
        for wrong in ["", "52:54", "52:54:00:0a:0b:zz", "52:54:00:0a:0b:0c:0d"] {
            assert_eq!(mac_bytes(wrong), None, "{wrong}");
        }
    }

    async fn prepared(folder: &std::path::Path, disks: Vec<DiskConfig>) -> Qemu {
        let config = QemuConfig { disks, memory_mib: 256, ..QemuConfig::default() };
        let machine = MachineConfig::qemu("m1", config.clone()).completed();
        let (ends, _) = tokio::sync::mpsc::unbounded_channel();
        Qemu::prepare(&machine, &config, folder.into(), ends).await.unwrap()
    }

    fn disk(bus: DiskBus, format: DiskFormat) -> DiskConfig {
        let file = format!("{bus:?}.{}", format.name());
        DiskConfig { file, format, bus, size_mib: 64, serial: format!("{bus:?}-1") }
    }

    /// QEMU itself reads the command line and opens the disks; the machine stays stopped.
    #[tokio::test]
    async fn qemu_takes_disks_of_every_bus_and_format() {
        let folder = tempfile::tempdir().unwrap();
        let disks = vec![
            disk(DiskBus::Virtio, DiskFormat::Qcow2),
            disk(DiskBus::Nvme, DiskFormat::Qcow2),
            disk(DiskBus::Nvme, DiskFormat::Raw),
            disk(DiskBus::Sata, DiskFormat::Qcow2),
            disk(DiskBus::Sata, DiskFormat::Raw),
        ];
        let mut qemu = prepared(folder.path(), disks.clone()).await;
        qemu.open(1, true).await.unwrap();
        let (process, _) = qemu.running.as_mut().unwrap();
        let seen = process.qmp.run("query-block", json!({})).await.unwrap();
        let mut seen: Vec<String> = seen.as_array().unwrap().iter().filter_map(format_and_size).collect();
        seen.retain(|line| line.contains("disk"));
        seen.sort();
        let size = 64 << 20;
        let wanted =
            disks.iter().enumerate().map(|(at, disk)| format!("disk{at} {} {size}", disk.format.name()));
        assert_eq!(seen, wanted.collect::<Vec<_>>());
        let state = process.qmp.run("query-status", json!({})).await.unwrap();
        assert_eq!(state["running"], false);
        qemu.stop().await.unwrap();
    }

    /// `disk0 qcow2 67108864`
    fn format_and_size(device: &serde_json::Value) -> Option<String> {
        let medium = &device["inserted"];
        Some(format!(
            "{} {} {}",
            device["device"].as_str()?,
            medium["drv"].as_str()?,
            medium["image"]["virtual-size"]
        ))
    }

    /// What the firmware will follow, read back from the variables as the firmware finds them.
    #[tokio::test]
    async fn every_override_becomes_a_boot_next_and_none_clears_it() {
        let folder = tempfile::tempdir().unwrap();
        let qemu = prepared(folder.path(), vec![disk(DiskBus::Nvme, DiskFormat::Raw)]).await;
        let delivered = vars::Vars::parse(std::fs::read(qemu.files.vars()).unwrap()).unwrap().boot_order();
        let slot = |id: &str| BootSource::Slot { slot: id.into() };
        let http = BootSource::UefiHttp { uri: "http://10.0.2.2/boot.efi".into() };
        for (source, description) in [
            (BootSource::Pxe, Some("Network")),
            (slot("Usb"), Some("Virtual Usb")),
            (BootSource::Disk, Some("Hard drive Nvme-1")),
            (http, Some("HTTP boot")),
            (BootSource::Order, None),
        ] {
            qemu.files.set_boot_next(qemu.boot_next(&source)).await.unwrap();
            let vars = vars::Vars::parse(std::fs::read(qemu.files.vars()).unwrap()).unwrap();
            let next = vars.get("BootNext").map(|data| u16::from_le_bytes([data[0], data[1]]));
            let entry = next.map(|number| vars.get(&format!("Boot{number:04X}")).unwrap()[6..].to_vec());
            let wanted: Option<Vec<u8>> = description
                .map(|text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect());
            let named = match (&entry, &wanted) {
                (Some(entry), Some(wanted)) => entry.starts_with(wanted),
                (None, None) => true,
                _ => false,
            };
            assert!(named, "{source:?}: {entry:?}");
            assert_eq!(vars.boot_order(), delivered, "{source:?} leaves the order alone");
        }
    }
}
