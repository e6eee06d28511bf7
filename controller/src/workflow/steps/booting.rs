//! Booting: the machine is switched on once, and then the host is awaited. The `started` report moves the job, not
//! this step; all it does is see to the power and say what is awaited. It looks once a minute, and at once where the BMC
//! itself says that something changed.

use std::time::Duration;

use jiff::Timestamp;

use super::{Came, Cx, Next};
use crate::model::Job;
use crate::redfish::Power;
use crate::workflow::telemetry::reader;
use crate::workflow::transport;
use crate::workflow::write::later;

/// Between looks at the machine's power while the host is awaited: it may have been switched off by hand.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A machine that a sign of its BMC's found off is believed to be off after another look: firmware that resets itself is
/// seen off for a moment.
const ONCE_MORE: Duration = Duration::from_secs(3);
/// A BMC that read media this recently is still booting from them.
const READING: Duration = Duration::from_secs(120);

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    cx.urls(job).await?; // after a restart the media must be served again
    let now = cx.workflow.now();
    let sign = cx.ear.is_due(now);
    let due = match cx.seemed_off {
        Some(at) => now >= later(at, ONCE_MORE),
        None => sign || cx.powered_at.is_none_or(|at| now >= later(at, LOOK_EVERY)),
    };
    if due {
        let bmc = cx.bmc().await?;
        let primed = std::mem::take(&mut cx.primed); // true once: what comes after may have changed anything
        // A machine that was never switched on shows nothing yet.
        let seen = if primed { None } else { Some(bmc.look().await?) };
        let off = seen.as_ref().is_none_or(|seen| seen.power == Power::Off);
        let progress = seen.and_then(|seen| seen.boot_progress);
        let progressed = progress.is_some() && progress != cx.progress;
        if progressed {
            cx.remark(
                job,
                "bmc.boot_progress",
                format!("boot progress {}", progress.as_deref().unwrap_or_default()),
            )
            .await?;
            cx.progress = progress;
        }
        let only_seems = off && sign && cx.seemed_off.is_none();
        cx.seemed_off = only_seems.then_some(now);
        if off && !only_seems {
            // Not on yet, or off again: either way nothing ran that was told to go on. Firmware may have used the
            // override up, so it is set anew before each power-on of ours but the one right after mounting.
            if !primed && let Some(evidence) = transport::arm(job, bmc.as_ref()).await? {
                cx.saw(job, &evidence).await?;
            }
            cx.saw(job, &bmc.set_power(Power::On).await?).await?;
        }
        let now = cx.workflow.now();
        cx.powered_at = Some(now);
        cx.ear.looked(now, off || progressed);
        // From here on, where the BMC tells when something changes, it is looked at then, too.
        cx.ear.listen(bmc.as_ref()).await;
    }
    cx.telemetry(job).await?;
    let until = cx.workflow.later(cx.workflow.deps.settings.poll);
    Ok(match cx.seemed_off {
        Some(at) => Next::Wait { until: until.min(later(at, ONCE_MORE)), reason: SEEMS_OFF.to_owned() },
        None => Next::Wait { until, reason: awaited(cx, job) },
    })
}

const SEEMS_OFF: &str = "the machine seems to be off; it is looked at once more before it is switched on";

fn awaited(cx: &Cx, job: &Job) -> String {
    let transport = job.transport.as_ref().map(|chosen| chosen.transport);
    match cx.workflow.deps.shelf.last_read(&job.id) {
        None => {
            let who = reader(None, transport);
            format!("the machine is on; {who} has not read any media yet from {}", cx.inputs.media_url)
        }
        Some(read) => {
            let ago = cx.workflow.now().duration_since(read.at).as_secs().max(0);
            format!(
                "the machine is on; {} has read {} of media, last {ago} s ago; the host has not asked to go on at {} yet",
                reader(read.from, transport),
                schema::size::human(read.bytes),
                cx.inputs.api_url
            )
        }
    }
}

/// The deadline, moved while the BMC is seen reading media, up to the longest that booting may take.
pub fn extended(cx: &Cx, job: &Job, end: Timestamp) -> Timestamp {
    let Some(read) = cx.workflow.deps.shelf.last_read(&job.id) else { return end };
    let longest = later(job.phase_since, Duration::from_secs(job.deadlines.booting_extended));
    later(read.at, READING).clamp(end, longest.max(end))
}
