//! How the BMC itself is: away, back but not ready, well. Pure; time is a parameter.

use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Connections are cut until then.
    away_until: Option<Instant>,
    /// Requests that are answered with 503 once it is back.
    unready: u32,
    /// Restarts so far.
    restarts: u32,
}

impl Condition {
    /// The BMC restarts.
    pub fn restart(&mut self, now: Instant, away: Duration, unready: u32) {
        self.away_until = Some(now + away);
        self.unready = unready;
        self.restarts += 1;
    }

    /// Whether nobody answers.
    pub fn is_away(&self, now: Instant) -> bool {
        self.away_until.is_some_and(|until| now < until)
    }

    /// Whether a request comes too early after a restart; counts it.
    pub fn is_unready(&mut self) -> bool {
        let early = self.unready > 0;
        self.unready = self.unready.saturating_sub(1);
        early
    }

    /// Restarts so far.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_bmc_is_away_then_unready_then_well() {
        let now = Instant::now();
        let mut condition = Condition::default();
        assert!(!condition.is_away(now) && !condition.is_unready());
        condition.restart(now, Duration::from_secs(2), 1);
        assert!(condition.is_away(now + Duration::from_secs(1)));
        assert!(!condition.is_away(now + Duration::from_secs(2)));
        assert!(condition.is_unready());
        assert!(!condition.is_unready());
        assert_eq!(condition.restarts(), 1);
    }
}
