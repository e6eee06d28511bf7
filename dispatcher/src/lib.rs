//! The first of ours to run on a host: finds the task medium, checks it, asks the controller for leave, hands the
//! recipe to systemd and follows. It partitions nothing and installs nothing: steps do, as units of systemd.
//!
//! ```text
//!   medium, verify ─▶ clock, network ─▶ identity, recipe, target ─▶ started? ─▶ handoff, overrides ─▶ systemd ─▶ follow
//!    (drives)          (networkd)        (DMI, image)               (controller)   (/run/provision)     (D-Bus)
//!
//!   units ─▶ report ─▶ controller ─▶ power off
//! ```
//!
//! Synchronous and static: one binary, no runtime of its own but what D-Bus needs. Every edge of the machine is a
//! trait with one real and one fake implementation; what is decided is decided in pure functions beside them.

pub mod args;
pub mod clock;
pub mod cmdline;
pub mod console;
pub mod controller;
pub mod courier;
pub mod debug_ssh;
pub mod delivery;
pub mod exit;
pub mod fault;
pub mod follow;
pub mod handoff;
pub mod identity;
pub mod manager;
pub mod medium;
pub mod mounts;
pub mod network;
pub mod overrides;
pub mod power;
pub mod programs;
pub mod progress;
pub mod report;
pub mod run;
pub mod start;
pub mod systemd;
pub mod targets;
pub mod verify;
pub mod volume;
