//! The configuration, in three types: what was written ([`Fragment`], one per source), what results from all
//! sources ([`Fragment::over`]), and what can be run ([`Config`]). Reading the environment happens here alone.
//!
//! ```text
//! built-in values < slipway.toml < SLIPWAY_… < flags   ─▶ one Fragment ─▶ Config::check ─▶ Config
//! ```

mod bmc;
mod checked;
mod fragment;
mod immutable;
mod quota;
mod retention;

pub use bmc::BmcTraffic;
pub use checked::{Config, ConfigError, LogFormat, Logging, Prefix};
pub use fragment::{FileError, Fragment};
pub use retention::Retention;
