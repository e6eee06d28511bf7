//! What is judged of a BMC that could not be asked: how far one got, and what stood in the way.

use super::{Check, Name};
use crate::redfish::{BmcError, RefusalKind};
use crate::workflow::error::chain;
use crate::workflow::redact::without_media;

/// The checks up to the one that failed, and those that were not reached.
pub fn checks(error: &BmcError) -> Vec<Check> {
    let (stopped, remedy) = stopped_at(error);
    let place = Name::OF_A_PROBE.iter().position(|name| *name == stopped).unwrap_or(0);
    let passed = |name: Name| match name {
        Name::Reachable => Check::yes(name, "it answers"),
        Name::Certificate => Check::yes(name, "its certificate is trusted"),
        Name::Credentials => Check::yes(name, "it takes the stored credentials"),
        // Nothing was seen of these, though the fault came later.
        _ => Check::unknown(name),
    };
    let one = |(at, name): (usize, &Name)| match at.cmp(&place) {
        std::cmp::Ordering::Less => passed(*name),
        std::cmp::Ordering::Equal => Check::no(*name, error.code(), without_media(&chain(error)), remedy),
        std::cmp::Ordering::Greater => Check::unknown(*name),
    };
    Name::OF_A_PROBE.iter().enumerate().map(one).collect()
}

fn stopped_at(error: &BmcError) -> (Name, &str) {
    match error {
        BmcError::Address { .. } => (Name::Reachable, "correct the machine's BMC address"),
        BmcError::Unreachable { .. } => {
            (Name::Reachable, "check address, route and firewall between the controller and the BMC")
        }
        BmcError::CircuitOpen { .. } => {
            (Name::Reachable, "see why it fails before it is tried again: power, network, firmware")
        }
        BmcError::Certificate { .. } => (
            Name::Certificate,
            "if the BMC was replaced, run `slipway machine repin`; if not, somebody stands between you and it",
        ),
        BmcError::Credentials { .. } => {
            (Name::Credentials, "set the right ones with `slipway machine add --replace`")
        }
        BmcError::Refused { kind, .. } => match kind {
            RefusalKind::PasswordExpired => {
                (Name::Credentials, "set a new password on the BMC, then store it here")
            }
            RefusalKind::SessionsFull => {
                (Name::Credentials, "end old sessions on the BMC, or wait until they time out")
            }
            RefusalKind::Licence => (Name::Licence, "install the licence for virtual media on the BMC"),
            _ => (Name::System, "read the BMC's own words; restart it if it stays so"),
        },
        BmcError::Missing { remedy, .. } => (Name::System, remedy),
        BmcError::ForeignLink { .. } => {
            (Name::System, "correct the host name or the proxy that the BMC makes its links with")
        }
        _ => (Name::System, "update the BMC's firmware, or report what it answers"),
    }
}
