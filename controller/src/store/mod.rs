//! What must survive a crash, behind one trait of small methods, each of which is one transaction.
//!
//! ```text
//!   workflow ── apply(job, version, Change) ──▶ job row + timeline + outbox + delivery id + machine, all or nothing
//!   api      ── reads, machines, tokens, audit ─▶
//! ```
//! It is not a place for rules: which state follows which is model/'s, who may call is api/'s. Methods are
//! synchronous and may block on the disk: async callers go through [`on`].

pub mod error;
mod seal;
pub mod sqlite;
mod words;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use error::StoreError;
pub use seal::{SealError, Sealer};
pub use sqlite::SqliteStore;
pub use words::{
    Added, Applied, Change, Created, DeliveryResult, HostLog, Idempotency, JobFilter, MachineFilter, NewJob,
    Page, PushRunEnd, Removed, RuleAdded, RuleSecrets, Updated,
};

use crate::model::{
    ApiToken, AuditEntry, Callback, CallbackId, Capability, Delivery, Event, Family, Inputs, Job, JobId,
    Lease, Lifecycle, Live, Machine, MachineId, NewEvent, PushMode, PushRule, PushRuleId, PushRun, Secret,
    Seen, TokenId, capability::Feature,
};

/// Shorthand for what every method answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Durable memory. When a method has answered, its effect survives power loss.
pub trait Store: Send + Sync + 'static {
    // --- jobs

    /// Creates a job, unless its machine has one that is not released, or its idempotency key was used.
    fn create_job(&self, new: NewJob) -> Result<Created>;
    /// The job under an idempotency key, with the SHA-256 of the body it was made from.
    fn idempotent_job(&self, key: &str) -> Result<Option<(JobId, String)>>;
    /// One job.
    fn job(&self, id: &JobId) -> Result<Option<Job>>;
    /// What its task medium is made of; none once erased.
    fn inputs(&self, id: &JobId) -> Result<Option<Inputs>>;
    /// What signs callbacks to the job's own `callback_url`; none without one, or once erased.
    fn job_callback_secret(&self, id: &JobId) -> Result<Option<Secret<String>>>;
    /// Jobs, newest first.
    fn jobs(&self, filter: &JobFilter) -> Result<Page<Job>>;
    /// Every job that is not released, oldest first.
    fn open_jobs(&self) -> Result<Vec<Job>>;
    /// The job of a machine that is not released.
    fn active_job(&self, machine: &MachineId) -> Result<Option<JobId>>;
    /// The job that repeats `id`, if one was made.
    fn retry_of(&self, id: &JobId) -> Result<Option<JobId>>;
    /// Writes a changed job and everything that belongs to the change, if the job still has `expected_version`.
    fn apply(&self, id: &JobId, expected_version: u64, change: Change) -> Result<Applied>;
    /// Whether a report with this id was already taken in.
    fn delivery_seen(&self, id: &JobId, delivery_id: &str) -> Result<bool>;
    /// Takes or renews the lease of a job. None: another owner holds it and `now` is before its expiry.
    /// A change of owner raises the fencing number; a renewal keeps it.
    fn take_lease(
        &self,
        id: &JobId,
        owner: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<Lease>>;
    /// Renews every lease of `owner` on jobs that are not released; answers which those are.
    fn renew_leases(&self, owner: &str, expires_at: Timestamp) -> Result<Vec<JobId>>;
    /// Keeps the latest of what lives in memory, of all these jobs at once. No new version.
    fn flush_live(&self, lives: &[(JobId, Live)]) -> Result<()>;
    /// The last flushed of what lives in memory.
    fn live(&self, id: &JobId) -> Result<Option<Live>>;
    /// Erases what is sealed of jobs released before `before`; answers how many.
    fn erase_inputs(&self, before: Timestamp) -> Result<u64>;

    // --- timeline

    /// Adds events that change no job (alarms, evidence); answers their numbers.
    fn add_events(
        &self,
        job: Option<&JobId>,
        machine: Option<&MachineId>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<i64>>;
    /// Events of a job after a number, oldest first.
    fn events_after(&self, job: &JobId, after: i64, limit: u32) -> Result<Vec<Event>>;
    /// Events of a machine (its jobs' too) after a number, oldest first.
    fn machine_events_after(&self, machine: &MachineId, after: i64, limit: u32) -> Result<Vec<Event>>;
    /// Keeps a piece of a host's log; the same piece again is no change.
    fn append_log(&self, log: HostLog) -> Result<()>;
    /// The pieces of a job's logs in order of arrival.
    fn logs(&self, job: &JobId) -> Result<Vec<HostLog>>;

    // --- machines

    /// Adds a machine, unless its serial is taken.
    fn add_machine(&self, machine: Machine, password: Secret<String>) -> Result<Added>;
    /// Writes a changed machine, if it still has `machine.version`; a password replaces the old one. Its
    /// lifecycle is left as it is: only [`Store::set_lifecycle`] and [`Store::apply`] change it.
    fn update_machine(&self, machine: Machine, password: Option<Secret<String>>) -> Result<Updated>;
    /// Removes a machine that no open job has.
    fn remove_machine(&self, id: &MachineId) -> Result<Removed>;
    /// One machine.
    fn machine(&self, id: &MachineId) -> Result<Option<Machine>>;
    /// One machine, by serial (trimmed, without case).
    fn machine_by_serial(&self, serial: &str) -> Result<Option<Machine>>;
    /// Machines by serial.
    fn machines(&self, filter: &MachineFilter) -> Result<Page<Machine>>;
    /// The BMC's password.
    fn machine_password(&self, id: &MachineId) -> Result<Option<Secret<String>>>;
    /// Sets whether a machine may be written to, with an event that says why.
    fn set_lifecycle(&self, id: &MachineId, lifecycle: Lifecycle, event: NewEvent) -> Result<bool>;

    // --- kinds of BMCs

    /// The kind of BMC that a machine was last seen to have.
    fn family(&self, machine: &MachineId) -> Result<Option<Family>>;
    /// Keeps which kind a machine's BMC is.
    fn set_family(&self, machine: &MachineId, family: &Family) -> Result<()>;
    /// What was learnt of a kind.
    fn capability(&self, family: &Family) -> Result<Option<Capability>>;
    /// Adds to what is known of a kind; the same result again is no change.
    fn learn(&self, family: &Family, what: Feature, seen: Seen) -> Result<()>;
    /// Forgets what is known of a kind; false when nothing was.
    fn forget_capability(&self, family: &Family) -> Result<bool>;

    // --- access

    /// Keeps a token under the SHA-256 of its secret.
    fn add_token(&self, token: ApiToken, sha256: [u8; 32]) -> Result<()>;
    /// The token whose secret has this SHA-256, if it is at hand without waiting; as it is in the store now.
    fn known_token(&self, sha256: [u8; 32]) -> Option<ApiToken>;
    /// The token whose secret has this SHA-256.
    fn token_by_hash(&self, sha256: [u8; 32]) -> Result<Option<ApiToken>>;
    /// Every token.
    fn tokens(&self) -> Result<Vec<ApiToken>>;
    /// Kills a token; false when there is none.
    fn revoke_token(&self, id: &TokenId, at: Timestamp) -> Result<bool>;
    /// Adds a line to the audit log.
    fn audit(&self, entry: AuditEntry) -> Result<()>;
    /// Lines of the audit log before a number, newest first.
    fn audit_log(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, AuditEntry)>>;

    // --- outgoing webhooks

    /// Keeps a subscription with its signing secrets (one, or two during rotation).
    fn put_callback(&self, callback: Callback, secrets: Vec<Secret<String>>) -> Result<()>;
    /// Every subscription.
    fn callbacks(&self) -> Result<Vec<Callback>>;
    /// The signing secrets of a subscription.
    fn callback_secrets(&self, id: &CallbackId) -> Result<Vec<Secret<String>>>;
    /// Removes a subscription and what was still to be sent to it.
    fn remove_callback(&self, id: &CallbackId) -> Result<bool>;
    /// Announces something to everyone who wants it, outside a job's change.
    fn announce(&self, at: Timestamp, what: crate::model::Announcement) -> Result<()>;
    /// What is due: of each subscriber and job only the oldest that is pending.
    fn due_deliveries(&self, now: Timestamp, limit: u32) -> Result<Vec<Delivery>>;
    /// When the next delivery is due; none when nothing is pending.
    fn next_delivery_at(&self) -> Result<Option<Timestamp>>;
    /// Records how an attempt went.
    fn settle_delivery(&self, seq: i64, result: DeliveryResult) -> Result<()>;
    /// Deliveries of a subscription before a number, newest first.
    fn deliveries(&self, id: &CallbackId, before: Option<i64>, limit: u32) -> Result<Vec<Delivery>>;
    /// Makes a dead or delivered one pending again; false when there is none.
    fn replay_delivery(&self, seq: i64, now: Timestamp) -> Result<bool>;

    // --- pushes to the registry

    /// Adds a rule, unless its name is taken or there are `most` already.
    fn add_push_rule(&self, rule: PushRule, secrets: RuleSecrets, most: usize) -> Result<RuleAdded>;
    /// Every rule, by name.
    fn push_rules(&self) -> Result<Vec<PushRule>>;
    /// One rule.
    fn push_rule(&self, name: &str) -> Result<Option<PushRule>>;
    /// What is sealed of a rule.
    fn push_rule_secrets(&self, id: &PushRuleId) -> Result<Option<RuleSecrets>>;
    /// Sets what a rule does from `at` on; the rule as it is now.
    fn set_push_mode(&self, name: &str, mode: PushMode, at: Timestamp) -> Result<Option<PushRule>>;
    /// Removes a rule with its runs; its jobs go on.
    fn remove_push_rule(&self, name: &str) -> Result<bool>;
    /// Keeps a run that begins, unless its rule has one of that push already; the one that is kept.
    fn begin_push_run(&self, run: PushRun) -> Result<PushRun>;
    /// Keeps how a run ended, puts it on record, and announces it to subscribers and to the rule's own `callback_url`.
    fn end_push_run(&self, end: PushRunEnd) -> Result<()>;
    /// Runs of a rule before a number, newest first.
    fn push_runs(&self, rule: &PushRuleId, before: Option<i64>, limit: u32) -> Result<Vec<(i64, PushRun)>>;

    // --- health

    /// Proves that reading and writing work.
    fn check(&self) -> Result<()>;
}

/// Calls under way at once. A store has one writer and few readers: more threads only wait for them, and each costs
/// memory of its own.
static CALLS: Semaphore = Semaphore::const_new(8);

/// Runs a store call where blocking is allowed. Once begun it comes to its end, whoever waits for it.
pub async fn on<T, F>(store: &Arc<dyn Store>, call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T> + Send + 'static,
{
    within(&CALLS, store, call).await
}

/// Reads under way at once for people who wait for an answer.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// The same for a read that somebody waits for. It has a lane of its own: a thousand jobs that write would otherwise
/// all go before it, and readers do not wait for the writer.
pub async fn look<T, F>(store: &Arc<dyn Store>, call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T> + Send + 'static,
{
    within(&LOOKS, store, call).await
}

/// Calls under way at once that may write, for people who wait for an answer.
static ASKS: Semaphore = Semaphore::const_new(4);

/// The same for a call that somebody waits for and that may write. It waits for the writer, but not behind everything that
/// a thousand jobs have to write: a submission makes several of these.
pub async fn asked<T, F>(store: &Arc<dyn Store>, call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T> + Send + 'static,
{
    within(&ASKS, store, call).await
}

async fn within<T, F>(lane: &'static Semaphore, store: &Arc<dyn Store>, call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T> + Send + 'static,
{
    let store = Arc::clone(store);
    let permit = lane.acquire().await; // never closed
    let called = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        call(store.as_ref())
    });
    match called.await {
        Ok(answer) => answer,
        Err(source) => Err(StoreError::Interrupted { source }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_an_answer_does_not_wait_for_what_jobs_have_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("slipway.db"), Sealer::new(&[7; 32])).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let busy = CALLS.acquire_many(8).await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(50), on(&store, Store::check)).await;
        assert!(waits.is_err(), "a job's call went past all others");
        look(&store, Store::next_delivery_at).await.unwrap();
        asked(&store, Store::check).await.unwrap();
        drop(busy);
        on(&store, Store::check).await.unwrap();
    }
}
