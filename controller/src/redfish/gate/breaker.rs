//! When a BMC is left alone: a state machine, pure; what time it is comes as a parameter.
//!
//! ```text
//!            5 failures in a row                       30 s, doubling to 10 min
//!   Closed ──────────────────────▶ Open ◀──────────────────────────────┐
//!     ▲                             │ its time comes, or an operator asks │ it fails
//!     │ it is answered              ▼                                     │
//!     └──────────────────────── Trying: one call, everybody else waits ───┘
//! ```
//! A failure is a connection that was not made or broke, or a 5xx; any other answer, a refusal too, shows that
//! somebody is at home. A call that was admitted before the state changed says nothing about the state after it.

use std::time::Duration;

use tokio::time::Instant;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// From opening to the first try.
    pub first: Duration,
    /// Longest time between two tries.
    pub most: Duration,
}

impl Rules {
    /// For BMCs in the field.
    pub const fn field() -> Self {
        Self { failures: 5, first: Duration::from_secs(30), most: Duration::from_secs(600) }
    }

    /// The same for a world that runs by another first pause of retries (3 s in the field).
    pub fn paced(retry: Duration) -> Self {
        let field = Self::field();
        Self { first: retry * 10, most: retry * 200, ..field }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// A job: it can wait.
    None,
    /// An operator, who may know that the BMC is back: may try it before its time.
    ByHand,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Something was answered.
    Answered,
    /// It did not connect, or broke, or was answered with a 5xx: this.
    Failed(String),
    /// Whoever asked went away.
    Dropped,
}

/// Leave to ask, to be handed back with what came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    epoch: u64,
}

/// What is wrong with an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when it is left alone.
    pub since: Instant,
    /// When it is tried again.
    pub until: Instant,
    /// Failures so far.
    pub failures: u32,
    /// The last of them.
    pub reason: String,
    /// From the last failed try to the next.
    pause: Duration,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Everybody may ask.
    Closed {
        /// Failures in a row so far.
        failures: u32,
        /// The last of them; empty without one.
        reason: String,
    },
    /// Nobody may.
    Open(Trouble),
    /// One call finds out how things are.
    Trying {
        /// As before.
        trouble: Trouble,
        /// It is an operator's, before the time.
        early: bool,
    },
}

/// Whether an outcome moved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It stays as it was.
    No,
    /// It opened, or opened again.
    Opened,
    /// It closed.
    Closed,
}

/// One endpoint's breaker.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    position: Position,
    /// Grows with every change of position.
    epoch: u64,
}

impl Breaker {
    /// Closed.
    pub fn new(rules: Rules) -> Self {
        Self { rules, position: Position::Closed { failures: 0, reason: String::new() }, epoch: 0 }
    }

    /// Where it stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether nothing is known against the endpoint.
    pub fn is_quiet(&self) -> bool {
        matches!(self.position, Position::Closed { failures: 0, .. })
    }

    /// Why nobody is admitted now; none when a call would be.
    pub fn shut(&self, now: Instant, hurry: Hurry) -> Option<&Trouble> {
        match &self.position {
            Position::Closed { .. } => None,
            Position::Open(trouble) if hurry == Hurry::ByHand || now >= trouble.until => None,
            Position::Open(trouble) | Position::Trying { trouble, .. } => Some(trouble),
        }
    }

