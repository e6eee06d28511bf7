//! Jobs: making them, changing them under a version, leases, and what is sealed of them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::{Applied, Change, Created, JobFilter, NewJob, Page, Result, Sealer, StoreError};
use super::{db, from_doc, micros, outbox, timeline, to_doc};
use crate::model::{Inputs, Job, JobId, Lease, Live, MachineId, Secret};

const WHAT: &str = "reading or writing a job";
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;

fn context(id: &JobId) -> String {
    format!("job/{id}/inputs")
}

fn secret_context(id: &JobId) -> String {
    format!("job/{id}/callback_secret")
}

pub fn create(tx: &Transaction<'_>, sealer: &Sealer, new: NewJob) -> Result<Created> {
    let mut job = new.job;
    if let Some(key) = &new.idempotency
        && let Some((id, body)) = idempotent(tx, &key.key)?
    {
        if body != key.body_sha256 {
            return Ok(Created::KeyReused { job: id });
        }
        if let Some(job) = one(tx, &id)? {
            return Ok(Created::Existing(Box::new(job)));
        }
    }
    if let Some(first) = &job.retry_of
        && let Some(id) = retry_of(tx, first)?
        && let Some(job) = one(tx, &id)?
    {
        return Ok(Created::Existing(Box::new(job)));
    }
    if super::machines::one(tx, &job.machine_id)?.is_none() {
        return Ok(Created::NoMachine);
    }
    if let Some(first) = active(tx, &job.machine_id)? {
        return Ok(Created::ActiveJob { job: first });
    }
    job.version = 1;
    let plain = zeroize::Zeroizing::new(to_doc("job's inputs", &new.inputs)?);
    let inputs = sealer
        .seal(&context(&job.id), plain.as_bytes())
        .map_err(|source| StoreError::Sealed { what: "job's inputs", source })?;
    let secret = new.callback_secret.map(|secret| {
        sealer
            .seal(&secret_context(&job.id), secret.expose().as_bytes())
            .map_err(|source| StoreError::Sealed { what: "job's callback secret", source })
    });
    tx.execute(
        "INSERT INTO jobs (id, machine_id, status, version, retry_of, doc, inputs, callback_secret) \
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7)",
        params![
            job.id.as_str(),
            job.machine_id.as_str(),
            job.state.status().as_str(),
            job.retry_of.as_ref().map(JobId::as_str),
            to_doc("job", &job)?,
            inputs,
            secret.transpose()?
        ],
    )
    .map_err(db(WHAT))?;
    if let Some(key) = &new.idempotency {
        tx.execute(
            "INSERT INTO idempotency (key, body_sha256, job_id, at) VALUES (?1, ?2, ?3, ?4)",
            params![key.key, key.body_sha256, job.id.as_str(), micros(job.created_at)],
        )
        .map_err(db(WHAT))?;
    }
    timeline::add(tx, Some(&job.id), Some(&job.machine_id), &new.events)?;
    outbox::announce(tx, job.created_at, Some(&job), &new.announcements)?;
    Ok(Created::New(Box::new(job)))
}

