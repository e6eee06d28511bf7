//! Cleaning up, on every end: seen off → what is ours ejected → seen out → override cleared → on, if it shall be.
//!
//! It never gives up and never fails: a deadline passed raises an alarm, and it goes on with growing pauses until the
//! BMC is seen right or an administrator releases the job by force.

use std::time::Duration;

use super::{Came, Cx, Fault, Next};
use crate::model::{HeldMedium, Input, Job};
use crate::redfish::{Bmc, Power, Slot};
use crate::workflow::change::ends_on;
use crate::workflow::write::later;

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    alarm(cx, job).await?;
    if !job.touched {
        return Ok(Next::Go(Input::Cleaned)); // its BMC was only ever read
    }
    let bmc = cx.bmc().await?;
    let mut job = job.clone();
    if !job.off_seen {
        if let Some(wait) = host_leaves(cx, &job, bmc.as_ref()).await? {
            return Ok(wait);
        }
        cx.saw(&job, &bmc.set_power(Power::Off).await?).await?;
        // Durable: after a restart, a machine that is on again was switched on below, and is left on.
        job = cx.record(&job, |job| job.off_seen = true).await?;
    }
    for slot in bmc.slots().await?.iter().filter(|slot| is_ours(slot, &job.media)) {
        cx.saw(&job, &bmc.eject(&slot.id).await?).await?;
    }
    if let Some(slot) = bmc.slots().await?.iter().find(|slot| is_ours(slot, &job.media)) {
        let text = format!("slot {} still shows this job's medium after it was ejected", slot.id.0);
        return Err(Fault::new("bmc.not_observed", text, true));
    }
    cx.saw(&job, &bmc.clear_boot(job.http_boot_uri()).await?).await?;
    if ends_on(&job) {
        cx.saw(&job, &bmc.set_power(Power::On).await?).await?;
    }
    Ok(Next::Go(Input::Cleaned))
}

/// Between looks whether the host went off by itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A host that was told to go on syncs, sends its logs and powers itself off: it gets a while for that.
async fn host_leaves(cx: &Cx, job: &Job, bmc: &dyn Bmc) -> Result<Option<Next>, Fault> {
    let until = later(job.phase_since, cx.workflow.deps.settings.power_off_grace);
    if job.boot_nonce.is_none() || cx.workflow.now() >= until || bmc.power().await? == Power::Off {
        return Ok(None);
    }
    let reason = "the host is powering itself off".to_owned();
    Ok(Some(Next::Wait { until: until.min(cx.workflow.later(LOOK_EVERY)), reason }))
}

/// A slot holds our medium if it shows it in any of the forms in which BMCs give images back. The name of the file
/// alone, or nothing at all, is ours only where we put something: others may have a file of that name.
fn is_ours(slot: &Slot, put: &[HeldMedium]) -> bool {
    let unmistakable = slot.image.as_deref().is_some_and(|image| image.contains('/'));
    put.iter().any(|medium| slot.holds(&medium.url) && (unmistakable || medium.slot == slot.id.0))
}

async fn alarm(cx: &mut Cx, job: &Job) -> Result<(), Fault> {
    let due = later(job.phase_since, Duration::from_secs(job.deadlines.cleaning_up));
    if cx.alarmed || cx.workflow.now() < due {
        return Ok(());
    }
    cx.alarmed = true;
    let last =
        cx.workflow.hub.live(&job.id).and_then(|live| live.wait).map_or_else(String::new, |wait| wait.reason);
    tracing::error!(job_id = %job.id, serial = %job.serial, last, "cleaning up takes too long");
    let text = format!(
        "cleaning up takes longer than {} s and goes on ({last}); if the BMC is dead, release the job by force",
        job.deadlines.cleaning_up
    );
    cx.remark(job, "alarm.cleanup", text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::SlotId;

    #[test]
    fn what_is_ours_is_known_in_every_form_that_bmcs_show_it_in() {
        let url = "http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxyz/task.iso";
        let put = [HeldMedium { slot: "Cd".to_owned(), url: url.to_owned() }];
        for (slot, inserted, image, ours) in [
            ("Cd", true, Some(url), true),
            ("Cd", true, Some("/m/abcdefghijklmnopqrstuvwxyz/task.iso"), true),
            ("Cd", true, Some("https://10.0.0.5/m/abcdefghijklmnopqrstuvwxyz/task.iso"), true),
            ("Cd", true, Some("task.iso"), true),
            ("Cd", true, Some(""), true),
            ("Cd", true, None, true),
            ("Cd", false, Some(url), false),
            ("Cd", true, Some("http://elsewhere/rescue.iso"), false),
            ("Cd", true, Some("rescue.iso"), false),
            // A slot that was renumbered, and one of somebody else.
            ("Usb", true, Some(url), true),
            ("Usb", true, Some("task.iso"), false),
            ("Usb", true, None, false),
        ] {
            let slot = Slot {
                id: SlotId(slot.to_owned()),
                media_types: vec![],
                inserted,
                image: image.map(str::to_owned),
                boots: false,
            };
            assert_eq!(is_ours(&slot, &put), ours, "{slot:?}");
        }
    }
}
