//! Numbered, forward-only migrations, counted in `user_version`.

use rusqlite::Connection;

use super::super::{Result, StoreError};
use super::db;

/// In order; the first brings an empty file to version 1. Released files are never edited.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_callback_secret.sql"),
    include_str!("migrations/0003_push_rules.sql"),
    include_str!("migrations/0004_capabilities.sql"),
];

/// Version after the last of them.
pub const NEWEST: i64 = 4;

/// Brings the file to [`NEWEST`], each step in a transaction of its own.
pub fn run(connection: &mut Connection, path: &str) -> Result<()> {
    let what = "bringing the store to the newest schema";
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(db(what))?;
    if found > NEWEST {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: NEWEST });
    }
    for (version, sql) in (1..).zip(MIGRATIONS) {
        if version > found {
            let tx = connection.transaction().map_err(db(what))?;
            tx.execute_batch(sql).map_err(db(what))?;
            tx.pragma_update(None, "user_version", version).map_err(db(what))?;
            tx.commit().map_err(db(what))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_number_of_migrations() {
        assert_eq!(i64::try_from(MIGRATIONS.len()), Ok(NEWEST));
    }
}
