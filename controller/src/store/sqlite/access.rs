//! API tokens and the append-only audit log.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::Result;
use super::{db, from_doc, to_doc};
use crate::model::{ApiToken, AuditEntry, TokenId};

const WHAT: &str = "reading or writing tokens and the audit log";
const PAGE_MAX: u32 = 1000;

pub fn add(tx: &Transaction<'_>, token: &ApiToken, sha256: [u8; 32]) -> Result<()> {
    tx.execute(
        "INSERT INTO tokens (id, sha256, doc) VALUES (?1, ?2, ?3)",
        params![token.id.as_str(), sha256.as_slice(), to_doc("token", token)?],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn by_hash(c: &Connection, sha256: [u8; 32]) -> Result<Option<ApiToken>> {
    let doc: Option<String> = c
        .query_row("SELECT doc FROM tokens WHERE sha256 = ?1", [sha256.as_slice()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    doc.map(|doc| from_doc("token", &doc)).transpose()
}

pub fn all(c: &Connection) -> Result<Vec<ApiToken>> {
    let mut statement = c.prepare_cached("SELECT doc FROM tokens ORDER BY id").map_err(db(WHAT))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(db(WHAT))?;
    rows.map(|row| from_doc("token", &row.map_err(db(WHAT))?)).collect()
}

pub fn revoke(tx: &Transaction<'_>, id: &TokenId, at: Timestamp) -> Result<bool> {
    let doc: Option<String> = tx
        .query_row("SELECT doc FROM tokens WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(doc) = doc else { return Ok(false) };
    let mut token: ApiToken = from_doc("token", &doc)?;
    token.revoked_at.get_or_insert(at);
    tx.execute(
        "UPDATE tokens SET doc = ?2, revoked_at = ?3 WHERE id = ?1",
        params![id.as_str(), to_doc("token", &token)?, token.revoked_at.map(|at| at.to_string())],
    )
    .map_err(db(WHAT))?;
    Ok(true)
}

pub fn audit(tx: &Transaction<'_>, entry: &AuditEntry) -> Result<()> {
    tx.execute("INSERT INTO audit (doc) VALUES (?1)", [to_doc("audit entry", entry)?])
        .map(drop)
        .map_err(db(WHAT))
}

pub fn audit_log(c: &Connection, before: Option<i64>, limit: u32) -> Result<Vec<(i64, AuditEntry)>> {
    let mut statement = c
        .prepare_cached("SELECT seq, doc FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")
        .map_err(db(WHAT))?;
    let rows = statement
        .query_map(params![before.unwrap_or(i64::MAX), limit.min(PAGE_MAX)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(db(WHAT))?;
    rows.map(|row| {
        let (seq, doc) = row.map_err(db(WHAT))?;
        Ok((seq, from_doc("audit entry", &doc)?))
    })
    .collect()
}
