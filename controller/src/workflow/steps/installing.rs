//! Installing: the host works and reports; the controller listens. It acts only on silence.

use super::{Came, Cx, Next};
use crate::model::{Failure, Job};
use crate::redfish::Power;
use crate::workflow::write::later;

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    // After a restart the media are served again. The host's root is in memory, so it does not hang on this.
    if let Err(fault) = cx.urls(job).await {
        tracing::warn!(job_id = %job.id, error = fault.text, "the media of a running job are not served");
    }
    cx.transport_proved(job).await;
    cx.telemetry(job).await?; // what was read last before the host spoke
    let (settings, now) = (cx.workflow.deps.settings.clone(), cx.workflow.now());
    let heard = cx.workflow.heard_at(job);
    let (silent_from, lost_from) = (later(heard, settings.silence), later(heard, settings.lost));
    if now < silent_from {
        cx.put_away().await; // BMCs have few sessions, and this phase is long
        return Ok(Next::Wait {
            until: silent_from,
            reason: "the host works; its reports move this job".to_owned(),
        });
    }
    let quiet = now.duration_since(heard).as_secs();
    if now >= lost_from {
        return Ok(Next::Fail(Failure {
            failed_step: "installing".to_owned(),
            code: "lost_contact".to_owned(),
            reason: format!(
                "the host has not been heard for {quiet} s; look at its console and at the network between it and {}",
                cx.inputs.api_url
            ),
        }));
    }
    let reason = match seen(cx).await {
        Ok(seen) => format!("the host has been silent for {quiet} s; its BMC says: {seen}"),
        Err(error) => {
            format!("the host has been silent for {quiet} s, and its BMC does not say more: {error}")
        }
    };
    if cx.silence_said != Some(heard) {
        cx.silence_said = Some(heard);
        cx.remark(job, "host.silent", reason.clone()).await?;
    }
    Ok(Next::Wait { until: lost_from.min(cx.workflow.later(LOOK_EVERY)), reason })
}

/// Between looks at a silent machine.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

async fn seen(cx: &mut Cx) -> Result<String, String> {
    let bmc = cx.bmc().await.map_err(|fault| fault.text)?;
    let look = bmc.look().await.map_err(|error| error.to_string())?;
    let power = match look.power {
        Power::On => "power is on",
        Power::Off => "power is off",
    };
    Ok(look
        .boot_progress
        .map_or_else(|| power.to_owned(), |progress| format!("{power}, boot progress {progress}")))
}
