//! The steps that run on the host, each in its own container: `preflight`, `partition`, `image-linux`,
//! `bootloader-linux`, `config-drive`. One program, one subcommand per step, named as its unit.
//!
//! ```text
//!   /run/provision ─▶ Handoff ─┐
//!   lsblk, /sys    ─▶ facts   ─┼─▶ plan() ─▶ Plan ─▶ Runner ─▶ disk
//!   registry       ─▶ manifest ┘   (pure)     └─▶ --plan: a shell transcript
//! ```
//! Programs stay programs (`sgdisk`, `mkfs.*`, `grub-install`): we build their arguments and read their output.

pub mod blkid;
pub mod bootloader;
pub mod cli;
pub mod config_drive;
pub mod disk;
pub mod handoff;
pub mod hardware;
pub mod ids;
pub mod image;
pub mod lsblk;
pub mod manifest;
pub mod partition;
pub mod plan;
pub mod preflight;
pub mod process;
pub mod progress;
pub mod registry;
pub mod runner;
pub mod target;

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod testing;
