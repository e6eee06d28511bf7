//! Statements for the pages of tags and repositories. Each walks its key from where the last page ended.

use rusqlite::{Connection, params};

use super::{as_limit, repository_id};
use crate::registry::{index::Page, name::Repository};

pub(super) fn tags(
    connection: &Connection,
    repository: &Repository,
    after: &str,
    limit: usize,
) -> Result<Option<Page<String>>, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(None) };
    let found = connection
        .prepare_cached("SELECT name FROM tag WHERE repository = ?1 AND name > ?2 ORDER BY name LIMIT ?3")?
        .query_map(params![id, after, as_limit(limit + 1)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(page(found, limit)))
}

pub(super) fn repositories(
    connection: &Connection,
    after: &str,
    limit: usize,
) -> Result<Page<String>, rusqlite::Error> {
    let found = connection
        .prepare_cached(
            "SELECT name FROM repository WHERE name > ?1
             AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id)
             ORDER BY name LIMIT ?2",
        )?
        .query_map(params![after, as_limit(limit + 1)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(page(found, limit))
}

/// One more than the limit was asked for, to know whether there is more. An empty page has no next one.
fn page(mut items: Vec<String>, limit: usize) -> Page<String> {
    let more = limit > 0 && items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}
