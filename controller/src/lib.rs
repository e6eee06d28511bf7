//! Slipway's controller: jobs, media, BMCs, registry and API in one process.

pub mod api;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod media;
pub mod model;
pub mod redfish;
pub mod registry;
pub mod server;
pub mod site;
pub mod store;
pub mod telemetry;
pub mod workflow;
