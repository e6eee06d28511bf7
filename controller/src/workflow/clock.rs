//! Time as a parameter: what the clock says, and waiting for it.

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

/// One that stands still until it is told to move.
#[derive(Debug)]
pub struct FakeClock {
    now: watch::Sender<Timestamp>,
}

impl FakeClock {
    /// Standing at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: watch::Sender::new(now) }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.now.send_modify(|now| *now = now.checked_add(by).unwrap_or(Timestamp::MAX));
    }

    /// Moves it forward to a moment; never back.
    pub fn advance_to(&self, moment: Timestamp) {
        self.now.send_modify(|now| *now = (*now).max(moment));
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let mut now = self.now.subscribe();
        // The sender lives as long as `self`, so this ends only by time.
        let _ = now.wait_for(|now| *now >= until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fake_clock_wakes_its_sleepers_only_when_told() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = std::sync::Arc::new(FakeClock::at(start));
        let at = move |seconds| start + SignedDuration::from_secs(seconds);
        let sleeper = |seconds| {
            let clock = std::sync::Arc::clone(&clock);
            tokio::spawn(async move {
                clock.sleep_until(at(seconds)).await;
                clock.now()
            })
        };
        let (late, early) = (sleeper(60), sleeper(10));
        clock.advance_to(at(10));
        assert_eq!(early.await.unwrap(), at(10));
        assert!(!late.is_finished());
        clock.advance_to(at(5)); // never back
        clock.advance(Duration::from_secs(100));
        assert_eq!(late.await.unwrap(), at(110));
        clock.sleep_until(at(110)).await;
    }
}
