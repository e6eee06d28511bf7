//! [`RedfishBmc`]: the [`Bmc`] that speaks Redfish.
//!
//! Ties the parts together and remembers what was found: the walk is made once, each part when first needed, and
//! what a slot or the system showed last may save the read **before** a change. The read after it is never saved.
//!
//! ```text
//! probe ─▶ set_power(Off) ─▶ insert(boot) ─▶ insert(task) ─▶ boot_once ─▶ slots ─▶ set_power(On) ─▶ … ─▶ close
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::address::{BmcAddress, Credentials};
use super::bmc::{Bmc, Evidence, Power, Probe, Slot, SlotId};
use super::boot::{self, Override};
use super::discover::{self, MediaSlot, MediaSlots, System};
use super::error::BmcError;
use super::http::Endpoint;
use super::media;
use super::power;
use super::profile::Waits;
use super::session::Session;
use super::view::{Boot, Media};
use super::wire::Resource;

/// How long what was seen in a slot may stand in for a read before a change.
const MEMORY: Duration = Duration::from_secs(60);
/// How long what the system showed counts as "just now" for its power: the calls of one step follow each other
/// faster than this.
const JUST_NOW: Duration = Duration::from_secs(1);
/// A BMC clock further off than this is worth a note: its own certificate checks depend on it.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// A BMC spoken to over Redfish. Makes no request before the first call.
///
/// Ends its session in [`Bmc::close`]; one that is dropped without does so in the background.
#[derive(Debug)]
pub struct RedfishBmc {
    session: Session,
    /// The system asked for by name.
    wanted: Option<String>,
    clock: fn() -> Timestamp,
    inventory: bool,
    system: OnceCell<System>,
    managers: OnceCell<Managers>,
    media: OnceCell<MediaSlots>,
    macs: OnceCell<Vec<String>>,
    reset_types: OnceCell<Vec<String>>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Managers {
    resources: Vec<Resource>,
    /// How far the BMC's clock is ahead of ours.
    skew: Option<SignedDuration>,
}

#[derive(Debug, Default)]
struct Memory {
    system: Option<(Instant, Resource)>,
    media: HashMap<String, (Instant, Media)>,
}

impl RedfishBmc {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// `Address` when the URL, the trust or plain HTTP cannot be used.
    pub fn connect(address: &BmcAddress, credentials: Credentials) -> Result<Self, BmcError> {
        Self::connect_with(address, credentials, Waits::field())
    }

    /// The same with other waits, for emulated BMCs.
    ///
    /// # Errors
    /// As [`RedfishBmc::connect`].
    pub fn connect_with(
        address: &BmcAddress,
        credentials: Credentials,
        waits: Waits,
    ) -> Result<Self, BmcError> {
        let endpoint = Arc::new(Endpoint::new(address, waits)?);
        Ok(Self {
            session: Session::new(endpoint, credentials),
            wanted: address.system.clone(),
            clock: Timestamp::now,
            inventory: false,
            system: OnceCell::new(),
            managers: OnceCell::new(),
            media: OnceCell::new(),
            macs: OnceCell::new(),
            reset_types: OnceCell::new(),
            memory: Mutex::default(),
        })
    }

