//! Outgoing webhooks: who wants what, and what is still to be sent.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::{DeliveryResult, Result, Sealer, StoreError};
use super::{db, from_doc, from_micros, micros, to_doc};
use crate::model::{
    Announcement, Callback, CallbackId, Delivery, DeliveryState, Job, JobId, PushRuleId, Secret,
};

const WHAT: &str = "reading or writing callbacks";
const PAGE_MAX: u32 = 500;
const COLUMNS: &str = "seq, webhook_id, callback_id, url, job_id, kind, body, state, attempts, created_at, next_at, last_error, rule_id";

fn context(id: &CallbackId) -> String {
    format!("callback/{id}/secrets")
}

pub fn put_callback(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    callback: &Callback,
    secrets: &[Secret<String>],
) -> Result<()> {
    let plain: Vec<&String> = secrets.iter().map(Secret::expose).collect();
    let plain = zeroize::Zeroizing::new(to_doc("callback secrets", &plain)?);
    let sealed = sealer
        .seal(&context(&callback.id), plain.as_bytes())
        .map_err(|source| StoreError::Sealed { what: "callback secret", source })?;
    tx.execute(
        "INSERT INTO callbacks (id, doc, secrets) VALUES (?1, ?2, ?3) \
         ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, secrets = excluded.secrets",
        params![callback.id.as_str(), to_doc("callback", callback)?, sealed],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn callbacks(c: &Connection) -> Result<Vec<Callback>> {
    let mut statement = c.prepare_cached("SELECT doc FROM callbacks ORDER BY id").map_err(db(WHAT))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(db(WHAT))?;
    rows.map(|row| from_doc("callback", &row.map_err(db(WHAT))?)).collect()
}

pub fn secrets(c: &Connection, sealer: &Sealer, id: &CallbackId) -> Result<Vec<Secret<String>>> {
    let sealed: Option<Vec<u8>> = c
        .query_row("SELECT secrets FROM callbacks WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(sealed) = sealed else { return Ok(vec![]) };
    let plain = sealer
        .open(&context(id), &sealed)
        .map_err(|source| StoreError::Sealed { what: "callback secret", source })?;
    let secrets: Vec<String> = serde_json::from_slice(&plain)
        .map_err(|source| StoreError::Document { what: "callback secrets", source })?;
    Ok(secrets.into_iter().map(Secret::new).collect())
}

pub fn remove_callback(tx: &Transaction<'_>, id: &CallbackId) -> Result<bool> {
    tx.execute("DELETE FROM outbox WHERE callback_id = ?1 AND state = 'pending'", [id.as_str()])
        .map_err(db(WHAT))?;
    let gone = tx.execute("DELETE FROM callbacks WHERE id = ?1", [id.as_str()]).map_err(db(WHAT))?;
    Ok(gone > 0)
}

/// Writes one delivery per announcement and subscriber that wants it, and one for the job's own `callback_url`.
pub fn announce(tx: &Transaction<'_>, at: Timestamp, job: Option<&Job>, what: &[Announcement]) -> Result<()> {
    if what.is_empty() {
        return Ok(());
    }
    let subscribers = callbacks(tx)?;
    for announcement in what {
        let body = announcement.body(at);
        let wanting = subscribers
            .iter()
            .filter(|callback| callback.wants(&announcement.kind))
            .map(|callback| (Some(&callback.id), callback.url.as_str()));
        let own = job.and_then(|job| job.callback_url.as_deref()).map(|url| (None, url));
        for (callback, url) in wanting.chain(own) {
            let to = Receiver { callback, job: job.map(|job| &job.id), rule: None, url };
            write(tx, at, &to, &announcement.kind, &body)?;
        }
    }
    Ok(())
}

/// Writes one delivery for a push rule's own `callback_url`.
pub fn tell_rule(
    tx: &Transaction<'_>,
    at: Timestamp,
    rule: &PushRuleId,
    url: &str,
    what: &Announcement,
) -> Result<()> {
    write(tx, at, &Receiver { callback: None, job: None, rule: Some(rule), url }, &what.kind, &what.body(at))
}

/// Where a delivery goes, and whose secret signs it.
struct Receiver<'a> {
    callback: Option<&'a CallbackId>,
    job: Option<&'a JobId>,
    rule: Option<&'a PushRuleId>,
    url: &'a str,
}

fn write(tx: &Transaction<'_>, at: Timestamp, to: &Receiver<'_>, kind: &str, body: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO outbox (webhook_id, callback_id, url, job_id, rule_id, kind, body, state, created_at, next_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8, ?8)",
        params![
            format!("msg_{}", uuid::Uuid::now_v7().simple()),
            to.callback.map(CallbackId::as_str),
            to.url,
            to.job.map(JobId::as_str),
            to.rule.map(PushRuleId::as_str),
            kind,
            body,
            micros(at)
        ],
    )
    .map(drop)
    .map_err(db(WHAT))
}

/// The oldest pending one of each subscriber and job, if it is due. What has no job waits for nobody.
pub fn due(c: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox AS o WHERE state = 'pending' AND next_at <= ?1 AND (job_id IS NULL OR NOT EXISTS ( \
             SELECT 1 FROM outbox AS p WHERE p.state = 'pending' AND p.job_id = o.job_id AND p.url = o.url \
               AND p.callback_id IS o.callback_id AND p.seq < o.seq)) \
         ORDER BY next_at, seq LIMIT ?2"
    );
    select(c, &sql, params![micros(now), limit.min(PAGE_MAX)])
}

