//! The OCI Distribution Specification 1.1, clause by clause, over real HTTP: one test, or one row of a table, for each.
//!
//! Every test names its clause by the specification's own endpoint ids (`end-4a`, …), with what is demanded there: MUST,
//! SHOULD or MAY. The folder is grouped as the specification is: pull, push, content discovery, content management,
//! then what holds for all (error codes, HTTP manners), then what no URL may reach.

#![allow(clippy::unwrap_used)] // the helpers of tests, too

#[path = "../registry_support/mod.rs"]
mod registry_support;
mod support;

mod bent;
mod catalog;
mod errors;
mod http;
mod management;
mod manifest_kinds;
mod pull;
mod push_chunked;
mod push_manifest;
mod push_monolithic;
mod push_mount;
mod ranges;
mod referrers;
mod tags;
mod urls;
