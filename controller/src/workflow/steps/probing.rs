//! Probing: is this BMC that of the machine we mean, and can it do what a job needs? Nothing is changed.

use schema::task::Identity;

use super::{Came, Cx, Next};
use crate::model::{Failure, Input, Job};
use crate::redfish::Probe;

pub async fn step(cx: &mut Cx, job: &Job) -> Came {
    cx.probe = None; // after a retry: as it is now
    let probe = cx.probe().await?;
    if let Err(failure) = fits(&probe, &cx.inputs.identity) {
        return Ok(Next::Fail(failure));
    }
    let text = format!(
        "{} {} (BMC {}), power {:?}, {} usable media slot(s)",
        probe.vendor.as_deref().unwrap_or("unknown vendor"),
        probe.model.as_deref().unwrap_or("unknown model"),
        probe.firmware.as_deref().unwrap_or("of unknown version"),
        probe.power,
        probe.slots.len()
    );
    cx.remark(job, "bmc.probe", text).await?;
    for note in &probe.notes {
        cx.remark(job, "bmc.note", note.clone()).await?;
    }
    Ok(Next::Go(Input::Probed))
}

/// Whether a BMC belongs to the machine that is meant, and has a slot to boot from.
pub fn fits(probe: &Probe, expected: &Identity) -> Result<(), Failure> {
    let fault = |code: &str, reason: String| {
        Err(Failure { failed_step: "probing".to_owned(), code: code.to_owned(), reason })
    };
    if let Some(serial) =
        probe.serial.as_deref().filter(|serial| !schema::identity::is_placeholder_serial(serial))
        && !schema::identity::same_serial(serial, &expected.serial)
    {
        return fault(
            "bmc.wrong_machine",
            format!(
                "this BMC says its machine's serial is {serial:?}, the job is for {:?}; correct the machine's BMC address",
                expected.serial
            ),
        );
    }
    if let (Some(found), Some(uuid)) = (probe.uuid.as_deref().filter(|uuid| !uuid.is_empty()), &expected.uuid)
        && !schema::identity::same_uuid(found, uuid)
    {
        return fault(
            "bmc.wrong_machine",
            format!(
                "this BMC says its machine's UUID is {found}, the record says {uuid}; correct the machine's record"
            ),
        );
    }
    if !probe.slots.iter().any(|slot| slot.boots) {
        return fault(
            "bmc.no_boot_slot",
            "this BMC has no virtual media slot that a CD image boots from; check its licence and virtual media settings"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::{Power, Slot, SlotId};

    #[test]
    fn a_bmc_fits_only_its_own_machine_and_only_with_a_boot_slot() {
        let slot = Slot {
            id: SlotId("cd".to_owned()),
            media_types: vec!["CD".to_owned()],
            inserted: false,
            image: None,
            boots: true,
        };
        let probe = |serial: Option<&str>, uuid: Option<&str>, slots: Vec<Slot>| Probe {
            vendor: None,
            model: None,
            firmware: None,
            serial: serial.map(str::to_owned),
            uuid: uuid.map(str::to_owned),
            macs: vec![],
            power: Power::Off,
            slots,
            boot_targets: vec![],
            notes: vec![],
        };
        let uuid = "4c4c4544-0051-3610-8052-b4c04f4e3233";
        let expected = Identity { serial: "ABC123".to_owned(), uuid: Some(uuid.to_owned()), macs: vec![] };
        let boot = || vec![slot.clone()];
        let cases = [
            (probe(Some(" abc123 "), Some(uuid), boot()), None),
            (probe(None, None, boot()), None),
            (probe(Some("To Be Filled By O.E.M."), None, boot()), None),
            (probe(Some("ABC123"), Some("44454c4c-5100-1036-8052-b4c04f4e3233"), boot()), None),
            (probe(Some("XYZ789"), Some(uuid), boot()), Some("bmc.wrong_machine")),
            (
                probe(Some("ABC123"), Some("00000000-0000-0000-0000-0000000000ff"), boot()),
                Some("bmc.wrong_machine"),
            ),
            (probe(Some("ABC123"), None, vec![]), Some("bmc.no_boot_slot")),
        ];
        for (probe, wanted) in cases {
            let found = fits(&probe, &expected).err().map(|failure| failure.code);
            assert_eq!(found.as_deref(), wanted, "{probe:?}");
        }
    }
}
