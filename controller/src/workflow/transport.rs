//! Which transport a job takes, how it is armed, and what is learnt of it. The rules are the model's
//! ([`crate::model::transport`]); here they meet the store and the BMC.

use super::Workflow;
use super::berth::{self, Berths, NoBerth};
use super::drive::{Cx, Fault};
use crate::model::capability::Feature;
use crate::model::transport::{HttpOffer, Offer, Unusable};
use crate::model::{Chosen, Family, HeldMedium, Job, Machine, NewEvent, Seen, Source, Transport, transport};
use crate::redfish::{Bmc, Evidence, HttpBoot, Probe, Slot, SlotId};
use crate::store::{self, StoreError};

/// The slots that this job may have.
pub fn berths<'a>(probe: &'a Probe, job: &Job, media_url: &str) -> Result<Berths<'a>, NoBerth<'a>> {
    let ours = |slot: &Slot| {
        let held = |medium: &HeldMedium| medium.slot == slot.id.0 && slot.holds(&medium.url);
        job.media.iter().any(held) || berth::is_in_our_namespace(slot, media_url)
    };
    berth::choose(&probe.slots, job.evict, ours)
}

/// What a probe found of use for the ladder. A slot that is somebody else's counts as none for the task medium; one
/// to boot from is refused with its own words.
pub fn offer(probe: &Probe, berths: &Result<Berths<'_>, NoBerth<'_>>) -> Offer {
    let (slots, boots) = match berths {
        Ok(berths) => (1 + usize::from(berths.data.is_some()), true),
        Err(NoBerth::Occupied(_)) => (1, true),
        Err(NoBerth::NoBootSlot) => (probe.slots.len(), false),
    };
    Offer {
        slots,
        boots: boots && probe.boots_once.is_some(),
        http: match probe.http_boot {
            HttpBoot::Offered => HttpOffer::Yes,
            HttpBoot::KeysMissing => HttpOffer::KeysMissing,
            HttpBoot::NotOffered => HttpOffer::No,
        },
    }
}

/// The kind of BMC that a probe found.
pub fn family(probe: &Probe) -> Option<Family> {
    Family::of(probe.vendor.as_deref(), probe.model.as_deref(), probe.firmware.as_deref())
}

impl Workflow {
    /// The transport that a machine's job would take now, by its record, a probe and what was learnt before.
    pub(super) async fn transport_of(
        &self,
        machine: &Machine,
        probe: &Probe,
        offer: Offer,
    ) -> Result<Result<Chosen, Unusable>, StoreError> {
        let known = match family(probe) {
            Some(family) => store::on(&self.deps.store, move |store| store.capability(&family)).await?,
            None => None,
        };
        Ok(transport::choose(machine.transport, offer, known.as_ref()))
    }

    /// Keeps which kind of BMC a machine has, where that is news.
    pub(super) async fn note_family(&self, machine: &Machine, probe: &Probe) -> Result<(), StoreError> {
        let (id, Some(family)) = (machine.id.clone(), family(probe)) else { return Ok(()) };
        store::on(&self.deps.store, move |store| {
            if store.family(&id)?.as_ref() == Some(&family) {
                return Ok(());
            }
            store.set_family(&id, &family)
        })
        .await
    }
}

impl Cx {
    /// Settles the transport, durably, and says it.
    pub async fn settle_transport(&self, job: &Job, chosen: Chosen) -> Result<Job, Fault> {
        let event = NewEvent::new(
            self.workflow.now(),
            Source::Controller,
            "media.transport",
            format!("transport {}: {}", chosen.transport, chosen.why),
        );
        let data = serde_json::json!({ "transport": chosen.transport });
        let event = event.step(job.state.name()).data(data);
        let job = self.record(job, move |job| job.transport = Some(chosen.clone())).await?;
        self.workflow.note(&job, vec![event]).await?;
        Ok(job)
    }

    /// Keeps what this job saw of a transport, for the next job on a machine of this kind.
    pub async fn learn(&self, job: &Job, what: Feature, works: bool, words: String) -> Result<(), Fault> {
        let (machine, now, job) = (self.machine.id.clone(), self.workflow.now(), job.id.clone());
        let learnt = store::on(&self.workflow.deps.store, move |store| {
            let Some(family) = store.family(&machine)? else { return Ok(None) };
            let known = store.capability(&family)?.unwrap_or_default();
            if known.of(what).is_some_and(|seen| seen.works == works) {
                return Ok(None);
            }
            store.learn(&family, what, Seen { works, what: words, at: now, job })?;
            Ok(Some(family))
        })
        .await?;
        if let Some(family) = learnt {
            tracing::info!(%family, ?what, works, "learnt of a kind of BMC");
        }
        Ok(())
    }

    /// A host that asked to go on proves the transport it came by; told once per driver.
    pub async fn transport_proved(&mut self, job: &Job) {
        let Some(transport) = job.transport.as_ref().map(|chosen| chosen.transport) else { return };
        if std::mem::replace(&mut self.proved, true) {
            return;
        }
        let words = match transport {
            Transport::VirtualMedia => "a host booted with a medium in each slot",
            Transport::Composed => "a host booted from one composed medium",
            Transport::HttpBoot => "a host booted over HTTP",
        };
        if let Err(fault) = self.learn(job, transport.into(), true, words.to_owned()).await {
            tracing::warn!(job_id = %job.id, error = fault.text, "what worked was not kept");
        }
    }
}

/// Has the machine boot this job's medium once.
pub async fn arm(job: &Job, bmc: &dyn Bmc) -> Result<Option<Evidence>, crate::redfish::BmcError> {
    let by_http = job.transport.as_ref().is_some_and(|chosen| chosen.transport == Transport::HttpBoot);
    match (by_http, job.http_boot_uri(), job.media.first()) {
        (true, Some(uri), _) => bmc.boot_http(uri).await.map(Some),
        (_, _, Some(medium)) => bmc.boot_once(&SlotId(medium.slot.clone())).await.map(Some),
        _ => Ok(None),
    }
}
