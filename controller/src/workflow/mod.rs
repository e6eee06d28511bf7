//! The only writer of a job's state. Handlers, webhooks and the CLI record an intent here and nudge; one driver
//! task per job does the rest.
//!
//! ```text
//!   accept ─▶ Store ─▶ driver task ─▶ Bmcs, Shelf ─▶ Store.apply(job, version, change) ─▶ subscribers, outbox
//!   report, cancel, retry, release ──────────────────▲ (same door, same versions)
//! ```
//! It is not a client of Redfish, of the registry or of the media server: those hide behind [`Bmcs`], [`Images`]
//! and [`Shelf`]. Time comes from [`Clock`]. HTTP statuses are chosen elsewhere, from the errors' stable codes.

mod clock;
mod edges;
mod settings;

pub use clock::{Clock, FakeClock, SystemClock};
pub use edges::{Bmcs, EdgeError, Images, LastRead, Shelf, Urls};
pub use settings::{Settings, SiteKeys};