    /// Uses another clock to judge the BMC's.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    /// Has [`Bmc::probe`] read the NICs in any case. Otherwise it reads them only when the system lacks a serial
    /// or a UUID, since on most BMCs each NIC costs a request.
    #[must_use]
    pub fn with_inventory(mut self) -> Self {
        self.inventory = true;
        self
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u32 {
        self.session.endpoint.requests()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The system, and its resource when this very call read it.
    async fn system(&self) -> Result<(&System, Option<Resource>), BmcError> {
        let mut just_read = None;
        let found = self.system.get_or_try_init(|| async {
            let (system, resource) = discover::system(&self.session, self.wanted.as_deref()).await?;
            just_read = Some(resource);
            Ok(system)
        });
        Ok((found.await?, just_read))
    }

    /// The system's resource as it is now.
    async fn read_system(&self) -> Result<(&System, Resource), BmcError> {
        let (system, just_read) = self.system().await?;
        let resource = match just_read {
            Some(resource) => resource,
            None => self.session.get(&system.path).await?,
        };
        self.remember_system(resource.clone());
        Ok((system, resource))
    }

    async fn managers(&self, system: &System) -> Result<&Managers, BmcError> {
        let read = self.managers.get_or_try_init(|| async {
            let resources = discover::managers(&self.session, system).await?;
            let theirs = resources.iter().find_map(|manager| manager.node().get("DateTime").text());
            let theirs: Option<Timestamp> = theirs.and_then(|text| text.parse().ok());
            let skew = theirs.map(|theirs| theirs.duration_since((self.clock)()));
            Ok(Managers { resources, skew })
        });
        read.await
    }

    /// The usable slots, and what is in them when this very call read it.
    async fn media(&self) -> Result<(&MediaSlots, Option<Vec<(String, Media)>>), BmcError> {
        let (system, _) = self.system().await?;
        let mut just_read = None;
        let found = self.media.get_or_try_init(|| async {
            let managers = async || Ok(self.managers(system).await?.resources.clone());
            let (slots, seen) = discover::media(&self.session, system, managers).await?;
            just_read = Some(seen);
            Ok(slots)
        });
        Ok((found.await?, just_read))
    }

    /// What is in every usable slot now, in order of preference.
    async fn read_slots(&self) -> Result<Vec<Slot>, BmcError> {
        let (found, just_read) = self.media().await?;
        let seen = match just_read {
            Some(seen) => seen,
            None => self.look_again(found).await?,
        };
        let mut memory = self.memory();
        let now = Instant::now();
        memory.media = seen.iter().map(|(path, media)| (path.clone(), (now, media.clone()))).collect();
        Ok(seen
            .into_iter()
            .map(|(path, media)| Slot {
                id: SlotId(path),
                boots: media.takes_cd(),
                inserted: media.inserted,
                image: if media.inserted { media.image.or(media.image_name) } else { None },
                media_types: media.types,
            })
            .collect())
    }

    async fn look_again(&self, found: &MediaSlots) -> Result<Vec<(String, Media)>, BmcError> {
        let (system, _) = self.system().await?;
        let mut read: HashMap<String, Media> = HashMap::new();
        if system.expand {
            for collection in &found.collections {
                for (path, resource) in discover::members(&self.session, collection, true).await? {
                    read.insert(path, Media::read(resource.node()));
                }
            }
        }
        let mut seen = Vec::new();
        for slot in &found.slots {
            let media = match read.remove(&slot.path) {
                Some(media) => media,
                None => media::look(&self.session, slot).await?,
            };
            seen.push((slot.path.clone(), media));
        }
        Ok(seen)
    }

    /// The slot of that name, and what was seen in it lately.
    async fn slot(&self, id: &SlotId) -> Result<(&MediaSlot, Option<Media>), BmcError> {
        let (found, just_read) = self.media().await?;
        let Some(slot) = found.slots.iter().find(|slot| slot.path == id.0) else {
            let what = format!("usable virtual media slot {}", id.0);
            return Err(discover::missing(
                &self.session,
                what,
                "probe the BMC again and choose one it lists",
            ));
        };
        if let Some(seen) = just_read {
            let now = Instant::now();
            self.memory().media.extend(seen.into_iter().map(|(path, media)| (path, (now, media))));
        }
        let lately = self.memory().media.remove(&id.0);
        let known = lately.filter(|(when, _)| when.elapsed() < MEMORY).map(|(_, media)| media);
        Ok((slot, known))
    }

    fn remember_system(&self, resource: Resource) {
        self.memory().system = Some((Instant::now(), resource));
    }

    fn remember(&self, id: &SlotId, media: Media) {
        self.memory().media.insert(id.0.clone(), (Instant::now(), media));
    }

    fn evidence(&self, before: u32, seen: String) -> Evidence {
        Evidence { seen, requests: self.requests().saturating_sub(before) }
    }
}

#[async_trait]
impl Bmc for RedfishBmc {
    async fn probe(&self) -> Result<Probe, BmcError> {
        let (system, resource) = self.read_system().await?;
        let power = power::state(&self.session, &resource)?.0;
        let slots = self.read_slots().await?;
        let managers = self.managers(system).await?;
        let node = resource.node();
        let boot = Boot::read(node);
        let settings =
            if boot.targets.is_empty() { boot::read_settings(&self.session, system).await? } else { None };
        let root = self.session.root().await?;
        let sku = if system.profile.serial_is_sku { node.get("SKU").string() } else { None };
        let serial = sku.or_else(|| node.get("SerialNumber").string());
        let uuid = node.get("UUID").text().map(str::to_ascii_lowercase);
        let macs = if self.inventory || serial.is_none() || uuid.is_none() {
            self.macs.get_or_try_init(|| discover::macs(&self.session, system)).await?.clone()
        } else {
            Vec::new()
        };
        let firmware =
            managers.resources.iter().find_map(|manager| manager.node().get("FirmwareVersion").string());
        let mut notes = Vec::new();
        if system.profile.name != "generic" {
            notes.push(format!("treated as {}", system.profile.name));
        }
        if let Some(skew) = managers.skew.filter(|skew| skew.abs() > SKEW) {
            let side = if skew.is_negative() { "behind" } else { "ahead of" };
            notes.push(format!("the BMC's clock is {:#} {side} ours", skew.abs()));
        }
        match slots.iter().filter(|slot| slot.boots).count() {
            0 if slots.is_empty() => notes.push(
                "no virtual media slot takes remote images: the licence for it may be missing".to_owned(),
            ),
            0 => notes.push("no virtual media slot takes a CD".to_owned()),
            _ if slots.len() == 1 => notes.push("only one virtual media slot takes remote images".to_owned()),
            _ => {}
        }
        Ok(Probe {
            vendor: root.vendor.clone().or_else(|| node.get("Manufacturer").string()),
            model: node.get("Model").string(),
            firmware,
            serial,
            uuid,
            macs,
            power,
            slots,
            boot_targets: boot::targets(&boot, settings.as_ref()),
            notes,
        })
    }

    async fn power(&self) -> Result<Power, BmcError> {
        let (_, resource) = self.read_system().await?;
        Ok(power::state(&self.session, &resource)?.0)
    }

    async fn boot_progress(&self) -> Result<Option<String>, BmcError> {
        let (_, resource) = self.read_system().await?;
        Ok(resource.node().get("BootProgress").get("LastState").string().filter(|state| state != "None"))
    }

    async fn set_power(&self, wanted: Power) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (system, _) = self.system().await?;
        let allowed = self.reset_types.get_or_try_init(|| power::reset_types(&self.session, system)).await?;
        let known = self.memory().system.take().filter(|(when, _)| when.elapsed() < JUST_NOW);
        let known = known.map(|(_, resource)| resource);
        let resource = power::set(&self.session, system, allowed, wanted, known).await?;
        let seen = resource.node().get("PowerState").string().unwrap_or_default();
        self.remember_system(resource);
        Ok(self.evidence(before, format!("system {} shows PowerState {seen}", system.path)))
    }

    async fn slots(&self) -> Result<Vec<Slot>, BmcError> {
        self.read_slots().await
    }

    async fn insert(&self, slot: &SlotId, url: &str) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (found, known) = self.slot(slot).await?;
        let media = media::insert(&self.session, found, url, known).await?;
        let seen = format!("slot {} holds {}", slot.0, media.shown());
        self.remember(slot, media);
        Ok(self.evidence(before, seen))
    }

