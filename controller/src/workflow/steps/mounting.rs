//! Mounting: power off, media in, boot override set, and all of it seen. At the end the machine is still off: the
//! one thing left is to switch it on.
//!
//! What goes in is the transport's to say; one that does not work is left for the next rung of the ladder
//! ([`crate::model::transport`]), and the next job on a machine of this kind begins there.

use super::{Came, Cx, Fault, Next};
use crate::model::capability::Feature;
use crate::model::job::HTTP_BOOT_SLOT;
use crate::model::transport::{Stuck, below};
use crate::model::{Chosen, HeldMedium, Input, Job, Transport};
use crate::redfish::{Bmc, BmcError, Power, RefusalKind, SlotId};
use crate::workflow::berth::{Berths, NoBerth};
use crate::workflow::{Urls, transport};

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    let probe = cx.probe().await?;
    let urls = cx.urls(job).await?;
    let bmc = cx.bmc().await?;
    let mut job = job.clone();
    let berths = transport::berths(&probe, &job, &cx.inputs.media_url);
    let offer = transport::offer(&probe, &berths);
    let mut chosen = match job.transport.clone() {
        Some(chosen) => chosen,
        None => match cx.workflow.transport_of(&cx.machine, &probe, offer).await? {
            Ok(chosen) => chosen,
            Err(unusable) => return Err(no_way(unusable.code, unusable.reason)),
        },
    };
    let on = probe.power == Power::On;
    loop {
        let planned = plan(chosen.transport, &berths, &urls)?;
        // Durable before anything is touched: whatever happens from here on, cleanup knows that it has work.
        let (held, settled) = (planned.clone(), chosen.clone());
        job = cx
            .record(&job, move |job| {
                job.touched = true;
                job.was_on.get_or_insert(on);
                job.transport = Some(settled.clone());
                for medium in &held {
                    if !job.media.contains(medium) {
                        job.media.push(medium.clone());
                    }
                }
            })
            .await?;
        cx.saw(&job, &bmc.set_power(Power::Off).await?).await?;
        let Err(broken) = mount(cx, &job, bmc.as_ref(), &planned).await else { break };
        let next = broken.stuck.and_then(|at| below(cx.machine.transport, chosen.transport, at, offer));
        let Some(next) = next else { return Err(broken.fault) };
        if broken.stuck == Some(Stuck::SecondSlot) {
            cx.learn(&job, Feature::SecondSlot, false, broken.fault.text.clone()).await?;
        }
        chosen = Chosen {
            transport: next,
            why: format!("{} did not work ({})", chosen.transport, broken.fault.text),
        };
        job = cx.settle_transport(&job, chosen.clone()).await?;
    }
    cx.primed = true;
    Ok(Next::Go(Input::Mounted))
}

/// A fault, and where the transport is stuck, if it is the transport's.
struct Broken {
    fault: Fault,
    stuck: Option<Stuck>,
}

impl<E: Into<Fault>> From<E> for Broken {
    fn from(fault: E) -> Self {
        Self { fault: fault.into(), stuck: None }
    }
}

/// Brings the media in and the override on, and sees both.
async fn mount(cx: &Cx, job: &Job, bmc: &dyn Bmc, planned: &[HeldMedium]) -> Result<(), Broken> {
    let by_http = planned.iter().any(|medium| medium.slot == HTTP_BOOT_SLOT);
    if !by_http {
        for (n, medium) in planned.iter().enumerate() {
            let slot = SlotId(medium.slot.clone());
            let evidence = bmc.insert(&slot, &medium.url).await.map_err(|error| Broken {
                stuck: if n == 0 { boot_is_stuck(&error) } else { slot_is_stuck(&error) },
                fault: error.into(),
            })?;
            cx.saw(job, &evidence).await?;
        }
    }
    // After the media: some drop the override while they take one.
    let armed = transport::arm(job, bmc)
        .await
        .map_err(|error| Broken { stuck: boot_is_stuck(&error).filter(|_| !by_http), fault: error.into() })?;
    if let Some(evidence) = armed {
        cx.saw(job, &evidence).await?;
    }
    // Both once more, as the last thing before power: some drop one medium while they take the next, some lose the
    // override by themselves. What is still there costs a read.
    if !by_http {
        let held: Vec<(SlotId, String)> =
            planned.iter().map(|medium| (SlotId(medium.slot.clone()), medium.url.clone())).collect();
        if let Some(slot) = bmc.dropped(&held).await? {
            let text = format!("the BMC dropped the medium in slot {} while it took the others", slot.0);
            let stuck = (planned.len() > 1).then_some(Stuck::SecondSlot);
            return Err(Broken { fault: Fault::new("bmc.not_observed", text, true), stuck });
        }
    }
    if let Some(evidence) = transport::arm(job, bmc).await? {
        cx.saw(job, &evidence).await?;
    }
    Ok(())
}

