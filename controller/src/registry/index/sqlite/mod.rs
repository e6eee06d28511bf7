//! The index in one SQLite file: write-ahead log, one writer, a few readers, every commit synced.
//!
//! [`open`](SqliteIndex::open) migrates; the statements are in `blobs`, `manifests`, `lists`, `pins` and `pushes`, one file per
//! noun. Nothing here knows of HTTP or of the files that the digests name.

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{Index, IndexError, Linked, ManifestRow, NewManifest, Page, Pin, Removed, Stored, UploadRow};
use crate::registry::{
    digest::Digest,
    document::Need,
    immutable::Fixed,
    mode::ReadOnly,
    name::{Reference, Repository, Tag},
    quota::{Quota, Room},
};

mod blobs;
mod garbage;
mod lists;
mod manifests;
mod pins;
mod pushes;
mod quotas;
mod switch;

/// Every schema change there ever was, in order; the file's `user_version` counts those it has.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_index.sql"),
    include_str!("0002_garbage.sql"),
    include_str!("0003_pushes.sql"),
    include_str!("0004_read_only.sql"),
    include_str!("0005_quota.sql"),
    include_str!("0006_pulls.sql"),
];
/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections for reading; more only help when there are more cores.
const READERS: usize = 4;

/// The index file.
#[derive(Debug)]
pub struct SqliteIndex {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
    version: AtomicU64,
}

impl SqliteIndex {
    /// Opens the file, making or migrating it as needed.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let connect =
            || connection(path).map_err(|source| IndexError::Open { path: path.to_owned(), source });
        let mut writer = connect()?;
        migrate(&mut writer)?;
        let readers = (0..READERS).map(|_| connect().map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers,
            turn: AtomicUsize::new(0),
            version: AtomicU64::new(1),
        })
    }

    /// Runs one reading transaction.
    fn read<T>(
        &self,
        attempt: &'static str,
        run: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, IndexError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let free = (0..READERS).find_map(|step| self.readers[(turn + step) % READERS].try_lock().ok());
        let connection = free.unwrap_or_else(|| lock(&self.readers[turn % READERS]));
        run(&connection).map_err(|source| fault(attempt, source))
    }

    /// Runs one writing transaction; an error rolls it back.
    fn write<T>(
        &self,
        attempt: &'static str,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, IndexError> {
        let mut connection = lock(&self.writer);
        let done =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let done = run(&transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        // Also after an error, which may have come when the change was in the file already.
        self.version.fetch_add(1, Ordering::Release);
        done.map_err(|source| fault(attempt, source))
    }
}

fn fault(attempt: &'static str, error: rusqlite::Error) -> IndexError {
    match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, source) => IndexError::Damaged { attempt, source },
        source => IndexError::Statement { attempt, source },
    }
}

/// A connection is whole after a panic: its transaction was rolled back when it was dropped.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connection(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without this SQLite plans a statement anew whenever another value is bound, which costs ten times what running it does.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), IndexError> {
    let found: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
        .map_err(|source| fault("reading the schema version", source))?;
    let known = MIGRATIONS.len();
    if found > known {
        return Err(IndexError::Newer { found, known });
    }
    for (number, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let version = number + 1;
        let done =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                transaction.execute_batch(sql)?;
                transaction.pragma_update(
                    None,
                    "user_version",
                    i64::try_from(version).unwrap_or(i64::MAX),
                )?;
                transaction.commit()
            });
        done.map_err(|source| IndexError::Migrate { version, source })?;
    }
    Ok(())
}

/// The number of a repository that exists.
fn repository_id(connection: &Connection, repository: &Repository) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM repository WHERE name = ?1")?
        .query_row([repository.as_str()], |row| row.get(0))
        .optional()
}

/// The number of a repository, which is made when it does not exist.
fn made_repository_id(connection: &Connection, repository: &Repository) -> Result<i64, rusqlite::Error> {
    connection
        .prepare_cached("INSERT INTO repository (name) VALUES (?1) ON CONFLICT (name) DO NOTHING")?
        .execute([repository.as_str()])?;
    connection
        .prepare_cached("SELECT id FROM repository WHERE name = ?1")?
        .query_row([repository.as_str()], |row| row.get(0))
}

/// Reads a text column that must parse.
fn parsed<T>(row: &rusqlite::Row<'_>, column: usize) -> Result<T, rusqlite::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| damaged(column, error))
}

