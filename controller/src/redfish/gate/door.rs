//! The way of one client to its BMC, and the leave to send one request on it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::backoff::{self, Dice};
use super::breaker::{Breaker, Hurry, Moved, Outcome, Position, Rules, Ticket, Trouble};
use super::count;

/// Reads in flight per BMC.
const READS: usize = 2;
/// Streams of events per BMC: many have room for one or two, and others may want one.
const STREAMS: usize = 1;

/// What belongs to one endpoint, whoever asks it.
#[derive(Debug)]
pub struct Gate {
    endpoint: String,
    reads: Semaphore,
    streams: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    in_flight: AtomicU32,
    touched: Mutex<Instant>,
    /// What people's clocks say; nothing is decided by it.
    clock: fn() -> Timestamp,
}

impl Gate {
    /// Of the BMC at `endpoint`.
    pub fn new(endpoint: String, rules: Rules, clock: fn() -> Timestamp) -> Self {
        count::circuit(&endpoint, 0);
        Self {
            endpoint,
            reads: Semaphore::new(READS),
            streams: Arc::new(Semaphore::new(STREAMS)),
            breaker: Mutex::new(Breaker::new(rules)),
            in_flight: AtomicU32::new(0),
            touched: Mutex::new(Instant::now()),
            clock,
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is known of it that must be kept.
    pub fn is_quiet(&self) -> bool {
        self.breaker().is_quiet()
    }

    /// How long nobody asked for it.
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Somebody asks for it.
    pub fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn admit(&self, hurry: Hurry) -> Result<Ticket, Shut> {
        let mut breaker = self.breaker();
        let ticket = breaker
            .admit(Instant::now(), hurry)
            .map_err(|trouble| self.shut(&trouble, breaker.position()))?;
        if matches!(breaker.position(), Position::Trying { .. }) {
            count::circuit(&self.endpoint, 1);
        }
        Ok(ticket)
    }

    fn settle(&self, ticket: &Ticket, outcome: Outcome) {
        let mut breaker = self.breaker();
        match breaker.settle(Instant::now(), ticket, outcome) {
            Moved::No => {}
            Moved::Closed => {
                count::circuit(&self.endpoint, 0);
                tracing::info!(bmc = self.endpoint, "the BMC answers again");
            }
            Moved::Opened => {
                count::circuit(&self.endpoint, 2);
                count::opened(&self.endpoint);
                if let Position::Open(trouble) = breaker.position() {
                    let Trouble { failures, reason, .. } = trouble;
                    tracing::warn!(
                        bmc = self.endpoint,
                        failures,
                        reason,
                        "the BMC is left alone for a while"
                    );
                }
            }
        }
    }

    fn shut(&self, trouble: &Trouble, position: &Position) -> Shut {
        count::refused(&self.endpoint);
        let (now, clock) = (Instant::now(), (self.clock)());
        Shut {
            since: moment(trouble.since, now, clock),
            failures: trouble.failures,
            reason: trouble.reason.clone(),
            retry_at: match position {
                Position::Open(_) => Some(moment(trouble.until, now, clock)),
                _ => None,
            },
        }
    }

    /// How it stands, for people.
    pub fn standing(&self) -> Standing {
        let (now, clock) = (Instant::now(), (self.clock)());
        let text = |reason: &String| Some(reason.clone()).filter(|reason| !reason.is_empty());
        let breaker = self.breaker();
        let calls_in_flight = self.in_flight.load(Ordering::Relaxed);
        let told = |state, trouble: &Trouble| Standing {
            state,
            failures: trouble.failures,
            reason: text(&trouble.reason),
            since: Some(moment(trouble.since, now, clock)),
            retry_at: Some(moment(trouble.until, now, clock)).filter(|_| state == CircuitState::Open),
            calls_in_flight,
        };
        match breaker.position() {
            Position::Closed { failures, reason } => Standing {
                state: CircuitState::Closed,
                failures: *failures,
                reason: text(reason),
                since: None,
                retry_at: None,
                calls_in_flight,
            },
            Position::Open(trouble) => told(CircuitState::Open, trouble),
            Position::Trying { trouble, .. } => told(CircuitState::HalfOpen, trouble),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        count::circuit(&self.endpoint, 0);
    }
}

/// A moment of the steady clock as one of the calendar's, to the second.
fn moment(at: Instant, now: Instant, clock: Timestamp) -> Timestamp {
    let ahead = SignedDuration::try_from(at.saturating_duration_since(now)).unwrap_or_default();
    let behind = SignedDuration::try_from(now.saturating_duration_since(at)).unwrap_or_default();
    let moment = clock.saturating_add(ahead - behind).unwrap_or(clock);
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// Why a request is not sent: the BMC is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// Since when.
    pub since: Timestamp,
    /// After how many failures in a row.
    pub failures: u32,
    /// The last of them.
    pub reason: String,
    /// When it is tried again; none while somebody does.
    pub retry_at: Option<Timestamp>,
}

/// Whether a BMC is asked at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// It is.
    Closed,
    /// One call finds out whether it is back.
    HalfOpen,
    /// It is left alone.
    Open,
}

/// How it stands between us and a BMC.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Whether it is asked.
    pub state: CircuitState,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Requests at it now.
    pub calls_in_flight: u32,
}

impl Standing {
    /// Of a BMC that nobody asked yet, or not for long.
    pub fn quiet() -> Self {
        Self {
            state: CircuitState::Closed,
            failures: 0,
            reason: None,
            since: None,
            retry_at: None,
            calls_in_flight: 0,
        }
    }
}

/// The way of one client to its BMC.
#[derive(Debug)]
pub struct Door {
    pub(super) gate: Arc<Gate>,
    /// One change at a time of this BMC's system.
    pub(super) changes: Arc<Semaphore>,
    pub(super) site: Arc<Semaphore>,
    pub(super) all: Arc<Semaphore>,
    /// Streams of events from all BMCs together.
    pub(super) streams: Arc<Semaphore>,
    pub(super) hurry: Hurry,
    pub(super) dice: Dice,
}

impl Door {
    /// Waits for this request's turn.
    ///
    /// # Errors
    /// `Shut` when the BMC is left alone.
    pub async fn enter(&self, is_read: bool) -> Result<Pass<'_>, Shut> {
        {
            // Nobody queues for a BMC that is left alone.
            let breaker = self.gate.breaker();
            if let Some(trouble) = breaker.shut(Instant::now(), self.hurry) {
                return Err(self.gate.shut(trouble, breaker.position()));
            }
        }
        let mut pass = self.wait(is_read).await;
        pass.ticket = Some(self.gate.admit(self.hurry)?);
        Ok(pass)
    }

