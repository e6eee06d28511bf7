//! Statements about pushes.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteIndex, as_limit, damaged, parsed};
use crate::registry::{
    index::{IndexError, NewManifest, PUSHES_KEPT, Push, Pushes},
    name::Tag,
};

/// How often the bound is looked at, in pushes.
const TRIM_EVERY: i64 = 1000;

impl Pushes for SqliteIndex {
    fn pushes_after(&self, seq: i64, limit: usize) -> Result<Vec<Push>, IndexError> {
        self.read("reading pushes", |connection| after(connection, seq, limit))
    }

    fn forget_pushes(&self, up_to: i64) -> Result<usize, IndexError> {
        self.write("forgetting pushes", |transaction| {
            transaction.prepare_cached("DELETE FROM push WHERE seq <= ?1")?.execute([up_to])
        })
    }
}

fn after(connection: &Connection, seq: i64, limit: usize) -> Result<Vec<Push>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT seq, id, repository, tag, digest, media_type, pushed_by, pushed_at FROM push
             WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![seq, as_limit(limit)], |row| {
            let at = Timestamp::from_millisecond(row.get(7)?).map_err(|error| damaged(7, error))?;
            Ok(Push {
                seq: row.get(0)?,
                id: row.get(1)?,
                repository: parsed(row, 2)?,
                tag: parsed(row, 3)?,
                digest: parsed(row, 4)?,
                media_type: row.get(5)?,
                by: row.get(6)?,
                at,
            })
        })?
        .collect()
}

/// Whether a tag of repository number `id` points to that digest already.
pub(super) fn points_to(
    connection: &Connection,
    id: i64,
    tag: &Tag,
    digest: &str,
) -> Result<bool, rusqlite::Error> {
    let found: Option<String> = connection
        .prepare_cached("SELECT digest FROM tag WHERE repository = ?1 AND name = ?2")?
        .query_row(params![id, tag.as_str()], |row| row.get(0))
        .optional()?;
    Ok(found.is_some_and(|found| found == digest))
}

/// Remembers that a push made or moved a tag.
pub(super) fn note(
    connection: &Connection,
    manifest: &NewManifest,
    tag: &Tag,
    digest: &str,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT INTO push (id, repository, tag, digest, media_type, pushed_by, pushed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            manifest.id,
            manifest.repository.as_str(),
            tag.as_str(),
            digest,
            manifest.row.media_type,
            manifest.by,
            manifest.at.as_millisecond()
        ])?;
    let seq = connection.last_insert_rowid();
    if seq % TRIM_EVERY == 0 {
        let gone = connection
            .prepare_cached("DELETE FROM push WHERE seq <= ?1")?
            .execute([seq.saturating_sub(PUSHES_KEPT)])?;
        if gone > 0 {
            tracing::warn!(
                forgotten = gone,
                kept = PUSHES_KEPT,
                "nobody has dealt with the oldest pushes; they are forgotten"
            );
        }
    }
    Ok(())
}
