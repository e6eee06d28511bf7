//! Events and the logs hosts sent. Rows are added, never changed.

use rusqlite::{Connection, Row, Transaction, params};

use super::super::{HostLog, Result, StoreError};
use super::{db, from_doc, to_doc};
use crate::model::{Event, JobId, MachineId, NewEvent};

const WHAT: &str = "reading or writing the timeline";
/// Bytes of host logs kept per job; what comes later is dropped, and said so.
pub const LOG_BYTES_MAX: i64 = 8 << 20;
const PAGE_MAX: u32 = 1000;

pub fn add(
    tx: &Transaction<'_>,
    job: Option<&JobId>,
    machine: Option<&MachineId>,
    events: &[NewEvent],
) -> Result<Vec<i64>> {
    let mut seqs = Vec::with_capacity(events.len());
    for event in events {
        tx.execute(
            "INSERT INTO events (job_id, machine_id, at, source, step, code, text, data) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                job.map(JobId::as_str),
                machine.map(MachineId::as_str),
                event.at.to_string(),
                to_doc("event source", &event.source)?,
                event.step,
                event.code,
                event.text,
                event.data.as_ref().map(ToString::to_string)
            ],
        )
        .map_err(db(WHAT))?;
        seqs.push(tx.last_insert_rowid());
    }
    Ok(seqs)
}

pub fn of_job(c: &Connection, job: &JobId, after: i64, limit: u32) -> Result<Vec<Event>> {
    select(c, "job_id", job.as_str(), after, limit)
}

pub fn of_machine(c: &Connection, machine: &MachineId, after: i64, limit: u32) -> Result<Vec<Event>> {
    select(c, "machine_id", machine.as_str(), after, limit)
}

fn select(c: &Connection, column: &str, key: &str, after: i64, limit: u32) -> Result<Vec<Event>> {
    let sql = format!(
        "SELECT seq, job_id, machine_id, at, source, step, code, text, data FROM events \
         WHERE {column} = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
    );
    let mut statement = c.prepare_cached(&sql).map_err(db(WHAT))?;
    let mut rows = statement.query(params![key, after, limit.min(PAGE_MAX)]).map_err(db(WHAT))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(db(WHAT))? {
        events.push(event(row)?);
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<Event> {
    let id = |index| row.get::<_, Option<String>>(index).map_err(db(WHAT));
    let data: Option<String> = id(8)?;
    Ok(Event {
        seq: row.get(0).map_err(db(WHAT))?,
        job_id: id(1)?.map(|text| from_text("job id", text)).transpose()?,
        machine_id: id(2)?.map(|text| from_text("machine id", text)).transpose()?,
        at: from_text("time", row.get(3).map_err(db(WHAT))?)?,
        source: from_doc("event source", &row.get::<_, String>(4).map_err(db(WHAT))?)?,
        step: row.get(5).map_err(db(WHAT))?,
        code: row.get(6).map_err(db(WHAT))?,
        text: row.get(7).map_err(db(WHAT))?,
        data: data.map(|text| from_doc("event data", &text)).transpose()?,
    })
}

fn from_text<T: serde::de::DeserializeOwned>(what: &'static str, text: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|source| StoreError::Document { what, source })
}

pub fn append_log(tx: &Transaction<'_>, log: &HostLog) -> Result<()> {
    let known: bool = tx
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM host_logs WHERE job_id = ?1 AND attempt = ?2 AND name = ?3 AND text = ?4)",
            params![log.job_id.as_str(), log.attempt, log.name, log.text],
            |row| row.get(0),
        )
        .map_err(db(WHAT))?;
    if known {
        return Ok(()); // a host that did not hear the answer sends it again
    }
    let kept: i64 = tx
        .query_row(
            "SELECT coalesce(sum(length(text)), 0) FROM host_logs WHERE job_id = ?1",
            [log.job_id.as_str()],
            |row| row.get(0),
        )
        .map_err(db(WHAT))?;
    if kept >= LOG_BYTES_MAX {
        return Ok(()); // the marker below was written when the limit was passed
    }
    let over = kept + i64::try_from(log.text.len()).unwrap_or(i64::MAX) > LOG_BYTES_MAX;
    let room = usize::try_from(LOG_BYTES_MAX - kept).unwrap_or(0);
    let mut text = log.text.as_str();
    if over {
        let mut end = room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text = &text[..end];
    }
    let text = if over {
        format!("{text}\n[slipway: this job's logs passed {LOG_BYTES_MAX} bytes, the rest is dropped]\n")
    } else {
        text.to_owned()
    };
    tx.execute(
        "INSERT INTO host_logs (job_id, attempt, name, at, text) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![log.job_id.as_str(), log.attempt, log.name, log.at.to_string(), text],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn logs(c: &Connection, job: &JobId) -> Result<Vec<HostLog>> {
    let mut statement = c
        .prepare_cached("SELECT attempt, name, at, text FROM host_logs WHERE job_id = ?1 ORDER BY seq")
        .map_err(db(WHAT))?;
    let mut rows = statement.query([job.as_str()]).map_err(db(WHAT))?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next().map_err(db(WHAT))? {
        logs.push(HostLog {
            job_id: job.clone(),
            attempt: row.get(0).map_err(db(WHAT))?,
            name: row.get(1).map_err(db(WHAT))?,
            at: from_text("time", row.get(2).map_err(db(WHAT))?)?,
            text: row.get(3).map_err(db(WHAT))?,
        });
    }
    Ok(logs)
}
