//! Slipway's controller: jobs, media, BMCs, registry and API in one process.

pub mod media;
pub mod redfish;
