//! Ways of BMC makers' own, each in one file. A way is used only where the standard offers nothing, a profile names it,
//! and the BMC itself shows the resources and actions it needs.
//!
//! ```text
//! discover ─▶ find(way) ─▶ Port per slot ─▶ media: put, look, take
//! ```
//! What they do is observed like everything else: a port says only what was answered and what the slot shows.

pub mod ibmc_vmmcontrol;
pub mod idrac_boot;
pub mod ilo;
pub mod irmc;
pub mod lenovo_patch;
pub mod supermicro_cfgcd;

use super::discover::{Manager, System};
use super::error::BmcError;
use super::profile::MediaWay;
use super::session::Session;
use super::task::Verdict;
use super::view::Media;
use super::wire::{Node, Resource};

/// How one slot is filled and emptied in a maker's own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Supermicro X10, X11.
    CfgCd(supermicro_cfgcd::CfgCd),
    /// Fujitsu.
    Irmc(irmc::Device),
    /// Huawei, xFusion.
    VmmControl(ibmc_vmmcontrol::VmmControl),
    /// HPE.
    Ilo(ilo::Actions),
}

/// A slot that is reached by a port, and what it shows now.
pub type Ported = (String, Media, Port);

/// The slots that a BMC offers in this way; none where it does not show what the way needs.
pub async fn find(
    session: &Session,
    way: MediaWay,
    system: &System,
    managers: &[Manager],
    standard: &[(String, Resource)],
) -> Result<Vec<Ported>, BmcError> {
    Ok(match way {
        MediaWay::SupermicroCfgcd => supermicro_cfgcd::find(session, managers).await?,
        MediaWay::Irmc => irmc::find(session, system).await?,
        MediaWay::IbmcVmmcontrol => {
            let port = |slot: Node<'_>| ibmc_vmmcontrol::VmmControl::read(slot).map(Port::VmmControl);
            ported(standard, port)
        }
        MediaWay::Ilo => ported(standard, |slot: Node<'_>| ilo::Actions::read(slot).map(Port::Ilo)),
    })
}

/// Slots of the standard's collection that have actions of the maker's.
fn ported(standard: &[(String, Resource)], port: impl Fn(Node<'_>) -> Option<Port>) -> Vec<Ported> {
    let one = |(path, resource): &(String, Resource)| {
        let node = resource.node();
        Some((path.clone(), Media::read(node), port(node)?))
    };
    standard.iter().filter_map(one).collect()
}

impl Port {
    /// Asks for `url` to be put in.
    pub async fn put(&self, session: &Session, url: &str) -> Result<Verdict, BmcError> {
        match self {
            Self::CfgCd(port) => port.put(session, url).await,
            Self::Irmc(port) => port.put(session, url).await,
            Self::VmmControl(port) => port.put(session, url).await,
            Self::Ilo(port) => port.put(session, url).await,
        }
    }

    /// Asks for what is in to be taken out.
    pub async fn take(&self, session: &Session) -> Result<Verdict, BmcError> {
        match self {
            Self::CfgCd(port) => port.take(session).await,
            Self::Irmc(port) => port.take(session).await,
            Self::VmmControl(port) => port.take(session).await,
            Self::Ilo(port) => port.take(session).await,
        }
    }

    /// What is in, where the slot at `path` is not read as the standard has it.
    pub async fn look(&self, session: &Session, path: &str) -> Result<Media, BmcError> {
        match self {
            Self::CfgCd(port) => port.look(session).await,
            Self::Irmc(port) => port.look(session).await,
            Self::VmmControl(_) | Self::Ilo(_) => {
                let found = session.find(path).await?;
                Ok(found.map(|resource| Media::read(resource.node())).unwrap_or_default())
            }
        }
    }
}
