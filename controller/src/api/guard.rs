//! Whoever guesses tokens is slowed down, by address, in the API and the registry alike.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many wrong tokens an address may send within [`WINDOW`].
const FAILURES_MAX: u32 = 30;
/// After this long an address starts afresh.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; beyond it the oldest are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Counts wrong tokens per address, so that guessing costs the guesser and not us.
#[derive(Debug, Default)]
pub struct Guard(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Guard {
    /// Whether nothing that this address says is believed for now.
    pub fn refuses(&self, from: Option<IpAddr>) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        from.and_then(|from| failures.get(&from))
            .is_some_and(|(since, count)| *count >= FAILURES_MAX && since.elapsed() < WINDOW)
    }

    /// Counts one more wrong token.
    pub fn failed(&self, from: Option<IpAddr>) {
        let Some(from) = from else { return };
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX {
            failures.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        let entry = failures.entry(from).or_insert((Instant::now(), 0));
        if entry.0.elapsed() >= WINDOW {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_guesses_is_refused_and_others_are_not() {
        let guard = Guard::default();
        let (bad, good) = (Some("10.0.0.1".parse().unwrap()), Some("10.0.0.2".parse().unwrap()));
        for _ in 0..FAILURES_MAX {
            assert!(!guard.refuses(bad));
            guard.failed(bad);
        }
        assert!(guard.refuses(bad));
        assert!(!guard.refuses(good) && !guard.refuses(None));
    }
}
