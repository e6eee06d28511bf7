//! Holds what the mock BMC answers and what the controller asks against the Redfish schema 2023.1, by the models
//! that redfish-codegen made of it. A crate of its own, since compiling those takes 2.5 GB of memory: plain builds
//! leave it out, `cargo xtask test` switches the feature `models` on.
//!
//! ```text
//!   answer ──▶ @odata.type ──▶ model ─┐
//!                                     ├─▶ parse, write again, compare: nothing may be refused, lost or changed
//!   request ─▶ method, path ─▶ model ─┘
//! ```
//!
//! Two things the models cannot see are left to DMTF's own validators (feature `validators`): what is `null`, and
//! whether what is required is there.

#[cfg(feature = "models")]
pub mod answer;
#[cfg(feature = "models")]
pub mod request;
#[cfg(feature = "models")]
mod round_trip;

#[cfg(feature = "models")]
pub use round_trip::Fault;
