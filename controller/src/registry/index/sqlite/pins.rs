//! Statements about pins.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{damaged, manifests, parsed};
use crate::registry::{digest::Digest, index::Pin};

pub(super) fn pin(connection: &Connection, pin: &Pin) -> Result<bool, rusqlite::Error> {
    // In the same transaction: a collection must not come in between.
    if !manifests::known(connection, &pin.digest)? {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO pin (digest, owner, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest, owner) DO UPDATE SET until = excluded.until",
        )?
        .execute(params![pin.digest.to_string(), pin.owner, pin.until.map(Timestamp::as_millisecond)])?;
    Ok(true)
}

pub(super) fn unpin(connection: &Connection, owner: &str) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached("DELETE FROM pin WHERE owner = ?1")?.execute([owner])
}

pub(super) fn expire(connection: &Connection, now: Timestamp) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached("DELETE FROM pin WHERE until <= ?1")?.execute([now.as_millisecond()])
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Pin>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT digest, owner, until FROM pin ORDER BY owner, digest")?
        .query_map([], |row| {
            let until: Option<i64> = row.get(2)?;
            let until =
                until.map(Timestamp::from_millisecond).transpose().map_err(|error| damaged(2, error))?;
            Ok(Pin { digest: parsed(row, 0)?, owner: row.get(1)?, until })
        })?
        .collect()
}

/// Who keeps a manifest or blob: the owner of a live pin on it or on anything that names it, directly or not.
pub(super) fn owner_of(
    connection: &Connection,
    digest: &Digest,
    at: Timestamp,
) -> Result<Option<String>, rusqlite::Error> {
    connection
        .prepare_cached(
            "WITH RECURSIVE named_by (digest) AS (
                 SELECT ?1
                 UNION
                 SELECT reference.parent FROM reference JOIN named_by ON reference.child = named_by.digest
             )
             SELECT pin.owner FROM named_by JOIN pin ON pin.digest = named_by.digest
             WHERE pin.until IS NULL OR pin.until > ?2 ORDER BY pin.owner LIMIT 1",
        )?
        .query_row(params![digest.to_string(), at.as_millisecond()], |row| row.get(0))
        .optional()
}
