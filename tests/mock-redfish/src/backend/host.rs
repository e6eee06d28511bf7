//! The server that the `sim` backend powers: a [`Host`] given by a test plays what would run on it.
//!
//! ```text
//!   power on ──▶ Host::booted(Boot) ──▶ HostExit::PoweredOff ──▶ power state Off
//!       ▲                │                HostExit::Restarted ──▶ next boot ─┐
//!       │                │ power cut: the future is dropped                  │
//!       └────────────────┴──────────────────────────────────────────────────┘
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Most console text a simulated machine keeps, in bytes.
const CONSOLE_KEPT: usize = 64 << 10;

/// One power-on of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Name of the machine in its rack.
    pub machine: String,
    /// Its serial.
    pub serial: String,
    /// Its UUID, lower case with dashes.
    pub uuid: String,
    /// Its MAC addresses.
    pub macs: Vec<String>,
    /// Boots of this machine so far, this one included.
    pub number: u64,
    /// What the firmware boots from.
    pub source: BootSource,
    /// What is in the virtual drives.
    pub media: Vec<Inserted>,
}

impl Boot {
    /// URL of the medium it boots from, when it boots from one.
    pub fn boot_medium(&self) -> Option<&str> {
        let BootSource::Slot { slot } = &self.source else { return None };
        self.media.iter().find(|medium| medium.slot == *slot).map(|medium| medium.url.as_str())
    }

    /// URLs of the other media.
    pub fn other_media(&self) -> Vec<&str> {
        let booted = match &self.source {
            BootSource::Slot { slot } => slot.as_str(),
            _ => "",
        };
        self.media.iter().filter(|medium| medium.slot != booted).map(|medium| medium.url.as_str()).collect()
    }
}

/// What the firmware boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum BootSource {
    /// The firmware's own boot order: disk entries, removable path, then whatever is left.
    Order,
    /// One virtual drive, chosen by the override.
    Slot {
        /// Slot id, `Cd` or `Usb`.
        slot: String,
    },
    /// The disk, chosen by the override.
    Disk,
    /// The network by PXE, chosen by the override.
    Pxe,
    /// The network by UEFI HTTP boot, chosen by the override.
    UefiHttp {
        /// `HttpBootUri`; empty when DHCP shall say.
        uri: String,
    },
}

/// A medium in a virtual drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inserted {
    /// Slot id, `Cd` or `Usb`.
    pub slot: String,
    /// Image URL.
    pub url: String,
}

/// How a simulated server ends a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostExit {
    /// It switches itself off.
    PoweredOff,
    /// It restarts itself.
    Restarted,
    /// It runs until its power is cut.
    Stays,
}

/// Plays the server behind a BMC.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Runs one boot. Dropped at any await when power is cut or the power button is pressed.
    async fn booted(&self, boot: Boot, power: HostPower) -> HostExit;
}

/// What a simulated server holds of its machine: the serial console.
#[derive(Debug, Clone, Default)]
pub struct HostPower {
    console: Arc<Mutex<String>>,
}

impl HostPower {
    /// Writes a line to the serial console.
    pub fn print(&self, line: &str) {
        let mut text = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
        if text.len() > CONSOLE_KEPT {
            let mut cut = text.len() - CONSOLE_KEPT;
            while !text.is_char_boundary(cut) {
                cut += 1;
            }
            text.drain(..cut);
        }
    }

    /// What is on the serial console.
    pub fn console(&self) -> String {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_console_loses_its_beginning_and_stays_text() {
        let power = HostPower::default();
        for _ in 0..CONSOLE_KEPT {
            power.print("grün");
        }
        power.print("end");
        assert!(power.console().len() <= CONSOLE_KEPT);
        assert!(power.console().ends_with("grün\nend\n"));
    }
}
