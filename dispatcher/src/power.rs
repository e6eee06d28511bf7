//! The machine's off switch.

use std::time::Duration;

use crate::programs::{Processes, ProgramError, Programs};

/// The edge: buffers and power.
pub trait Power: Send + Sync {
    /// Writes everything out to the disks.
    fn sync(&self);
    /// Powers the machine off in good order.
    fn off(&self) -> Result<(), ProgramError>;
}

/// For systemd to take the order; carrying it out is its own business.
const ORDER_DEADLINE: Duration = Duration::from_secs(30);

/// This machine.
pub struct Machine;

impl Power for Machine {
    fn sync(&self) {
        nix::unistd::sync();
    }

    fn off(&self) -> Result<(), ProgramError> {
        Processes.run("systemctl", &["--no-block", "poweroff"], ORDER_DEADLINE)?.ok("systemctl").map(drop)
    }
}
