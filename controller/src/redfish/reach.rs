//! Where a BMC may be: every address is judged before anything is sent there, whether it is written in the URL or is
//! what a name means at that moment. A record of a machine must not be a way to the cloud's metadata, or to whatever
//! listens on this host.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::BmcError;
use super::origin::shown;

/// The kind of an address where no BMC may be; none where one may. The site decides.
pub type Judge = Arc<dyn Fn(IpAddr) -> Option<&'static str> + Send + Sync>;

/// An address where no BMC may be.
#[derive(Debug, thiserror::Error)]
#[error("it is at {address} ({kind}); list it in allow_outgoing if that is meant")]
pub struct Forbidden {
    address: IpAddr,
    kind: &'static str,
}

/// Judges the address that is written in a BMC's URL, where one is.
pub fn check(origin: &Url, judge: &Judge) -> Result<(), BmcError> {
    let address: IpAddr = match origin.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    judged(address, judge)
        .map_err(|forbidden| BmcError::Address { url: shown(origin), reason: forbidden.to_string() })
}

fn judged(address: IpAddr, judge: &Judge) -> Result<(), Forbidden> {
    judge(address).map_or(Ok(()), |kind| Err(Forbidden { address, kind }))
}

/// Names become addresses that were judged; the connection goes to those very ones.
pub struct JudgedNames(pub Judge);

impl Resolve for JudgedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let judge = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the URL's: port 0 stands for it.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                judged(address.ip(), &judge)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
