//! Mounting: power off, media in, boot override set, and all of it seen. At the end the machine is still off: the
//! one thing left is to switch it on.
//!
//! Where a BMC has two slots the media go in side by side; where it has one, or refuses the second, the task medium
//! travels inside the maintenance medium (`composed`).

use super::{Came, Cx, Fault, Next};
use crate::model::{HeldMedium, Input, Job};
use crate::redfish::{Bmc, Power, Slot, SlotId};
use crate::workflow::Urls;
use crate::workflow::berth::{self, NoBerth};

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    let probe = cx.probe().await?;
    let urls = cx.urls(job).await?;
    let bmc = cx.bmc().await?;
    let ours = |slot: &Slot| {
        let held = |medium: &HeldMedium| medium.slot == slot.id.0 && slot.holds(&medium.url);
        job.media.iter().any(held) || berth::is_in_our_namespace(slot, &cx.inputs.media_url)
    };
    let (boot, data) = match berth::choose(&probe.slots, job.evict, ours) {
        Ok(berths) => (berths.boot.clone(), berths.data.cloned()),
        Err(NoBerth::NoBootSlot) => {
            let text = "the BMC has no slot to boot from any more".to_owned();
            return Err(Fault::new("bmc.no_boot_slot", text, false));
        }
        Err(NoBerth::Occupied(slot)) => {
            let text =
                format!("slot {} has been taken by somebody else's image since it was probed", slot.id.0);
            return Err(Fault::new("slot.occupied", text, false));
        }
    };

    // Durable before anything is touched: whatever happens from here on, cleanup knows that it has work.
    let on = probe.power == Power::On;
    let planned = plan(&boot, data.as_ref(), &urls);
    let held = planned.clone();
    let job = cx
        .record(job, move |job| {
            job.touched = true;
            job.was_on.get_or_insert(on);
            for medium in &held {
                if !job.media.contains(medium) {
                    job.media.push(medium.clone());
                }
            }
        })
        .await?;

    cx.saw(&job, &bmc.set_power(Power::Off).await?).await?;
    let mounted = insert(cx, &job, bmc.as_ref(), &boot.id, data.as_ref(), &urls, planned).await?;
    // After the media: some drop the override while they take one.
    cx.saw(&job, &bmc.boot_once(&boot.id).await?).await?;
    // Both once more, as the last thing before power: some drop one medium while they take the next, some lose the
    // override by themselves. What is still there costs a read.
    let held: Vec<(SlotId, String)> =
        mounted.iter().map(|medium| (SlotId(medium.slot.clone()), medium.url.clone())).collect();
    if let Some(slot) = bmc.missing(&held).await? {
        let text = format!("the BMC dropped the medium in slot {} while it took the others", slot.0);
        return Err(Fault::new("bmc.not_observed", text, true));
    }
    cx.saw(&job, &bmc.boot_once(&boot.id).await?).await?;
    cx.primed = true;
    Ok(Next::Go(Input::Mounted))
}

async fn insert(
    cx: &Cx,
    job: &Job,
    bmc: &dyn Bmc,
    boot: &SlotId,
    data: Option<&Slot>,
    urls: &Urls,
    planned: Vec<HeldMedium>,
) -> Result<Vec<HeldMedium>, Fault> {
    let mut mounted = Vec::new();
    for medium in planned {
        let slot = SlotId(medium.slot.clone());
        match bmc.insert(&slot, &medium.url).await {
            Ok(evidence) => {
                cx.saw(job, &evidence).await?;
                mounted.push(medium);
            }
            // Whoever cannot be reached, or does not know us, will not take one medium either.
            Err(error) if slot != *boot && data.is_some() && is_about_the_slot(&error) => {
                let fault = Fault::from(error);
                let text = format!("the second slot did not work ({}); both media go into one", fault.text);
                cx.remark(job, "media.composed", text).await?;
                let composed = HeldMedium { slot: boot.0.clone(), url: urls.composed.clone() };
                let held = composed.clone();
                let job = cx
                    .record(job, move |job| {
                        if !job.media.contains(&held) {
                            job.media.push(held.clone());
                        }
                    })
                    .await?;
                cx.saw(&job, &bmc.insert(boot, &composed.url).await?).await?;
                return Ok(vec![composed]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(mounted)
}

fn is_about_the_slot(error: &crate::redfish::BmcError) -> bool {
    use crate::redfish::BmcError::{Missing, NotObserved, Refused};
    matches!(error, Refused { .. } | NotObserved { .. } | Missing { .. })
}

/// What goes where. The boot medium first: it is the one that a BMC's own checks are about.
fn plan(boot: &Slot, data: Option<&Slot>, urls: &Urls) -> Vec<HeldMedium> {
    let medium = |slot: &Slot, url: &str| HeldMedium { slot: slot.id.0.clone(), url: url.to_owned() };
    match data {
        None => vec![medium(boot, &urls.composed)],
        Some(data) => {
            let takes_cds = data.media_types.iter().any(|kind| kind == "CD" || kind == "DVD");
            let task = if takes_cds || data.media_types.is_empty() { &urls.task_iso } else { &urls.task_img };
            vec![medium(boot, &urls.maintenance), medium(data, task)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_go_side_by_side_or_into_one() {
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
        let cd = slot("cd", &["CD", "DVD"]);
        let placed = |data: Option<Slot>| -> Vec<(String, String)> {
            plan(&cd, data.as_ref(), &urls).into_iter().map(|m| (m.slot, m.url)).collect()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(placed(None), [pair("cd", "c")]);
        assert_eq!(placed(Some(slot("2", &["CD", "USBStick"]))), [pair("cd", "m"), pair("2", "t.iso")]);
        assert_eq!(placed(Some(slot("1", &["Floppy", "USBStick"]))), [pair("cd", "m"), pair("1", "t.img")]);
    }
}