/// Whoever cannot be reached, or does not know us, will not take one medium either.
fn slot_is_stuck(error: &BmcError) -> Option<Stuck> {
    use BmcError::{Missing, NotObserved, Refused};
    matches!(error, Refused { .. } | NotObserved { .. } | Missing { .. }).then_some(Stuck::SecondSlot)
}

/// A slot to boot from is given up only where it can never boot: for want of an action, a boot target or a licence.
/// Any other refusal may be about our URL, and firmware would fare no better with it.
fn boot_is_stuck(error: &BmcError) -> Option<Stuck> {
    let never = matches!(
        error,
        BmcError::Missing { .. }
            | BmcError::Refused { status: 404 | 405 | 501, .. }
            | BmcError::Refused { kind: RefusalKind::Licence, .. }
    );
    never.then_some(Stuck::BootSlot)
}

fn no_way(code: &'static str, text: String) -> Fault {
    Fault::new(code, text, false)
}

/// What goes where. The boot medium first: it is the one that a BMC's own checks are about.
fn plan(
    transport: Transport,
    berths: &Result<Berths<'_>, NoBerth<'_>>,
    urls: &Urls,
) -> Result<Vec<HeldMedium>, Fault> {
    let medium = |slot: &str, url: &str| HeldMedium { slot: slot.to_owned(), url: url.to_owned() };
    if transport == Transport::HttpBoot {
        return Ok(vec![medium(HTTP_BOOT_SLOT, &urls.composed)]);
    }
    let Berths { boot, data } = match berths {
        Ok(berths) => *berths,
        Err(NoBerth::NoBootSlot) => {
            let text = "the BMC has no slot to boot from any more".to_owned();
            return Err(no_way("bmc.no_boot_slot", text));
        }
        Err(NoBerth::Occupied(slot)) => {
            let text =
                format!("slot {} has been taken by somebody else's image since it was probed", slot.id.0);
            return Err(no_way("slot.occupied", text));
        }
    };
    if transport == Transport::Composed {
        return Ok(vec![medium(&boot.id.0, &urls.composed)]);
    }
    let Some(data) = data else {
        let text = "the BMC has no second slot that is free any more".to_owned();
        return Err(no_way("bmc.no_second_slot", text));
    };
    let takes_cds = data.media_types.iter().any(|kind| kind == "CD" || kind == "DVD");
    let task = if takes_cds || data.media_types.is_empty() { &urls.task_iso } else { &urls.task_img };
    Ok(vec![medium(&boot.id.0, &urls.maintenance), medium(&data.id.0, task)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::Slot;
    use crate::workflow::berth::choose;

    #[test]
    fn media_go_side_by_side_or_into_one_or_to_the_firmware() {
        let slot = |id: &str, kinds: &[&str]| Slot {
            id: SlotId(id.to_owned()),
            media_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            inserted: false,
            image: None,
            boots: id == "cd",
        };
        let urls = Urls {
            maintenance: "m".to_owned(),
            task_iso: "t.iso".to_owned(),
            task_img: "t.img".to_owned(),
            composed: "c".to_owned(),
        };
        let cd = || slot("cd", &["CD", "DVD"]);
        let placed = |transport, slots: &[Slot]| -> Vec<(String, String)> {
            plan(transport, &choose(slots, false, |_| false), &urls)
                .unwrap()
                .into_iter()
                .map(|m| (m.slot, m.url))
                .collect()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let both = [cd(), slot("2", &["CD", "USBStick"])];
        assert_eq!(placed(Transport::Composed, &[cd()]), [pair("cd", "c")]);
        assert_eq!(placed(Transport::Composed, &both), [pair("cd", "c")]);
        assert_eq!(placed(Transport::VirtualMedia, &both), [pair("cd", "m"), pair("2", "t.iso")]);
        let stick = [cd(), slot("1", &["Floppy", "USBStick"])];
        assert_eq!(placed(Transport::VirtualMedia, &stick), [pair("cd", "m"), pair("1", "t.img")]);
        assert_eq!(placed(Transport::HttpBoot, &[]), [pair(HTTP_BOOT_SLOT, "c")]);
        let code = |transport, slots: &[Slot]| {
            plan(transport, &choose(slots, false, |_| false), &urls).unwrap_err().code
        };
        assert_eq!(code(Transport::Composed, &[slot("1", &[])]), "bmc.no_boot_slot");
        assert_eq!(code(Transport::VirtualMedia, &[cd()]), "bmc.no_second_slot");
    }
}