fn damaged(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// Sizes are kept as SQLite's signed numbers; no file reaches 8 EiB.
fn as_stored(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Index for SqliteIndex {
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), IndexError> {
        self.read("asking for its version", |connection| {
            connection.query_row("SELECT count(*) FROM pin", [], |row| row.get::<_, i64>(0)).map(drop)
        })
    }

    fn link_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        upload: Option<&str>,
        at: Timestamp,
        quotas: &[Quota],
    ) -> Result<Linked, IndexError> {
        self.write("adding a blob", |transaction| {
            blobs::link(transaction, repository, digest, size, upload, at, quotas)
        })
    }

    fn holds_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, IndexError> {
        self.read("looking for a blob", |connection| blobs::holds(connection, repository, digest))
    }

    fn blob_holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Repository>, IndexError> {
        self.read("looking for a blob's repositories", |connection| blobs::holders(connection, digest, limit))
    }

    fn unlink_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        fixed: &Fixed,
        at: Timestamp,
    ) -> Result<Removed, IndexError> {
        self.write("removing a blob", |transaction| blobs::unlink(transaction, repository, digest, fixed, at))
    }

    fn begin_upload(&self, upload: &UploadRow) -> Result<(), IndexError> {
        self.write("beginning an upload", |transaction| blobs::begin_upload(transaction, upload))
    }

    fn upload(&self, id: &str) -> Result<Option<UploadRow>, IndexError> {
        self.read("looking for an upload", |connection| blobs::upload(connection, id))
    }

    fn end_upload(&self, id: &str) -> Result<bool, IndexError> {
        self.write("ending an upload", |transaction| blobs::end_upload(transaction, id))
    }

    fn uploads_before(&self, before: Timestamp) -> Result<Vec<String>, IndexError> {
        self.read("looking for old uploads", |connection| blobs::uploads_before(connection, before))
    }

    fn missing(
        &self,
        repository: &Repository,
        needs: &[(Digest, Need)],
    ) -> Result<Option<Digest>, IndexError> {
        self.read("looking for what a manifest names", |connection| {
            manifests::first_missing(connection, repository_id(connection, repository)?, needs)
        })
    }

    fn put_manifest(&self, manifest: &NewManifest) -> Result<Stored, IndexError> {
        self.write("adding a manifest", |transaction| manifests::put(transaction, manifest))
    }

    fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>, IndexError> {
        self.read("looking for a manifest", |connection| manifests::get(connection, repository, reference))
    }

    fn delete_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        fixed: &Fixed,
        at: Timestamp,
    ) -> Result<Removed, IndexError> {
        self.write("removing a manifest", |transaction| {
            manifests::delete(transaction, repository, digest, fixed, at)
        })
    }

    fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<bool, IndexError> {
        self.write("removing a tag", |transaction| manifests::delete_tag(transaction, repository, tag))
    }

    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Page<ManifestRow>, IndexError> {
        self.read("listing referrers", |connection| {
            manifests::referrers(connection, repository, subject, artifact_type, after, limit)
        })
    }

    fn tags(
        &self,
        repository: &Repository,
        after: &str,
        limit: usize,
    ) -> Result<Option<Page<String>>, IndexError> {
        self.read("listing tags", |connection| lists::tags(connection, repository, after, limit))
    }

    fn repositories(&self, after: &str, limit: usize) -> Result<Page<String>, IndexError> {
        self.read("listing repositories", |connection| lists::repositories(connection, after, limit))
    }

    fn rooms(&self, quotas: &[Quota]) -> Result<Vec<Room>, IndexError> {
        self.read("adding up namespaces", |connection| {
            quotas.iter().map(|quota| quotas::room(connection, quota)).collect()
        })
    }

    fn read_only(&self) -> Result<Option<ReadOnly>, IndexError> {
        self.read("looking at the switch", switch::read)
    }

    fn set_read_only(&self, to: Option<&ReadOnly>, at: Timestamp) -> Result<(), IndexError> {
        self.write("setting the switch", |transaction| switch::set(transaction, to, at))
    }

    fn pin(&self, pin: &Pin) -> Result<bool, IndexError> {
        self.write("adding a pin", |transaction| pins::pin(transaction, pin))
    }

    fn unpin(&self, owner: &str) -> Result<usize, IndexError> {
        self.write("removing pins", |transaction| pins::unpin(transaction, owner))
    }

    fn expire_pins(&self, now: Timestamp) -> Result<usize, IndexError> {
        self.write("forgetting pins", |transaction| pins::expire(transaction, now))
    }

    fn pins(&self) -> Result<Vec<Pin>, IndexError> {
        self.read("listing pins", pins::all)
    }
}

#[cfg(test)]
mod tests;
