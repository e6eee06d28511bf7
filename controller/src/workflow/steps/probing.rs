//! Probing: is this BMC that of the machine we mean, and can it do what a job needs? Nothing is changed.

use super::{Came, Cx, Next};
use crate::model::transport::Unusable;
use crate::model::{Failure, Input, Job};
use crate::workflow::fitness::{Check, Expected, Fitness, Name, Verdict};
use crate::workflow::transport;

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    cx.probe = None; // after a retry: as it is now
    let probe = cx.probe().await?;
    let (identity, media_url) = (&cx.inputs.identity, cx.inputs.media_url.as_str());
    let (transport, evict) = (cx.machine.transport, job.evict);
    let fitness = Fitness::of(Ok(&probe), &Expected { identity, media_url, evict, transport });
    if let Some(failure) = fitness.failure() {
        return Ok(Next::Fail(failure));
    }
    cx.workflow.note_family(&cx.machine, &probe).await?;
    let offer = transport::offer(&probe, &transport::berths(&probe, job, media_url));
    let chosen = match cx.workflow.transport_of(&cx.machine, &probe, offer).await? {
        Ok(chosen) => chosen,
        Err(Unusable { code, reason }) => {
            let failed_step = "probing".to_owned();
            return Ok(Next::Fail(Failure { failed_step, code: code.to_owned(), reason }));
        }
    };
    let text = format!(
        "{} {} (BMC {}, treated as {}), power {:?}, {} usable media slot(s)",
        probe.vendor.as_deref().unwrap_or("unknown vendor"),
        probe.model.as_deref().unwrap_or("unknown model"),
        probe.firmware.as_deref().unwrap_or("of unknown version"),
        probe.family,
        probe.power,
        probe.slots.len()
    );
    cx.remark(job, "bmc.probe", text).await?;
    // That it is spoken to by plain HTTP was asked for when the machine was added; `machine show` and every probe say so.
    let worth_a_note = |check: &&Check| check.verdict == Verdict::Warn && check.name != Name::Certificate;
    for check in fitness.checks.iter().filter(worth_a_note) {
        cx.remark(job, "bmc.note", check.seen.clone()).await?;
    }
    cx.settle_transport(job, chosen).await?;
    Ok(Next::Go(Input::Probed))
}
