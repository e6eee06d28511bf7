//! Power, to On or to Off, and seen there.
//!
//! Never a restart: firmware may report one that did not happen, and a one-time boot then waits for nothing.
//! Which reset types are tried is a pure choice among what the BMC lists. The next one is tried only where the
//! BMC refused the one before: a button pushed after a slow `On` would switch the machine off again.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::bmc::Power;
use super::classify::{Kind, Refusal};
use super::discover::{System, missing};
use super::error::BmcError;
use super::media::not_observed;
use super::profile::Waits;
use super::session::Session;
use super::task::{Verdict, settle};
use super::view::{ActionInfo, SystemState};

/// Reads the reset types a system allows; empty when it does not say.
pub async fn reset_types(session: &Session, system: &System) -> Result<Vec<String>, BmcError> {
    let Some(action) = &system.reset else { return Ok(Vec::new()) };
    if !action.allowable.is_empty() {
        return Ok(action.allowable.clone());
    }
    let Some(info) = &action.info else { return Ok(Vec::new()) };
    let found = session.find(&session.endpoint.path(info)?).await?;
    Ok(found.map(|info| ActionInfo::read(info.node()).allowed("ResetType").to_vec()).unwrap_or_default())
}

/// Reset types that lead to `wanted`, best first, among those allowed.
fn choices(wanted: Power, allowed: &[String]) -> Vec<&'static str> {
    let order: &[&str] = match wanted {
        Power::On => &["ForceOn", "On", "PushPowerButton"],
        Power::Off => &["ForceOff", "GracefulShutdown", "PushPowerButton"],
    };
    if allowed.is_empty() {
        // A service that lists nothing still has to know the two plainest ones.
        return vec![if wanted == Power::On { "On" } else { "ForceOff" }];
    }
    order.iter().copied().filter(|kind| allowed.iter().any(|known| known == kind)).collect()
}

/// Whether a system is where it should be. `Off` must be complete: media are moved right after it.
fn is_there(state: (Power, bool), wanted: Power) -> bool {
    state.0 == wanted && (wanted == Power::On || state.1)
}

/// The power state of a system that was read.
pub fn state(session: &Session, seen: &SystemState) -> Result<(Power, bool), BmcError> {
    seen.power
        .ok_or_else(|| missing(session, "readable power state", "restart the BMC, or update its firmware"))
}

/// Brings the power to `wanted`; the system as it was seen there. `known` is the system as seen just now, and
/// spares the first look.
pub async fn set(
    session: &Session,
    system: &System,
    allowed: &[String],
    wanted: Power,
    known: Option<SystemState>,
) -> Result<SystemState, BmcError> {
    let now = match known {
        Some(known) => known,
        None => system.look(session).await?,
    };
    if is_there(state(session, &now)?, wanted) {
        return Ok(now);
    }
    let Some(action) = &system.reset else {
        return Err(missing(session, "reset action on its system", "give the account the operator role"));
    };
    let target = session.endpoint.path(&action.target)?;
    let choices = choices(wanted, allowed);
    let mut refused = None;
    for kind in &choices {
        match ask(session, system, &target, kind, wanted).await? {
            Asked::There(seen) => return Ok(*seen),
            Asked::Accepted => return watch(session, system, wanted).await,
            Asked::Refused(refusal) => {
                let trouble = refusal.passes();
                refused = Some((kind, refusal));
                // It is not this reset type that the BMC objects to.
                if trouble {
                    break;
                }
            }
        }
    }
    let Some((kind, refusal)) = refused else {
        let what = format!("way to power {wanted:?} (it allows {})", allowed.join(", "));
        return Err(missing(session, what, "switch the machine by hand, and update the BMC's firmware"));
    };
    Err(refusal.into_error(&session.endpoint.shown(), format!("power {wanted:?} by {kind}")))
}