pub fn apply(tx: &Transaction<'_>, id: &JobId, expected: u64, change: Change) -> Result<Applied> {
    let found: Option<(u64, u64)> = tx
        .query_row("SELECT version, lease_fence FROM jobs WHERE id = ?1", [id.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(db(WHAT))?;
    let Some((version, fence)) = found else { return Ok(Applied::Stale) };
    // A repeat is told apart first: whatever became of the job since, the report is not news.
    if let Some(delivery) = &change.delivery
        && delivery_seen(tx, id, delivery)?
    {
        return Ok(Applied::Repeated);
    }
    if change.fence.is_some_and(|mine| mine != fence) {
        return Ok(Applied::Fenced);
    }
    if version != expected {
        return Ok(Applied::Stale);
    }
    let mut job = change.job;
    job.version = expected + 1;
    tx.execute(
        "UPDATE jobs SET status = ?2, version = ?3, released_at = ?4, doc = ?5 WHERE id = ?1",
        params![
            id.as_str(),
            job.state.status().as_str(),
            job.version,
            job.released_at.map(micros),
            to_doc("job", &job)?
        ],
    )
    .map_err(db(WHAT))?;
    if let Some(delivery) = &change.delivery {
        tx.execute(
            "INSERT INTO reports (job_id, delivery_id) VALUES (?1, ?2)",
            params![id.as_str(), delivery],
        )
        .map_err(db(WHAT))?;
    }
    if let Some(lifecycle) = change.lifecycle {
        super::machines::set_lifecycle(tx, &job.machine_id, lifecycle)?;
    }
    let seqs = timeline::add(tx, Some(id), Some(&job.machine_id), &change.events)?;
    outbox::announce(tx, job.updated_at, Some(&job), &change.announcements)?;
    Ok(Applied::Done { job: Box::new(job), seqs })
}

pub fn one(c: &Connection, id: &JobId) -> Result<Option<Job>> {
    text(c, "SELECT doc FROM jobs WHERE id = ?1", id.as_str())?.map(|doc| from_doc("job", &doc)).transpose()
}

pub fn inputs(c: &Connection, sealer: &Sealer, id: &JobId) -> Result<Option<Inputs>> {
    let sealed: Option<Option<Vec<u8>>> = c
        .query_row("SELECT inputs FROM jobs WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(sealed) = sealed.flatten() else { return Ok(None) };
    let plain = sealer
        .open(&context(id), &sealed)
        .map_err(|source| StoreError::Sealed { what: "job's inputs", source })?;
    serde_json::from_slice(&plain)
        .map(Some)
        .map_err(|source| StoreError::Document { what: "job's inputs", source })
}

pub fn callback_secret(c: &Connection, sealer: &Sealer, id: &JobId) -> Result<Option<Secret<String>>> {
    let what = "job's callback secret";
    let sealed: Option<Option<Vec<u8>>> = c
        .query_row("SELECT callback_secret FROM jobs WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(sealed) = sealed.flatten() else { return Ok(None) };
    let plain =
        sealer.open(&secret_context(id), &sealed).map_err(|source| StoreError::Sealed { what, source })?;
    let text = String::from_utf8(plain.to_vec()).map_err(|_| {
        use serde::de::Error;
        StoreError::Document { what, source: serde_json::Error::custom("not text") }
    })?;
    Ok(Some(Secret::new(text)))
}

pub fn list(c: &Connection, filter: &JobFilter) -> Result<Page<Job>> {
    let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE_MAX) };
    // One statement per shape, so that each uses its index.
    let mut sql = String::from("SELECT doc FROM jobs WHERE id < ?1");
    let mut values: Vec<String> = vec![filter.cursor.clone().unwrap_or_else(|| "~".to_owned())];
    if let Some(status) = filter.status {
        values.push(status.as_str().to_owned());
        sql.push_str(" AND status = ?2");
    }
    if let Some(machine) = &filter.machine {
        values.push(machine.as_str().to_owned());
        sql.push_str(if filter.status.is_some() { " AND machine_id = ?3" } else { " AND machine_id = ?2" });
    }
    sql.push_str(" ORDER BY id DESC LIMIT ");
    sql.push_str(&(limit + 1).to_string());
    let mut statement = c.prepare_cached(&sql).map_err(db(WHAT))?;
    let rows = statement
        .query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(0))
        .map_err(db(WHAT))?;
    let mut items = Vec::new();
    for row in rows {
        items.push(from_doc::<Job>("job", &row.map_err(db(WHAT))?)?);
    }
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = if more { items.last().map(|job| job.id.to_string()) } else { None };
    Ok(Page { items, next })
}

pub fn open(c: &Connection) -> Result<Vec<Job>> {
    let mut statement =
        c.prepare_cached("SELECT doc FROM jobs WHERE released_at IS NULL ORDER BY id").map_err(db(WHAT))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(db(WHAT))?;
    rows.map(|row| from_doc("job", &row.map_err(db(WHAT))?)).collect()
}

pub fn active(c: &Connection, machine: &MachineId) -> Result<Option<JobId>> {
    id(c, "SELECT id FROM jobs WHERE machine_id = ?1 AND released_at IS NULL", machine.as_str())
}

pub fn retry_of(c: &Connection, first: &JobId) -> Result<Option<JobId>> {
    id(c, "SELECT id FROM jobs WHERE retry_of = ?1", first.as_str())
}

pub fn idempotent(c: &Connection, key: &str) -> Result<Option<(JobId, String)>> {
    let found: Option<(String, String)> = c
        .query_row("SELECT job_id, body_sha256 FROM idempotency WHERE key = ?1", [key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(db(WHAT))?;
    found.map(|(job, body)| Ok((parse(&job)?, body))).transpose()
}

pub fn delivery_seen(c: &Connection, id: &JobId, delivery: &str) -> Result<bool> {
    c.query_row(
        "SELECT EXISTS (SELECT 1 FROM reports WHERE job_id = ?1 AND delivery_id = ?2)",
        params![id.as_str(), delivery],
        |row| row.get(0),
    )
    .map_err(db(WHAT))
}

pub fn take_lease(
    tx: &Transaction<'_>,
    id: &JobId,
    owner: &str,
    now: Timestamp,
    expires_at: Timestamp,
    others_are_dead: bool,
) -> Result<Option<Lease>> {
    let found: Option<(Option<String>, u64, i64)> = tx
        .query_row(
            "SELECT lease_owner, lease_fence, lease_expires FROM jobs WHERE id = ?1",
            [id.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(db(WHAT))?;
    let Some((holder, fence, until)) = found else { return Ok(None) };
    let mine = holder.as_deref() == Some(owner);
    let free = holder.is_none() || others_are_dead || until <= micros(now);
    if !mine && !free {
        return Ok(None);
    }
    let fence = if mine { fence } else { fence + 1 };
    tx.execute(
        "UPDATE jobs SET lease_owner = ?2, lease_fence = ?3, lease_expires = ?4 WHERE id = ?1",
        params![id.as_str(), owner, fence, micros(expires_at)],
    )
    .map_err(db(WHAT))?;
    Ok(Some(Lease { owner: owner.to_owned(), fence, expires_at }))
}

pub fn renew_leases(tx: &Transaction<'_>, owner: &str, expires_at: Timestamp) -> Result<Vec<JobId>> {
    let sql =
        "UPDATE jobs SET lease_expires = ?2 WHERE lease_owner = ?1 AND released_at IS NULL RETURNING id";
    let mut statement = tx.prepare_cached(sql).map_err(db(WHAT))?;
    let rows = statement
        .query_map(params![owner, micros(expires_at)], |row| row.get::<_, String>(0))
        .map_err(db(WHAT))?;
    rows.map(|row| parse(&row.map_err(db(WHAT))?)).collect()
}

pub fn flush_live(tx: &Transaction<'_>, id: &JobId, live: &Live) -> Result<()> {
    tx.execute(
        "UPDATE jobs SET live = ?2 WHERE id = ?1",
        params![id.as_str(), to_doc("job's progress", live)?],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn live(c: &Connection, id: &JobId) -> Result<Option<Live>> {
    let found: Option<Option<String>> = c
        .query_row("SELECT live FROM jobs WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    found.flatten().map(|doc| from_doc("job's progress", &doc)).transpose()
}

pub fn erase_inputs(tx: &Transaction<'_>, before: Timestamp) -> Result<u64> {
    tx.execute(
        "UPDATE jobs SET inputs = NULL, callback_secret = NULL \
         WHERE inputs IS NOT NULL AND released_at IS NOT NULL AND released_at < ?1",
        [micros(before)],
    )
    .map(|count| count as u64)
    .map_err(db(WHAT))
}

fn text(c: &Connection, sql: &str, key: &str) -> Result<Option<String>> {
    c.query_row(sql, [key], |row| row.get(0)).optional().map_err(db(WHAT))
}

fn id(c: &Connection, sql: &str, key: &str) -> Result<Option<JobId>> {
    text(c, sql, key)?.map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<JobId> {
    use serde::de::Error;
    text.parse()
        .map_err(|error| StoreError::Document { what: "job id", source: serde_json::Error::custom(error) })
}
