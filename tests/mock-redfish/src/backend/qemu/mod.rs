//! A real machine: QEMU with OVMF firmware.
pub mod config;
pub use config::{DiskBus, DiskConfig, DiskFormat, Network, QemuConfig};

use super::{Backend, BackendError, EndSender, host::Boot};
use crate::config::MachineConfig;
use std::path::PathBuf;

pub(crate) struct Qemu {
    folder: PathBuf,
}
impl Qemu {
    pub async fn prepare(
        _m: &MachineConfig,
        _q: &QemuConfig,
        folder: PathBuf,
        _e: EndSender,
    ) -> Result<Self, BackendError> {
        Ok(Self { folder })
    }
    pub fn console_path(&self) -> PathBuf {
        self.folder.join("console.log")
    }
}
#[async_trait::async_trait]
impl Backend for Qemu {
    async fn start(&mut self, _boot: &Boot) -> Result<(), BackendError> {
        Err(BackendError::Injected)
    }
    async fn stop(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
    async fn press_button(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
    async fn insert(&mut self, _slot: usize, _url: &str) -> Result<(), BackendError> {
        Ok(())
    }
    async fn eject(&mut self, _slot: usize) -> Result<(), BackendError> {
        Ok(())
    }
    async fn wipe_nvram(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}
