//! [`RedfishBmc`]: the [`Bmc`] that speaks Redfish.
//!
//! Ties the parts together and remembers what was found: the walk is made once, each part when first needed, and
//! what a slot or the system showed last may save the read **before** a change. The read after it is never saved.
//! What it does is in [`acting`].

mod acting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::address::{BmcAddress, Credentials};
use super::bmc::{Evidence, Slot, SlotId};
use super::boot::{self, Override};
use super::discover::{self, Manager, MediaSlot, MediaSlots, System, Way};
use super::error::BmcError;
use super::gate::{Entry, Gates, Limits, Rules};
use super::http::Endpoint;
use super::profile::{Profile, Profiles, Waits};
use super::session::Session;
use super::slots;
use super::view::{Boot, Media, SystemState};
use super::walk::Walks;
use super::wire::Resource;
use super::{media, power};

/// How long what was seen in a slot may stand in for a read before a change.
const MEMORY: Duration = Duration::from_secs(60);
/// How long what the system showed counts as "just now" for its power, at least: the calls of one step follow each
/// other faster than this. Where its power is looked at less often than that, it counts for as long as such a pause.
const JUST_NOW: Duration = Duration::from_secs(1);

/// A BMC spoken to over Redfish. Makes no request before the first call.
///
/// Ends its session in [`close`](super::bmc::Bmc::close); one that is dropped without does so in the background.
#[derive(Debug)]
pub struct RedfishBmc {
    session: Session,
    /// The system asked for by name.
    wanted: Option<String>,
    clock: fn() -> Timestamp,
    inventory: Inventory,
    profiles: Arc<Profiles>,
    walks: Arc<Walks>,
    system: OnceCell<System>,
    managers: OnceCell<Managers>,
    profile: OnceCell<Arc<Profile>>,
    media: OnceCell<MediaSlots>,
    macs: OnceCell<Vec<String>>,
    reset_types: OnceCell<Vec<String>>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Managers {
    all: Vec<Manager>,
    /// How far the BMC's clock is ahead of ours.
    skew: Option<SignedDuration>,
}

#[derive(Debug, Default)]
struct Memory {
    system: Option<(Instant, SystemState)>,
    media: HashMap<String, Glance>,
    /// Grows whenever anything may have changed in any slot.
    changes: u64,
}

/// What a slot showed.
#[derive(Debug)]
struct Glance {
    at: Instant,
    /// How many changes there had been.
    changes: u64,
    media: Media,
}

/// When a probe reads the NICs, which tell a system that has no better name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inventory {
    /// Whatever else there is.
    Always,
    /// When the system shows no serial, or no UUID.
    IfNameless,
    /// When it shows no UUID.
    IfNoUuid,
}

impl Inventory {
    fn needs_nics(self, serial: Option<&str>, uuid: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::IfNameless => serial.is_none() || uuid.is_none(),
            Self::IfNoUuid => uuid.is_none(),
        }
    }
}

impl RedfishBmc {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// `Address` when the URL, the trust or plain HTTP cannot be used.
    pub fn connect(address: &BmcAddress, credentials: Credentials) -> Result<Self, BmcError> {
        Self::connect_with(address, credentials, Waits::field())
    }

    /// The same with other waits, for emulated BMCs. Nobody else shares its BMC.
    ///
    /// # Errors
    /// As [`RedfishBmc::connect`].
    pub fn connect_with(
        address: &BmcAddress,
        credentials: Credentials,
        waits: Waits,
    ) -> Result<Self, BmcError> {
        let gates =
            Gates::new(Limits { rules: Rules::paced(waits.retry), ..Limits::default() }, Timestamp::now);
        Self::connect_through(address, credentials, waits, Entry { gates: &gates, site: "", by_hand: false })
    }

