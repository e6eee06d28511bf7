//! What was found on a BMC lately, so that the next client of it need not look for it again: what its root says, and
//! where its system is. Both are checked by use: whatever is read there is read anew, and a path that leads nowhere any
//! more is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::view::ServiceRoot;

/// How long it is remembered. A BMC that is updated or replaced restarts for longer than a job waits, but says the
/// same of itself for years.
const AGE_MAX: Duration = Duration::from_secs(900);
/// Most BMCs remembered.
const MOST: usize = 4096;

/// One BMC, and the system asked for on it.
type Key = (String, Option<String>);

/// What was found on one BMC.
#[derive(Debug, Clone)]
pub struct Walk {
    /// What its root says.
    pub root: ServiceRoot,
    /// Where its system is.
    pub system: String,
}

/// What was found on every BMC lately. Shared by all clients of one controller.
#[derive(Debug, Default)]
pub struct Walks(Mutex<HashMap<Key, (Instant, Walk)>>);

impl Walks {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, (Instant, Walk)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found on this BMC for the system of that name.
    pub fn get(&self, endpoint: &str, wanted: Option<&str>) -> Option<Walk> {
        let all = self.all();
        let found = all.get(&(endpoint.to_owned(), wanted.map(str::to_owned)));
        found.filter(|(at, _)| at.elapsed() < AGE_MAX).map(|(_, walk)| walk.clone())
    }

    /// Remembers what was found.
    pub fn remember(&self, endpoint: &str, wanted: Option<&str>, walk: Walk) {
        let mut all = self.all();
        if all.len() >= MOST {
            all.retain(|_, (at, _)| at.elapsed() < AGE_MAX);
        }
        if all.len() < MOST {
            all.insert((endpoint.to_owned(), wanted.map(str::to_owned)), (Instant::now(), walk));
        }
    }

    /// Forgets a BMC that is not as it was.
    pub fn forget(&self, endpoint: &str, wanted: Option<&str>) {
        self.all().remove(&(endpoint.to_owned(), wanted.map(str::to_owned)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bmc_is_remembered_by_system_until_it_is_forgotten() {
        let walks = Walks::default();
        let walk = Walk { root: ServiceRoot::default(), system: "/redfish/v1/Systems/1".to_owned() };
        walks.remember("https://a", None, walk);
        assert!(walks.get("https://a", None).is_some());
        assert!(walks.get("https://a", Some("2")).is_none() && walks.get("https://b", None).is_none());
        walks.forget("https://a", None);
        assert!(walks.get("https://a", None).is_none());
    }
}
