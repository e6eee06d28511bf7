//! The main job on simulated machines: every path that needs no real firmware, in seconds, through the real
//! controller, store, registry, media and Redfish client. One binary, because each links the whole product.
#![allow(clippy::type_complexity)] // tables of a name and what to do
#![allow(clippy::unwrap_used)] // a test that cannot go on ends

mod cancelling;
mod failing;
mod installing;
mod killing;
mod many;
mod misbehaving;
mod occupied;
mod overdue;
mod probing;
mod refusing;
mod reporting;
mod secrets;
mod support;
mod telling;
mod waking;
