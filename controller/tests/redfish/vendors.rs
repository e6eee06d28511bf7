//! A job's calls on every vendor that is modelled: the profile is found, the right slots are used, the machine boots
//! from its medium, and everything is put away.

use std::time::Duration;

use controller::redfish::{Bmc, BmcError, Power, Probe, Slot};
use mock_redfish::{BootSource, MachineConfig, Vendor};

use super::support::{BOOT, TASK, client, rack};

/// What a vendor is taken for, and the ids of its slots, best first, those that boot marked with a star.
fn expected(vendor: Vendor) -> (Option<&'static str>, &'static [&'static str]) {
    match vendor {
        Vendor::GenericTwoSlot => (None, &["Cd*", "Usb*"]),
        Vendor::GenericOneSlot => (None, &["Cd*"]),
        Vendor::Idrac9 => (Some("Dell iDRAC9, firmware 6.00 and newer"), &["1*", "2*"]),
        Vendor::Idrac10 => (Some("Dell iDRAC10"), &["1*", "2"]),
        Vendor::Ilo5 => (Some("HPE iLO 5, iLO 6, iLO 7"), &["2*", "1"]),
        Vendor::Xcc => (Some("Lenovo XCC, XCC2, XCC3"), &["EXT1*", "EXT2*", "EXT3*", "EXT4*"]),
        Vendor::SupermicroX11 => (Some("Supermicro X11 to X14, H12 to H14"), &["CD1*"]),
        Vendor::SupermicroX13 => (
            Some("Supermicro X11 to X14, H12 to H14"),
            &["VirtualMedia1*", "VirtualMedia2*", "VirtualMedia3*"],
        ),
        Vendor::OpenbmcGb200 => (Some("NVIDIA GB200, GB300, GH200 (OpenBMC)"), &["USB1*", "USB2*"]),
        Vendor::AmiDgx => (Some("NVIDIA DGX A100, H100 (AMI MegaRAC)"), &["CD1*"]),
        Vendor::Ilo4 => (Some("HPE iLO 4"), &["2*", "1"]),
        Vendor::Idrac8 => (Some("Dell iDRAC8"), &["CD*"]),
        Vendor::Bluefield => (Some("NVIDIA BlueField-3"), &[]),
        Vendor::Sushy => (Some("sushy-tools emulator"), &["Cd*", "Floppy"]),
    }
}

fn named(slots: &[Slot]) -> Vec<String> {
    let name = |slot: &Slot| slot.id.0.rsplit('/').next().unwrap_or_default().to_owned();
    slots.iter().map(|slot| if slot.boots { name(slot) + "*" } else { name(slot) }).collect()
}

async fn job(vendor: Vendor, probe: &Probe, bmc: &dyn Bmc) -> Result<Vec<String>, BmcError> {
    bmc.set_power(Power::Off).await?;
    let mut held = Vec::new();
    for (slot, url) in probe.slots.iter().zip([BOOT, TASK]) {
        bmc.insert(&slot.id, url).await?;
        held.push((slot.id.clone(), url.to_owned()));
    }
    assert_eq!(bmc.dropped(&held).await?, None, "{vendor}");
    bmc.boot_once(&probe.slots[0].id).await?;
    bmc.set_power(Power::On).await?;
    Ok(held.into_iter().map(|(slot, _)| slot.0.rsplit('/').next().unwrap_or_default().to_owned()).collect())
}

#[tokio::test]
async fn every_vendor_is_known_and_boots_from_its_best_slot_and_is_left_tidy() {
    for vendor in Vendor::all() {
        let mut machine = MachineConfig::vendor(vendor, "m1");
        machine.quirks.blind_insert = true;
        let rack = rack(machine).await;
        let machine = rack.machine(0);
        let bmc = client(machine);
        let probe = bmc.probe().await.unwrap_or_else(|error| panic!("{vendor}: {error}"));
        let (title, slots) = expected(vendor);
        let treated = Some(probe.family.as_str()).filter(|family| !family.starts_with("any"));
        assert_eq!(
            (treated, named(&probe.slots)),
            (title, slots.iter().map(|&s| s.to_owned()).collect()),
            "{vendor}"
        );
        assert_eq!(probe.serial.as_deref(), Some("MOCK-M1"), "{vendor}");
        if slots.is_empty() {
            continue;
        }
        let held = job(vendor, &probe, &bmc).await.unwrap_or_else(|error| panic!("{vendor}: {error}"));
        machine
            .wait_boots(1, Duration::from_secs(5))
            .await
            .unwrap_or_else(|error| panic!("{vendor}: {error}"));
        assert_eq!(machine.last_source(), Some(BootSource::Slot { slot: held[0].clone() }), "{vendor}");
        tidy(vendor, &probe, &bmc).await.unwrap_or_else(|error| panic!("{vendor}: {error}"));
        assert!(machine.slots().iter().all(|slot| slot.image.is_none()), "{vendor}: {:?}", machine.slots());
        assert_eq!(machine.open_sessions(), 0, "{vendor}");
    }
}

async fn tidy(_: Vendor, probe: &Probe, bmc: &dyn Bmc) -> Result<(), BmcError> {
    bmc.set_power(Power::Off).await?;
    for slot in &probe.slots {
        bmc.eject(&slot.id).await?;
    }
    bmc.clear_boot(None).await?;
    bmc.close().await;
    Ok(())
}
