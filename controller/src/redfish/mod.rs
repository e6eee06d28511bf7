//! BMC client over Redfish, behind the [`Bmc`] trait. Knows nothing of jobs. Quirks are data.

mod bmc;
mod error;

pub use bmc::{Bmc, Evidence, Power, Probe, Slot, SlotId};
pub use error::BmcError;
