//! What goes in and out, for the OpenAPI document: types that are only described, never made. Handlers answer with
//! the model's own values; `tests/api_document.rs` holds every answer against these descriptions, in both directions,
//! so that neither can drift.

mod access;
mod job;
mod machine;
mod push;
mod registry;
mod site;

pub use access::{Callback, CallbackList, DeliveryList, RegistryScope, Role, Token, TokenList, Trial};
pub use job::{EventList, Job, JobPage, LogList, Plan, Submission};
pub use machine::{
    BmcCertificate, BmcCertificateInput, Fitness, Machine, MachineInput, MachinePage, PinInput, PowerInput,
    PowerState,
};
pub use push::{PushModeInput, PushRule, PushRuleInput, PushRuleList, PushRun, PushRunList, PushTryInput};
pub use registry::{
    CollectionInput, CollectionState, RegistryMode, RegistryModeInput, UsagePage, VerificationState,
};
pub use site::Site;

use utoipa::ToSchema;

/// A refusal.
#[derive(ToSchema)]
#[allow(dead_code)] // described, never made
pub struct Refusal {
    /// Stable code for programs, such as `conflict.active_job`; it settles the status.
    error: String,
    /// One sentence for people that names the thing and the remedy.
    message: String,
    /// For programs: the faults of a recipe as `[{path, code, message}]`, or what the refusal is about.
    #[schema(value_type = Option<Object>)]
    details: Option<serde_json::Value>,
    /// The same as the header `x-request-id`, to find it in the controller's log.
    request_id: String,
}

/// A report of a host; `/schema/event` holds the whole contract.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub struct Report(#[allow(dead_code)] serde_json::Value);

/// Answer to a log.
#[derive(ToSchema)]
#[allow(dead_code)] // described, never made
pub struct LogAnswer {
    /// It is kept, or was kept already.
    received: bool,
}

/// Answer to a report: with `proceed` to `started`, with `received` to every other.
#[derive(ToSchema)]
#[allow(dead_code)] // described, never made
pub struct ReportAnswer {
    /// The host may go on.
    proceed: Option<bool>,
    /// Token for everything after.
    session_token: Option<String>,
    /// The report is durable, or was known already.
    received: Option<bool>,
    /// The job is over: the host shall power itself off.
    power_off: Option<bool>,
}
