//! Rules about pushes, and the record of what came of each push.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::super::{PushRunEnd, Result, RuleAdded, RuleSecrets, Sealer, StoreError};
use super::{access, db, from_doc, outbox, to_doc};
use crate::model::{PushMode, PushRule, PushRuleId, PushRun, Secret};

const WHAT: &str = "reading or writing push rules";
const PAGE_MAX: u32 = 500;
/// Runs kept of each rule, the newest. The audit log has a line of every one, for good.
pub const RUNS_KEPT: u32 = 1000;

/// What is sealed of a rule.
#[derive(Serialize, Deserialize)]
struct Sealed {
    recipe: String,
    callback_secret: Option<String>,
}

impl Drop for Sealed {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.recipe.zeroize();
        self.callback_secret.zeroize();
    }
}

fn context(id: &PushRuleId) -> String {
    format!("push_rule/{id}/sealed")
}

pub fn add(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    rule: &PushRule,
    secrets: &RuleSecrets,
    most: usize,
) -> Result<RuleAdded> {
    if by_name(tx, &rule.name)?.is_some() {
        return Ok(RuleAdded::NameTaken);
    }
    if all(tx)?.len() >= most {
        return Ok(RuleAdded::TooMany);
    }
    let sealed = Sealed {
        recipe: secrets.recipe.expose().clone(),
        callback_secret: secrets.callback_secret.as_ref().map(|secret| secret.expose().clone()),
    };
    let plain = zeroize::Zeroizing::new(to_doc("push rule's recipe", &sealed)?);
    let sealed = sealer
        .seal(&context(&rule.id), plain.as_bytes())
        .map_err(|source| StoreError::Sealed { what: "push rule's recipe", source })?;
    tx.execute(
        "INSERT INTO push_rules (id, name, doc, sealed) VALUES (?1, ?2, ?3, ?4)",
        params![rule.id.as_str(), rule.name, to_doc("push rule", rule)?, sealed],
    )
    .map_err(db(WHAT))?;
    Ok(RuleAdded::Done)
}

pub fn all(c: &Connection) -> Result<Vec<PushRule>> {
    let mut statement = c.prepare_cached("SELECT doc FROM push_rules ORDER BY name").map_err(db(WHAT))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(db(WHAT))?;
    rows.map(|row| from_doc("push rule", &row.map_err(db(WHAT))?)).collect()
}

pub fn by_name(c: &Connection, name: &str) -> Result<Option<PushRule>> {
    text(c, "SELECT doc FROM push_rules WHERE name = ?1", name)?
        .map(|doc| from_doc("push rule", &doc))
        .transpose()
}

pub fn secrets(c: &Connection, sealer: &Sealer, id: &PushRuleId) -> Result<Option<RuleSecrets>> {
    let what = "push rule's recipe";
    let sealed: Option<Vec<u8>> = c
        .query_row("SELECT sealed FROM push_rules WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = sealer.open(&context(id), &sealed).map_err(|source| StoreError::Sealed { what, source })?;
    let mut sealed: Sealed =
        serde_json::from_slice(&plain).map_err(|source| StoreError::Document { what, source })?;
    Ok(Some(RuleSecrets {
        recipe: Secret::new(std::mem::take(&mut sealed.recipe)),
        callback_secret: sealed.callback_secret.take().map(Secret::new),
    }))
}

pub fn set_mode(tx: &Transaction<'_>, name: &str, mode: PushMode, at: Timestamp) -> Result<Option<PushRule>> {
    let Some(mut rule) = by_name(tx, name)? else { return Ok(None) };
    if rule.mode != mode {
        (rule.mode, rule.mode_since) = (mode, at);
        tx.execute(
            "UPDATE push_rules SET doc = ?2 WHERE id = ?1",
            params![rule.id.as_str(), to_doc("push rule", &rule)?],
        )
        .map_err(db(WHAT))?;
    }
    Ok(Some(rule))
}

pub fn remove(tx: &Transaction<'_>, name: &str) -> Result<bool> {
    let Some(rule) = by_name(tx, name)? else { return Ok(false) };
    for sql in [
        "DELETE FROM outbox WHERE rule_id = ?1 AND state = 'pending'",
        "DELETE FROM push_runs WHERE rule_id = ?1",
        "DELETE FROM push_rules WHERE id = ?1",
    ] {
        tx.execute(sql, [rule.id.as_str()]).map_err(db(WHAT))?;
    }
    Ok(true)
}

/// The run of that rule and push: the one that was begun first.
pub fn begin(tx: &Transaction<'_>, run: &PushRun) -> Result<PushRun> {
    tx.execute(
        "INSERT INTO push_runs (rule_id, push_id, ended, doc) VALUES (?1, ?2, 0, ?3) \
         ON CONFLICT (rule_id, push_id) DO NOTHING",
        params![run.rule_id.as_str(), run.push.id, to_doc("push run", run)?],
    )
    .map_err(db(WHAT))?;
    let doc: String = tx
        .query_row(
            "SELECT doc FROM push_runs WHERE rule_id = ?1 AND push_id = ?2",
            params![run.rule_id.as_str(), run.push.id],
            |row| row.get(0),
        )
        .map_err(db(WHAT))?;
    from_doc("push run", &doc)
}

pub fn end(tx: &Transaction<'_>, end: &PushRunEnd) -> Result<()> {
    let (run, at) = (&end.run, end.audit.at);
    // None is changed when its rule was removed meanwhile; what it did is on record all the same.
    tx.execute(
        "UPDATE push_runs SET ended = 1, doc = ?3 WHERE rule_id = ?1 AND push_id = ?2",
        params![run.rule_id.as_str(), run.push.id, to_doc("push run", run)?],
    )
    .map_err(db(WHAT))?;
    tx.execute(
        "DELETE FROM push_runs WHERE rule_id = ?1 AND ended = 1 AND seq <= ( \
             SELECT seq FROM push_runs WHERE rule_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        params![run.rule_id.as_str(), RUNS_KEPT],
    )
    .map_err(db(WHAT))?;
    access::audit(tx, &end.audit)?;
    outbox::announce(tx, at, None, std::slice::from_ref(&end.announcement))?;
    if let Some(rule) = by_name(tx, &run.rule)?.filter(|rule| rule.id == run.rule_id)
        && let Some(url) = &rule.callback_url
    {
        outbox::tell_rule(tx, at, &rule.id, url, &end.announcement)?;
    }
    Ok(())
}

pub fn runs(
    c: &Connection,
    rule: &PushRuleId,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<(i64, PushRun)>> {
    let mut statement = c
        .prepare_cached(
            "SELECT seq, doc FROM push_runs WHERE rule_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
        )
        .map_err(db(WHAT))?;
    let rows = statement
        .query_map(params![rule.as_str(), before.unwrap_or(i64::MAX), limit.min(PAGE_MAX)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(db(WHAT))?;
    rows.map(|row| {
        let (seq, doc) = row.map_err(db(WHAT))?;
        Ok((seq, from_doc("push run", &doc)?))
    })
    .collect()
}

fn text(c: &Connection, sql: &str, key: &str) -> Result<Option<String>> {
    c.query_row(sql, [key], |row| row.get(0)).optional().map_err(db(WHAT))
}

#[cfg(test)]
#[path = "push_rules_tests.rs"]
mod tests;
