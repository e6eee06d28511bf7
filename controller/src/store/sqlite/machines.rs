//! Machines and the sealed passwords of their BMCs.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::super::{Added, MachineFilter, Page, Removed, Result, Sealer, StoreError, Updated};
use super::{db, from_doc, jobs, to_doc};
use crate::model::machine::serial_key;
use crate::model::{Lifecycle, Machine, MachineId, Secret};

const WHAT: &str = "reading or writing a machine";
const PAGE: u32 = 50;
const PAGE_MAX: u32 = 500;

fn context(id: &MachineId) -> String {
    format!("machine/{id}/password")
}

fn sealed(sealer: &Sealer, id: &MachineId, password: &Secret<String>) -> Result<Vec<u8>> {
    sealer
        .seal(&context(id), password.expose().as_bytes())
        .map_err(|source| StoreError::Sealed { what: "BMC password", source })
}

pub fn add(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    machine: &Machine,
    password: &Secret<String>,
) -> Result<Added> {
    let password = sealed(sealer, &machine.id, password)?;
    let mut machine = machine.clone();
    machine.version = 1;
    let done = tx.execute(
        "INSERT INTO machines (id, serial_key, version, doc, password) VALUES (?1, ?2, 1, ?3, ?4)",
        params![machine.id.as_str(), serial_key(&machine.serial), to_doc("machine", &machine)?, password],
    );
    match done {
        Ok(_) => Ok(Added::Done),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(Added::SerialTaken)
        }
        Err(error) => Err(db(WHAT)(error)),
    }
}

pub fn update(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    mut machine: Machine,
    password: Option<&Secret<String>>,
) -> Result<Updated> {
    let Some(found) = one(tx, &machine.id)? else { return Ok(Updated::Unknown) };
    if found.version != machine.version {
        return Ok(Updated::Stale);
    }
    if by_serial(tx, &machine.serial)?.is_some_and(|other| other.id != machine.id) {
        return Ok(Updated::SerialTaken);
    }
    machine.lifecycle = found.lifecycle;
    machine.version += 1;
    write(tx, &machine)?;
    if let Some(password) = password {
        let password = sealed(sealer, &machine.id, password)?;
        tx.execute("UPDATE machines SET password = ?2 WHERE id = ?1", params![machine.id.as_str(), password])
            .map_err(db(WHAT))?;
    }
    Ok(Updated::Done)
}

pub fn set_lifecycle(tx: &Transaction<'_>, id: &MachineId, lifecycle: Lifecycle) -> Result<bool> {
    let Some(mut machine) = one(tx, id)? else { return Ok(false) };
    machine.lifecycle = lifecycle;
    machine.version += 1;
    write(tx, &machine)?;
    Ok(true)
}

fn write(tx: &Transaction<'_>, machine: &Machine) -> Result<()> {
    tx.execute(
        "UPDATE machines SET serial_key = ?2, version = ?3, doc = ?4 WHERE id = ?1",
        params![
            machine.id.as_str(),
            serial_key(&machine.serial),
            machine.version,
            to_doc("machine", machine)?
        ],
    )
    .map(drop)
    .map_err(db(WHAT))
}

pub fn remove(tx: &Transaction<'_>, id: &MachineId) -> Result<Removed> {
    if let Some(job) = jobs::active(tx, id)? {
        return Ok(Removed::Busy { job });
    }
    let gone = tx.execute("DELETE FROM machines WHERE id = ?1", [id.as_str()]).map_err(db(WHAT))?;
    Ok(if gone == 0 { Removed::Unknown } else { Removed::Done })
}

pub fn one(c: &Connection, id: &MachineId) -> Result<Option<Machine>> {
    find(c, "SELECT doc FROM machines WHERE id = ?1", id.as_str())
}

pub fn by_serial(c: &Connection, serial: &str) -> Result<Option<Machine>> {
    find(c, "SELECT doc FROM machines WHERE serial_key = ?1", &serial_key(serial))
}

fn find(c: &Connection, sql: &str, key: &str) -> Result<Option<Machine>> {
    let doc: Option<String> = c.query_row(sql, [key], |row| row.get(0)).optional().map_err(db(WHAT))?;
    doc.map(|doc| from_doc("machine", &doc)).transpose()
}

pub fn list(c: &Connection, filter: &MachineFilter) -> Result<Page<Machine>> {
    let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE_MAX) } as usize;
    let mut statement = c
        .prepare_cached("SELECT doc FROM machines WHERE serial_key > ?1 ORDER BY serial_key")
        .map_err(db(WHAT))?;
    let mut rows = statement.query([filter.cursor.as_deref().unwrap_or("")]).map_err(db(WHAT))?;
    let mut items: Vec<Machine> = Vec::new();
    while let Some(row) = rows.next().map_err(db(WHAT))? {
        let machine: Machine = from_doc("machine", &row.get::<_, String>(0).map_err(db(WHAT))?)?;
        if !filter.labels.iter().all(|(name, value)| machine.labels.get(name) == Some(value)) {
            continue;
        }
        if items.len() == limit {
            let next = items.last().map(|last| serial_key(&last.serial));
            return Ok(Page { items, next });
        }
        items.push(machine);
    }
    Ok(Page { items, next: None })
}

pub fn password(c: &Connection, sealer: &Sealer, id: &MachineId) -> Result<Option<Secret<String>>> {
    let sealed: Option<Vec<u8>> = c
        .query_row("SELECT password FROM machines WHERE id = ?1", [id.as_str()], |row| row.get(0))
        .optional()
        .map_err(db(WHAT))?;
    let Some(sealed) = sealed else { return Ok(None) };
    let plain = sealer
        .open(&context(id), &sealed)
        .map_err(|source| StoreError::Sealed { what: "BMC password", source })?;
    Ok(Some(Secret::new(String::from_utf8_lossy(&plain).into_owned())))
}
