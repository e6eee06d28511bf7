//! Tokens and callbacks, as described.
#![allow(dead_code)] // described, never made

use utoipa::ToSchema;

/// What a token may do; each role may do what the ones before it may.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

/// What a token may do in the registry beyond its role.
#[derive(ToSchema)]
pub struct RegistryScope {
    /// Repositories at or below this path; empty means all.
    prefix: String,
    pull: Option<bool>,
    push: Option<bool>,
    delete: Option<bool>,
}

/// An API token.
#[derive(ToSchema)]
pub struct Token {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    #[schema(inline)]
    role: Role,
    scopes: Vec<RegistryScope>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// Shown once, in the answer that makes it.
    secret: Option<String>,
}

/// Every token.
#[derive(ToSchema)]
pub struct TokenList {
    tokens: Vec<Token>,
}

/// A subscription.
#[derive(ToSchema)]
pub struct Callback {
    #[schema(format = "uuid")]
    id: String,
    url: String,
    /// Kinds it wants; empty: everything.
    kinds: Vec<String>,
    /// Paused when false.
    enabled: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// `whsec_…`; shown once, in the answer that makes or rotates it.
    secret: Option<String>,
}

/// Every subscription.
#[derive(ToSchema)]
pub struct CallbackList {
    callbacks: Vec<Callback>,
}

/// What came of a trial.
#[derive(ToSchema)]
pub struct Trial {
    /// The receiver said 2xx.
    delivered: bool,
    /// What it answered.
    status: Option<u16>,
    /// Why there was no answer.
    error: Option<String>,
}

/// How a delivery stands.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum DeliveryState {
    Pending,
    Delivered,
    Dead,
}

/// One telling to one subscriber.
#[derive(ToSchema)]
pub struct Delivery {
    seq: i64,
    /// The same on every attempt, so that the receiver can drop repeats.
    webhook_id: String,
    #[schema(format = "uuid")]
    callback_id: Option<String>,
    url: String,
    #[schema(format = "uuid")]
    job_id: Option<String>,
    kind: String,
    /// Exactly as it is sent and signed.
    body: String,
    #[schema(inline)]
    state: DeliveryState,
    /// Attempts so far.
    attempts: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    next_at: String,
    /// What the last attempt met.
    last_error: Option<String>,
}

/// Deliveries, newest first.
#[derive(ToSchema)]
pub struct DeliveryList {
    deliveries: Vec<Delivery>,
}
