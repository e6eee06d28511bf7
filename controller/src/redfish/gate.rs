//! How much one BMC is asked at a time.
//!
//! BMCs are small computers: one change and two reads in flight is what they bear. The gate belongs to the
//! endpoint, not to the client: a job and an operator's probe of the same BMC share it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;
use url::Url;

use super::origin::shown;

/// Changes in flight per BMC.
const CHANGES: usize = 1;
/// Reads in flight per BMC.
const READS: usize = 2;

/// Permits for one BMC.
#[derive(Debug)]
pub struct Gate {
    /// For reads.
    pub reads: Semaphore,
    /// For everything else.
    pub changes: Semaphore,
}

impl Gate {
    /// The gate of one BMC, shared by every client of it in this process.
    pub fn of(origin: &Url) -> Arc<Self> {
        static GATES: LazyLock<Mutex<HashMap<String, Weak<Gate>>>> = LazyLock::new(Mutex::default);
        let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&shown(origin)).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Self { reads: Semaphore::new(READS), changes: Semaphore::new(CHANGES) });
        gates.insert(shown(origin), Arc::downgrade(&gate));
        gate
    }
}
