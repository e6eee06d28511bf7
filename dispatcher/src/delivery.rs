//! Makes reports and gets them there: tries again with growing waits until the controller has answered yes or no.
//! There is no other end to it: a machine with an outcome to tell has nothing better to do.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use schema::event::{Proceed, Received, Report, ReportStatus, StepState};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::console::Screen;
use crate::controller::{Controller, Refusal, Token, Verdict, judge};

/// Whose reports these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The job.
    pub job_id: String,
    /// Its attempt.
    pub attempt: u32,
    /// This boot, 32 hex digits.
    pub boot_nonce: String,
}

impl Sender {
    /// A report that says only its status. Its delivery id is derived from what it is about, so that the same report
    /// sent by two processes of one boot is still one.
    pub fn report(&self, status: ReportStatus, about: &str) -> Report {
        let key = format!("{}\n{}\n{}\n{status:?}\n{about}", self.job_id, self.attempt, self.boot_nonce);
        Report {
            delivery_id: Some(hex::encode(&Sha256::digest(key.as_bytes())[..16])),
            job_id: Some(self.job_id.clone()),
            attempt: Some(self.attempt),
            boot_nonce: Some(self.boot_nonce.clone()),
            status,
            step: None,
            step_state: None,
            failed_step: None,
            done: None,
            total: None,
            exit_code: None,
            message: None,
            log_tail: None,
            found_serial: None,
            at: None,
        }
    }

    /// A step started or finished.
    pub fn step(&self, unit: &str, state: StepState) -> Report {
        let report = self.report(ReportStatus::Step, &format!("{unit} {state:?}"));
        Report { step: Some(unit.to_owned()), step_state: Some(state), ..report }
    }

    /// A unit failed.
    pub fn failed(&self, unit: &str, message: String) -> Report {
        Report {
            failed_step: Some(unit.to_owned()),
            message: Some(message),
            ..self.report(ReportStatus::Failed, unit)
        }
    }
}

/// What delivering needs besides the report.
#[derive(Clone, Copy)]
pub struct Wire<'a> {
    /// The wire.
    pub controller: &'a dyn Controller,
    /// Time stamps and waits.
    pub clock: &'a dyn Clock,
    /// Says what is waited for.
    pub screen: &'a dyn Screen,
}

/// First wait after a failure to deliver.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait; with a thousand machines waiting for one controller that is 70 requests a second at most.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// The screen is told of the first failure and then of every so manieth.
const TELL_EVERY: u32 = 10;

impl Wire<'_> {
    /// Asks for leave to proceed. An answer that is not a clear yes is a no.
    pub fn ask(&self, bootstrap: &Token, report: &Report) -> Result<Token, Refusal> {
        let answer: Proceed = self.until_answered(bootstrap, report)?;
        let token = Token::new(&answer.session_token).filter(|_| answer.proceed);
        token.ok_or_else(|| Refusal {
            status: 200,
            text: "it answered without leave or without token".to_owned(),
        })
    }

    /// Delivers a report.
    pub fn deliver(&self, token: &Token, report: &Report) -> Result<Received, Refusal> {
        self.until_answered(token, report)
    }

    /// Sends a report once; `None` when it was not acknowledged. For what the next one will say again.
    pub fn mention(&self, token: &Token, report: &Report) -> Option<Received> {
        match judge(&self.controller.post(token, &self.stamped(report)).ok()?) {
            Verdict::Acknowledged(received) => Some(received),
            Verdict::Refused(_) | Verdict::Later(_) => None,
        }
    }

    fn stamped(&self, report: &Report) -> Report {
        Report { at: Some(self.clock.now()), ..report.clone() }
    }

    fn until_answered<T: DeserializeOwned>(&self, token: &Token, report: &Report) -> Result<T, Refusal> {
        let report = self.stamped(report);
        let mut tries = 0;
        loop {
            let why = match self.controller.post(token, &report).as_ref().map(judge) {
                Ok(Verdict::Acknowledged(answer)) => return Ok(answer),
                Ok(Verdict::Refused(refusal)) => return Err(refusal),
                Ok(Verdict::Later(why)) => why,
                Err(unreachable) => chain(unreachable),
            };
            if tries % TELL_EVERY == 0 {
                self.screen
                    .line(&format!("waiting for the controller to take \"{:?}\": {why}", report.status));
            }
            self.clock.sleep(wait_after(tries, random_byte()));
            tries += 1;
        }
    }
}

/// The wait after a number of vain tries: doubling, at most [`LONGEST_WAIT`], less up to a quarter by chance, so that
/// machines that lost their controller together do not come back together.
fn wait_after(tries: u32, chance: u8) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << tries.min(10)).min(LONGEST_WAIT);
    wait.saturating_sub(wait / 4 * u32::from(chance) / 255)
}

fn random_byte() -> u8 {
    let mut byte = [0];
    // Without randomness the waits are merely regular.
    let _regular = getrandom::fill(&mut byte);
    byte[0]
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _infallible = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schema::event::StepState;

    use super::{LONGEST_WAIT, Sender, wait_after};

    #[test]
    fn waits_double_up_to_a_limit_and_differ_by_chance() {
        let waits: Vec<u64> = (0..6).map(|tries| wait_after(tries, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
        assert_eq!(wait_after(u32::MAX, 0), LONGEST_WAIT);
        assert_eq!(wait_after(2, 255), Duration::from_secs(3));
    }

    #[test]
    fn the_same_news_has_one_delivery_id_and_other_news_another() {
        let sender = Sender { job_id: "j".to_owned(), attempt: 1, boot_nonce: "n".to_owned() };
        let id = |unit, state| sender.step(unit, state).delivery_id;
        assert_eq!(id("partition.service", StepState::Started), id("partition.service", StepState::Started));
        assert_ne!(id("partition.service", StepState::Started), id("partition.service", StepState::Finished));
        let next = Sender { attempt: 2, ..sender.clone() };
        assert_ne!(
            id("partition.service", StepState::Started),
            next.step("partition.service", StepState::Started).delivery_id
        );
    }
}
