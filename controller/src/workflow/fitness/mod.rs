//! Whether a BMC can boot a job, told before anything is touched: one check per thing that stops jobs, each with what
//! was seen and what to do. Read by `slipway machine probe`, by a dry run, and by every job when it probes.
//!
//! ```text
//! Result<Probe, BmcError> ─▶ judge (seen), refused (not even seen) ─▶ Fitness ─▶ the first `no` ends a job
//! ```
//! Pure: what to expect is a value, clocks and BMCs are elsewhere.

mod judge;
mod refused;
#[cfg(test)]
mod tests;

use schema::task::Identity;
use serde::Serialize;

use crate::model::{Failure, TransportSetting};
use crate::redfish::{BmcError, Probe, Slot};

/// What a job needs of a BMC.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The machine that is meant.
    pub identity: &'a Identity,
    /// Where the BMC will be told to read media.
    pub media_url: &'a str,
    /// Whether somebody else's images may be taken out.
    pub evict: bool,
    /// How the maintenance OS shall get onto the machine.
    pub transport: TransportSetting,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fitness {
    /// Whether a job would get as far as switching the machine on.
    pub bootable: bool,
    /// One for each thing that was looked at, in the order in which a job meets them.
    pub checks: Vec<Check>,
    /// What the BMC says of itself; none when it could not be asked.
    pub bmc: Option<Probe>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: Name,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it; none where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The code that a job fails with; none where it would not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// The BMC answers.
    Reachable,
    /// Its certificate is believed.
    Certificate,
    /// It knows us, and wants no new password.
    Credentials,
    /// Which system of several is meant.
    System,
    /// It belongs to the machine that is meant.
    Identity,
    /// What is known of its family and firmware.
    Family,
    /// Its power can be seen.
    Power,
    /// Its virtual media take images.
    Slots,
    /// Its virtual media are licensed.
    Licence,
    /// It can boot once from them.
    BootTarget,
    /// It can read images by our URLs.
    MediaUrl,
    /// Its clock.
    Clock,
    /// It fetches an image that it is told to put in. Looked at only when asked for: it changes the BMC.
    Fetch,
}

impl Name {
    /// What every probe looks at, in the order in which a job meets it.
    const OF_A_PROBE: [Self; 12] = [
        Self::Reachable,
        Self::Certificate,
        Self::Credentials,
        Self::System,
        Self::Identity,
        Self::Family,
        Self::Power,
        Self::Slots,
        Self::Licence,
        Self::BootTarget,
        Self::MediaUrl,
        Self::Clock,
    ];
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it must be.
    Yes,
    /// A job can run, and somebody should look at it.
    Warn,
    /// A job cannot run.
    No,
    /// Not seen, since something before it stood in the way.
    Unknown,
}

impl Fitness {
    /// Judges what a probe came to.
    pub fn of(asked: Result<&Probe, &BmcError>, expected: &Expected<'_>) -> Self {
        let (checks, bmc) = match asked {
            Ok(probe) => (judge::seen(probe, expected), Some(probe.clone())),
            Err(error) => (refused::checks(error), None),
        };
        let bootable = checks.iter().all(|check| matches!(check.verdict, Verdict::Yes | Verdict::Warn));
        Self { bootable, checks, bmc }
    }

    /// Adds what was looked at besides.
    pub(super) fn add(&mut self, check: Check) {
        self.bootable &= matches!(check.verdict, Verdict::Yes | Verdict::Warn);
        self.checks.push(check);
    }

    /// Why a job fails here; none where it goes on.
    pub fn failure(&self) -> Option<Failure> {
        let check = self.checks.iter().find(|check| check.verdict == Verdict::No)?;
        let reason = match &check.remedy {
            Some(remedy) => format!("{}; {remedy}", check.seen),
            None => check.seen.clone(),
        };
        let code = check.code.clone().unwrap_or_else(|| "bmc.unfit".to_owned());
        Some(Failure { failed_step: "probing".to_owned(), code, reason })
    }
}

impl Check {
    pub(super) fn yes(name: Name, seen: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Yes, seen: seen.into(), remedy: None, code: None }
    }

    pub(super) fn warn(name: Name, seen: impl Into<String>, remedy: &str) -> Self {
        Self { verdict: Verdict::Warn, remedy: Some(remedy.to_owned()), ..Self::yes(name, seen) }
    }

    pub(super) fn no(name: Name, code: &str, seen: impl Into<String>, remedy: &str) -> Self {
        let code = Some(code.to_owned());
        Self { verdict: Verdict::No, remedy: Some(remedy.to_owned()), code, ..Self::yes(name, seen) }
    }

    fn unknown(name: Name) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::yes(name, "not looked at") }
    }
}

/// A slot and what is in it, for people.
pub(super) fn occupant(slot: &Slot) -> String {
    match slot.image.as_deref() {
        Some(image) if !image.is_empty() => format!("slot {} holds {image}", slot.id.0),
        _ => format!("slot {} holds an image that the BMC does not name", slot.id.0),
    }
}
