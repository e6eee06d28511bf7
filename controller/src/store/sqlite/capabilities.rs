//! What was learnt of kinds of BMCs, and which kind a machine is.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::Result;
use super::{db, from_doc, to_doc};
use crate::model::capability::Feature;
use crate::model::{Capability, Family, MachineId, Seen};

const WHAT: &str = "reading or writing what is known of a kind of BMC";

/// Which kind a machine was last seen to be.
pub fn family(c: &Connection, machine: &MachineId) -> Result<Option<Family>> {
    let sql = "SELECT doc FROM machine_families WHERE machine_id = ?1";
    let doc: Option<String> =
        c.query_row(sql, [machine.as_str()], |row| row.get(0)).optional().map_err(db(WHAT))?;
    doc.map(|doc| from_doc("family", &doc)).transpose()
}

/// Keeps it; of a machine that was removed meanwhile nothing is kept.
pub fn set_family(tx: &Transaction<'_>, machine: &MachineId, family: &Family) -> Result<()> {
    let sql = "INSERT INTO machine_families (machine_id, doc) SELECT id, ?2 FROM machines WHERE id = ?1 \
               ON CONFLICT (machine_id) DO UPDATE SET doc = excluded.doc";
    tx.execute(sql, params![machine.as_str(), to_doc("family", family)?]).map(drop).map_err(db(WHAT))
}

/// What is known of a kind.
pub fn one(c: &Connection, family: &Family) -> Result<Option<Capability>> {
    let sql = "SELECT doc FROM capabilities WHERE vendor = ?1 AND model = ?2 AND firmware = ?3";
    let doc: Option<String> =
        c.query_row(sql, family.key(), |row| row.get(0)).optional().map_err(db(WHAT))?;
    doc.map(|doc| from_doc("capability", &doc)).transpose()
}

/// Adds to it. What is known already with the same result stays as it was seen first.
pub fn learn(tx: &Transaction<'_>, family: &Family, what: Feature, seen: Seen) -> Result<()> {
    let mut known = one(tx, family)?.unwrap_or_default();
    if known.of(what).is_some_and(|before| before.works == seen.works) {
        return Ok(());
    }
    known.learn(what, seen);
    let [vendor, model, firmware] = family.key();
    let sql = "INSERT INTO capabilities (vendor, model, firmware, doc) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (vendor, model, firmware) DO UPDATE SET doc = excluded.doc";
    tx.execute(sql, params![vendor, model, firmware, to_doc("capability", &known)?])
        .map(drop)
        .map_err(db(WHAT))
}

/// Forgets all of it; false when nothing was known.
pub fn forget(tx: &Transaction<'_>, family: &Family) -> Result<bool> {
    let sql = "DELETE FROM capabilities WHERE vendor = ?1 AND model = ?2 AND firmware = ?3";
    Ok(tx.execute(sql, family.key()).map_err(db(WHAT))? > 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, with_machine};
    use super::*;
    use crate::model::JobId;
    use crate::store::{Removed, Store as _};

    #[test]
    fn what_is_learnt_of_a_kind_holds_for_all_its_machines_and_for_no_other_firmware() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let (one, two) = (with_machine(&store, "A"), with_machine(&store, "B"));
        let kind =
            |vendor: &str, firmware: &str| Family::of(Some(vendor), Some("R750"), Some(firmware)).unwrap();
        let seen = |works, what: &str| Seen {
            works,
            what: what.to_owned(),
            at: "2026-11-21T09:00:00Z".parse().unwrap(),
            job: JobId::fresh(),
        };
        assert_eq!(store.family(&one.id).unwrap(), None);
        store.set_family(&one.id, &kind("Dell", "6.0")).unwrap();
        store.set_family(&two.id, &kind("DELL", "6.0")).unwrap();
        let theirs = |id| store.capability(&store.family(id).unwrap().unwrap()).unwrap();
        assert_eq!(theirs(&one.id), None);

        let first = seen(false, "dropped");
        store.learn(&kind("Dell", "6.0"), Feature::SecondSlot, first.clone()).unwrap();
        store.learn(&kind("Dell", "6.0"), Feature::SecondSlot, seen(false, "dropped again")).unwrap();
        store.learn(&kind("dell", "6.0"), Feature::Composed, seen(true, "booted")).unwrap();
        let known = theirs(&two.id).unwrap();
        assert_eq!(known, theirs(&one.id).unwrap());
        assert_eq!(known.second_slot, Some(first), "the first of the same kind stays");
        assert!(known.composed.unwrap().works && known.http_boot.is_none());
        store.learn(&kind("Dell", "6.0"), Feature::SecondSlot, seen(true, "worked")).unwrap();
        assert!(theirs(&one.id).unwrap().second_slot.unwrap().works, "the last word counts");

        store.set_family(&two.id, &kind("Dell", "7.0")).unwrap();
        assert_eq!(theirs(&two.id), None);
        assert!(store.forget_capability(&kind("Dell", "6.0")).unwrap());
        assert!(!store.forget_capability(&kind("Dell", "6.0")).unwrap());
        assert_eq!(theirs(&one.id), None);

        // A removed machine takes its kind with it, and nothing is kept of one that is gone.
        assert_eq!(store.remove_machine(&one.id).unwrap(), Removed::Done);
        assert_eq!(store.family(&one.id).unwrap(), None);
        store.set_family(&one.id, &kind("Dell", "6.0")).unwrap();
        assert_eq!(store.family(&one.id).unwrap(), None);
    }
}
