//! Rules about pushes, as described.
#![allow(dead_code)] // described, never made

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// What a rule does.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum PushMode {
    Off,
    DryRun,
    On,
}

/// What a new rule does; `dry_run` when nobody says.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NewPushMode {
    Off,
    DryRun,
}

/// Which machines: those with all of the labels and, where serials are named, with one of these. One of both is needed.
#[derive(ToSchema)]
pub struct MachineSelector {
    labels: Option<BTreeMap<String, String>>,
    serials: Option<Vec<String>>,
}

/// A rule to be made.
#[derive(ToSchema)]
pub struct PushRuleInput {
    /// 1 to 63 lower-case letters, digits, dashes, dots and underscores.
    name: String,
    /// Repositories, such as `images/*`; `*` stands for anything.
    repository: String,
    /// Tags, such as `v*`. Default: all.
    tag: Option<String>,
    /// A recipe with the string `{{image}}` where it names its image.
    #[schema(value_type = Object, write_only)]
    recipe: serde_json::Value,
    #[schema(inline)]
    machines: MachineSelector,
    #[schema(inline)]
    mode: Option<NewPushMode>,
    /// Most machines of one push, 1 to 500; when there are more, none gets a job. Default 1.
    max_machines: Option<u32>,
    /// Overwrite machines that are in service.
    reinstall: Option<bool>,
    /// Where its runs and the events of its jobs are sent, besides the site's callbacks.
    callback_url: Option<String>,
    /// What signs them: `whsec_` and 24 to 64 bytes in base64. Without it one is made and shown in the answer.
    #[schema(write_only)]
    callback_secret: Option<String>,
}

/// A rule.
#[derive(ToSchema)]
pub struct PushRule {
    name: String,
    repository: String,
    tag: String,
    #[schema(inline)]
    machines: MachineSelector,
    max_machines: u32,
    reinstall: bool,
    #[schema(inline)]
    mode: PushMode,
    /// Pushes before this start nothing.
    #[schema(format = DateTime)]
    mode_since: String,
    /// The target that its recipe names.
    task_target: String,
    /// SHA-256 of its recipe as it was given, hex.
    recipe_sha256: String,
    callback_url: Option<String>,
    /// What signs its callbacks, if it was made here: only in the answer that makes the rule.
    #[schema(read_only)]
    callback_secret: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Name of the token that made it.
    created_by: String,
}

/// Every rule.
#[derive(ToSchema)]
pub struct PushRuleList {
    push_rules: Vec<PushRule>,
}

/// What it shall do.
#[derive(ToSchema)]
pub struct PushModeInput {
    #[schema(inline)]
    mode: PushMode,
}

/// A tag that the registry has.
#[derive(ToSchema)]
pub struct PushTryInput {
    repository: String,
    tag: String,
}

/// A tag that was made or moved.
#[derive(ToSchema)]
pub struct Push {
    repository: String,
    tag: String,
    digest: String,
    /// Who pushed.
    by: String,
    #[schema(format = DateTime)]
    at: String,
}

/// Why nothing was done at all.
#[derive(ToSchema)]
pub struct Why {
    /// Stable code, such as `push_rule.too_many_machines`.
    code: String,
    message: String,
}

/// What became of a machine.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum PushOutcome {
    Pending,
    Accepted,
    WouldAccept,
    Refused,
}

/// A machine that the rule picked.
#[derive(ToSchema)]
pub struct PushMachine {
    serial: String,
    #[schema(inline)]
    outcome: PushOutcome,
    /// Of `accepted`.
    #[schema(format = "uuid", nullable = false)]
    job_id: Option<String>,
    /// Of `would_accept`: whether the job would write to disks.
    #[schema(nullable = false)]
    destructive: Option<bool>,
    /// Of `would_accept`: what its BMC said that would make the job fail.
    #[schema(nullable = false)]
    problems: Option<Vec<String>>,
    /// Of `refused`: the code that a submission of this job would be refused with.
    #[schema(nullable = false)]
    code: Option<String>,
    /// Of `refused`: in words.
    #[schema(nullable = false)]
    message: Option<String>,
}

/// What came of one push by one rule.
#[derive(ToSchema)]
pub struct PushRun {
    /// Grows with every run; absent of a trial.
    #[schema(nullable = false)]
    seq: Option<i64>,
    rule: String,
    #[schema(inline)]
    mode: PushMode,
    #[schema(inline)]
    push: Push,
    #[schema(format = DateTime)]
    started_at: String,
    /// Absent while it is under way.
    #[schema(format = DateTime, nullable = false)]
    ended_at: Option<String>,
    #[schema(inline, nullable = false)]
    refused: Option<Why>,
    machines: Vec<PushMachine>,
}

/// Runs, newest first.
#[derive(ToSchema)]
pub struct PushRunList {
    runs: Vec<PushRun>,
}
