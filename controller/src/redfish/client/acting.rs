//! What a BMC is asked to do, each call from what is known to what is seen.
//!
//! ```text
//! probe ─▶ set_power(Off) ─▶ insert(boot) ─▶ insert(task) ─▶ boot_once ─▶ dropped, boot_once ─▶ set_power(On) ─▶ … ─▶ close
//! ```

use std::sync::Arc;

use async_trait::async_trait;

use super::super::bmc::{Bmc, Evidence, HttpBoot, Look, Power, Probe, Slot, SlotId};
use super::super::boot::{self, Override};
use super::super::error::BmcError;
use super::super::events::{self, Signs};
use super::super::oem::idrac_boot;
use super::super::profile::BootWay;
use super::super::view::Boot;
use super::super::{discover, media, power};
use super::RedfishBmc;

#[async_trait]
impl Bmc for RedfishBmc {
    fn endpoint(&self) -> String {
        self.session.endpoint.shown()
    }

    async fn probe(&self) -> Result<Probe, BmcError> {
        let (system, state, resource) = self.read_system().await?;
        let power = power::state(&self.session, &state)?.0;
        let slots = self.read_slots().await?;
        let managers = self.managers(system).await?;
        let profile = self.profile().await?;
        let (node, boot) = (resource.node(), state.boot);
        let settings = if boot.targets.is_empty() || boot::http_may_be_in_settings(&boot) {
            boot::read_settings(&self.session, system).await?
        } else {
            None
        };
        let root = self.session.root().await?;
        let sku = if profile.read.serial_is_sku { node.get("SKU").string() } else { None };
        let serial = sku.or_else(|| node.get("SerialNumber").string());
        let uuid = node.get("UUID").text().map(str::to_ascii_lowercase);
        let macs = if self.inventory.needs_nics(serial.as_deref(), uuid.as_deref()) {
            self.macs.get_or_try_init(|| discover::macs(&self.session, system)).await?.clone()
        } else {
            Vec::new()
        };
        let firmware = managers.all.iter().find_map(|manager| manager.firmware.clone());
        let targets = boot::targets(&boot, settings.as_ref());
        let boots_once = match profile.boot.way {
            Some(BootWay::IdracFirstBootDevice) => Some("first boot device VCD-DVD".to_owned()),
            None => Override::once_from_cd(&boot, &targets, profile).and_then(Override::target),
        };
        let pending = settings.as_ref().map(|settings| &settings.boot);
        Ok(Probe {
            vendor: root.vendor.clone().or_else(|| node.get("Manufacturer").string()),
            model: node.get("Model").string(),
            firmware,
            serial,
            uuid,
            macs,
            power,
            slots,
            http_boot: boot::http(&boot, pending, &targets),
            boot_targets: targets,
            boots_once,
            system: system.path.clone(),
            family: profile.title.clone(),
            advice: profile.advice.clone(),
            schemes: self.schemes(profile),
            skew_seconds: managers.skew.map(|skew| skew.as_secs()),
            encrypted: self.session.endpoint.is_encrypted(),
        })
    }

    async fn power(&self) -> Result<Power, BmcError> {
        let (_, state, _) = self.read_system().await?;
        Ok(power::state(&self.session, &state)?.0)
    }

    async fn look(&self) -> Result<Look, BmcError> {
        let (_, state, _) = self.read_system().await?;
        Ok(Look {
            power: power::state(&self.session, &state)?.0,
            boot_progress: state.progress.filter(|state| state != "None"),
        })
    }

    async fn signs(&self) -> Option<Signs> {
        let endpoint = &self.session.endpoint;
        let service = self.session.root().await.ok()?.events.as_deref()?;
        let path = endpoint.path(service).ok()?;
        let login = self.session.present().await?;
        Some(events::listen(Arc::clone(endpoint), login, path))
    }

