//! What a BMC powers, behind [`Backend`]: `sim` (a [`host::Host`] or nobody) and `qemu` (a real machine).
//! Backends know boots and media; they know neither Redfish nor when to boot from what.

pub mod host;
pub mod qemu;
pub(crate) mod sim;

use async_trait::async_trait;
use tokio::sync::mpsc;

use host::Boot;

/// How a boot came to its end, told by the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestEnd {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest restarted itself.
    Restarted,
    /// The machine broke; the text says how.
    Died(String),
}

/// One end of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Number of the boot that ended.
    pub boot: u64,
    /// How.
    pub how: GuestEnd,
}

/// Where backends tell ends of boots.
pub(crate) type EndSender = mpsc::UnboundedSender<Ended>;

/// A machine that can be powered. Every method has a deadline of its own.
#[async_trait]
pub(crate) trait Backend: Send {
    /// Applies power. The machine is off before.
    async fn start(&mut self, boot: &Boot) -> Result<(), BackendError>;
    /// Cuts power and returns when it is off. Harmless when it is off.
    async fn stop(&mut self) -> Result<(), BackendError>;
    /// Presses the power button of a running machine; a guest that listens ends with `PoweredOff`.
    async fn press_button(&mut self) -> Result<(), BackendError>;
    /// Puts a disc into a drive of a running machine.
    async fn insert(&mut self, slot: usize, url: &str) -> Result<(), BackendError>;
    /// Takes the disc out of a drive of a running machine, even when the guest holds it.
    async fn eject(&mut self, slot: usize) -> Result<(), BackendError>;
    /// Forgets what the firmware remembers. The machine is off.
    async fn wipe_nvram(&mut self) -> Result<(), BackendError>;
}

/// Why a backend could not do it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A program or file is absent.
    #[error("{path} is missing: install the Debian package {package}")]
    Missing {
        /// What was looked for.
        path: String,
        /// Debian package that has it.
        package: &'static str,
    },
    /// A file of the machine could not be used.
    #[error("{doing} {path}")]
    File {
        /// What was tried, as a verb with -ing.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program could not be run or said no.
    #[error("{program} ended with {status}: {stderr}")]
    Program {
        /// Program name.
        program: String,
        /// Exit status.
        status: String,
        /// End of what it wrote.
        stderr: String,
    },
    /// QMP said no.
    #[error("QMP command {command} was refused: {reason}")]
    Qmp {
        /// Command.
        command: String,
        /// QEMU's words.
        reason: String,
    },
    /// Nothing came in time.
    #[error("no answer to {what} within {seconds} s")]
    Late {
        /// What was asked.
        what: String,
        /// Deadline.
        seconds: u64,
    },
    /// The firmware variables are not what they should be.
    #[error("firmware variables in {path}: {reason}; wipe the NVRAM to start from the template")]
    Vars {
        /// VARS file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such drive.
    #[error("machine has no drive {0}")]
    NoDrive(usize),
    /// An injected fault.
    #[error("the machine does not start because a fault was injected")]
    Injected,
}
