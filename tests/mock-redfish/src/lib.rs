//! A rack of Redfish BMCs in one process, for people without hardware and for tests. Not a client, and it
//! shares no type with one: what it answers comes from the Redfish schema (2023.1) and from what real BMCs do.
//!
//! ```text
//!   RackConfig ──▶ Rack::start ──▶ one listener per machine (HTTP or HTTPS)
//!                                   │
//!        request ──▶ service (faults, login, routes) ──▶ resource (JSON) / action
//!                                   │                         │
//!                                   ▼                         ▼
//!                               Machine (Board: power, boot, slots)  ──▶ driver ──▶ Backend
//!                                                                                   ├─ sim: a `Host` plays the server
//!                                                                                   └─ qemu: a real OVMF machine
//! ```
//!
//! ```no_run
//! # async fn demo() -> Result<(), mock_redfish::RackError> {
//! use mock_redfish::{Fault, Injection, Rack, RackConfig};
//!
//! let rack = Rack::start(RackConfig::sim(2)).await?;
//! let first = rack.machine(0);
//! println!("{} is {:?}", first.base_url(), first.power());
//! first.inject(Injection::times(1, Fault::status(503)).on("GET", "/redfish/v1/Systems"));
//! # Ok(()) }
//! ```

pub mod backend;
pub mod config;
pub mod fault;
mod journal;
pub mod machine;
pub mod media;
mod rack;
mod resource;
mod service;
mod session;
pub mod vendor;

pub use backend::host::{Boot, BootSource, Host, HostExit, HostPower, Inserted};
pub use config::{BackendConfig, MachineConfig, Quirks, RackConfig, Timing};
pub use fault::{Fault, Injection};
pub use journal::RequestRecord;
pub use machine::{BootOverride, Enabled, Machine, MachineError, Power, ResetType, SlotState, Target};
pub use rack::{Rack, RackError};
pub use vendor::Vendor;
