//! The store on one SQLite file: WAL, `synchronous=FULL`, one writer, a few readers.
//!
//! ```text
//!   write ─▶ Mutex<Connection> ─▶ BEGIN IMMEDIATE … COMMIT (fsync)
//!   read  ─▶ a connection from the shelf, or a new one
//! ```
//! A lock on `<file>.lock` keeps a second controller out, which makes leases of other owners leases of the dead.

mod access;
mod capabilities;
mod jobs;
mod known_tokens;
mod machines;
mod migrate;
mod outbox;
mod push_rules;
mod timeline;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    Added, Applied, Change, Created, DeliveryResult, HostLog, JobFilter, MachineFilter, NewJob, Page,
    PushRunEnd, Removed, Result, RuleAdded, RuleSecrets, Sealer, Store, StoreError, Updated,
};
use crate::model::{
    Announcement, ApiToken, AuditEntry, Callback, CallbackId, Capability, Delivery, Event, Family, Inputs,
    Job, JobId, Lease, Lifecycle, Live, Machine, MachineId, NewEvent, PushMode, PushRule, PushRuleId,
    PushRun, Secret, Seen, TokenId, capability::Feature,
};

/// Nobody else can have the file open, so leases of other owners are leases of the dead.
const OTHERS_ARE_DEAD: bool = true;
/// Readers kept open between calls. More may exist for a moment.
const READERS_KEPT: usize = 4;
/// How long a statement waits for a lock that another connection holds (checkpoints).
const BUSY: Duration = Duration::from_secs(5);

/// The store on one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    sealer: Sealer,
    known_tokens: known_tokens::KnownTokens,
    _lock: File,
}

impl SqliteStore {
    /// Opens or makes the file, and brings it to the newest schema.
    pub fn open(path: &Path, sealer: Sealer) -> Result<Self> {
        let shown = path.display().to_string();
        let fault = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            path: shown.clone(),
            source,
        };
        let lock = lock(path).map_err(|e| fault(Box::new(e)))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::InUse { path: shown }),
            Err(std::fs::TryLockError::Error(e)) => return Err(fault(Box::new(e))),
        }
        drop(private_file(path).map_err(|e| fault(Box::new(e)))?);
        let mut writer = Connection::open(path).map_err(|e| fault(Box::new(e)))?;
        tune(&writer).map_err(|e| fault(Box::new(e)))?;
        migrate::run(&mut writer, &shown)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            sealer,
            known_tokens: known_tokens::KnownTokens::default(),
            _lock: lock,
        })
    }

    fn write<T>(&self, what: &'static str, call: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(db(what))?;
        let answer = call(&tx)?; // an error drops the transaction, which rolls back
        tx.commit().map_err(db(what))?;
        Ok(answer)
    }

    fn read<T>(&self, what: &'static str, call: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = if let Some(connection) = kept {
            connection
        } else {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags).map_err(db(what))?;
            connection.busy_timeout(BUSY).map_err(db(what))?;
            keep_plans(&connection).map_err(db(what))?;
            connection
        };
        let answer = call(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        answer
    }
}

fn lock(path: &Path) -> std::io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    private_file(Path::new(&name))
}

/// The database holds sealed secrets and plain job facts: it is nobody else's to read. One that was open is closed.
fn private_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// A statement keeps its plan. Without this SQLite plans it anew whenever another value is bound, which costs ten times what
/// running it does.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    keep_plans(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A page image of an erased secret must not stay in the file.
    connection.pragma_update(None, "secure_delete", true)
}

/// Turns a database error into ours, keeping "disk full" apart.
fn db(what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { what },
        _ => StoreError::Database { what, source: Box::new(source) },
    }
}

fn to_doc<T: Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Document { what, source })
}

fn from_doc<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| StoreError::Document { what, source })
}

fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Store for SqliteStore {
    fn create_job(&self, new: NewJob) -> Result<Created> {
        self.write("creating a job", |tx| jobs::create(tx, &self.sealer, new))
    }
    fn idempotent_job(&self, key: &str) -> Result<Option<(JobId, String)>> {
        self.read("reading an idempotency key", |c| jobs::idempotent(c, key))
    }
    fn job(&self, id: &JobId) -> Result<Option<Job>> {
        self.read("reading a job", |c| jobs::one(c, id))
    }
    fn inputs(&self, id: &JobId) -> Result<Option<Inputs>> {
        self.read("reading a job's inputs", |c| jobs::inputs(c, &self.sealer, id))
    }
    fn job_callback_secret(&self, id: &JobId) -> Result<Option<Secret<String>>> {
        self.read("reading a job's callback secret", |c| jobs::callback_secret(c, &self.sealer, id))
    }
    fn jobs(&self, filter: &JobFilter) -> Result<Page<Job>> {
        self.read("listing jobs", |c| jobs::list(c, filter))
    }
    fn open_jobs(&self) -> Result<Vec<Job>> {
        self.read("listing open jobs", jobs::open)
    }
    fn active_job(&self, machine: &MachineId) -> Result<Option<JobId>> {
        self.read("reading a machine's job", |c| jobs::active(c, machine))
    }
    fn retry_of(&self, id: &JobId) -> Result<Option<JobId>> {
        self.read("reading a job's repetition", |c| jobs::retry_of(c, id))
    }
    fn apply(&self, id: &JobId, expected_version: u64, change: Change) -> Result<Applied> {
        self.write("changing a job", |tx| jobs::apply(tx, id, expected_version, change))
    }
    fn delivery_seen(&self, id: &JobId, delivery_id: &str) -> Result<bool> {
        self.read("reading a report's id", |c| jobs::delivery_seen(c, id, delivery_id))
    }
    fn take_lease(
        &self,
        id: &JobId,
        owner: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Option<Lease>> {
        self.write("taking a job's lease", |tx| {
            jobs::take_lease(tx, id, owner, now, expires, OTHERS_ARE_DEAD)
        })
    }
    fn renew_leases(&self, owner: &str, expires_at: Timestamp) -> Result<Vec<JobId>> {
        self.write("renewing leases", |tx| jobs::renew_leases(tx, owner, expires_at))
    }
    fn flush_live(&self, lives: &[(JobId, Live)]) -> Result<()> {
        self.write("keeping jobs' progress", |tx| {
            lives.iter().try_for_each(|(id, live)| jobs::flush_live(tx, id, live))
        })
    }
    fn live(&self, id: &JobId) -> Result<Option<Live>> {
        self.read("reading a job's progress", |c| jobs::live(c, id))
    }
    fn erase_inputs(&self, before: Timestamp) -> Result<u64> {
        self.write("erasing a job's inputs", |tx| jobs::erase_inputs(tx, before))
    }

    fn add_events(
        &self,
        job: Option<&JobId>,
        machine: Option<&MachineId>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<i64>> {
        self.write("adding events", |tx| timeline::add(tx, job, machine, &events))
    }
    fn events_after(&self, job: &JobId, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.read("reading events", |c| timeline::of_job(c, job, after, limit))
    }
    fn machine_events_after(&self, machine: &MachineId, after: i64, limit: u32) -> Result<Vec<Event>> {
        self.read("reading events", |c| timeline::of_machine(c, machine, after, limit))
    }
    fn append_log(&self, log: HostLog) -> Result<()> {
        self.write("keeping a host's log", |tx| timeline::append_log(tx, &log))
    }
    fn logs(&self, job: &JobId) -> Result<Vec<HostLog>> {
        self.read("reading a host's log", |c| timeline::logs(c, job))
    }

    fn add_machine(&self, machine: Machine, password: Secret<String>) -> Result<Added> {
        self.write("adding a machine", |tx| machines::add(tx, &self.sealer, &machine, &password))
    }
    fn update_machine(&self, machine: Machine, password: Option<Secret<String>>) -> Result<Updated> {
        self.write("changing a machine", |tx| machines::update(tx, &self.sealer, machine, password.as_ref()))
    }
    fn remove_machine(&self, id: &MachineId) -> Result<Removed> {
        self.write("removing a machine", |tx| machines::remove(tx, id))
    }
    fn machine(&self, id: &MachineId) -> Result<Option<Machine>> {
        self.read("reading a machine", |c| machines::one(c, id))
    }
    fn machine_by_serial(&self, serial: &str) -> Result<Option<Machine>> {
        self.read("reading a machine", |c| machines::by_serial(c, serial))
    }
    fn machines(&self, filter: &MachineFilter) -> Result<Page<Machine>> {
        self.read("listing machines", |c| machines::list(c, filter))
    }
    fn machine_password(&self, id: &MachineId) -> Result<Option<Secret<String>>> {
        self.read("reading a BMC's password", |c| machines::password(c, &self.sealer, id))
    }
    fn set_lifecycle(&self, id: &MachineId, lifecycle: Lifecycle, event: NewEvent) -> Result<bool> {
        self.write("changing a machine", |tx| {
            let known = machines::set_lifecycle(tx, id, lifecycle)?;
            if known {
                timeline::add(tx, None, Some(id), &[event])?;
            }
            Ok(known)
        })
    }

    fn family(&self, machine: &MachineId) -> Result<Option<Family>> {
        self.read("reading which BMC a machine has", |c| capabilities::family(c, machine))
    }
    fn set_family(&self, machine: &MachineId, family: &Family) -> Result<()> {
        self.write("keeping which BMC a machine has", |tx| capabilities::set_family(tx, machine, family))
    }
    fn capability(&self, family: &Family) -> Result<Option<Capability>> {
        self.read("reading what is known of a kind of BMC", |c| capabilities::one(c, family))
    }
    fn learn(&self, family: &Family, what: Feature, seen: Seen) -> Result<()> {
        self.write("keeping what was learnt of a kind of BMC", |tx| {
            capabilities::learn(tx, family, what, seen)
        })
    }
    fn forget_capability(&self, family: &Family) -> Result<bool> {
        self.write("forgetting what is known of a kind of BMC", |tx| capabilities::forget(tx, family))
    }

    fn add_token(&self, token: ApiToken, sha256: [u8; 32]) -> Result<()> {
        let done = self.write("adding a token", |tx| access::add(tx, &token, sha256));
        self.known_tokens.changed();
        done
    }
    fn known_token(&self, sha256: [u8; 32]) -> Option<ApiToken> {
        self.known_tokens.get(&sha256)
    }
    fn token_by_hash(&self, sha256: [u8; 32]) -> Result<Option<ApiToken>> {
        let version = self.known_tokens.version();
        let token = self.read("reading a token", |c| access::by_hash(c, sha256))?;
        if let Some(token) = &token {
            self.known_tokens.keep(version, sha256, token);
        }
        Ok(token)
    }
    fn tokens(&self) -> Result<Vec<ApiToken>> {
        self.read("listing tokens", access::all)
    }
    fn revoke_token(&self, id: &TokenId, at: Timestamp) -> Result<bool> {
        let done = self.write("revoking a token", |tx| access::revoke(tx, id, at));
        self.known_tokens.changed();
        done
    }
    fn audit(&self, entry: AuditEntry) -> Result<()> {
        self.write("writing the audit log", |tx| access::audit(tx, &entry))
    }
    fn audit_log(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, AuditEntry)>> {
        self.read("reading the audit log", |c| access::audit_log(c, before, limit))
    }

    fn put_callback(&self, callback: Callback, secrets: Vec<Secret<String>>) -> Result<()> {
        self.write("keeping a callback", |tx| outbox::put_callback(tx, &self.sealer, &callback, &secrets))
    }
    fn callbacks(&self) -> Result<Vec<Callback>> {
        self.read("listing callbacks", outbox::callbacks)
    }
    fn callback_secrets(&self, id: &CallbackId) -> Result<Vec<Secret<String>>> {
        self.read("reading a callback's secrets", |c| outbox::secrets(c, &self.sealer, id))
    }
    fn remove_callback(&self, id: &CallbackId) -> Result<bool> {
        self.write("removing a callback", |tx| outbox::remove_callback(tx, id))
    }
    fn announce(&self, at: Timestamp, what: Announcement) -> Result<()> {
        self.write("announcing", |tx| outbox::announce(tx, at, None, &[what]))
    }
    fn due_deliveries(&self, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
        self.read("reading the outbox", |c| outbox::due(c, now, limit))
    }
    fn next_delivery_at(&self) -> Result<Option<Timestamp>> {
        self.read("reading the outbox", outbox::next_at)
    }
    fn settle_delivery(&self, seq: i64, result: DeliveryResult) -> Result<()> {
        self.write("settling a delivery", |tx| outbox::settle(tx, seq, &result))
    }
    fn deliveries(&self, id: &CallbackId, before: Option<i64>, limit: u32) -> Result<Vec<Delivery>> {
        self.read("listing deliveries", |c| outbox::of_callback(c, id, before, limit))
    }
    fn replay_delivery(&self, seq: i64, now: Timestamp) -> Result<bool> {
        self.write("replaying a delivery", |tx| outbox::replay(tx, seq, now))
    }

    fn add_push_rule(&self, rule: PushRule, secrets: RuleSecrets, most: usize) -> Result<RuleAdded> {
        self.write("adding a push rule", |tx| push_rules::add(tx, &self.sealer, &rule, &secrets, most))
    }
    fn push_rules(&self) -> Result<Vec<PushRule>> {
        self.read("listing push rules", push_rules::all)
    }
    fn push_rule(&self, name: &str) -> Result<Option<PushRule>> {
        self.read("reading a push rule", |c| push_rules::by_name(c, name))
    }
    fn push_rule_secrets(&self, id: &PushRuleId) -> Result<Option<RuleSecrets>> {
        self.read("reading a push rule's recipe", |c| push_rules::secrets(c, &self.sealer, id))
    }
    fn set_push_mode(&self, name: &str, mode: PushMode, at: Timestamp) -> Result<Option<PushRule>> {
        self.write("changing a push rule", |tx| push_rules::set_mode(tx, name, mode, at))
    }
    fn remove_push_rule(&self, name: &str) -> Result<bool> {
        self.write("removing a push rule", |tx| push_rules::remove(tx, name))
    }
    fn begin_push_run(&self, run: PushRun) -> Result<PushRun> {
        self.write("beginning a push run", |tx| push_rules::begin(tx, &run))
    }
    fn end_push_run(&self, end: PushRunEnd) -> Result<()> {
        self.write("ending a push run", |tx| push_rules::end(tx, &end))
    }
    fn push_runs(&self, rule: &PushRuleId, before: Option<i64>, limit: u32) -> Result<Vec<(i64, PushRun)>> {
        self.read("listing push runs", |c| push_rules::runs(c, rule, before, limit))
    }

    fn check(&self) -> Result<()> {
        let what = "a health check";
        self.read(what, |c| c.query_row("SELECT count(*) FROM machines", [], |_| Ok(())).map_err(db(what)))?;
        // user_version lives in the database header: writing its own value back goes the whole way to the disk.
        self.write(what, |tx| tx.pragma_update(None, "user_version", migrate::NEWEST).map_err(db(what)))
    }
}

#[cfg(test)]
mod tests;
