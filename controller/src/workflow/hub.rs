//! What lives in memory only: why each job is not moving, when its host was last heard, how far its steps are; and
//! the bells that wake drivers and subscribers. Nothing in here decides anything; losing it loses nothing but
//! a few seconds of progress.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, watch};

use crate::model::job::Progress;
use crate::model::{JobId, Live, Wait};

/// What a subscriber of a job is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A new event with this number is in the timeline.
    Event(i64),
    /// Progress, heartbeat or wait reason changed.
    Live,
}

/// Signals kept for a subscriber that is slow; one that lags further reads the timeline again.
const SIGNALS_KEPT: usize = 64;

/// The memory of all open jobs.
#[derive(Debug, Default)]
pub struct Hub {
    jobs: Mutex<HashMap<JobId, Entry>>,
    dirty: Mutex<HashSet<JobId>>,
    /// Rung when something waits to be flushed.
    pub flush: Notify,
    /// Rung when something waits in the outbox.
    pub outbox: Notify,
}

#[derive(Debug)]
struct Entry {
    live: Live,
    nudge: watch::Sender<u64>,
    /// Made for its first subscriber: it has room for all that it keeps, 3 KiB, and most jobs are watched by nobody.
    signals: Option<broadcast::Sender<Signal>>,
    driven: bool,
    lease: Lease,
    alarmed: HashSet<String>,
    parked: Option<Timestamp>,
}

/// How a driver stands to its job's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// Not taken yet.
    None,
    Held,
    /// Another controller has it.
    Lost,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            live: Live::default(),
            nudge: watch::Sender::new(0),
            signals: None,
            driven: false,
            lease: Lease::None,
            alarmed: HashSet::new(),
            parked: None,
        }
    }
}

impl Entry {
    /// Nobody listening is fine.
    fn signal(&self, signal: Signal) {
        if let Some(signals) = &self.signals {
            let _ = signals.send(signal);
        }
    }
}

impl Hub {
    fn with<T>(&self, id: &JobId, call: impl FnOnce(&mut Entry) -> T) -> T {
        call(self.lock().entry(id.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the right to drive a job in this process; false when it is driven already.
    pub fn claim(&self, id: &JobId) -> bool {
        self.with(id, |entry| !std::mem::replace(&mut entry.driven, true))
    }

    /// The driver has its job's lease.
    pub fn hold(&self, id: &JobId) {
        self.with(id, |entry| entry.lease = Lease::Held);
    }

    /// Jobs whose drivers have their leases.
    pub fn held(&self) -> Vec<JobId> {
        let jobs = self.lock();
        jobs.iter().filter(|(_, entry)| entry.lease == Lease::Held).map(|(id, _)| id.clone()).collect()
    }

    /// Another controller has the job: its driver here is woken to stop.
    pub fn lose(&self, id: &JobId) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.lease = Lease::Lost;
        }
        self.nudge(id);
    }

    /// Whether another controller has the job.
    pub fn is_lost(&self, id: &JobId) -> bool {
        self.lock().get(id).is_some_and(|entry| entry.lease == Lease::Lost)
    }

    /// Puts back what was flushed before a restart.
    pub fn restore(&self, id: &JobId, live: Live) {
        self.with(id, |entry| entry.live = live);
    }

    /// Forgets a job that is released, or whose driver stopped.
    pub fn forget(&self, id: &JobId) {
        self.lock().remove(id);
    }

    /// Wakes the job's driver: something about the job changed.
    pub fn nudge(&self, id: &JobId) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.parked = None;
            entry.nudge.send_modify(|count| *count += 1);
        }
    }

    /// The driver has nothing to do until then, or, with none, has something to do.
    pub fn park(&self, id: &JobId, until: Option<Timestamp>) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.parked = until;
        }
    }

    /// Until when the driver has nothing to do.
    #[cfg(test)]
    pub fn parked(&self, id: &JobId) -> Option<Timestamp> {
        self.lock().get(id).and_then(|entry| entry.parked)
    }

    /// The driver's bell.
    pub fn bell(&self, id: &JobId) -> watch::Receiver<u64> {
        self.with(id, |entry| entry.nudge.subscribe())
    }

    /// Signals of a job from now on. It ends when the job is released.
    pub fn subscribe(&self, id: &JobId) -> broadcast::Receiver<Signal> {
        match self.lock().get_mut(id) {
            Some(entry) => {
                entry.signals.get_or_insert_with(|| broadcast::Sender::new(SIGNALS_KEPT)).subscribe()
            }
            None => broadcast::Sender::new(1).subscribe(), // released: it ends at once
        }
    }

    /// Tells subscribers of new events.
    pub fn publish(&self, id: &JobId, seqs: &[i64]) {
        if let Some(entry) = self.lock().get(id) {
            for seq in seqs {
                entry.signal(Signal::Event(*seq));
            }
        }
    }

    /// What is known of a job right now.
    pub fn live(&self, id: &JobId) -> Option<Live> {
        self.lock().get(id).map(|entry| entry.live.clone())
    }

    /// Says why a job is not moving; none when it moves.
    pub fn wait(&self, id: &JobId, wait: Option<Wait>) {
        let changed = self.with(id, |entry| {
            let changed = entry.live.wait.as_ref().map(|w| &w.reason) != wait.as_ref().map(|w| &w.reason);
            entry.live.wait = wait;
            if changed {
                entry.signal(Signal::Live);
            }
            changed
        });
        if changed {
            self.mark(id);
        }
    }

    /// The host was heard, perhaps with progress of a step.
    pub fn heard(&self, id: &JobId, at: Timestamp, progress: Option<(String, Progress)>) {
        {
            let mut jobs = self.lock();
            let Some(entry) = jobs.get_mut(id) else { return };
            entry.live.heard_at = Some(at);
            if let Some((step, progress)) = progress {
                // A host cannot make us remember more steps than a job can have.
                if entry.live.progress.len() < STEPS_MAX || entry.live.progress.contains_key(&step) {
                    entry.live.step = Some(step.clone());
                    entry.live.progress.insert(step, progress);
                    entry.signal(Signal::Live);
                }
            }
        }
        self.mark(id);
    }

    /// Whether this refused boot was not alarmed of yet.
    pub fn first_alarm(&self, id: &JobId, nonce: &str) -> bool {
        let mut jobs = self.lock();
        jobs.get_mut(id)
            .is_some_and(|entry| entry.alarmed.len() < ALARMS_MAX && entry.alarmed.insert(nonce.to_owned()))
    }

    fn mark(&self, id: &JobId) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        if dirty.insert(id.clone()) && dirty.len() == 1 {
            self.flush.notify_one();
        }
    }

    /// Takes everything that changed since the last time.
    pub fn take_dirty(&self) -> Vec<(JobId, Live)> {
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        dirty.into_iter().filter_map(|id| self.live(&id).map(|live| (id, live))).collect()
    }
}

/// Steps that are remembered per job.
pub const STEPS_MAX: usize = 64;
/// Refused boots that are told apart per job; further ones raise no alarm of their own.
const ALARMS_MAX: usize = 32;
