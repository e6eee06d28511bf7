//! The truth: a real controller process, real firmware, a real maintenance OS, a real disk. One virtual machine at
//! a time, since each takes both cores of a small host. Run by `cargo xtask test`, which builds what they boot.

#![allow(clippy::print_stdout)] // a run takes minutes: it says where it stands

mod boots;
mod disk;
mod failures;
mod install;
mod killing;
mod layers;
mod machine;
mod site;
