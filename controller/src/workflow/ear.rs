//! What a driver makes of its BMC's signs: it looks soon after one, but never more often than the BMC bears.
//!
//! ```text
//!   sign ─▶ 5 s since the last look? ─▶ look ─▶ news: 5 s again │ nothing new: the pause doubles, up to 60 s
//! ```
//! A BMC that tells of everything, or of its own sessions whenever it is looked at, is thus looked at hardly more often than
//! one that has no events. Where there are no signs, nothing here ever happens: polling is what a step relies on.

use std::time::Duration;

use jiff::Timestamp;

use super::Clock;
use super::write::later;
use crate::redfish::{Bmc, Signs};

/// Shortest pause between two looks: BMCs are not asked for their power more often.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest one, after signs that were about nothing: as often as is polled.
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// After so long without a sign, what came before is forgotten.
const QUIET: Duration = Duration::from_secs(180);
/// How often it is listened for in one phase: again only after we ourselves hung up.
const TRIES: u32 = 2;

/// See the module. One for each phase of a job.
#[derive(Debug, Default)]
pub struct Ear {
    signs: Option<Signs>,
    tries: u32,
    pace: Pace,
    /// There was a sign since the last look.
    heard: bool,
}

impl Ear {
    /// Listens, unless it does already, or there is nothing to be heard in this phase.
    pub async fn listen(&mut self, bmc: &dyn Bmc) {
        if self.signs.is_some() || self.tries >= TRIES {
            return;
        }
        self.tries += 1;
        self.signs = bmc.signs().await;
        if self.signs.is_none() {
            self.tries = TRIES;
        }
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.signs = None;
        self.heard = false;
    }

    /// Returns when a look is due for a sign; never, where there are none. May be dropped at any time.
    pub async fn due(&mut self, clock: &dyn Clock) {
        while !self.heard {
            let Some(signs) = &mut self.signs else { return std::future::pending().await };
            if signs.next().await {
                self.heard = true;
                self.pace.heard(clock.now());
            } else {
                self.signs = None;
                self.tries = TRIES;
            }
        }
        clock.sleep_until(self.pace.not_before()).await;
    }

    /// Whether a look is due for a sign.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.heard && now >= self.pace.not_before()
    }

    /// It was looked, and there was something new or not.
    pub fn looked(&mut self, now: Timestamp, news: bool) {
        let heard = std::mem::take(&mut self.heard);
        self.pace.looked(now, heard, news);
    }
}

/// How soon after a look the next one may follow. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    pause: Duration,
    looked_at: Option<Timestamp>,
    heard_at: Option<Timestamp>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: PAUSE, looked_at: None, heard_at: None }
    }
}

impl Pace {
    fn not_before(&self) -> Timestamp {
        self.looked_at.map_or(Timestamp::MIN, |at| later(at, self.pause))
    }

    fn heard(&mut self, now: Timestamp) {
        let before = self.heard_at.replace(now);
        if before.is_some_and(|before| now >= later(before, QUIET)) {
            self.pause = PAUSE;
        }
    }

    fn looked(&mut self, now: Timestamp, heard: bool, news: bool) {
        self.looked_at = Some(now);
        if news {
            self.pause = PAUSE;
        } else if heard {
            self.pause = (self.pause * 2).min(PAUSE_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn signs_about_nothing_lead_to_looks_ever_less_often_and_news_to_more() {
        let mut pace = Pace::default();
        assert_eq!(pace.not_before(), Timestamp::MIN, "the first look waits for nothing");
        let mut now = 0;
        let mut pauses = Vec::new();
        for news in [false, false, false, false, false, true, false] {
            pace.heard(at(now));
            pace.looked(at(now), true, news);
            let next = pace.not_before().duration_since(at(now)).as_secs();
            pauses.push(next);
            now += u64::try_from(next).unwrap();
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60, 5, 10]);
    }

    #[test]
    fn looks_that_no_sign_led_to_change_no_pause_and_long_quiet_shortens_it() {
        let mut pace = Pace::default();
        pace.heard(at(0));
        pace.looked(at(0), true, false);
        pace.looked(at(60), false, false);
        assert_eq!(pace.not_before(), at(70));
        pace.heard(at(179));
        assert_eq!(pace.pause, PAUSE * 2);
        pace.heard(at(179 + 180));
        assert_eq!(pace.not_before(), at(65));
    }

    #[test]
    fn a_flood_leads_to_few_looks() {
        let (mut pace, mut looks) = (Pace::default(), 0);
        for now in 0..600 {
            pace.heard(at(now));
            if at(now) >= pace.not_before() {
                looks += 1;
                pace.looked(at(now), true, false);
            }
        }
        assert_eq!(looks, 12, "in ten minutes, ten of which polling alone would make");
    }
}