    /// A place for one stream of events, where there is room at once; nobody queues for one, since nobody needs one.
    pub fn place(&self) -> Option<Place> {
        if self.gate.breaker().shut(Instant::now(), self.hurry).is_some() {
            return None;
        }
        let one = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).try_acquire_owned().ok();
        Some(Place { _permits: [one(&self.gate.streams)?, one(&self.streams)?] })
    }

    /// The same for a goodbye, which is said to whoever still hears it.
    pub async fn enter_anyway(&self) -> Pass<'_> {
        self.wait(false).await
    }

    async fn wait(&self, is_read: bool) -> Pass<'_> {
        let waiting = count::Level::waiting();
        // Always in this order, the scarcest first. No semaphore here is ever closed.
        let lane = if is_read { &self.gate.reads } else { &self.changes };
        let permits =
            [lane.acquire().await.ok(), self.site.acquire().await.ok(), self.all.acquire().await.ok()];
        drop(waiting);
        self.gate.in_flight.fetch_add(1, Ordering::Relaxed);
        Pass {
            gate: &self.gate,
            ticket: None,
            began: Instant::now(),
            _permits: permits,
            _level: count::Level::in_flight(),
        }
    }

    /// The pause before another try, `tries` having been made.
    pub fn pause(&self, first: Duration, tries: u32) -> Duration {
        backoff::pause(first, tries, self.dice.roll())
    }
}

/// Leave to keep one stream of events open.
#[derive(Debug)]
pub struct Place {
    _permits: [OwnedSemaphorePermit; 2],
}

/// Leave to send one request. Dropped without a word, nothing is known of it.
pub struct Pass<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
    began: Instant,
    _permits: [Option<SemaphorePermit<'a>>; 3],
    _level: count::Level,
}

impl Pass<'_> {
    /// Something was answered.
    pub fn answered(self) {
        self.end(Outcome::Answered, "answered");
    }

    /// No connection, a broken one, or a 5xx.
    pub fn failed(self, reason: String) {
        self.end(Outcome::Failed(reason), "failed");
    }

    fn end(mut self, outcome: Outcome, word: &'static str) {
        count::ended(word, self.began.elapsed().as_secs_f64());
        if let Some(ticket) = self.ticket.take() {
            self.gate.settle(&ticket, outcome);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(ticket) = self.ticket.take() {
            count::ended("dropped", self.began.elapsed().as_secs_f64());
            self.gate.settle(&ticket, Outcome::Dropped);
        }
    }
}

impl fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("bmc", &self.gate.endpoint).finish_non_exhaustive()
    }
}
