//! Where things are on one BMC: found by following links, once.
//!
//! ```text
//! ServiceRoot ─▶ Systems ─▶ the system ─┬▶ Actions.#ComputerSystem.Reset
//!                                       ├▶ VirtualMedia ──────────────────┐
//!                                       ├▶ EthernetInterfaces             ├▶ slots.rs
//!                                       └▶ Links.ManagedBy ─▶ Managers ───┘
//!                                                                └▶ maker, model, firmware ─▶ profile
//! ```
//! Nothing is guessed from path names. Each part is looked up when first needed and kept; a client that only
//! switches power never walks the media.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::error::BmcError;
use super::http::{Ask, Verb};
use super::oem::{Port, idrac_boot, irmc};
use super::profile::{Identity, Profile, Profiles};
use super::session::Session;
use super::view::{Action, ServiceRoot, SystemState};
use super::wire::{Node, Resource};

/// Most members read of one collection.
const MEMBER_LIMIT: usize = 64;
/// Most pages read of one collection.
const PAGE_LIMIT: usize = 8;
/// Members read at a time where they must be read one by one.
const ABREAST: usize = 2;
/// Asks for a collection with its members in it.
const EXPAND: &str = "?$expand=.($levels=1)";

/// The system this client is for.
#[derive(Debug, Clone)]
pub struct System {
    /// Its path.
    pub path: String,
    /// Whether collections are asked for with their members.
    pub expand: bool,
    /// The maker on its plate.
    manufacturer: Option<String>,
    /// Its model.
    model: Option<String>,
    /// Its reset action.
    pub reset: Option<Action>,
    /// Its settings resource.
    pub settings: Option<String>,
    /// Its managers.
    managers: Vec<String>,
    /// Its own virtual media collection.
    pub media: Option<String>,
    /// Its NICs.
    nics: Option<String>,
    /// What it offers as a system of Fujitsu's.
    pub irmc: Option<irmc::Offer>,
}

/// One of its managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    model: Option<String>,
    /// `FirmwareVersion`.
    pub firmware: Option<String>,
    /// Its clock, `DateTime`.
    pub clock: Option<Timestamp>,
    /// Link of its virtual media collection.
    pub media: Option<String>,
    /// Link of its attributes, as a manager of Dell's.
    pub idrac_attributes: Option<String>,
}

impl Manager {
    fn read(node: Node<'_>) -> Self {
        Self {
            model: node.get("Model").string(),
            firmware: node.get("FirmwareVersion").string(),
            clock: node.get("DateTime").text().and_then(|text| text.parse().ok()),
            media: node.get("VirtualMedia").link().map(str::to_owned),
            idrac_attributes: idrac_boot::attributes(node),
        }
    }
}

impl System {
    /// Reads how it is now.
    pub async fn look(&self, session: &Session) -> Result<SystemState, BmcError> {
        Ok(SystemState::read(&session.get(&self.path).await?))
    }

    /// What is known of its family. `managers` are those of this system.
    pub fn profile(&self, profiles: &Profiles, root: &ServiceRoot, managers: &[Manager]) -> Arc<Profile> {
        let identity = Identity {
            vendor: root.vendor.as_deref(),
            manufacturer: self.manufacturer.as_deref(),
            manager: managers.iter().find_map(|manager| manager.model.as_deref()),
            model: self.model.as_deref(),
            firmware: managers.iter().find_map(|manager| manager.firmware.as_deref()),
        };
        Arc::clone(profiles.choose(&identity))
    }
}

/// A system that was found.
#[derive(Debug)]
pub struct Discovered {
    /// It.
    pub system: System,
    /// Its resource.
    pub resource: Resource,
    /// Every system of this BMC, where their list was read.
    pub listed: Vec<String>,
}

/// A slot that takes remote images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSlot {
    /// Its path.
    pub path: String,
    /// Whether a CD in it can be booted.
    pub boots: bool,
    /// How it is filled.
    pub way: Way,
}

/// How a slot is filled and emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By the standard's actions.
    Action(Action),
    /// By setting its attributes.
    Patch,
    /// In a way of its maker's.
    Oem(Port),
}

