//! The read-only switch: while it is on, nothing that repositories show is changed, and pulls go on.
//!
//! ```text
//! request that writes ─▶ allow (early, on the switch alone) ─▶ body ─▶ begin (a turn) ─▶ file, index
//! set ─▶ waits for the turns that are taken ─▶ index ─▶ memory
//! ```
//! Once [`Switch::set`] has returned, what was answered before is all there is. The index remembers it over restarts.
//! Not refused are pins and leases, which protect content, and putting damaged content out of reach.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    error::RegistryError,
    index::{Index, IndexError},
};

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadOnly {
    /// In the words of who switched it on, for whoever is refused.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Who switched it on.
    pub by: String,
}

/// The switch of one registry.
#[derive(Debug)]
pub(super) struct Switch {
    /// Changes hold it shared while they are made, the switch alone.
    turns: RwLock<()>,
    on: Mutex<Option<ReadOnly>>,
}

/// The right to change something now; nothing is switched before it is given back. Nobody takes two.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _held: RwLockReadGuard<'a, ()>,
}

impl Switch {
    /// As the index remembers it.
    pub(super) fn open(index: &dyn Index) -> Result<Self, IndexError> {
        Ok(Self { turns: RwLock::default(), on: Mutex::new(index.read_only()?) })
    }

    /// Why nothing is written, when that is so.
    pub(super) fn now(&self) -> Option<ReadOnly> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses a change that would be refused later. Never waits.
    pub(super) fn allow(&self) -> Result<(), RegistryError> {
        match self.now() {
            Some(ReadOnly { reason, since, .. }) => Err(RegistryError::ReadOnly { reason, since }),
            None => Ok(()),
        }
    }

    /// Begins a change, or refuses it. Blocks while the switch is being set.
    pub(super) fn begin(&self) -> Result<Turn<'_>, RegistryError> {
        let held = self.turns.read().unwrap_or_else(PoisonError::into_inner);
        self.allow()?;
        Ok(Turn { _held: held })
    }

    /// Sets the switch, durably. Blocks until changes that have begun are made.
    pub(super) fn set(
        &self,
        index: &dyn Index,
        to: Option<ReadOnly>,
        at: Timestamp,
    ) -> Result<(), IndexError> {
        let _alone = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        index.set_read_only(to.as_ref(), at)?;
        *self.on.lock().unwrap_or_else(PoisonError::into_inner) = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::super::index::sqlite::SqliteIndex;
    use super::*;

    fn why() -> ReadOnly {
        let since = Timestamp::from_second(7).unwrap();
        ReadOnly { reason: "a new disk".to_owned(), since, by: "token ops".to_owned() }
    }

    #[test]
    fn a_switch_stays_as_it_was_set_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        for to in [Some(why()), None, Some(why())] {
            let index = SqliteIndex::open(&path).unwrap();
            Switch::open(&index).unwrap().set(&index, to.clone(), why().since).unwrap();
            drop(index);
            let index = SqliteIndex::open(&path).unwrap();
            let switch = Switch::open(&index).unwrap();
            assert_eq!(switch.now(), to);
            assert_eq!(switch.begin().is_err(), to.is_some());
        }
    }

    #[test]
    fn a_switch_waits_for_changes_that_have_begun_and_lets_none_begin() {
        let folder = tempfile::tempdir().unwrap();
        let index = SqliteIndex::open(&folder.path().join("index.sqlite")).unwrap();
        let switch = Switch::open(&index).unwrap();
        let made = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let turn = switch.begin().unwrap();
            let setting = scope.spawn(|| {
                switch.set(&index, Some(why()), why().since).unwrap();
                made.load(Ordering::SeqCst)
            });
            std::thread::sleep(Duration::from_millis(50));
            assert!(!setting.is_finished());
            made.store(true, Ordering::SeqCst);
            drop(turn);
            assert!(setting.join().unwrap(), "it was set before the change was made");
        });
        assert!(matches!(switch.begin(), Err(RegistryError::ReadOnly { .. })));
    }
}
