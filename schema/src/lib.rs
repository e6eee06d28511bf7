//! The contract of Slipway, and nothing else: what a recipe may say, how a disk layout is solved, what
//! travels on a task medium, and what a host reports. Controller, dispatcher and tools all speak these
//! words; this crate depends on none of them and does no I/O.
//!
//! ```text
//!   recipe.json ──▶ validate::recipe ──▶ Recipe ──▶ layout::solve ──▶ Solved partitions
//!                     │ every fault at once
//!                     ▼
//!                  Refusal { faults }
//! ```

pub mod event;
pub mod explain;
pub mod identity;
pub mod layout;
pub mod payload;
pub mod recipe;
pub mod reference;
pub mod shown;
pub mod size;
mod strictly;
pub mod target;
pub mod task;
pub mod validate;
