//! Statements about blobs in repositories, and about uploads.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    as_limit, as_stored, damaged, garbage, made_repository_id, manifests, parsed, quotas, repository_id,
};
use crate::registry::{
    digest::Digest,
    immutable::Fixed,
    index::{Linked, Removed, UploadRow},
    name::Repository,
    quota::Quota,
};

pub(super) fn link(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
    size: u64,
    upload: Option<&str>,
    at: Timestamp,
    quotas: &[Quota],
) -> Result<Linked, rusqlite::Error> {
    let known = repository_id(connection, repository)?;
    if !quotas.is_empty()
        && !quotas::shows_blob(connection, known, &digest.to_string())?
        && let Some(room) = quotas::exceeded(connection, quotas, size)?
    {
        return Ok(Linked::Over(room));
    }
    let id = made_repository_id(connection, repository)?;
    connection
        .prepare_cached(
            "INSERT INTO repository_blob (repository, digest, size, linked_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository, digest) DO UPDATE SET linked_at = excluded.linked_at",
        )?
        .execute(params![id, digest.to_string(), as_stored(size), at.as_millisecond()])?;
    garbage::forget_unheld(connection, digest)?;
    if let Some(upload) = upload {
        end_upload(connection, upload)?;
    }
    Ok(Linked::Yes)
}

pub(super) fn holds(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT 1 FROM repository_blob JOIN repository ON repository.id = repository_blob.repository
             WHERE repository.name = ?1 AND repository_blob.digest = ?2",
        )?
        .exists([repository.as_str(), &digest.to_string()])
}

pub(super) fn holders(
    connection: &Connection,
    digest: &Digest,
    limit: usize,
) -> Result<Vec<Repository>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT repository.name FROM repository_blob JOIN repository ON repository.id = repository_blob.repository
             WHERE repository_blob.digest = ?1 ORDER BY repository.name LIMIT ?2",
        )?
        .query_map(params![digest.to_string(), as_limit(limit)], |row| parsed(row, 0))?
        .collect()
}

pub(super) fn unlink(
    connection: &Connection,
    repository: &Repository,
    digest: &Digest,
    fixed: &Fixed,
    at: Timestamp,
) -> Result<Removed, rusqlite::Error> {
    let Some(id) = repository_id(connection, repository)? else { return Ok(Removed::Unknown) };
    if let Some(kept) = manifests::kept(connection, id, digest, fixed, at)? {
        return Ok(kept);
    }
    let gone = connection
        .prepare_cached("DELETE FROM repository_blob WHERE repository = ?1 AND digest = ?2")?
        .execute(params![id, digest.to_string()])?;
    Ok(if gone > 0 { Removed::Yes } else { Removed::Unknown })
}

pub(super) fn begin_upload(connection: &Connection, upload: &UploadRow) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("INSERT INTO upload (id, repository, algorithm, started_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            upload.id,
            upload.repository.as_str(),
            upload.algorithm.name(),
            upload.started_at.as_millisecond()
        ])
        .map(drop)
}

pub(super) fn upload(connection: &Connection, id: &str) -> Result<Option<UploadRow>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id, repository, algorithm, started_at FROM upload WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(UploadRow {
                id: row.get(0)?,
                repository: parsed(row, 1)?,
                algorithm: parsed(row, 2)?,
                started_at: Timestamp::from_millisecond(row.get(3)?).map_err(|error| damaged(3, error))?,
            })
        })
        .optional()
}

pub(super) fn end_upload(connection: &Connection, id: &str) -> Result<bool, rusqlite::Error> {
    connection.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([id]).map(|gone| gone > 0)
}

pub(super) fn uploads_before(
    connection: &Connection,
    before: Timestamp,
) -> Result<Vec<String>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT id FROM upload WHERE started_at < ?1 ORDER BY started_at")?
        .query_map([before.as_millisecond()], |row| row.get(0))?
        .collect()
}
