//! Media: what a machine's virtual drives read. Builds the task medium of a job, keeps the one maintenance
//! medium, lays a site's bytes over it at read time, and answers the BMC's range requests.
//!
//! It is not a store (what is on a medium is a pure function of inputs the store holds), it never talks to a
//! BMC, and it does not know why a job is where it is.
//!
//! ```text
//!  TaskInputs ─▶ contents ─▶ sign ─▶ iso ─▶ TaskMedium ─┐
//!                                                       ├─▶ shelf ─▶ serve ◀── GET /m/<26 characters>/task.iso
//!  maintenance.iso ─▶ library ─▶ overlay(trust, task) ──┘     ▲
//!                                                             └── url (who may read what, as a name)
//! ```

mod contents;
mod iso;
mod network;
mod sign;
mod task;

pub use contents::{ContentsError, TaskInputs};
pub use iso::IsoError;
pub use network::NetworkError;
pub use sign::{TrustError, manifest_of, trust_block};
pub use task::{MediumError, TaskMedium};