pub fn next_at(c: &Connection) -> Result<Option<Timestamp>> {
    let next: Option<i64> = c
        .query_row(
            "SELECT min(next_at) FROM outbox AS o WHERE state = 'pending' AND (job_id IS NULL OR NOT EXISTS ( \
                 SELECT 1 FROM outbox AS p WHERE p.state = 'pending' AND p.job_id = o.job_id AND p.url = o.url \
                   AND p.callback_id IS o.callback_id AND p.seq < o.seq))",
            [],
            |row| row.get(0),
        )
        .map_err(db(WHAT))?;
    Ok(next.map(from_micros))
}

pub fn settle(tx: &Transaction<'_>, seq: i64, result: &DeliveryResult) -> Result<()> {
    let (state, next_at, error) = match result {
        DeliveryResult::Delivered => (DeliveryState::Delivered, None, None),
        DeliveryResult::Retry { next_at, error } => {
            (DeliveryState::Pending, Some(micros(*next_at)), Some(error))
        }
        DeliveryResult::Dead { error } => (DeliveryState::Dead, None, Some(error)),
    };
    tx.execute(
        "UPDATE outbox SET state = ?2, attempts = attempts + 1, next_at = coalesce(?3, next_at), last_error = ?4 \
         WHERE seq = ?1 AND state = 'pending'",
        params![seq, state.as_str(), next_at, error],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn of_callback(
    c: &Connection,
    id: &CallbackId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox WHERE callback_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
    );
    select(c, &sql, params![id.as_str(), before.unwrap_or(i64::MAX), limit.min(PAGE_MAX)])
}

pub fn replay(tx: &Transaction<'_>, seq: i64, now: Timestamp) -> Result<bool> {
    let changed = tx
        .execute(
            "UPDATE outbox SET state = 'pending', attempts = 0, next_at = ?2 WHERE seq = ?1",
            params![seq, micros(now)],
        )
        .map_err(db(WHAT))?;
    Ok(changed > 0)
}

fn select(c: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Delivery>> {
    let mut statement = c.prepare_cached(sql).map_err(db(WHAT))?;
    let mut rows = statement.query(values).map_err(db(WHAT))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(db(WHAT))? {
        found.push(delivery(row).map_err(db(WHAT))?);
    }
    Ok(found)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let callback: Option<String> = row.get(2)?;
    let job: Option<String> = row.get(4)?;
    let rule: Option<String> = row.get(12)?;
    let state: String = row.get(7)?;
    Ok(Delivery {
        seq: row.get(0)?,
        webhook_id: row.get(1)?,
        callback_id: callback.and_then(|id| id.parse::<CallbackId>().ok()),
        url: row.get(3)?,
        job_id: job.and_then(|id| id.parse::<JobId>().ok()),
        rule_id: rule.and_then(|id| id.parse::<PushRuleId>().ok()),
        kind: row.get(5)?,
        body: row.get(6)?,
        state: match state.as_str() {
            "delivered" => DeliveryState::Delivered,
            "dead" => DeliveryState::Dead,
            _ => DeliveryState::Pending,
        },
        attempts: row.get(8)?,
        created_at: from_micros(row.get(9)?),
        next_at: from_micros(row.get(10)?),
        last_error: row.get(11)?,
    })
}
