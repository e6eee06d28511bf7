//! Fujitsu iRMC: the system's OEM resource says where the CD and the HD image are, an OEM action of the system connects
//! and disconnects them. Which action is allowed now tells whether something is connected.
//!
//! Sources: Ansible collection fsas.primergy; field notes (quirk table of the field guide).

use serde_json::{Map, Value, json};
use url::Url;

use super::super::change::patch;
use super::super::classify::Refusal;
use super::super::discover::System;
use super::super::error::BmcError;
use super::super::session::Session;
use super::super::task::{Verdict, settle};
use super::super::view::Media;
use super::super::wire::{Body, Node, Resource};
use super::{Port, Ported};

/// Names of the action's parameter: as now, as before 9.69F of the S4, as by the maker's new name.
const PARAMETERS: [&str; 3] = ["FTSVirtualMediaAction", "VirtualMediaAction", "FsasVirtualMediaAction"];
/// Devices: what the action calls them, the keys they have in the resource, the media types they stand for.
const DEVICES: [(&str, [&str; 2], &[&str]); 2] =
    [("CD", ["CDImage", "CD"], &["CD", "DVD"]), ("HD", ["HDImage", "HD"], &["USBStick"])];

/// One of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The system, whose action list tells what is connected.
    system: String,
    resource: String,
    target: String,
    parameter: &'static str,
    /// `CD` or `HD`.
    device: &'static str,
    key: &'static str,
}

/// What a system shows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Link of the resource that says where the images are.
    resource: String,
    target: String,
    parameter: &'static str,
    /// What the action would do now.
    allowed: Vec<String>,
}

impl Offer {
    /// What `system` shows; none where it is no iRMC's.
    pub fn read(system: Node<'_>) -> Option<Self> {
        let mut makers = system.get("Oem").entries();
        let resource = makers.find_map(|(_, maker)| maker.get("VirtualMedia").link())?.to_owned();
        let (parameter, action) = action(system)?;
        let target = action.get("target").string()?;
        Some(Self { resource, target, parameter, allowed: allowed(action, parameter) })
    }
}

/// Finds the devices.
pub async fn find(session: &Session, system: &System) -> Result<Vec<Ported>, BmcError> {
    let Some(offer) = &system.irmc else { return Ok(Vec::new()) };
    let path = session.endpoint.path(&offer.resource)?;
    if offer.allowed.is_empty() {
        let text = "no virtual media action is allowed: the licence (iRMC Advanced) is not there";
        let refusal = Refusal::read(403, &Body::Text(text.to_owned()));
        return Err(refusal.into_error(&session.endpoint.shown(), "virtual media"));
    }
    let Some(resource) = session.find(&path).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (device, keys, _) in DEVICES {
        let Some(key) = keys.into_iter().find(|key| resource.node().has(key)) else { continue };
        let port = Device {
            system: system.path.clone(),
            resource: path.clone(),
            target: offer.target.clone(),
            parameter: offer.parameter,
            device,
            key,
        };
        let media = port.shown(&offer.allowed, &resource);
        found.push((format!("{path}#{device}"), media, Port::Irmc(port)));
    }
    Ok(found)
}

impl Device {
    /// Says where the image is, and connects it.
    pub async fn put(&self, session: &Session, url: &str) -> Result<Verdict, BmcError> {
        let Some(place) = place(url) else {
            let text = format!("{url} cannot be split into a server, a folder and a file");
            return Ok(Verdict::Refused(Refusal::read(400, &Body::Text(text))));
        };
        let etag = session.find(&self.resource).await?.and_then(|resource| resource.etag);
        let body = json!({self.key: place, "RemoteMountEnabled": true});
        let verdict = patch(session, &self.resource, &body, etag.as_deref()).await?;
        if verdict != Verdict::Look {
            return Ok(verdict);
        }
        self.ask(session, "Connect").await
    }

    /// Disconnects.
    pub async fn take(&self, session: &Session) -> Result<Verdict, BmcError> {
        self.ask(session, "Disconnect").await
    }

    /// What is connected.
    pub async fn look(&self, session: &Session) -> Result<Media, BmcError> {
        let system = session.get(&self.system).await?;
        let resource = session.get(&self.resource).await?;
        let allowed = action(system.node()).map(|(_, action)| allowed(action, self.parameter));
        Ok(self.shown(&allowed.unwrap_or_default(), &resource))
    }

    fn shown(&self, allowed: &[String], resource: &Resource) -> Media {
        let inserted = allowed.iter().any(|value| *value == format!("Disconnect{}", self.device));
        let types =
            DEVICES.iter().find(|(device, ..)| *device == self.device).map_or(&[][..], |(_, _, types)| types);
        Media {
            id: self.device.to_owned(),
            types: types.iter().map(|&kind| kind.to_owned()).collect(),
            inserted,
            image: image(resource.node().get(self.key)).filter(|_| inserted),
            ..Media::default()
        }
    }

    async fn ask(&self, session: &Session, verb: &str) -> Result<Verdict, BmcError> {
        let mut body = Map::new();
        body.insert(self.parameter.to_owned(), json!(format!("{verb}{}", self.device)));
        let answer = session.post(&session.endpoint.path(&self.target)?, &Value::Object(body)).await?;
        settle(session, answer).await
    }
}

/// The action of a system, and the name its parameter has here.
fn action(system: Node<'_>) -> Option<(&'static str, Node<'_>)> {
    let mut actions = system.get("Actions").get("Oem").entries();
    let (_, action) = actions.find(|(name, _)| name.ends_with("ComputerSystem.VirtualMedia"))?;
    let named = PARAMETERS.into_iter().find(|name| action.has(&format!("{name}@Redfish.AllowableValues")));
    Some((named.unwrap_or(PARAMETERS[0]), action))
}

fn allowed(action: Node<'_>, parameter: &str) -> Vec<String> {
    action.get(&format!("{parameter}@Redfish.AllowableValues")).words()
}

/// Where an image is, in its terms. Pure.
fn place(url: &str) -> Option<Value> {
    let url = Url::parse(url).ok()?;
    let server = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    let (folder, file) = url.path().rsplit_once('/')?;
    Some(json!({
        "Server": server, "ShareName": folder, "ImageName": file, "ShareType": url.scheme().to_ascii_uppercase(),
        "UserDomain": "", "UserName": "", "Password": "",
    }))
}

/// The URL of what a device is configured for.
fn image(device: Node<'_>) -> Option<String> {
    let file = device.get("ImageName").text()?;
    let scheme = device.get("ShareType").text().unwrap_or("nfs").to_ascii_lowercase();
    let folder = device.get("ShareName").text().unwrap_or_default().trim_matches('/');
    let server = device.get("Server").text().unwrap_or_default();
    Some(if folder.is_empty() {
        format!("{scheme}://{server}/{file}")
    } else {
        format!("{scheme}://{server}/{folder}/{file}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_the_way_into_its_terms_and_back() {
        for url in ["http://10.0.0.5:8080/m/abc/maintenance.iso", "https://10.0.0.5/x.iso"] {
            assert_eq!(image(Node(&place(url).unwrap())).as_deref(), Some(url));
        }
        assert!(place("nonsense").is_none());
        let nfs = json!({"Server": "10.0.0.9", "ShareName": "/srv/iso", "ImageName": "old.iso", "ShareType": "NFS"});
        assert_eq!(image(Node(&nfs)).as_deref(), Some("nfs://10.0.0.9/srv/iso/old.iso"));
    }
}
