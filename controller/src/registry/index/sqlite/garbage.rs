//! Statements of the collection: what nothing names, since when, and what its lease or grace still keeps.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteIndex, as_limit, damaged, manifests, parsed, pins, repository_id};
use crate::registry::{
    digest::Digest,
    immutable::Fixed,
    index::{Cursor, Dated, Garbage, Index, IndexError, Removed, Swept, Usage},
    name::{Repository, Tag},
};

impl Garbage for SqliteIndex {
    fn unlink_unnamed(
        &self,
        after: &Cursor,
        leased_since: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Swept, IndexError> {
        self.write("removing unnamed blobs", |transaction| {
            unlink_unnamed(transaction, after, leased_since, now, limit)
        })
    }

    fn unheld(&self, digests: Vec<Digest>, now: Timestamp) -> Result<Vec<Digest>, IndexError> {
        self.read("looking for content that nobody holds", |connection| unheld(connection, digests, now))
    }

    fn note_unheld(&self, digest: &Digest, now: Timestamp) -> Result<Option<Timestamp>, IndexError> {
        self.write("noting content that nobody holds", |transaction| note_unheld(transaction, digest, now))
    }

    fn forget_unheld(&self, digest: &Digest) -> Result<(), IndexError> {
        self.write("forgetting collected content", |transaction| forget_unheld(transaction, digest))
    }

    fn renew_lease(
        &self,
        repository: &Repository,
        digest: &Digest,
        older: Timestamp,
        now: Timestamp,
    ) -> Result<(), IndexError> {
        let since =
            self.read("looking for a lease", |connection| leased_since(connection, repository, digest))?;
        if since.is_none_or(|since| since >= older) {
            return Ok(());
        }
        self.write("renewing a lease", |transaction| renew(transaction, repository, digest, older, now))
    }

    fn tags_by_age(&self, repository: &Repository) -> Result<Vec<Dated<Tag>>, IndexError> {
        self.read("listing tags by age", |connection| tags_by_age(connection, repository))
    }

    fn delete_untagged(
        &self,
        repository: &Repository,
        before: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<u64, IndexError> {
        self.write("removing untagged manifests", |transaction| {
            delete_untagged(transaction, repository, before, now, limit)
        })
    }

    fn shown(&self, after: &str, limit: usize) -> Result<Vec<Digest>, IndexError> {
        self.read("listing all content", |connection| shown(connection, after, limit))
    }

    fn showing(&self, digest: &Digest, limit: usize) -> Result<Vec<Repository>, IndexError> {
        self.read("looking for who shows it", |connection| showing(connection, digest, limit))
    }

    fn note_pulls(&self, pulls: &[(Repository, Timestamp)]) -> Result<(), IndexError> {
        self.write("noting pulls", |transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE repository SET pulled_at = ?2 WHERE name = ?1")?;
            for (repository, at) in pulls {
                statement.execute(params![repository.as_str(), at.as_millisecond()])?;
            }
            Ok(())
        })
    }

    fn usage(&self, after: &str, limit: usize) -> Result<Vec<Usage>, IndexError> {
        self.read("adding up repositories", |connection| usage(connection, after, limit))
    }

    fn copy_to(&self, path: &Path) -> Result<Box<dyn Index>, IndexError> {
        self.read("copying the index", |connection| {
            connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]).map(drop)
        })?;
        Ok(Box::new(SqliteIndex::open(path)?))
    }
}

/// Whether any repository shows this content, as a blob or as a manifest, or a pin keeps it.
const HELD: &str = "EXISTS (SELECT 1 FROM repository_blob WHERE digest = ?1)
     OR EXISTS (SELECT 1 FROM manifest WHERE digest = ?1)
     OR EXISTS (SELECT 1 FROM pin WHERE digest = ?1 AND (until IS NULL OR until > ?2))";

