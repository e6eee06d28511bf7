//! Statements about manifests, tags and referrers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{as_stored, damaged, garbage, made_repository_id, parsed, pins, pushes, quotas, repository_id};
use crate::registry::{
    digest::Digest,
    document::Need,
    immutable::Fixed,
    index::{ANNOTATIONS_BUDGET, ManifestRow, NewManifest, Page, Removed, Stored},
    name::{Reference, Repository, Tag},
};

pub(super) fn put(connection: &Connection, manifest: &NewManifest) -> Result<Stored, rusqlite::Error> {
    let known = repository_id(connection, &manifest.repository)?;
    if let Some(missing) = first_missing(connection, known, &manifest.needs)? {
        return Ok(Stored::Missing(missing));
    }
    if let Some((tag, held)) = fixed_elsewhere(connection, known, manifest)? {
        return Ok(Stored::Fixed(tag, held));
    }
    let digest = manifest.row.digest.to_string();
    if !manifest.quotas.is_empty()
        && !quotas::shows_manifest(connection, known, &digest)?
        && let Some(room) = quotas::exceeded(connection, &manifest.quotas, manifest.row.size)?
    {
        return Ok(Stored::Over(room));
    }
    let id = made_repository_id(connection, &manifest.repository)?;
    let at = manifest.at.as_millisecond();
    let annotations = serde_json::to_string(&manifest.row.annotations).map_err(|error| damaged(0, error))?;
    connection
        .prepare_cached(
            "INSERT INTO manifest
                 (repository, digest, media_type, size, artifact_type, subject, annotations, pushed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (repository, digest)
             DO UPDATE SET media_type = excluded.media_type, pushed_at = excluded.pushed_at",
        )?
        .execute(params![
            id,
            digest,
            manifest.row.media_type,
            as_stored(manifest.row.size),
            manifest.row.artifact_type,
            manifest.row.subject.as_ref().map(ToString::to_string),
            annotations,
            at
        ])?;
    garbage::forget_unheld(connection, &manifest.row.digest)?;
    let mut refer = connection.prepare_cached(
        "INSERT INTO reference (repository, parent, child) VALUES (?1, ?2, ?3)
         ON CONFLICT (repository, parent, child) DO NOTHING",
    )?;
    for (child, _) in &manifest.needs {
        refer.execute(params![id, digest, child.to_string()])?;
    }
    let mut tag = connection.prepare_cached(
        "INSERT INTO tag (repository, name, digest, moved_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, moved_at = excluded.moved_at",
    )?;
    for name in &manifest.tags {
        if !pushes::points_to(connection, id, name, &digest)? {
            pushes::note(connection, manifest, name, &digest)?;
        }
        tag.execute(params![id, name.as_str(), digest, at])?;
    }
    Ok(Stored::Yes)
}

/// The first of a push's tags that points to something else and may not be moved.
fn fixed_elsewhere(
    connection: &Connection,
    repository: Option<i64>,
    manifest: &NewManifest,
) -> Result<Option<(Tag, Digest)>, rusqlite::Error> {
    let mut held = connection.prepare_cached("SELECT digest FROM tag WHERE repository = ?1 AND name = ?2")?;
    for tag in manifest.tags.iter().filter(|tag| manifest.fixed.rule(tag.as_str()).is_some()) {
        let key = params![repository, tag.as_str()];
        let found: Option<Digest> = held.query_row(key, |row| parsed(row, 0)).optional()?;
        if let Some(found) = found.filter(|found| *found != manifest.row.digest) {
            return Ok(Some((tag.clone(), found)));
        }
    }
    Ok(None)
}

/// Why content of a repository may not be removed: a pin on it, or a tag that stays, or on anything that names it.
pub(super) fn kept(
    connection: &Connection,
    repository: i64,
    digest: &Digest,
    fixed: &Fixed,
    at: Timestamp,
) -> Result<Option<Removed>, rusqlite::Error> {
    if let Some(owner) = pins::owner_of(connection, digest, at)? {
        return Ok(Some(Removed::Pinned(owner)));
    }
    if fixed.is_empty() {
        return Ok(None);
    }
    let mut tags = connection.prepare_cached(
        "WITH RECURSIVE named_by (digest) AS (
             SELECT ?2
             UNION
             SELECT reference.parent FROM reference JOIN named_by ON reference.child = named_by.digest
             WHERE reference.repository = ?1
         )
         SELECT tag.name FROM named_by JOIN tag ON tag.repository = ?1 AND tag.digest = named_by.digest
         ORDER BY tag.name",
    )?;
    for tag in tags.query_map(params![repository, digest.to_string()], |row| parsed::<Tag>(row, 0))? {
        let tag = tag?;
        if fixed.rule(tag.as_str()).is_some() {
            return Ok(Some(Removed::Fixed(tag)));
        }
    }
    Ok(None)
}

