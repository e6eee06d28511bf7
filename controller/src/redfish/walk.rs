//! What was found on a BMC lately, so that the next client of it need not look for it again: what its root says, and
//! where its systems are. Both are checked by use: whatever is read there is read anew, and a path that leads nowhere
//! any more is forgotten.
//!
//! Several machines may be behind one BMC: they share its root, and the list of its systems is read once for all.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::view::ServiceRoot;

/// How long it is remembered. A BMC that is updated or replaced restarts for longer than a job waits, but says the
/// same of itself for years.
const AGE_MAX: Duration = Duration::from_secs(900);
/// How long one waits for another who looks around on the same BMC.
const TURN_WAIT: Duration = Duration::from_secs(2);
/// Most BMCs remembered, and most systems.
const MOST: usize = 4096;

/// One BMC, and the system asked for on it.
type Key = (String, Option<String>);

/// What was found on every BMC lately. Shared by all clients of one controller.
#[derive(Debug, Default)]
pub struct Walks(std::sync::Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    roots: HashMap<String, (Instant, ServiceRoot)>,
    systems: HashMap<Key, (Instant, String)>,
    /// Who looks around on a BMC whose root is not known; nobody else keeps the key.
    turns: HashMap<String, Arc<Mutex<()>>>,
}

/// The leave to look around on a BMC that was not met lately.
#[derive(Debug)]
pub struct Turn<'a> {
    walks: &'a Walks,
    endpoint: String,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let turns = &mut self.walks.all().turns;
        if turns.get(&self.endpoint).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.endpoint);
        }
    }
}

impl Walks {
    fn all(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while somebody else looks around on a BMC whose root is not known: then it will be. But not long, since
    /// that one may have met a BMC that does not answer.
    pub async fn turn(&self, endpoint: &str) -> Option<Turn<'_>> {
        if self.root(endpoint).is_some() {
            return None;
        }
        let turn = Arc::clone(self.all().turns.entry(endpoint.to_owned()).or_default());
        let held = tokio::time::timeout(TURN_WAIT, turn.lock_owned()).await.ok();
        Some(Turn { walks: self, endpoint: endpoint.to_owned(), held })
    }

    /// What the root of this BMC says.
    pub fn root(&self, endpoint: &str) -> Option<ServiceRoot> {
        let all = self.all();
        all.roots.get(endpoint).filter(|(at, _)| at.elapsed() < AGE_MAX).map(|(_, root)| root.clone())
    }

    /// Where the system of that name is on this BMC.
    pub fn system(&self, endpoint: &str, wanted: Option<&str>) -> Option<String> {
        let all = self.all();
        let found = all.systems.get(&key(endpoint, wanted));
        found.filter(|(at, _)| at.elapsed() < AGE_MAX).map(|(_, path)| path.clone())
    }

    /// Remembers what a root says.
    pub fn remember_root(&self, endpoint: &str, root: &ServiceRoot) {
        keep(&mut self.all().roots, endpoint.to_owned(), root.clone());
    }

    /// Remembers where a system is.
    pub fn remember_system(&self, endpoint: &str, wanted: Option<&str>, path: &str) {
        keep(&mut self.all().systems, key(endpoint, wanted), path.to_owned());
    }

    /// Forgets the root of a BMC that is not as it was.
    pub fn forget_root(&self, endpoint: &str) {
        self.all().roots.remove(endpoint);
    }

    /// Forgets where a system was.
    pub fn forget_system(&self, endpoint: &str, wanted: Option<&str>) {
        self.all().systems.remove(&key(endpoint, wanted));
    }
}

fn key(endpoint: &str, wanted: Option<&str>) -> Key {
    (endpoint.to_owned(), wanted.map(str::to_owned))
}

/// A full map first lets go of what is old; when nothing is, what is new is not kept.
fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, (Instant, V)>, key: K, value: V) {
    if map.len() >= MOST {
        map.retain(|_, (at, _)| at.elapsed() < AGE_MAX);
    }
    if map.len() < MOST {
        map.insert(key, (Instant::now(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_remembered_by_name_and_roots_by_bmc_until_they_are_forgotten() {
        let walks = Walks::default();
        walks.remember_root("https://a", &ServiceRoot::default());
        walks.remember_system("https://a", None, "/redfish/v1/Systems/1");
        assert!(walks.root("https://a").is_some() && walks.root("https://b").is_none());
        assert_eq!(walks.system("https://a", None).as_deref(), Some("/redfish/v1/Systems/1"));
        assert!(walks.system("https://a", Some("2")).is_none() && walks.system("https://b", None).is_none());
        walks.forget_system("https://a", None);
        assert!(walks.system("https://a", None).is_none() && walks.root("https://a").is_some());
        walks.forget_root("https://a");
        assert!(walks.root("https://a").is_none());
    }

    #[tokio::test]
    async fn one_looks_around_on_a_bmc_while_the_others_wait_but_not_for_ever() {
        let walks = Walks::default();
        let first = walks.turn("https://a").await.unwrap();
        let began = Instant::now();
        let second = walks.turn("https://a").await.unwrap();
        assert!(first.held.is_some() && second.held.is_none() && began.elapsed() >= TURN_WAIT);
        let (third, ()) = tokio::join!(walks.turn("https://a"), async {
            tokio::time::sleep(TURN_WAIT / 40).await;
            walks.remember_root("https://a", &ServiceRoot::default());
            drop(first);
        });
        let third = third.unwrap();
        assert!(third.held.is_some() && walks.turn("https://a").await.is_none());
        drop((second, third));
        assert!(walks.all().turns.is_empty());
    }

    #[test]
    fn a_full_memory_keeps_what_it_has() {
        let walks = Walks::default();
        for n in 0..=MOST {
            walks.remember_system("https://a", Some(&n.to_string()), "/redfish/v1/Systems/1");
        }
        assert!(walks.system("https://a", Some("0")).is_some());
        assert!(walks.system("https://a", Some(&MOST.to_string())).is_none());
    }
}