/// Makes blobs invisible that no manifest of their repository names and whose lease has ended. Looks at no more than
/// `limit` links after `after`.
pub(super) fn unlink_unnamed(
    connection: &Connection,
    after: &Cursor,
    leased_since: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<Swept, rusqlite::Error> {
    let seen: Vec<(i64, String, bool)> = connection
        .prepare_cached(
            "SELECT link.repository, link.digest,
                 link.linked_at < ?3 AND NOT EXISTS (
                     SELECT 1 FROM reference
                     WHERE reference.repository = link.repository AND reference.child = link.digest)
             FROM repository_blob AS link WHERE (link.repository, link.digest) > (?1, ?2)
             ORDER BY link.repository, link.digest LIMIT ?4",
        )?
        .query_map(
            params![after.repository, after.digest, leased_since.as_millisecond(), as_limit(limit)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?
        .collect::<Result<_, _>>()?;
    let mut swept = Swept { count: 0, next: None };
    let mut remove =
        connection.prepare_cached("DELETE FROM repository_blob WHERE repository = ?1 AND digest = ?2")?;
    for (repository, digest, unnamed) in &seen {
        if *unnamed && !pinned(connection, digest, now)? {
            swept.count += remove.execute(params![repository, digest])? as u64;
        }
    }
    if seen.len() == limit
        && let Some((repository, digest, ..)) = seen.last()
    {
        swept.next = Some(Cursor { repository: *repository, digest: digest.clone() });
    }
    Ok(swept)
}

fn pinned(connection: &Connection, digest: &str, now: Timestamp) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT 1 FROM pin WHERE digest = ?1 AND (until IS NULL OR until > ?2)")?
        .exists(params![digest, now.as_millisecond()])
}

/// Which of these no repository shows and no pin keeps.
pub(super) fn unheld(
    connection: &Connection,
    digests: Vec<Digest>,
    now: Timestamp,
) -> Result<Vec<Digest>, rusqlite::Error> {
    let mut held = connection.prepare_cached(&format!("SELECT 1 WHERE {HELD}"))?;
    let mut found = Vec::new();
    for digest in digests {
        if !held.exists(params![digest.to_string(), now.as_millisecond()])? {
            found.push(digest);
        }
    }
    Ok(found)
}

/// Notes that content is held by nobody; since when that is known. None when somebody holds it after all.
pub(super) fn note_unheld(
    connection: &Connection,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<Timestamp>, rusqlite::Error> {
    let key = params![digest.to_string(), now.as_millisecond()];
    if connection.prepare_cached(&format!("SELECT 1 WHERE {HELD}"))?.exists(key)? {
        forget_unheld(connection, digest)?;
        return Ok(None);
    }
    connection
        .prepare_cached("INSERT INTO unheld (digest, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(key)?;
    let since: i64 = connection
        .prepare_cached("SELECT since FROM unheld WHERE digest = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))?;
    Timestamp::from_millisecond(since).map(Some).map_err(|error| damaged(0, error))
}

/// Content is held again, or gone.
pub(super) fn forget_unheld(connection: &Connection, digest: &Digest) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM unheld WHERE digest = ?1")?.execute([digest.to_string()]).map(drop)
}

/// Renews a blob's lease when it is older than `older`: somebody has just been told that it is here.
pub(super) fn renew(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
    older: Timestamp,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(()) };
    connection
        .prepare_cached(
            "UPDATE repository_blob SET linked_at = ?4 WHERE repository = ?1 AND digest = ?2 AND linked_at < ?3",
        )?
        .execute(params![id, digest.to_string(), older.as_millisecond(), now.as_millisecond()])
        .map(drop)
}

/// When a blob's lease began.
pub(super) fn leased_since(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Timestamp>, rusqlite::Error> {
    let since: Option<i64> = connection
        .prepare_cached(
            "SELECT linked_at FROM repository_blob JOIN repository ON repository.id = repository_blob.repository
             WHERE repository.name = ?1 AND repository_blob.digest = ?2",
        )?
        .query_row([repository.as_str(), &digest.to_string()], |row| row.get(0))
        .optional()?;
    since.map(|at| Timestamp::from_millisecond(at).map_err(|error| damaged(0, error))).transpose()
}

/// Tags of a repository, the newest first.
pub(super) fn tags_by_age(
    connection: &Connection,
    repository: &Repository,
) -> Result<Vec<Dated<Tag>>, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(Vec::new()) };
    connection
        .prepare_cached(
            "SELECT name, moved_at FROM tag WHERE repository = ?1 ORDER BY moved_at DESC, name DESC",
        )?
        .query_map([id], |row| {
            let at = Timestamp::from_millisecond(row.get(1)?).map_err(|error| damaged(1, error))?;
            Ok(Dated { what: parsed(row, 0)?, at })
        })?
        .collect()
}

/// Removes manifests pushed before then that no tag and no index of the repository names, that are about nothing
/// that is here, and that nobody has pinned; how many, at most `limit`.
pub(super) fn delete_untagged(
    connection: &Connection,
    repository: &Repository,
    before: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<u64, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(0) };
    let found: Vec<Digest> = connection
        .prepare_cached(
            "SELECT digest FROM manifest AS one WHERE repository = ?1 AND pushed_at < ?2
             AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.repository = ?1 AND tag.digest = one.digest)
             AND NOT EXISTS (SELECT 1 FROM reference
                             WHERE reference.repository = ?1 AND reference.child = one.digest)
             AND NOT EXISTS (SELECT 1 FROM manifest AS subject
                             WHERE subject.repository = ?1 AND subject.digest = one.subject)
             ORDER BY pushed_at LIMIT ?3",
        )?
        .query_map(params![id, before.as_millisecond(), as_limit(limit)], |row| parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    let mut gone = 0;
    for digest in found {
        // No tag needs it, so none that stays does.
        if pins::owner_of(connection, &digest, now)?.is_none()
            && manifests::delete(connection, repository, &digest, &Fixed::default(), now)? == Removed::Yes
        {
            gone += 1;
        }
    }
    Ok(gone)
}

/// Digests that any repository shows, in order.
pub(super) fn shown(
    connection: &Connection,
    after: &str,
    limit: usize,
) -> Result<Vec<Digest>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT digest FROM repository_blob WHERE digest > ?1
             UNION SELECT digest FROM manifest WHERE digest > ?1 ORDER BY digest LIMIT ?2",
        )?
        .query_map(params![after, as_limit(limit)], |row| parsed(row, 0))?
        .collect()
}