    async fn eject(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (found, known) = self.slot(slot).await?;
        let media = media::eject(&self.session, found, known).await?;
        let seen = format!("slot {} is empty (Inserted={})", slot.0, media.inserted);
        self.remember(slot, media);
        Ok(self.evidence(before, seen))
    }

    async fn boot_once(&self, slot: &SlotId) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (found, known) = self.slot(slot).await?;
        if let Some(media) = known {
            self.remember(slot, media);
        }
        if !found.boots {
            let what = format!("boot from slot {}, which takes no CD", slot.0);
            return Err(discover::missing(&self.session, what, "boot from a slot that takes one"));
        }
        let (system, _) = self.system().await?;
        let remembered = self.memory().system.take();
        let resource = match remembered {
            Some((_, resource)) => resource,
            None => self.session.get(&system.path).await?,
        };
        let settings = boot::read_settings(&self.session, system).await?;
        let boot = Boot::read(resource.node());
        let targets = boot::targets(&boot, settings.as_ref());
        let Some(wanted) = Override::once_from_cd(&boot, &targets, system.profile) else {
            return Err(boot::no_cd(&self.session, &targets));
        };
        let (seen, now) = boot::set(&self.session, system, resource, settings.as_ref(), &wanted).await?;
        self.remember_system(now);
        Ok(self.evidence(before, format!("the boot override shows {}", seen.shown())))
    }

    async fn clear_boot(&self) -> Result<Evidence, BmcError> {
        let before = self.requests();
        let (system, resource) = self.read_system().await?;
        let settings = boot::read_settings(&self.session, system).await?;
        let boot = Boot::read(resource.node());
        let pending = settings.as_ref().map(|settings| Boot::read(settings.node()));
        let mut seen = boot.clone();
        if boot.is_armed() || pending.is_some_and(|pending| pending.is_armed()) {
            let wanted = Override::none(&boot::targets(&boot, settings.as_ref()));
            let set = boot::set(&self.session, system, resource, settings.as_ref(), &wanted).await?;
            seen = set.0;
            self.remember_system(set.1);
        }
        Ok(self.evidence(before, format!("the boot override shows {}", seen.shown())))
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
