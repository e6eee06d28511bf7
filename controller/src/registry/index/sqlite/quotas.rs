//! Statements about quotas: what repositories show, added up over a namespace.

use rusqlite::{Connection, params};

use super::damaged;
use crate::registry::quota::{Quota, Room};

/// Bytes that the repositories of a namespace show. Walks their rows, and no others.
fn used(connection: &Connection, namespace: &str) -> Result<u64, rusqlite::Error> {
    let read =
        |row: &rusqlite::Row<'_>| u64::try_from(row.get::<_, i64>(0)?).map_err(|error| damaged(0, error));
    if namespace.is_empty() {
        let mut all = connection.prepare_cached("SELECT coalesce(sum(bytes), 0) FROM repository")?;
        return all.query_row([], read);
    }
    // Names below `team/` are those from `team/` up to `team0`: `0` comes after `/`.
    connection
        .prepare_cached(
            "SELECT coalesce(sum(bytes), 0) FROM (
                 SELECT bytes FROM repository WHERE name = ?1
                 UNION ALL SELECT bytes FROM repository WHERE name > ?1 || '/' AND name < ?1 || '0')",
        )?
        .query_row([namespace], read)
}

/// How a quota stands.
pub(super) fn room(connection: &Connection, quota: &Quota) -> Result<Room, rusqlite::Error> {
    let Quota { namespace, size } = quota.clone();
    Ok(Room { used: used(connection, &namespace)?, namespace, size })
}

/// The first quota that `more` bytes would exceed.
pub(super) fn exceeded(
    connection: &Connection,
    quotas: &[Quota],
    more: u64,
) -> Result<Option<Room>, rusqlite::Error> {
    for quota in quotas {
        let room = room(connection, quota)?;
        if room.left() < more {
            return Ok(Some(room));
        }
    }
    Ok(None)
}

/// Whether a repository shows this already, as a blob or manifest of that table, so that it adds nothing.
pub(super) fn shows_blob(
    connection: &Connection,
    repository: Option<i64>,
    digest: &str,
) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT 1 FROM repository_blob WHERE repository = ?1 AND digest = ?2")?
        .exists(params![repository, digest])
}

/// The same for a manifest.
pub(super) fn shows_manifest(
    connection: &Connection,
    repository: Option<i64>,
    digest: &str,
) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT 1 FROM manifest WHERE repository = ?1 AND digest = ?2")?
        .exists(params![repository, digest])
}