/// The usable slots of a system.
#[derive(Debug, Clone, Default)]
pub struct MediaSlots {
    /// Preferred boot slot first, preferred data slot second.
    pub slots: Vec<MediaSlot>,
    /// The collections they are in.
    pub collections: Vec<String>,
}

/// Finds the system: the one named, or the only one that can be switched and booted. A name that is a path is
/// followed as it is.
pub async fn system(
    session: &Session,
    profiles: &Profiles,
    wanted: Option<&str>,
) -> Result<Discovered, BmcError> {
    let root = session.root().await?;
    let mut listed = Vec::new();
    let endpoint = &session.endpoint;
    let expand = root.expands && profiles.may_expand(root.vendor.as_deref());
    let found = match wanted {
        Some(link) if link.starts_with('/') => {
            let path = endpoint.path(link)?;
            session.find(&path).await?.map(|resource| (path, resource))
        }
        _ => {
            let Some(systems) = &root.systems else {
                return Err(missing(
                    session,
                    "computer systems",
                    "check that the URL is that of a server's BMC",
                ));
            };
            search(session, profiles, &endpoint.path(systems)?, expand, wanted, &mut listed).await?
        }
    };
    let Some((path, resource)) = found else {
        let what = format!("system {}", wanted.unwrap_or("at all"));
        return Err(missing(session, what, "name one that `slipway machine probe` lists, or none"));
    };
    let node = resource.node();
    let link = |link: Option<&str>| link.map(|link| endpoint.path(link)).transpose();
    let mut managers = Vec::new();
    for manager in node.get("Links").get("ManagedBy").links() {
        managers.push(endpoint.path(&manager)?);
    }
    let system = System {
        expand: expand && profiles.may_expand(node.get("Manufacturer").text()),
        manufacturer: node.get("Manufacturer").string(),
        model: node.get("Model").string(),
        reset: Action::read(node, "#ComputerSystem.Reset", "ResetType"),
        settings: link(node.get("@Redfish.Settings").get("SettingsObject").link())?,
        managers,
        media: link(node.get("VirtualMedia").link())?,
        nics: link(node.get("EthernetInterfaces").link())?,
        irmc: irmc::Offer::read(node),
        path,
    };
    Ok(Discovered { system, resource, listed })
}

type Found = (String, Resource);

/// Looks through the systems collection. One that is named in its path is the only one read: an emulator may
/// serve a thousand.
async fn search(
    session: &Session,
    profiles: &Profiles,
    systems: &str,
    expand: bool,
    wanted: Option<&str>,
    listed: &mut Vec<String>,
) -> Result<Option<Found>, BmcError> {
    if let Some(wanted) = wanted {
        let Some(collection) = session.find(systems).await? else { return Ok(None) };
        for link in collection.node().links() {
            listed.push(session.endpoint.path(&link)?);
        }
        if let Some(path) = listed.iter().find(|path| path.rsplit('/').next() == Some(wanted)) {
            return Ok(session.find(path).await?.map(|resource| (path.clone(), resource)));
        }
        let all = members(session, systems, expand).await?;
        return Ok(all.into_iter().find(|(_, system)| system.node().get("Id").text() == Some(wanted)));
    }
    let mut real = members(session, systems, expand).await?;
    if real.len() > 1 {
        let all = names(&real);
        real.retain(|(_, system)| boots_and_resets(system.node()));
        if real.is_empty() {
            let what = format!("system with boot settings and a reset action ({all} lack them)");
            return Err(missing(session, what, RESTART));
        }
    }
    if real.len() > 1 {
        real.retain(|(path, _)| !profiles.is_no_server(path.rsplit('/').next().unwrap_or(path)));
    }
    if real.len() > 1 {
        let what = format!("single system but {}", names(&real));
        return Err(missing(session, what, "say which of them this machine is"));
    }
    Ok(real.pop())
}

/// What to do where resources are there and what must be in them is not.
const RESTART: &str = "restart the BMC (Manager.Reset), since some show these only after that; if it stays so, update its \
                       firmware, or name the system in the machine's record";

