//! Whose BMC it is. A vendor is a TOML file beside this one: ids, slots, wording, what is refused. Data; how a
//! deviation behaves is in [`crate::Quirks`] and where it shows.
//!
//! ```text
//!   vendor = "idrac10" ──▶ idrac10.toml ──▶ Model ──▶ quirks (joined with the machine's own)
//!                                             ├──▶ Layout: ids, slots, links
//!                                             ├──▶ Boots: targets, and which slot each one boots
//!                                             ├──▶ Words: registries and texts of errors
//!                                             └──▶ Change: what a resource has more or less than the book
//! ```

mod model;
pub(crate) mod overlay;
pub(crate) mod words;

use serde::{Deserialize, Serialize};

pub use model::{Boots, Dialect, Events, Layout, MediaHome, Model, Resets, SettingsRule, SlotModel};
pub use overlay::Change;
pub use words::{Phrase, Words};

/// The BMCs that are modelled. Each is true to its rows in the Redfish field guide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// By the book, with the drives `Cd` and `Usb`.
    #[default]
    GenericTwoSlot,
    /// By the book, with the drive `Cd` alone.
    GenericOneSlot,
    /// Dell iDRAC9 with firmware 6.00 or later.
    Idrac9,
    /// Dell iDRAC10.
    Idrac10,
    /// HPE iLO 5.
    Ilo5,
    /// Lenovo `XClarity` Controller.
    Xcc,
    /// Supermicro X11.
    SupermicroX11,
    /// Supermicro X13.
    SupermicroX13,
    /// NVIDIA GB200 (OpenBMC).
    OpenbmcGb200,
    /// NVIDIA DGX H100 (AMI `MegaRAC`).
    AmiDgx,
    /// Dell iDRAC8: one image, and only Dell's own attributes boot it.
    Idrac8,
    /// HPE iLO 4: virtual media by OEM actions alone.
    Ilo4,
    /// NVIDIA BlueField-3: no virtual media, boots by HTTP.
    Bluefield,
    /// sushy-tools' emulator.
    Sushy,
}

/// Every vendor with the text of its model.
const TEXTS: &[(Vendor, &str)] = &[
    (Vendor::GenericTwoSlot, include_str!("generic-two-slot.toml")),
    (Vendor::GenericOneSlot, include_str!("generic-one-slot.toml")),
    (Vendor::Idrac9, include_str!("idrac9.toml")),
    (Vendor::Idrac10, include_str!("idrac10.toml")),
    (Vendor::Ilo5, include_str!("ilo5.toml")),
    (Vendor::Xcc, include_str!("xcc.toml")),
    (Vendor::SupermicroX11, include_str!("supermicro-x11.toml")),
    (Vendor::SupermicroX13, include_str!("supermicro-x13.toml")),
    (Vendor::OpenbmcGb200, include_str!("openbmc-gb200.toml")),
    (Vendor::AmiDgx, include_str!("ami-dgx.toml")),
    (Vendor::Idrac8, include_str!("idrac8.toml")),
    (Vendor::Ilo4, include_str!("ilo4.toml")),
    (Vendor::Bluefield, include_str!("bluefield.toml")),
    (Vendor::Sushy, include_str!("sushy.toml")),
];

impl Vendor {
    /// Every vendor.
    pub fn all() -> impl Iterator<Item = Self> {
        TEXTS.iter().map(|(vendor, _)| *vendor)
    }

    /// What is known of its BMCs.
    ///
    /// # Errors
    /// Only when its embedded file is broken, which a test would have told.
    pub fn model(self) -> Result<Model, toml::de::Error> {
        let text = TEXTS.iter().find(|(vendor, _)| *vendor == self).map_or("", |(_, text)| text);
        toml::from_str(text)
    }
}

impl std::fmt::Display for Vendor {
    /// The name as configurations have it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_has_a_model_that_can_be_read_and_a_name() {
        for vendor in Vendor::all() {
            let model = vendor.model().unwrap_or_else(|error| panic!("{vendor}: {error}"));
            for target in model.boots.from.keys() {
                assert!(model.boots.targets.contains(target), "{vendor} boots from {target:?} unlisted");
            }
            for slots in model.boots.from.values() {
                for slot in slots {
                    assert!(
                        model.layout.slots.iter().any(|known| known.id == *slot),
                        "{vendor}: slot {slot}"
                    );
                }
            }
        }
        assert_eq!(Vendor::OpenbmcGb200.to_string(), "openbmc-gb200");
        assert_eq!(Vendor::all().count(), 14);
    }
}
