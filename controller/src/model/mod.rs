//! The nouns of the controller and their rules. Pure: no sockets, no files, no clock; time comes in as a value.
//!
//! ```text
//!   Machine ◀── Job ──▶ Inputs (sealed: what its task medium is made of)
//!                │
//!                └── JobState::next(Input) ── the only way from one state to another
//! ```
//!
//! It is not the database's shape (store/) and not the API's (api/): both translate.

pub mod access;
pub mod callback;
pub mod capability;
pub mod event;
pub mod id;
pub mod job;
pub mod machine;
pub mod push;
pub mod push_run;
pub mod secret;
pub mod state;
pub mod template;
pub mod timing;
pub mod transport;

pub use access::{ApiToken, AuditEntry, RegistryScope, Role};
pub use callback::{Announcement, Callback, Delivery, DeliveryState};
pub use capability::{Capability, Family, Seen};
pub use event::{Event, NewEvent, Source};
pub use id::{CallbackId, JobId, MachineId, PushRuleId, TokenId};
pub use job::{
    HeldMedium, Inputs, Job, Lease, Live, PinnedImage, ResolvedImage, StepRecord, StepStatus, Wait,
};
pub use machine::{Bmc, BmcTls, Lifecycle, Machine};
pub use push::{MachineSelector, NamePattern, NotAPattern, Push, PushMode, PushRule};
pub use push_run::{Fate, Picked, PushRun, Why};
pub use secret::Secret;
pub use state::{Ending, Failure, Illegal, Input, JobState, Outcome, Phase, Status};
pub use timing::{Deadlines, Overrides};
pub use transport::{Chosen, Transport, TransportSetting};
