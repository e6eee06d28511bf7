//! Supermicro X10 and X11: one CD, configured by host and path, then mounted.
//!
//! ```text
//! Manager.VirtualMedia ─▶ VM1 ─┬▶ Oem.Supermicro.VirtualMediaConfig ─▶ CfgCD: Host, Path; IsoConfig.Mount, UnMount
//!                              └▶ CD1, there only while something is mounted
//! ```
//! Sources: fakefish; redhat-performance/badfish (issue 394).

use serde_json::{Value, json};
use tokio::time::sleep;
use url::Url;

use super::super::change::patch;
use super::super::classify::Refusal;
use super::super::discover::Manager;
use super::super::error::BmcError;
use super::super::session::Session;
use super::super::task::{Verdict, settle};
use super::super::view::Media;
use super::super::wire::{Body, Node};
use super::{Port, Ported};

/// Its media types, which it does not name.
const TYPES: &[&str] = &["CD"];

/// The CD of one manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CfgCd {
    /// The collection, whose members are what is mounted.
    collection: String,
    config: String,
    mount: String,
    unmount: String,
}

/// Finds the CD of the managers.
pub async fn find(session: &Session, managers: &[Manager]) -> Result<Vec<Ported>, BmcError> {
    let mut found = Vec::new();
    for manager in managers {
        let Some(link) = &manager.media else { continue };
        let collection = session.endpoint.path(link)?;
        let Some(resource) = session.find(&collection).await? else { continue };
        let config = resource.node().get("Oem").get("Supermicro").get("VirtualMediaConfig");
        let Some(config) = config.link() else { continue };
        let config = session.endpoint.path(config)?;
        let Some(shown) = session.find(&config).await? else { continue };
        let Some(port) = CfgCd::read(collection, config.clone(), shown.node()) else { continue };
        let media = port.look(session).await?;
        found.push((config, media, Port::CfgCd(port)));
    }
    Ok(found)
}

impl CfgCd {
    fn read(collection: String, config: String, node: Node<'_>) -> Option<Self> {
        let target = |name: &str| node.get("Actions").get(name).get("target").string();
        Some(Self {
            collection,
            config,
            mount: target("#IsoConfig.Mount")?,
            unmount: target("#IsoConfig.UnMount")?,
        })
    }

    /// Says where the image is, and mounts it.
    pub async fn put(&self, session: &Session, url: &str) -> Result<Verdict, BmcError> {
        let Some(body) = body(url) else { return Ok(unusable(url)) };
        let etag = session.find(&self.config).await?.and_then(|resource| resource.etag);
        let verdict = patch(session, &self.config, &body, etag.as_deref()).await?;
        if verdict != Verdict::Look {
            return Ok(verdict);
        }
        // It forgets what it was just told when it is asked to mount at once.
        sleep(session.endpoint.waits().retry).await;
        self.ask(session, &self.mount).await
    }

    /// Unmounts.
    pub async fn take(&self, session: &Session) -> Result<Verdict, BmcError> {
        let verdict = self.ask(session, &self.unmount).await?;
        sleep(session.endpoint.waits().retry).await;
        Ok(verdict)
    }

    /// What is mounted: the member of the collection, if there is one.
    pub async fn look(&self, session: &Session) -> Result<Media, BmcError> {
        let mut media = Media {
            id: "CfgCD".to_owned(),
            types: TYPES.iter().map(|&kind| kind.to_owned()).collect(),
            ..Media::default()
        };
        let Some(collection) = session.find(&self.collection).await? else { return Ok(media) };
        let Some(link) = collection.node().links().into_iter().next() else { return Ok(media) };
        let Some(drive) = session.find(&session.endpoint.path(&link)?).await? else { return Ok(media) };
        let shown = Media::read(drive.node());
        media.inserted = drive.node().get("Inserted").flag().unwrap_or(true);
        (media.image, media.image_name) = (shown.image, shown.image_name);
        Ok(media)
    }

    async fn ask(&self, session: &Session, target: &str) -> Result<Verdict, BmcError> {
        let answer = session.post(&session.endpoint.path(target)?, &json!({})).await?;
        settle(session, answer).await
    }
}

/// Host with scheme and port, and path. Pure.
fn body(url: &str) -> Option<Value> {
    let url = Url::parse(url).ok()?;
    let host = url.origin().ascii_serialization();
    Some(json!({"Host": host, "Path": url.path(), "Username": "", "Password": ""}))
}

fn unusable(url: &str) -> Verdict {
    let text = format!("{url} cannot be split into a host and a path");
    Verdict::Refused(Refusal::read(400, &Body::Text(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_host_and_path() {
        let got = body("http://10.0.0.5:8080/m/abc/composed.iso").unwrap();
        assert_eq!(
            (&got["Host"], &got["Path"]),
            (&json!("http://10.0.0.5:8080"), &json!("/m/abc/composed.iso"))
        );
        assert_eq!(body("http://10.0.0.5/x.iso").unwrap()["Host"], "http://10.0.0.5");
        assert!(body("no url").is_none());
    }
}
