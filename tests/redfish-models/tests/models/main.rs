//! The mock BMC's answers and the controller's requests against the Redfish schema 2023.1.
#![allow(clippy::unwrap_used)] // the helpers of tests, too

mod answers;
mod requests;

use mock_redfish::{MachineConfig, Rack, RackConfig};

/// A rack of one machine whose BMC takes any URL unseen.
async fn rack(change: impl FnOnce(&mut MachineConfig)) -> Rack {
    let mut machine = MachineConfig::sim("m1");
    machine.quirks.blind_insert = true;
    change(&mut machine);
    Rack::start(RackConfig { machines: vec![machine], ..RackConfig::default() }).await.unwrap()
}