/// Looks until the power is as wanted.
async fn watch(session: &Session, system: &System, wanted: Power) -> Result<SystemState, BmcError> {
    let waits = session.endpoint.waits();
    let began = Instant::now();
    let mut looks = 0;
    loop {
        sleep(pause(waits.power_poll, looks)).await;
        looks += 1;
        let now = system.look(session).await?;
        if is_there(state(session, &now)?, wanted) {
            session.endpoint.work.watched();
            return Ok(now);
        }
        let seen = format!("PowerState {}", now.power_word.as_deref().unwrap_or("nothing"));
        let what = format!("power {wanted:?}");
        session.endpoint.work.watching(&what, &seen);
        if began.elapsed() >= waits.power_total {
            return Err(not_observed(session, &what, seen, waits.power_total));
        }
    }
}

/// The longest pause between two looks at the power.
pub fn longest_pause(waits: &Waits) -> Duration {
    pause(waits.power_poll, u32::MAX)
}

/// The pause before a look at the power, after so many: firmware takes its time, and a weak BMC is not asked for
/// nothing. Half as long again each time, up to twice the first.
fn pause(first: Duration, looks: u32) -> Duration {
    match looks {
        0 => first,
        1 => first * 3 / 2,
        _ => first * 2,
    }
}

enum Asked {
    There(Box<SystemState>),
    Accepted,
    Refused(Refusal),
}

/// Asks for one reset type, again while the BMC says that the time is wrong.
async fn ask(
    session: &Session,
    system: &System,
    target: &str,
    kind: &str,
    wanted: Power,
) -> Result<Asked, BmcError> {
    let waits = session.endpoint.waits();
    let mut tries = 0;
    loop {
        let answer = match session.post(target, &json!({"ResetType": kind})).await {
            Ok(answer) => answer,
            // The answer may be lost and the reset done: the power state decides.
            Err(BmcError::Unreachable { .. }) => return Ok(Asked::Accepted),
            Err(error) => return Err(error),
        };
        let Verdict::Refused(refusal) = settle(session, answer).await? else { return Ok(Asked::Accepted) };
        // "Already off" is an error to some, and iLO refuses with 400 right after a change.
        let now = system.look(session).await?;
        if is_there(state(session, &now)?, wanted) {
            return Ok(Asked::There(Box::new(now)));
        }
        let wrong_moment =
            refusal.kind == Kind::Other && refusal.status == 400 && !refusal.names("ResetType");
        let passes = refusal.passes() || wrong_moment;
        if !passes || tries == waits.busy_retries {
            return Ok(Asked::Refused(refusal));
        }
        tries += 1;
        sleep(waits.busy * tries).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_types_are_chosen_among_what_the_bmc_lists() {
        let dell = ["On", "ForceOff", "ForceRestart", "GracefulShutdown", "PushPowerButton"];
        let lenovo = ["On", "GracefulShutdown", "ForceOn", "ForceOff"];
        for (wanted, allowed, choice) in [
            (Power::On, &dell[..], &["On", "PushPowerButton"][..]),
            (Power::Off, &dell[..], &["ForceOff", "GracefulShutdown", "PushPowerButton"][..]),
            (Power::On, &lenovo[..], &["ForceOn", "On"][..]),
            (Power::Off, &["PushPowerButton"][..], &["PushPowerButton"][..]),
            (Power::Off, &["On", "ForceRestart"][..], &[][..]),
            (Power::On, &[][..], &["On"][..]),
            (Power::Off, &[][..], &["ForceOff"][..]),
        ] {
            let allowed: Vec<String> = allowed.iter().map(|&kind| kind.to_owned()).collect();
            assert_eq!(choices(wanted, &allowed), choice, "{wanted:?} {allowed:?}");
        }
    }

    #[test]
    fn power_is_looked_at_less_often_the_longer_it_takes() {
        let pauses: Vec<u64> = (0..5).map(|looks| pause(Duration::from_secs(4), looks).as_secs()).collect();
        assert_eq!(pauses, [4, 6, 8, 8, 8]);
    }

    #[test]
    fn off_must_be_complete_and_on_need_only_begin() {
        assert!(is_there((Power::On, false), Power::On));
        assert!(!is_there((Power::Off, false), Power::Off));
        assert!(is_there((Power::Off, true), Power::Off));
        assert!(!is_there((Power::On, true), Power::Off));
    }
}
