//! A trial of virtual media: a disc that holds nothing goes in, is watched, and comes out again, also when something
//! goes wrong in between or whoever asked hangs up. A controller that is killed leaves it in; it is in our namespace, so
//! that the next job takes it out. What the BMC reads is seen by our own media server, so that the answer is not the BMC's word.

use std::time::Duration;

use super::berth::{self, Berths};
use super::error::HandsError;
use super::fitness::{Check, Name};
use super::redact::without_media;
use super::{Workflow, error::chain};
use crate::model::JobId;
use crate::redfish::{Bmc, BmcError, Probe, SlotId};

/// For putting it in and seeing it there.
const INSERT_DEADLINE: Duration = Duration::from_secs(180);
/// How long reads are awaited once it is in, in looks at a BMC that is waited for. BMCs that fetch at all by themselves
/// do so at once.
const READ_WITHIN: u32 = 2;
/// Looks at the readings between two looks at a BMC: they cost nothing.
const OFTENER: u32 = 50;
/// For taking it out and seeing it gone.
const EJECT_DEADLINE: Duration = Duration::from_secs(180);

/// Tries the slot that a job would boot from.
pub async fn run(
    workflow: &Workflow,
    bmc: &dyn Bmc,
    probe: &Probe,
    media_url: &str,
) -> Result<Check, HandsError> {
    let is_ours = |slot: &crate::redfish::Slot| berth::is_in_our_namespace(slot, media_url);
    let Ok(Berths { boot, .. }) = berth::choose(&probe.slots, false, is_ours) else {
        return Ok(Check::warn(Name::Fetch, "there is no slot to try", "see the slots above"));
    };
    let id = JobId::fresh();
    let url = workflow
        .deps
        .shelf
        .stage_trial(&id, media_url)
        .await
        .map_err(|error| HandsError::Connect { code: error.code.to_owned(), text: error.message })?;
    let check = try_slot(workflow, bmc, &boot.id, &url, &id).await;
    let gone = tokio::time::timeout(EJECT_DEADLINE, take_out(bmc, &boot.id, &url)).await;
    workflow.deps.shelf.forget(&id);
    Ok(match gone {
        Ok(Ok(())) => check,
        Ok(Err(error)) => left_in(&boot.id, &without_media(&chain(&error))),
        Err(_) => left_in(&boot.id, "it did not answer in time"),
    })
}

/// Takes out the trial disc and nothing else: a job may have taken the slot meanwhile.
async fn take_out(bmc: &dyn Bmc, slot: &SlotId, url: &str) -> Result<(), BmcError> {
    if bmc.slots().await?.iter().any(|held| held.id == *slot && held.holds(url)) {
        bmc.eject(slot).await?;
    }
    Ok(())
}

async fn try_slot(workflow: &Workflow, bmc: &dyn Bmc, slot: &SlotId, url: &str, id: &JobId) -> Check {
    match tokio::time::timeout(INSERT_DEADLINE, bmc.insert(slot, url)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let seen = without_media(&chain(&error));
            let read = workflow.deps.shelf.last_read(id).map_or(0, |read| read.bytes);
            let remedy = if read == 0 {
                "it never asked our media server: check media_url, route and firewall from the BMC's network"
            } else {
                "it read the disc and then refused it: see its own words"
            };
            return Check::no(Name::Fetch, error.code(), seen, remedy);
        }
        Err(_) => {
            let seen = format!("the disc was not in after {} s", INSERT_DEADLINE.as_secs());
            return Check::no(Name::Fetch, "bmc.timeout", seen, "restart the BMC, and probe again");
        }
    }
    let pace = workflow.deps.settings.poll;
    let until = tokio::time::Instant::now() + pace * READ_WITHIN;
    loop {
        if let Some(read) = workflow.deps.shelf.last_read(id) {
            let much = schema::size::human(read.bytes);
            return Check::yes(
                Name::Fetch,
                format!("it read {much} of a trial disc in slot {} from us", slot.0),
            );
        }
        if tokio::time::Instant::now() >= until {
            let seen = format!("slot {} shows the trial disc, but nothing of it was read", slot.0);
            return Check::warn(
                Name::Fetch,
                seen,
                "some BMCs read only what the host reads; others did not get through",
            );
        }
        tokio::time::sleep(pace / OFTENER).await;
    }
}

fn left_in(slot: &SlotId, why: &str) -> Check {
    let seen = format!("the trial disc may still be in slot {}: {why}", slot.0);
    Check::no(Name::Fetch, "bmc.not_observed", seen, "eject it by hand")
}
