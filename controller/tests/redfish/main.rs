//! The BMC client against BMCs: an emulated rack that behaves and misbehaves, captured trees of real machines,
//! and small services that do what no BMC should.

#![allow(clippy::unwrap_used)] // the helpers of tests, too

mod faults;
mod http_boot;
mod makers;
mod manners;
mod order;
mod quirks;
mod sessions;
mod support;
mod tls;
mod trees;
mod trouble;
mod vendors;
