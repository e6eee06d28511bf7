//! Where things are on one BMC: found by following links, once.
//!
//! ```text
//! ServiceRoot ─▶ Systems ─▶ the system ─┬▶ Actions.#ComputerSystem.Reset
//!                                       ├▶ VirtualMedia ─────────────┐
//!                                       ├▶ EthernetInterfaces        ├▶ usable slots, best first
//!                                       └▶ Links.ManagedBy ─▶ Managers ─▶ VirtualMedia
//! ```
//! Nothing is guessed from path names. Each part is looked up when first needed and kept; a client that only
//! switches power never walks the media.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::BmcError;
use super::http::{Ask, Verb};
use super::profile::{Profile, choose};
use super::session::Session;
use super::view::{Action, Media};
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
    /// What is known of its family.
    pub profile: &'static Profile,
    /// Whether collections are asked for with their members.
    pub expand: bool,
    /// Its reset action.
    pub reset: Option<Action>,
    /// Its settings resource.
    pub settings: Option<String>,
    /// Its managers.
    managers: Vec<String>,
    /// Its own virtual media collection.
    media: Option<String>,
    /// Its NICs.
    nics: Option<String>,
}

/// A slot that takes remote images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSlot {
    /// Its path.
    pub path: String,
    /// Whether a CD in it can be booted.
    pub boots: bool,
    /// Its insert action; without one it is filled by PATCH.
    pub insert: Option<Action>,
}

/// The usable slots of a system.
#[derive(Debug, Clone, Default)]
pub struct MediaSlots {
    /// Preferred boot slot first, preferred data slot second.
    pub slots: Vec<MediaSlot>,
    /// The collections they are in.
    pub collections: Vec<String>,
}

/// Finds the system: the one named, or the only one that can be switched and booted.
pub async fn system(session: &Session, wanted: Option<&str>) -> Result<(System, Resource), BmcError> {
    let root = session.root().await?;
    let endpoint = &session.endpoint;
    let expand = root.expands && choose(root.vendor.as_deref(), None).expand;
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
            search(session, &endpoint.path(systems)?, expand, wanted).await?
        }
    };
    let Some((path, resource)) = found else {
        let what = format!("system {}", wanted.unwrap_or("at all"));
        return Err(missing(session, what, "name one that `slipway machine probe` lists, or none"));
    };
    let node = resource.node();
    let profile = choose(root.vendor.as_deref(), node.get("Manufacturer").text());
    let link = |link: Option<&str>| link.map(|link| endpoint.path(link)).transpose();
    let mut managers = Vec::new();
    for manager in node.get("Links").get("ManagedBy").links() {
        managers.push(endpoint.path(&manager)?);
    }
    let system = System {
        profile,
        expand: expand && profile.expand,
        reset: Action::read(node, "#ComputerSystem.Reset", "ResetType"),
        settings: link(node.get("@Redfish.Settings").get("SettingsObject").link())?,
        managers,
        media: link(node.get("VirtualMedia").link())?,
        nics: link(node.get("EthernetInterfaces").link())?,
        path,
    };
    Ok((system, resource))
}

type Found = (String, Resource);

/// Looks through the systems collection. One that is named in its path is the only one read: an emulator may
/// serve a thousand.
async fn search(
    session: &Session,
    systems: &str,
    expand: bool,
    wanted: Option<&str>,
) -> Result<Option<Found>, BmcError> {
    if let Some(wanted) = wanted {
        let Some(collection) = session.find(systems).await? else { return Ok(None) };
        for link in collection.node().links() {
            let path = session.endpoint.path(&link)?;
            if path.rsplit('/').next() == Some(wanted) {
                return Ok(session.find(&path).await?.map(|resource| (path, resource)));
            }
        }
        let all = members(session, systems, expand).await?;
        return Ok(all.into_iter().find(|(_, system)| system.node().get("Id").text() == Some(wanted)));
    }
    let mut real = members(session, systems, expand).await?;
    if real.len() > 1 {
        real.retain(|(_, system)| boots_and_resets(system.node()));
    }
    if real.len() > 1 {
        let names: Vec<&str> =
            real.iter().map(|(path, system)| system.node().get("Id").text().unwrap_or(path)).collect();
        let what = format!("single system but {}", names.join(" and "));
        return Err(missing(session, what, "say which of them this machine is"));
    }
    Ok(real.pop())
}

