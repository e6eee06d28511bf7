//! BMC client over Redfish, behind the [`Bmc`] trait. Knows nothing of jobs. Quirks are data.

mod address;
mod bmc;
mod error;
mod profile;

pub use address::{BmcAddress, Credentials, Fingerprint, NotAFingerprint, Password, TlsTrust};
pub use bmc::{Bmc, Evidence, Power, Probe, Slot, SlotId};
pub use error::BmcError;
pub use profile::Waits;
