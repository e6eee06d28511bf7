//! A job from POST to login prompt, with the product's real parts.
//!
//! [`sim`] runs the real controller in this process against machines that exist in memory only: seconds for what
//! takes a real machine an hour. The whole-machine tests beside it boot real firmware.

pub mod process;
pub mod sim;
pub mod sushy;