fn boots_and_resets(system: Node<'_>) -> bool {
    system.get("Boot").entries().next().is_some()
        && Action::read(system, "#ComputerSystem.Reset", "ResetType").is_some()
}

/// Reads the managers of a system; all managers where the system does not say.
pub async fn managers(session: &Session, system: &System) -> Result<Vec<Resource>, BmcError> {
    let mut found = Vec::new();
    for path in &system.managers {
        found.extend(session.find(path).await?);
    }
    if let (true, Some(link)) = (found.is_empty(), &session.root().await?.managers) {
        let all = members(session, &session.endpoint.path(link)?, system.expand).await?;
        found.extend(all.into_iter().map(|(_, manager)| manager));
    }
    Ok(found)
}

/// Finds the usable slots, and what is in them now.
///
/// The system's own collection comes first; managers are asked only when it does not offer a boot slot and one
/// more, since theirs are often the same slots under older names.
pub async fn media(
    session: &Session,
    system: &System,
    managers: impl AsyncFnOnce() -> Result<Vec<Resource>, BmcError>,
) -> Result<(MediaSlots, Vec<(String, Media)>), BmcError> {
    let mut found = MediaSlots::default();
    let mut seen: Vec<(String, Media)> = Vec::new();
    if let Some(path) = &system.media {
        collect(session, system, path, &mut found, &mut seen).await?;
    }
    let boots = seen.iter().any(|(_, media)| media.takes_cd());
    if !boots || seen.len() < 2 {
        for manager in managers().await? {
            if let Some(link) = manager.node().get("VirtualMedia").link() {
                let path = session.endpoint.path(link)?;
                collect(session, system, &path, &mut found, &mut seen).await?;
            }
        }
    }
    seen.sort_by_key(|(_, media)| rank(media));
    found.slots = seen
        .iter()
        .map(|(path, media)| MediaSlot {
            path: path.clone(),
            boots: media.takes_cd(),
            insert: media.insert.clone(),
        })
        .collect();
    Ok((found, seen))
}

async fn collect(
    session: &Session,
    system: &System,
    collection: &str,
    found: &mut MediaSlots,
    seen: &mut Vec<(String, Media)>,
) -> Result<(), BmcError> {
    if found.collections.iter().any(|known| known == collection) {
        return Ok(());
    }
    found.collections.push(collection.to_owned());
    let all = members(session, collection, system.expand).await?;
    let all: Vec<(String, Media)> =
        all.into_iter().map(|(path, resource)| (path, Media::read(resource.node()))).collect();
    let acts = all.iter().any(|(_, media)| media.insert.is_some());
    for (path, media) in all {
        if is_usable(&media, acts, system.profile) && !seen.iter().any(|(known, _)| *known == path) {
            seen.push((path, media));
        }
    }
    Ok(())
}

/// Whether a slot takes remote images we could use. Beside slots that have an insert action, one without is for
/// local images only; where none has it (`acts` is false), they are filled by PATCH.
fn is_usable(media: &Media, acts: bool, profile: &Profile) -> bool {
    let by_patch =
        || media.patchable && profile.patch_prefix.is_none_or(|prefix| media.id.starts_with(prefix));
    let fillable = if acts { media.insert.is_some() } else { by_patch() };
    fillable && (media.takes_cd() || media.takes_stick())
}

/// Boot slots before data slots, and among boot slots the purely optical ones first.
fn rank(media: &Media) -> u8 {
    match (media.takes_cd(), media.takes_stick()) {
        (true, false) => 0,
        (true, true) => 1,
        _ => 2,
    }
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
