//! Time as a parameter: what the clock says, and waiting for it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// What the time is, and a way to wait for it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns once `now() >= until`; at once when it already is.
    async fn sleep_until(&self, until: Timestamp);
}

/// The real one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Longest single sleep, so that a stepped wall clock is noticed soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        loop {
            let left = until.duration_since(Timestamp::now());
            if left <= SignedDuration::ZERO {
                return;
            }
            tokio::time::sleep(left.unsigned_abs().min(LONGEST_SLEEP)).await;
        }
    }
}

/// One that stands still until it is told to move. It knows who waits, so that a test can jump to the next
/// moment at which something happens.
#[derive(Debug)]
pub struct FakeClock {
    now: watch::Sender<Timestamp>,
    waiting: Mutex<Vec<Timestamp>>,
}

impl FakeClock {
    /// Standing at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: watch::Sender::new(now), waiting: Mutex::new(Vec::new()) }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.now.send_modify(|now| *now = now.saturating_add(by).unwrap_or(Timestamp::MAX));
    }

    /// Moves it to the earliest moment that anyone waits for; false when nobody waits.
    pub fn jump(&self) -> bool {
        let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).iter().min().copied();
        let Some(next) = next else { return false };
        self.now.send_modify(|now| *now = (*now).max(next));
        true
    }

    fn leave(&self, until: Timestamp) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = waiting.iter().position(|one| *one == until) {
            waiting.swap_remove(at);
        }
    }
}

struct Waiting<'a>(&'a FakeClock, Timestamp);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, until: Timestamp) {
        if self.now() >= until {
            return;
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(until);
        let _left = Waiting(self, until);
        let mut now = self.now.subscribe();
        // The sender lives as long as `self`, so this ends only by time.
        let _ = now.wait_for(|now| *now >= until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fake_clock_wakes_its_sleepers_in_order_and_only_when_told() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = std::sync::Arc::new(FakeClock::at(start));
        let at = move |seconds| start + SignedDuration::from_secs(seconds);
        assert!(!clock.jump());
        let sleeper = |seconds| {
            let clock = std::sync::Arc::clone(&clock);
            tokio::spawn(async move {
                clock.sleep_until(at(seconds)).await;
                clock.now()
            })
        };
        let (late, early) = (sleeper(60), sleeper(10));
        while clock.waiting.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(clock.jump());
        assert_eq!(early.await.unwrap(), at(10));
        assert!(!late.is_finished());
        clock.advance(Duration::from_secs(100));
        assert_eq!(late.await.unwrap(), at(110));
    }
}
