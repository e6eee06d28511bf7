//! BMC client over Redfish, behind the [`Bmc`] trait. Knows nothing of jobs. Quirks are data.
//!
//! ```text
//! client ─┬▶ discover, slots ─┐
//!         ├▶ media, oem ──────┤─▶ change, task ─▶ session ─▶ http ─▶ the BMC
//!         ├▶ boot ────────────┤                                └▶ origin, gate, tls
//!         └▶ power ───────────┘
//! pure: wire, view, classify, payload, profile (data: profiles/*.toml), origin, certificate,
//! gate's breaker and backoff, events' scan
//! ```
//! Beside all that, where a BMC offers it, `events`: that something changed, and never what.
//!
//! Every change is: ask, then look until it shows.

mod address;
mod bmc;
mod boot;
mod certificate;
mod change;
mod classify;
mod client;
mod discover;
mod error;
mod events;
mod gate;
mod http;
mod media;
mod oem;
mod origin;
mod payload;
mod power;
mod profile;
mod reach;
mod roots;
mod session;
mod slots;
mod task;
mod tls;
mod view;
mod walk;
mod wire;
mod work;

pub use address::{BmcAddress, Credentials, Fingerprint, NotAFingerprint, Password, TlsTrust};
pub use bmc::{Bmc, Evidence, HttpBoot, Look, Power, Probe, Slot, SlotId};
pub use certificate::Certificate;
pub use classify::Kind as RefusalKind;
pub use client::RedfishBmc;
pub use error::BmcError;
pub use events::{Scanner, Signs};
pub use gate::{CircuitState, Entry, Gates, Limits, Rules, Standing};
pub use profile::{Known, Profile, ProfileError, Profiles, Waits};
pub use reach::Judge;
pub use tls::{fetch_fingerprint, look_at_certificate};
pub use walk::Walks;
