//! Racks, clients and addresses for the tests of this folder.

use std::time::Duration;

use controller::redfish::{
    BmcAddress, Credentials, Entry, Fingerprint, Gates, Limits, Password, RedfishBmc, Rules, TlsTrust, Waits,
};
use mock_redfish::{BootSource, Machine, MachineConfig, Rack, RackConfig};

/// A boot medium nobody needs to serve.
pub const BOOT: &str = "http://10.0.0.5:8080/m/4f2a/maintenance.iso";
/// A task medium nobody needs to serve.
pub const TASK: &str = "http://10.0.0.5:8080/m/9c11/task.iso";

/// A machine whose BMC takes any URL unseen.
pub fn machine() -> MachineConfig {
    let mut machine = MachineConfig::sim("m1");
    machine.quirks.blind_insert = true;
    machine
}

/// A rack of one machine.
pub async fn rack(machine: MachineConfig) -> Rack {
    let config = RackConfig { machines: vec![machine], ..RackConfig::default() };
    Rack::start(config).await.unwrap()
}

/// Where a plain BMC is.
pub fn plain(url: &str) -> BmcAddress {
    BmcAddress {
        url: url.into(),
        system: None,
        tls: TlsTrust::Pinned(Fingerprint([0; 32])),
        plain_http_allowed: true,
    }
}

/// The right user and password.
pub fn admin() -> Credentials {
    Credentials { user: "admin".into(), password: Password::new("password") }
}

/// A client that waits briefly.
pub fn client(machine: &Machine) -> RedfishBmc {
    at(machine.base_url())
}

/// A client that waits briefly, for any URL.
pub fn at(url: &str) -> RedfishBmc {
    RedfishBmc::connect_with(&plain(url), admin(), Waits::fast()).unwrap()
}

/// What bounds the traffic of clients that know of each other; pauses are a hundredth of those in the field.
pub fn gates() -> Gates {
    let rules = Rules { first: Duration::from_millis(300), most: Duration::from_secs(6), ..Rules::field() };
    Gates::new(Limits { rules, ..Limits::default() }, jiff::Timestamp::now)
}

/// A client among others, a job's or an operator's.
pub fn among(gates: &Gates, url: &str, by_hand: bool) -> RedfishBmc {
    let entry = Entry { gates, site: "", by_hand };
    RedfishBmc::connect_through(&plain(url), admin(), Waits::fast(), entry).unwrap()
}

/// A client that soon gives up watching.
pub fn impatient(machine: &Machine) -> RedfishBmc {
    let brief = Duration::from_millis(150);
    let waits = Waits { power_total: brief, media_total: brief, boot_total: brief, ..Waits::fast() };
    RedfishBmc::connect_with(&plain(machine.base_url()), admin(), waits).unwrap()
}

/// How often a BMC was asked so.
pub fn asked(machine: &Machine, method: &str, path_end: &str) -> usize {
    machine.requests().iter().filter(|seen| seen.method == method && seen.path.ends_with(path_end)).count()
}

/// Whether the last boot was from the slot `Cd`.
pub fn booted_from_cd(machine: &Machine) -> bool {
    machine.last_source() == Some(BootSource::Slot { slot: "Cd".into() })
}