/// Repositories that show this digest.
pub(super) fn showing(
    connection: &Connection,
    digest: &Digest,
    limit: usize,
) -> Result<Vec<Repository>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT name FROM repository
             WHERE id IN (SELECT repository FROM repository_blob WHERE digest = ?1
                          UNION SELECT repository FROM manifest WHERE digest = ?1)
             ORDER BY name LIMIT ?2",
        )?
        .query_map(params![digest.to_string(), as_limit(limit)], |row| parsed(row, 0))?
        .collect()
}

/// What each repository holds, by name after `after`, at most `limit`.
pub(super) fn usage(
    connection: &Connection,
    after: &str,
    limit: usize,
) -> Result<Vec<Usage>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT name,
                 (SELECT count(*) FROM tag WHERE tag.repository = repository.id),
                 (SELECT count(*) FROM manifest WHERE manifest.repository = repository.id),
                 (SELECT count(*) FROM repository_blob AS link WHERE link.repository = repository.id),
                 bytes, pulled_at
             FROM repository WHERE name > ?1 ORDER BY name LIMIT ?2",
        )?
        .query_map(params![after, as_limit(limit)], |row| {
            let count = |column: usize| -> Result<u64, rusqlite::Error> {
                u64::try_from(row.get::<_, i64>(column)?).map_err(|error| damaged(column, error))
            };
            Ok(Usage {
                repository: row.get(0)?,
                tags: count(1)?,
                manifests: count(2)?,
                blobs: count(3)?,
                bytes: count(4)?,
                pulled_at: row
                    .get::<_, Option<i64>>(5)?
                    .map(|at| Timestamp::from_millisecond(at).map_err(|error| damaged(5, error)))
                    .transpose()?,
            })
        })?
        .collect()
}