/// The systems as an operator reads them.
fn names(systems: &[Found]) -> String {
    let name = |(path, system): &Found| system.node().get("Id").string().unwrap_or_else(|| path.clone());
    systems.iter().map(name).collect::<Vec<_>>().join(" and ")
}

/// Whether it is a server: the GPU boards that stand beside one have no boot settings, or cannot be switched.
fn boots_and_resets(system: Node<'_>) -> bool {
    system.get("Boot").entries().next().is_some()
        && Action::read(system, "#ComputerSystem.Reset", "ResetType").is_some()
}

/// Reads the managers of a system; all managers where the system does not say.
pub async fn managers(session: &Session, system: &System) -> Result<Vec<Manager>, BmcError> {
    let mut found = Vec::new();
    for path in &system.managers {
        found.extend(session.find(path).await?.map(|manager| Manager::read(manager.node())));
    }
    if let (true, Some(link)) = (found.is_empty(), &session.root().await?.managers) {
        let all = members(session, &session.endpoint.path(link)?, system.expand).await?;
        found.extend(all.iter().map(|(_, manager)| Manager::read(manager.node())));
    }
    Ok(found)
}

/// Reads the MAC addresses of a system, lower case, without repeats.
pub async fn macs(session: &Session, system: &System) -> Result<Vec<String>, BmcError> {
    let Some(path) = &system.nics else { return Ok(Vec::new()) };
    let mut macs: Vec<String> = Vec::new();
    for (_, nic) in members(session, path, system.expand).await? {
        let node = nic.node();
        let mac = node.get("PermanentMACAddress").text().or_else(|| node.get("MACAddress").text());
        let Some(mac) = mac.map(|mac| mac.to_ascii_lowercase().replace('-', ":")) else { continue };
        if mac != "00:00:00:00:00:00" && !macs.contains(&mac) {
            macs.push(mac);
        }
    }
    Ok(macs)
}

/// Reads the members of a collection, in one request where the service can. A collection or member that is not
/// there counts as empty.
pub async fn members(session: &Session, path: &str, expand: bool) -> Result<Vec<Found>, BmcError> {
    let mut found: Vec<(String, Option<Resource>)> = Vec::new();
    let mut next = Some(path.to_owned());
    for page in 0..PAGE_LIMIT {
        let Some(path) = next.take() else { break };
        let collection = match (page, expand) {
            (0, true) => expanded(session, &path).await?,
            _ => session.find(&path).await?,
        };
        let Some(collection) = collection else { break };
        let node = collection.node();
        for member in node.get("Members").items() {
            let Some(link) = member.link() else { continue };
            let path = session.endpoint.path(link)?;
            // A bare reference must be followed; an expanded member says at least what it is called.
            let inside = member.has("Id").then(|| Resource::new(member.0.clone(), None));
            found.push((path, inside));
        }
        if let Some(link) = node.get("Members@odata.nextLink").link() {
            next = Some(session.endpoint.path(link)?);
        }
    }
    found.truncate(MEMBER_LIMIT);
    let read = stream::iter(found).map(|(path, inside)| async move {
        let resource = match inside {
            Some(resource) => Some(resource),
            None => session.find(&path).await?,
        };
        Ok::<_, BmcError>(resource.map(|resource| (path, resource)))
    });
    let read: Vec<Option<Found>> = read.buffered(ABREAST).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Asks for a collection with its members; without them when the service advertised more than it can.
async fn expanded(session: &Session, path: &str) -> Result<Option<Resource>, BmcError> {
    let answer = session.send(Ask::bare(Verb::Get, &format!("{path}{EXPAND}"))).await?;
    if answer.is_success() { session.resource(answer, path).map(Some) } else { session.find(path).await }
}

/// The BMC lacks something.
pub fn missing(session: &Session, what: impl Into<String>, remedy: &str) -> BmcError {
    BmcError::Missing { endpoint: session.endpoint.shown(), what: what.into(), remedy: remedy.into() }
}