    /// The same among others: they share what their BMCs bear, and know which one is in trouble.
    ///
    /// # Errors
    /// As [`RedfishBmc::connect`].
    pub fn connect_through(
        address: &BmcAddress,
        credentials: Credentials,
        waits: Waits,
        entry: Entry<'_>,
    ) -> Result<Self, BmcError> {
        let endpoint = Arc::new(Endpoint::new(address, waits, entry)?);
        Ok(Self {
            session: Session::new(endpoint, credentials),
            wanted: address.system.clone(),
            clock: Timestamp::now,
            inventory: Inventory::IfNameless,
            profiles: Arc::new(Profiles::builtin()),
            walks: Arc::default(),
            system: OnceCell::new(),
            managers: OnceCell::new(),
            profile: OnceCell::new(),
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

    /// Uses these profiles instead of the built-in ones.
    #[must_use]
    pub fn with_profiles(mut self, profiles: Arc<Profiles>) -> Self {
        self.profiles = profiles;
        self
    }

    /// Shares what was found on BMCs with other clients.
    #[must_use]
    pub fn with_walks(mut self, walks: Arc<Walks>) -> Self {
        self.walks = walks;
        self
    }

    /// Has [`probe`](super::bmc::Bmc::probe) read the NICs in any case. Otherwise it reads them only when the system
    /// lacks a serial or a UUID, since on most BMCs each NIC costs a request.
    #[must_use]
    pub fn with_inventory(mut self) -> Self {
        self.inventory = Inventory::Always;
        self
    }

    /// Says that the caller knows the UUID of the system and compares it: where the BMC shows one, the NICs are not
    /// read, serial or no serial.
    #[must_use]
    pub fn with_known_uuid(mut self) -> Self {
        self.inventory = Inventory::IfNoUuid;
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
            let (endpoint, wanted) = (self.session.endpoint.shown(), self.wanted.as_deref());
            let _turn = self.walks.turn(&endpoint).await;
            if let Some(root) = self.walks.root(&endpoint) {
                self.session.assume_root(root);
            }
            let place = self.walks.system(&endpoint, wanted);
            // Whatever goes wrong here, the next client looks for itself.
            self.walks.forget_system(&endpoint, wanted);
            let place = place.as_deref().or(wanted);
            let found = match discover::system(&self.session, &self.profiles, place).await {
                Ok(found) => found,
                Err(error) => {
                    self.walks.forget_root(&endpoint);
                    return Err(error);
                }
            };
            self.walks.remember_root(&endpoint, self.session.root().await?);
            for path in &found.listed {
                self.walks.remember_system(&endpoint, path.rsplit('/').next(), path);
            }
            self.walks.remember_system(&endpoint, wanted, &found.system.path);
            just_read = Some(found.resource);
            Ok(found.system)
        });
        Ok((found.await?, just_read))
    }

    /// What is known of its family.
    async fn profile(&self) -> Result<&Arc<Profile>, BmcError> {
        let chosen = self.profile.get_or_try_init(|| async {
            let (system, _) = self.system().await?;
            let managers = &self.managers(system).await?.all;
            let profile = system.profile(&self.profiles, self.session.root().await?, managers);
            self.session.endpoint.stretch(&profile.waits);
            Ok(profile)
        });
        chosen.await
    }

    /// The system as it is now, and all that its resource says.
    async fn read_system(&self) -> Result<(&System, SystemState, Resource), BmcError> {
        let (system, just_read) = self.system().await?;
        let resource = match just_read {
            Some(resource) => resource,
            None => self.session.get(&system.path).await?,
        };
        let state = SystemState::read(&resource);
        self.remember_system(state.clone());
        Ok((system, state, resource))
    }

    async fn managers(&self, system: &System) -> Result<&Managers, BmcError> {
        let read = self.managers.get_or_try_init(|| async {
            let all = discover::managers(&self.session, system).await?;
            let theirs = all.iter().find_map(|manager| manager.clock);
            let skew = theirs.map(|theirs| theirs.duration_since((self.clock)()));
            Ok(Managers { all, skew })
        });
        read.await
    }

    /// The usable slots, and what is in them when this very call read it.
    async fn media(&self) -> Result<(&MediaSlots, Option<Vec<(String, Media)>>), BmcError> {
        let (system, _) = self.system().await?;
        let mut just_read = None;
        let found = self.media.get_or_try_init(|| async {
            let profile = self.profile().await?;
            let managers = &self.managers(system).await?.all;
            let (slots, seen) = slots::find(&self.session, system, profile, managers).await?;
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
        for (path, media) in &seen {
            self.remember(&SlotId(path.clone()), media.clone());
        }
        Ok(found
            .slots
            .iter()
            .zip(seen)
            .map(|(slot, (path, media))| Slot {
                id: SlotId(path),
                boots: slot.boots,
                inserted: media.inserted,
                image: if media.inserted { media.image.or(media.image_name) } else { None },
                media_types: media.types,
            })
            .collect())
    }

    async fn look_again(&self, found: &MediaSlots) -> Result<Vec<(String, Media)>, BmcError> {
        let (system, _) = self.system().await?;
        let mut read: HashMap<String, Media> = HashMap::new();
        if system.expand && self.profile().await?.read.expand {
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

    /// The slot of that name.
    async fn slot(&self, id: &SlotId) -> Result<&MediaSlot, BmcError> {
        let (found, just_read) = self.media().await?;
        let Some(slot) = found.slots.iter().find(|slot| slot.path == id.0) else {
            let what = format!("usable virtual media slot {}", id.0);
            return Err(discover::missing(
                &self.session,
                what,
                "probe the BMC again and choose one it lists",
            ));
        };
        for (path, media) in just_read.unwrap_or_default() {
            self.remember(&SlotId(path), media);
        }
        Ok(slot)
    }

    /// What was seen in a slot lately. After a change of it nothing of that counts any more.
    fn seen_lately(&self, id: &SlotId) -> Option<Media> {
        let lately = self.memory().media.remove(&id.0);
        lately.filter(|glance| glance.at.elapsed() < MEMORY).map(|glance| glance.media)
    }

    /// What the system showed just now, if anything. Taken, since what is done with it may change it.
    fn system_just_now(&self) -> Option<SystemState> {
        let just_now = power::longest_pause(self.session.endpoint.waits()).max(JUST_NOW);
        let (when, state) = self.memory().system.take()?;
        (when.elapsed() < just_now).then_some(state)
    }

    fn remember_system(&self, state: SystemState) {
        self.memory().system = Some((Instant::now(), state));
    }

    fn remember(&self, id: &SlotId, media: Media) {
        let mut memory = self.memory();
        let glance = Glance { at: Instant::now(), changes: memory.changes, media };
        memory.media.insert(id.0.clone(), glance);
    }

    /// From here on, what was seen in slots is old.
    fn slots_may_change(&self) {
        self.memory().changes += 1;
    }

    /// URL schemes of images: as the family is known, else as the boot slot's insert action lists them.
    fn schemes(&self, profile: &Profile) -> Vec<String> {
        if !profile.media.schemes.is_empty() {
            return profile.media.schemes.clone();
        }
        let slot = self.media.get().and_then(|found| found.slots.first());
        let Some(MediaSlot { way: Way::Action(action), .. }) = slot else { return Vec::new() };
        let listed = action.allowable.iter().map(|name| name.to_ascii_lowercase());
        listed.filter(|name| name == "http" || name == "https").collect()
    }

    /// Sets the one-time boot that `plan` makes of what the BMC has and allows.
    async fn boot_as(
        &self,
        plan: impl Fn(&Boot, Option<&Boot>, &[String]) -> Result<Override, BmcError>,
    ) -> Result<Boot, BmcError> {
        let (system, _) = self.system().await?;
        let remembered = self.memory().system.take();
        // What was seen set before may have reverted: only a look now tells.
        let remembered = remembered.filter(|(_, state)| {
            let wanted = plan(&state.boot, None, &state.boot.targets);
            !wanted.is_ok_and(|wanted| wanted.is_shown(&state.boot, None).is_some())
        });
        let (when, state) = match remembered {
            Some(seen) => seen,
            None => (Instant::now(), system.look(&self.session).await?),
        };
        let settings = boot::read_settings(&self.session, system).await?;
        let targets = boot::targets(&state.boot, settings.as_ref());
        let pending = settings.as_ref().map(|settings| &settings.boot);
        let wanted = plan(&state.boot, pending, &targets)?;
        if let Some(seen) = wanted.is_shown(&state.boot, pending).cloned() {
            self.memory().system = Some((when, state));
            return Ok(seen);
        }
        let (seen, now) = boot::set(&self.session, system, &state, settings.as_ref(), &wanted).await?;
        self.remember_system(now);
        Ok(seen)
    }

    fn evidence(&self, before: u32, seen: String) -> Evidence {
        Evidence { seen, requests: self.requests().saturating_sub(before) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nics_are_read_only_where_nothing_better_names_the_system() {
        let (some, none) = (Some("x"), None);
        for (serial, uuid, nameless, by_uuid) in [
            (some, some, false, false),
            (none, some, true, false),
            (some, none, true, true),
            (none, none, true, true),
        ] {
            assert_eq!(Inventory::IfNameless.needs_nics(serial, uuid), nameless, "{serial:?} {uuid:?}");
            assert_eq!(Inventory::IfNoUuid.needs_nics(serial, uuid), by_uuid, "{serial:?} {uuid:?}");
            assert!(Inventory::Always.needs_nics(serial, uuid));
        }
    }
}
