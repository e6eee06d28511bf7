//! Dell iDRAC whose one-time boot from virtual media is an attribute of the BMC: `ServerBoot.1.FirstBootDevice` is
//! `VCD-DVD`, `ServerBoot.1.BootOnce` is `Enabled`.
//!
//! Sources: OpenStack sushy, OEM extension of Dell; dell/iDRAC-Redfish-Scripting issues 90, 324; the attributes
//! resource as the captured R750 links it.

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::change::patch;
use super::super::discover::{Manager, missing};
use super::super::error::BmcError;
use super::super::media::not_observed;
use super::super::session::Session;
use super::super::task::Verdict;
use super::super::wire::{Node, Resource};

const DEVICE: &str = "ServerBoot.1.FirstBootDevice";
const ONCE: &str = "ServerBoot.1.BootOnce";
/// The virtual CD.
const VIRTUAL_CD: &str = "VCD-DVD";
/// No first boot device.
const NORMAL: &str = "Normal";

/// Sets the one-time boot from the virtual CD, and sees it.
pub async fn set(session: &Session, managers: &[Manager]) -> Result<String, BmcError> {
    make(session, managers, VIRTUAL_CD).await
}

/// Clears it where it is still set; none where this BMC has no such attribute.
pub async fn clear(session: &Session, managers: &[Manager]) -> Result<Option<String>, BmcError> {
    let Some(path) = path(session, managers)? else { return Ok(None) };
    let Some(now) = session.find(&path).await? else { return Ok(None) };
    if device(&now) != Some(VIRTUAL_CD) {
        return Ok(Some(shown(&now)));
    }
    make(session, managers, NORMAL).await.map(Some)
}

async fn make(session: &Session, managers: &[Manager], wanted: &str) -> Result<String, BmcError> {
    let what = format!("the first boot device {wanted}");
    let absent =
        || missing(session, "attribute for its first boot device", "update the iDRAC's firmware, or use PXE");
    let path = path(session, managers)?.ok_or_else(absent)?;
    let waits = session.endpoint.waits();
    let began = Instant::now();
    let mut tries = 0;
    let body = json!({"Attributes": {DEVICE: wanted, ONCE: "Enabled"}});
    loop {
        let Some(now) = session.find(&path).await? else { return Err(absent()) };
        if is_there(&now, wanted) {
            return Ok(shown(&now));
        }
        if tries > 0 && began.elapsed() >= waits.boot_total {
            return Err(not_observed(session, &what, shown(&now), waits.boot_total));
        }
        if tries <= waits.busy_retries {
            match patch(session, &path, &body, now.etag.as_deref()).await {
                Ok(Verdict::Look) | Err(BmcError::Unreachable { .. }) => {}
                Ok(Verdict::Refused(refusal)) if refusal.passes() && tries < waits.busy_retries => {
                    sleep(waits.busy * (tries + 1)).await;
                }
                Ok(Verdict::Refused(refusal)) => {
                    return Err(refusal.into_error(&session.endpoint.shown(), what));
                }
                Err(error) => return Err(error),
            }
        }
        tries += 1;
        let Some(now) = session.find(&path).await? else { return Err(absent()) };
        if is_there(&now, wanted) {
            return Ok(shown(&now));
        }
        sleep(waits.boot_poll).await;
    }
}

fn path(session: &Session, managers: &[Manager]) -> Result<Option<String>, BmcError> {
    let link = managers.iter().find_map(|manager| manager.idrac_attributes.as_deref());
    link.map(|link| session.endpoint.path(link)).transpose()
}

/// The link to the attributes of the BMC itself: among those that the manager links, the one of its own id.
pub fn attributes(manager: Node<'_>) -> Option<String> {
    let links = manager.get("Links").get("Oem").get("Dell").get("DellAttributes").links();
    let id = manager.get("Id").text().unwrap_or_default();
    let own = links.iter().find(|link| link.trim_end_matches('/').ends_with(&format!("/{id}")));
    if let Some(link) = own.or_else(|| links.first()) {
        return Some(link.clone());
    }
    // Before 4.x it was not linked, and stood beside the manager.
    let link = manager.get("@odata.id").text().filter(|_| manager.get("Oem").get("Dell").0.is_object())?;
    Some(format!("{}/Attributes", link.trim_end_matches('/')))
}

fn attribute<'a>(resource: &'a Resource, name: &str) -> Option<&'a str> {
    resource.json.get("Attributes").and_then(|all| all.get(name)).and_then(Value::as_str)
}

fn device(resource: &Resource) -> Option<&str> {
    attribute(resource, DEVICE)
}

fn is_there(resource: &Resource, wanted: &str) -> bool {
    device(resource) == Some(wanted) && (wanted == NORMAL || attribute(resource, ONCE) == Some("Enabled"))
}

fn shown(resource: &Resource) -> String {
    let word = |name| attribute(resource, name).unwrap_or("?");
    format!("first boot device {}, once {}", word(DEVICE), word(ONCE))
}
