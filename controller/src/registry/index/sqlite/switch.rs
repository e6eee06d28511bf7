//! Statements about the read-only switch.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::damaged;
use crate::registry::mode::ReadOnly;

pub(super) fn read(connection: &Connection) -> Result<Option<ReadOnly>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT reason, since, switched_by FROM read_only")?
        .query_row([], |row| {
            let since = Timestamp::from_millisecond(row.get(1)?).map_err(|error| damaged(1, error))?;
            Ok(ReadOnly { reason: row.get(0)?, since, by: row.get(2)? })
        })
        .optional()
}

pub(super) fn set(
    connection: &Connection,
    to: Option<&ReadOnly>,
    at: Timestamp,
) -> Result<(), rusqlite::Error> {
    let was_on = connection.prepare_cached("DELETE FROM read_only")?.execute([])? > 0;
    if let Some(ReadOnly { reason, since, by }) = to {
        connection
            .prepare_cached("INSERT INTO read_only (one, reason, since, switched_by) VALUES (1, ?1, ?2, ?3)")?
            .execute(params![reason, since.as_millisecond(), by])?;
    } else if was_on {
        // Uploads could not go on meanwhile; that time is not counted.
        connection
            .prepare_cached("UPDATE upload SET started_at = ?1 WHERE started_at < ?1")?
            .execute([at.as_millisecond()])?;
    }
    Ok(())
}
