//! The same call order on BMCs that deviate from the book, one deviation at a time and all that go together.

use std::time::Duration;

use controller::redfish::{Bmc, BmcError, Power};
use mock_redfish::{MachineConfig, Quirks, Timing};

use super::support::{BOOT, TASK, booted_from_cd, client, machine, rack};

/// Runs a job's calls and sees the machine boot from the CD.
async fn boots_from_cd(machine: MachineConfig) -> Result<(), BmcError> {
    let rack = rack(machine).await;
    let bmc = client(rack.machine(0));
    let probe = bmc.probe().await?;
    bmc.set_power(Power::Off).await?;
    for (slot, url) in probe.slots.iter().zip([BOOT, TASK]) {
        bmc.insert(&slot.id, url).await?;
    }
    bmc.boot_once(&probe.slots[0].id).await?;
    bmc.set_power(Power::On).await?;
    // `PoweringOn` is as good as on to a job; the firmware comes to its boot source a little later.
    rack.machine(0).wait_boots(1, Duration::from_secs(5)).await.unwrap();
    assert!(booted_from_cd(rack.machine(0)));
    assert_eq!(rack.machine(0).image("Cd").as_deref(), Some(BOOT));

    bmc.set_power(Power::Off).await?;
    for slot in &probe.slots {
        bmc.eject(&slot.id).await?;
    }
    bmc.close().await;
    assert!(rack.machine(0).slots().iter().all(|slot| slot.image.is_none()));
    assert_eq!(rack.machine(0).open_sessions(), 0);
    Ok(())
}

#[tokio::test]
async fn a_job_boots_on_every_bmc_that_deviates() {
    type Deviation = fn(&mut Quirks);
    let table: &[(&str, Deviation)] = &[
        ("single slot", |q| q.single_slot = true),
        ("media under the system", |q| q.media_under_system = true),
        ("media by PATCH", |q| q.media_by_patch = true),
        ("needs the transfer protocol", |q| q.needs_transfer_protocol = true),
        ("refuses Inserted", |q| q.refuses_inserted = true),
        ("needs a JSON body", |q| q.needs_json_body = true),
        ("needs If-Match", |q| q.needs_if_match = true),
        ("weak ETags", |q| q.weak_etags = true),
        ("media by PATCH with weak ETags", |q| (q.media_by_patch, q.weak_etags) = (true, true)),
        ("no sessions", |q| q.no_sessions = true),
        ("UsbCd instead of Cd", |q| q.usb_cd_target = true),
        ("no override mode", |q| q.no_override_mode = true),
        ("ForceOn only", |q| q.force_on_only = true),
        ("boot settings object", |q| q.boot_settings = true),
        ("boot settings object and UsbCd", |q| (q.boot_settings, q.usb_cd_target) = (true, true)),
        ("$expand", |q| q.expands = true),
    ];
    for (name, deviate) in table {
        let mut machine = machine();
        deviate(&mut machine.quirks);
        if let Err(error) = boots_from_cd(machine).await {
            panic!("{name}: {error}");
        }
    }
}

#[tokio::test]
async fn a_job_boots_on_a_bmc_that_takes_its_time() {
    let timing =
        Timing { power_on_ms: 80, power_off_ms: 80, insert_ms: 60, eject_ms: 60, ..Timing::default() };
    for tasks in [false, true] {
        let mut machine = machine();
        machine.timing = Timing { tasks, ..timing.clone() };
        if let Err(error) = boots_from_cd(machine).await {
            panic!("tasks: {tasks}: {error}");
        }
    }
}

#[tokio::test]
async fn a_job_boots_on_a_family_known_by_name() {
    for maker in ["Dell Inc.", "Lenovo", "Supermicro", "HPE", "American Megatrends"] {
        let mut machine = machine();
        machine.manufacturer = maker.into();
        if let Err(error) = boots_from_cd(machine).await {
            panic!("{maker}: {error}");
        }
    }
}