/// What a repository lacks of that; one that was never pushed to lacks everything.
pub(super) fn first_missing(
    connection: &Connection,
    repository: Option<i64>,
    needs: &[(Digest, Need)],
) -> Result<Option<Digest>, rusqlite::Error> {
    let mut blob =
        connection.prepare_cached("SELECT 1 FROM repository_blob WHERE repository = ?1 AND digest = ?2")?;
    let mut child =
        connection.prepare_cached("SELECT 1 FROM manifest WHERE repository = ?1 AND digest = ?2")?;
    for (digest, need) in needs {
        let here = match need {
            Need::Blob => blob.exists(params![repository, digest.to_string()])?,
            Need::Manifest => child.exists(params![repository, digest.to_string()])?,
            Need::Elsewhere => true,
        };
        if !here {
            return Ok(Some(digest.clone()));
        }
    }
    Ok(None)
}

const COLUMNS: &str = "manifest.digest, manifest.media_type, manifest.size, manifest.artifact_type, manifest.subject, \
                       manifest.annotations";

fn row(row: &Row<'_>) -> Result<ManifestRow, rusqlite::Error> {
    let subject: Option<String> = row.get(4)?;
    let annotations: String = row.get(5)?;
    let annotations: BTreeMap<String, String> =
        serde_json::from_str(&annotations).map_err(|error| damaged(5, error))?;
    Ok(ManifestRow {
        digest: parsed(row, 0)?,
        media_type: row.get(1)?,
        size: u64::try_from(row.get::<_, i64>(2)?).map_err(|error| damaged(2, error))?,
        artifact_type: row.get(3)?,
        subject: subject.map(|text| text.parse()).transpose().map_err(|error| damaged(4, error))?,
        annotations,
    })
}

pub(super) fn get(
    connection: &Connection,
    repository: &Repository,
    reference: &Reference,
) -> Result<Option<ManifestRow>, rusqlite::Error> {
    let sql = match reference {
        Reference::Tag(_) => format!(
            "SELECT {COLUMNS} FROM repository
             JOIN tag ON tag.repository = repository.id
             JOIN manifest ON manifest.repository = repository.id AND manifest.digest = tag.digest
             WHERE repository.name = ?1 AND tag.name = ?2"
        ),
        Reference::Digest(_) => format!(
            "SELECT {COLUMNS} FROM repository JOIN manifest ON manifest.repository = repository.id
             WHERE repository.name = ?1 AND manifest.digest = ?2"
        ),
    };
    connection.prepare_cached(&sql)?.query_row([repository.as_str(), &reference.to_string()], row).optional()
}

pub(super) fn known(connection: &Connection, digest: &Digest) -> Result<bool, rusqlite::Error> {
    connection.prepare_cached("SELECT 1 FROM manifest WHERE digest = ?1")?.exists([digest.to_string()])
}

pub(super) fn delete(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
    fixed: &Fixed,
    at: Timestamp,
) -> Result<Removed, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(Removed::Unknown) };
    if let Some(kept) = kept(connection, id, digest, fixed, at)? {
        return Ok(kept);
    }
    let key = params![id, digest.to_string()];
    connection.prepare_cached("DELETE FROM tag WHERE repository = ?1 AND digest = ?2")?.execute(key)?;
    connection.prepare_cached("DELETE FROM reference WHERE repository = ?1 AND parent = ?2")?.execute(key)?;
    let gone = connection
        .prepare_cached("DELETE FROM manifest WHERE repository = ?1 AND digest = ?2")?
        .execute(key)?;
    Ok(if gone > 0 { Removed::Yes } else { Removed::Unknown })
}

pub(super) fn delete_tag(
    connection: &Connection,
    repository: &Repository,
    tag: &Tag,
) -> Result<bool, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(false) };
    connection
        .prepare_cached("DELETE FROM tag WHERE repository = ?1 AND name = ?2")?
        .execute(params![id, tag.as_str()])
        .map(|gone| gone > 0)
}

pub(super) fn referrers(
    connection: &Connection,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: &str,
    limit: usize,
) -> Result<Page<ManifestRow>, rusqlite::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM repository JOIN manifest ON manifest.repository = repository.id
         WHERE repository.name = ?1 AND manifest.subject = ?2 AND manifest.digest > ?3
         AND (?4 IS NULL OR manifest.artifact_type = ?4) ORDER BY manifest.digest"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let key = params![repository.as_str(), subject.to_string(), after, artifact_type];
    let mut page = Page { items: Vec::new(), more: false };
    let mut carried = 0;
    for found in statement.query_map(key, row)? {
        if page.items.len() >= limit || carried > ANNOTATIONS_BUDGET {
            page.more = limit > 0;
            break;
        }
        let found = found?;
        carried += found.annotations.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        page.items.push(found);
    }
    Ok(page)
}
