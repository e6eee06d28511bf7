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
mod directory;
mod inspect;
mod iso;
mod library;
mod meter;
mod network;
mod object;
mod overlay;
mod packed;
mod range;
mod respond;
mod serve;
mod shelf;
mod sign;
mod task;
mod trial;
mod url;

pub use contents::{ContentsError, TaskInputs};
pub use directory::{DirectoryError, Extent};
pub use inspect::{InspectError, Inspection, inspect};
pub use iso::IsoError;
pub use library::{LibraryError, MaintenanceMedium};
pub use meter::Reading;
pub use network::NetworkError;
pub use object::Object;
pub use overlay::{Overlay, OverlayError, Run};
pub use serve::{Clock, FileBody, MediumBody, serve};
pub use shelf::{Opened, Shelf, ShelfError, ShelfLimits, Staged};
pub use sign::{TrustError, manifest_of, trust_block};
pub use task::{MediumError, TaskMedium};
pub use url::{MediumFile, TOKEN_LEN, URL_MAX};