    /// Admits a call, or says why not.
    pub fn admit(&mut self, now: Instant, hurry: Hurry) -> Result<Ticket, Trouble> {
        if let Some(trouble) = self.shut(now, hurry) {
            return Err(trouble.clone());
        }
        if let Position::Open(trouble) = &self.position {
            let early = now < trouble.until;
            self.go(Position::Trying { trouble: trouble.clone(), early });
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// Takes in what became of a call.
    pub fn settle(&mut self, now: Instant, ticket: &Ticket, outcome: Outcome) -> Moved {
        if ticket.epoch != self.epoch {
            return Moved::No;
        }
        match (&mut self.position, outcome) {
            (Position::Closed { failures, reason }, Outcome::Answered) => {
                *failures = 0;
                reason.clear();
                Moved::No
            }
            (Position::Closed { failures, .. }, Outcome::Failed(why)) => {
                let failures = *failures + 1;
                if failures < self.rules.failures {
                    self.position = Position::Closed { failures, reason: why };
                    return Moved::No;
                }
                let pause = self.rules.first.min(self.rules.most);
                self.go(Position::Open(Trouble {
                    since: now,
                    until: now + pause,
                    failures,
                    reason: why,
                    pause,
                }));
                Moved::Opened
            }
            (Position::Trying { .. }, Outcome::Answered) => {
                self.go(Position::Closed { failures: 0, reason: String::new() });
                Moved::Closed
            }
            (Position::Trying { trouble, early }, outcome) => {
                let (mut trouble, early) = (trouble.clone(), *early);
                if let Outcome::Failed(why) = outcome {
                    trouble.failures = trouble.failures.saturating_add(1);
                    trouble.reason = why;
                    // An operator's look before the time leaves the time as it was.
                    if !early {
                        trouble.pause = trouble.pause.saturating_mul(2).min(self.rules.most);
                        trouble.until = now + trouble.pause;
                    }
                }
                self.go(Position::Open(trouble));
                Moved::Opened
            }
            (Position::Closed { .. } | Position::Open(_), _) => Moved::No,
        }
    }

    fn go(&mut self, position: Position) {
        self.position = position;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules::field();

    fn failed() -> Outcome {
        Outcome::Failed("HTTP 503".into())
    }

    /// One call after the other, until it is shut.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..RULES.failures {
            let ticket = breaker.admit(now, Hurry::None).unwrap();
            breaker.settle(now, &ticket, failed());
        }
        breaker
    }

    fn trouble(breaker: &Breaker) -> &Trouble {
        match breaker.position() {
            Position::Open(trouble) | Position::Trying { trouble, .. } => trouble,
            Position::Closed { .. } => panic!("it is closed"),
        }
    }

    #[test]
    fn it_opens_after_five_failures_in_a_row_and_at_no_other_time() {
        let now = Instant::now();
        // F is a failure, A an answer, D a call that was dropped.
        for (calls, open) in [
            ("FFFF", false),
            ("FFFFF", true),
            ("FFFFAFFFF", false),
            ("FFFFAFFFFF", true),
            ("FFFFDF", true),
            ("FAFAFAFAFAFA", false),
            ("DDDDDDDD", false),
        ] {
            let mut breaker = Breaker::new(RULES);
            for call in calls.chars() {
                let ticket = breaker.admit(now, Hurry::None).unwrap();
                let outcome = match call {
                    'F' => failed(),
                    'A' => Outcome::Answered,
                    _ => Outcome::Dropped,
                };
                breaker.settle(now, &ticket, outcome);
            }
            assert_eq!(breaker.shut(now, Hurry::None).is_some(), open, "{calls}");
        }
    }

    #[test]
    fn tries_come_after_30_s_then_twice_as_long_each_time_up_to_10_minutes() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let mut now = start;
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            let due = now + Duration::from_secs(wait);
            assert_eq!(trouble(&breaker).until, due, "{wait}");
            assert!(breaker.admit(due - Duration::from_millis(1), Hurry::None).is_err(), "{wait}: too early");
            let ticket = breaker.admit(due, Hurry::None).unwrap();
            assert!(breaker.admit(due, Hurry::None).is_err(), "{wait}: a second one beside the first");
            assert_eq!(breaker.settle(due, &ticket, failed()), Moved::Opened);
            now = due;
        }
        assert_eq!((trouble(&breaker).failures, trouble(&breaker).since), (12, start));
    }

    #[test]
    fn one_answered_try_closes_it_and_the_next_opening_begins_at_30_s_again() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + Duration::from_secs(30);
        let ticket = breaker.admit(later, Hurry::None).unwrap();
        assert_eq!(breaker.settle(later, &ticket, Outcome::Answered), Moved::Closed);
        assert!(breaker.is_quiet());
        for _ in 0..RULES.failures {
            let ticket = breaker.admit(later, Hurry::None).unwrap();
            breaker.settle(later, &ticket, failed());
        }
        assert_eq!(trouble(&breaker).until, later + Duration::from_secs(30));
    }

    #[test]
    fn an_operator_may_try_before_the_time_and_does_not_move_it() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let due = trouble(&breaker).until;
        let ticket = breaker.admit(start, Hurry::ByHand).unwrap();
        assert!(breaker.admit(start, Hurry::ByHand).is_err(), "one at a time, also by hand");
        breaker.settle(start, &ticket, Outcome::Failed("refused".into()));
        assert_eq!((trouble(&breaker).until, trouble(&breaker).reason.as_str()), (due, "refused"));
        let ticket = breaker.admit(start, Hurry::ByHand).unwrap();
        assert_eq!(breaker.settle(start, &ticket, Outcome::Answered), Moved::Closed);
        assert!(breaker.admit(start, Hurry::None).is_ok());
    }

    #[test]
    fn a_try_that_was_dropped_leaves_room_for_the_next() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let due = trouble(&breaker).until;
        let ticket = breaker.admit(due, Hurry::None).unwrap();
        breaker.settle(due, &ticket, Outcome::Dropped);
        assert_eq!((trouble(&breaker).until, trouble(&breaker).failures), (due, RULES.failures));
        assert!(breaker.admit(due, Hurry::None).is_ok());
    }

    #[test]
    fn what_was_asked_before_it_opened_neither_closes_nor_feeds_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULES);
        let before: Vec<Ticket> = (0..7).map(|_| breaker.admit(start, Hurry::None).unwrap()).collect();
        for ticket in &before[..5] {
            breaker.settle(start, ticket, failed());
        }
        let as_it_was = breaker.position().clone();
        assert_eq!(breaker.settle(start, &before[5], Outcome::Answered), Moved::No);
        assert_eq!(breaker.settle(start, &before[6], failed()), Moved::No);
        assert_eq!(*breaker.position(), as_it_was);
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Ask(bool),
        End(usize, u8),
        Wait(u64),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            3 => any::<bool>().prop_map(Deed::Ask),
            4 => (any::<usize>(), 0u8..6).prop_map(|(which, how)| Deed::End(which, how)),
            1 => (0u64..700).prop_map(Deed::Wait),
        ];
        prop::collection::vec(deed, 0..200)
    }

    proptest! {
        #[test]
        fn whatever_happens_one_call_tries_at_most_and_nobody_waits_longer_than_the_bound(deeds in deeds()) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(RULES);
            let mut out: Vec<(Ticket, bool)> = Vec::new();
            for deed in deeds {
                match deed {
                    Deed::Wait(seconds) => now += Duration::from_secs(seconds),
                    Deed::Ask(by_hand) => {
                        let hurry = if by_hand { Hurry::ByHand } else { Hurry::None };
                        let shut = breaker.shut(now, hurry).cloned();
                        match breaker.admit(now, hurry) {
                            Ok(ticket) => {
                                prop_assert!(shut.is_none());
                                let trying = matches!(breaker.position(), Position::Trying { .. });
                                prop_assert!(!trying || !out.iter().any(|(other, _)| other.epoch == ticket.epoch));
                                out.push((ticket, trying));
                            }
                            Err(trouble) => {
                                prop_assert_eq!(Some(&trouble), shut.as_ref());
                                prop_assert!(trouble.failures >= RULES.failures);
                            }
                        }
                    }
                    Deed::End(which, how) if !out.is_empty() => {
                        let (ticket, trying) = out.swap_remove(which % out.len());
                        let current = ticket.epoch == breaker.epoch;
                        let outcome = match how { 0..=3 => failed(), 4 => Outcome::Answered, _ => Outcome::Dropped };
                        let answered = outcome == Outcome::Answered;
                        let moved = breaker.settle(now, &ticket, outcome);
                        prop_assert!(current || moved == Moved::No);
                        prop_assert_eq!(moved == Moved::Closed, current && trying && answered);
                    }
                    Deed::End(..) => {}
                }
                match breaker.position() {
                    Position::Closed { failures, .. } => prop_assert!(*failures < RULES.failures),
                    Position::Open(trouble) => prop_assert!(trouble.until <= now + RULES.most),
                    // Whoever tries is still out there: it cannot be stuck.
                    Position::Trying { .. } => prop_assert!(out.iter().any(|(ticket, _)| ticket.epoch == breaker.epoch)),
                }
            }
        }
    }
}
