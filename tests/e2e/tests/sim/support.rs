//! Short words for what every test here does.

use e2e::sim::{Setup, Site};
use mock_redfish::{Enabled, MachineConfig, Power};
use serde_json::Value;

/// A site with one machine by the book and an image to install.
pub async fn site() -> Site {
    site_of(1).await
}

/// A site with that many machines and an image to install.
pub async fn site_of(machines: usize) -> Site {
    start(Setup::of(machines)).await
}

/// A site with one machine that deviates.
pub async fn site_with(change: impl FnOnce(&mut MachineConfig)) -> Site {
    let mut machine = MachineConfig::sim("sim-0");
    change(&mut machine);
    start(Setup::with(vec![machine])).await
}

/// A site with an image to install.
pub async fn start(setup: Setup) -> Site {
    let site = setup.start().await.unwrap();
    site.push().await.unwrap();
    site
}

/// Nothing of ours is in the drives, no override is set, no BMC session is open.
pub fn assert_tidy(site: &Site, n: usize) {
    let machine = site.machine(n);
    for slot in machine.slots() {
        assert_eq!(slot.image, None, "slot {} still holds a medium", slot.id);
    }
    assert_eq!(machine.boot_override().enabled, Enabled::Disabled, "the override is still set");
}

/// The controller puts its session away a moment after the job is complete.
pub async fn assert_no_session(site: &Site, n: usize) {
    for _ in 0..500 {
        if site.machine(n).open_sessions() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} BMC sessions are still open", site.machine(n).open_sessions());
}

/// Power of a machine.
pub fn assert_power(site: &Site, n: usize, power: Power) {
    assert_eq!(site.machine(n).power(), power);
}

/// Lifecycle of a machine.
pub async fn lifecycle(site: &Site, n: usize) -> String {
    let machine = site.api().machine(site.serial(n)).await.unwrap();
    machine["lifecycle"]["state"].as_str().unwrap().to_owned()
}

/// Codes of a job's timeline, in order.
pub fn codes(job: &Value) -> Vec<&str> {
    job["timeline"].as_array().unwrap().iter().map(|event| event["code"].as_str().unwrap()).collect()
}

/// How often a code is in a job's timeline.
pub fn count(job: &Value, code: &str) -> usize {
    codes(job).into_iter().filter(|found| *found == code).count()
}

/// The phases of a job's timeline, in order.
pub fn phases(job: &Value) -> Vec<&str> {
    codes(job).into_iter().filter_map(|code| code.strip_prefix("phase.")).collect()
}
