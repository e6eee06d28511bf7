//! The registry's upkeep, as described.
#![allow(dead_code)] // described, never made

use utoipa::ToSchema;

/// What one repository holds.
#[derive(ToSchema)]
pub struct Usage {
    repository: String,
    tags: u64,
    /// Tagged or not.
    manifests: u64,
    /// Shared ones included.
    blobs: u64,
    /// Of its blobs and manifests; content shared with other repositories counts in each.
    bytes: u64,
    /// When something of it was pulled last; null for never. A crash forgets the last minute.
    #[schema(format = DateTime, required)]
    pulled_at: Option<String>,
}

/// A quota as it stands.
#[derive(ToSchema)]
pub struct QuotaUse {
    /// `team` is `team` and `team/app`, not `teamwork`; empty for all repositories.
    namespace: String,
    /// Most bytes.
    size: u64,
    /// Bytes that its repositories show; a push that would make it more than `size` is refused.
    used: u64,
}

/// Repositories by name.
#[derive(ToSchema)]
pub struct UsagePage {
    repositories: Vec<Usage>,
    /// All of them, on every page.
    quotas: Vec<QuotaUse>,
    /// Give it as `after` for the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// What the registry takes.
#[derive(ToSchema)]
pub struct RegistryMode {
    /// Pushes and deletions are refused; pulls go on.
    read_only: bool,
    /// Why.
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = DateTime, nullable = false)]
    since: Option<String>,
    /// Name of the token that switched it.
    #[schema(nullable = false)]
    by: Option<String>,
}

/// What the registry shall take.
#[derive(ToSchema)]
pub struct RegistryModeInput {
    read_only: bool,
    /// One line for whoever is refused, with `read_only` alone.
    #[schema(max_length = 300)]
    reason: Option<String>,
}

/// What to do.
#[derive(ToSchema)]
pub struct CollectionInput {
    /// Change nothing, and say what would go. Default false.
    dry_run: Option<bool>,
}

/// A collection that has ended. With `error` it broke off, and nothing else is said.
#[derive(ToSchema)]
pub struct Collection {
    #[schema(format = DateTime)]
    finished_at: String,
    /// Why it broke off.
    #[schema(nullable = false)]
    error: Option<String>,
    /// Nothing was changed.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    /// Tags that no rule keeps.
    #[schema(nullable = false)]
    tags: Option<u64>,
    /// Manifests that no rule keeps.
    #[schema(nullable = false)]
    manifests: Option<u64>,
    /// Blobs that left a repository.
    #[schema(nullable = false)]
    unlinked: Option<u64>,
    /// Files removed.
    #[schema(nullable = false)]
    files: Option<u64>,
    /// Their bytes.
    #[schema(nullable = false)]
    bytes: Option<u64>,
    /// Files that nobody holds and whose grace has not passed.
    #[schema(nullable = false)]
    waiting: Option<u64>,
    /// Their bytes.
    #[schema(nullable = false)]
    waiting_bytes: Option<u64>,
    /// It was stopped before its end.
    #[schema(nullable = false)]
    stopped: Option<bool>,
}

/// The collection now.
#[derive(ToSchema)]
pub struct CollectionState {
    running: bool,
    /// The last one; null before the first.
    #[schema(required)]
    last: Option<Collection>,
}

/// What is wrong with some content.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Damage {
    Corrupt,
    Missing,
}

/// Something found. Push the content again to heal it.
#[derive(ToSchema)]
pub struct Finding {
    digest: String,
    #[schema(inline)]
    damage: Damage,
    /// Some of the repositories that need it.
    repositories: Vec<String>,
}

/// A verification that has ended. With `error` it broke off, and nothing else is said.
#[derive(ToSchema)]
pub struct Verification {
    #[schema(format = DateTime)]
    finished_at: String,
    /// Why it broke off.
    #[schema(nullable = false)]
    error: Option<String>,
    /// Files hashed.
    #[schema(nullable = false)]
    files: Option<u64>,
    /// Their bytes.
    #[schema(nullable = false)]
    bytes: Option<u64>,
    /// Files that were not what they should be; they are in the folder `quarantine` now.
    #[schema(nullable = false)]
    corrupt: Option<u64>,
    /// Names without a file.
    #[schema(nullable = false)]
    missing: Option<u64>,
    /// At most a thousand.
    #[schema(nullable = false)]
    findings: Option<Vec<Finding>>,
    /// It was stopped before its end.
    #[schema(nullable = false)]
    stopped: Option<bool>,
}

/// The verification now.
#[derive(ToSchema)]
pub struct VerificationState {
    running: bool,
    /// The last one; null before the first.
    #[schema(required)]
    last: Option<Verification>,
}