    async fn set_power(&self, wanted: Power) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (system, _) = self.system().await?;
        let allowed = self.reset_types.get_or_try_init(|| power::reset_types(&self.session, system)).await?;
        let state = power::set(&self.session, system, allowed, wanted, self.system_just_now()).await?;
        let seen = state.power_word.clone().unwrap_or_default();
        self.remember_system(state);
        Ok(self.evidence(before, format!("system {} shows PowerState {seen}", system.path)))
    }

    fn at_work(&self) -> Option<String> {
        self.session.endpoint.work.told(&self.session.endpoint.shown())
    }

    fn notes(&self) -> Vec<String> {
        self.session.endpoint.work.take_notes()
    }

    async fn slots(&self) -> Result<Vec<Slot>, BmcError> {
        self.read_slots().await
    }

    async fn dropped(&self, held: &[(SlotId, String)]) -> Result<Option<SlotId>, BmcError> {
        for (id, url) in held {
            let now = {
                let memory = self.memory();
                let glance = memory.media.get(&id.0).filter(|glance| glance.changes == memory.changes);
                glance.map(|glance| glance.media.clone())
            };
            let media = match now {
                Some(media) => media,
                None => {
                    let slot = self.slot(id).await?;
                    let media = media::look(&self.session, slot).await?;
                    self.remember(id, media.clone());
                    media
                }
            };
            if !media::shows(&media, url) {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    async fn insert(&self, slot: &SlotId, url: &str) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let found = self.slot(slot).await?;
        let profile = self.profile().await?;
        let known = self.seen_lately(slot);
        self.slots_may_change();
        let media = media::insert(&self.session, found, url, &profile.media.first, known).await?;
        let seen = format!("slot {} holds {}", slot.0, media.shown());
        self.remember(slot, media);
        Ok(self.evidence(before, seen))
    }

    async fn eject(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let found = self.slot(slot).await?;
        let known = self.seen_lately(slot);
        self.slots_may_change();
        let media = media::eject(&self.session, found, known).await?;
        let seen = format!("slot {} is empty (Inserted={})", slot.0, media.inserted);
        self.remember(slot, media);
        Ok(self.evidence(before, seen))
    }

    async fn boot_once(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let found = self.slot(slot).await?;
        if !found.boots {
            let what = format!("boot from slot {}, which takes no CD", slot.0);
            return Err(discover::missing(&self.session, what, "boot from a slot that takes one"));
        }
        let (system, _) = self.system().await?;
        let profile = self.profile().await?;
        if profile.boot.way == Some(BootWay::IdracFirstBootDevice) {
            let managers = &self.managers(system).await?.all;
            let seen = idrac_boot::set(&self.session, managers).await?;
            return Ok(self.evidence(before, format!("the BMC shows {seen}")));
        }
        let seen = self.boot_as(|boot, _, targets| {
            Override::once_from_cd(boot, targets, profile).ok_or_else(|| boot::no_cd(&self.session, targets))
        });
        let seen = seen.await?;
        Ok(self.evidence(before, format!("the boot override shows {}", seen.shown())))
    }

    async fn boot_http(&self, uri: &str) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let profile = self.profile().await?;
        let seen = self.boot_as(|boot, settings, targets| match boot::http(boot, settings, targets) {
            HttpBoot::Offered => Ok(Override::once_over_http(boot, profile, uri)),
            other => Err(boot::no_http(&self.session, other, targets)),
        });
        let seen = seen.await?;
        Ok(self.evidence(before, format!("the boot override shows {}", seen.shown())))
    }

    async fn clear_boot(&self, ours: Option<&str>) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (system, mut state, _) = self.read_system().await?;
        let profile = self.profile().await?;
        let mut shown = Vec::new();
        if profile.boot.way == Some(BootWay::IdracFirstBootDevice) {
            let managers = &self.managers(system).await?.all;
            shown.extend(idrac_boot::clear(&self.session, managers).await?);
        }
        let settings = boot::read_settings(&self.session, system).await?;
        let pending = settings.as_ref().map(|settings| &settings.boot);
        let targets = boot::targets(&state.boot, settings.as_ref());
        let wanted = Override::none(&state.boot, &targets, profile);
        let holds_ours = |boot: &Boot| ours.is_some() && boot.http_uri.as_deref() == ours;
        if holds_ours(&state.boot) || pending.is_some_and(holds_ours) {
            boot::clear_uri(&self.session, system, &state, settings.as_ref()).await?;
            state = system.look(&self.session).await?;
        }
        let mut seen = state.boot.clone();
        if !wanted.is_shown_by(&seen) || pending.is_some_and(Boot::is_armed) {
            let set = boot::set(&self.session, system, &state, settings.as_ref(), &wanted).await?;
            seen = set.0;
            self.remember_system(set.1);
        }
        shown.push(format!("the boot override shows {}", seen.shown()));
        Ok(self.evidence(before, shown.join(", ")))
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
