//! What is judged of a BMC that answered.

use super::super::berth::{self, Berths, NoBerth};
use super::{Check, Expected, Name, occupant};
use crate::model::{Transport, TransportSetting};
use crate::redfish::{HttpBoot, Power, Probe};

/// A BMC's clock further off than this, in seconds, is worth a warning: its own checks of certificates and signatures
/// depend on it.
const SKEW_MAX: i64 = 120;

/// All checks, in the order in which a job meets them.
pub fn seen(probe: &Probe, expected: &Expected<'_>) -> Vec<Check> {
    let certificate = if probe.encrypted {
        Check::yes(Name::Certificate, "its certificate is the one that is trusted")
    } else {
        Check::warn(
            Name::Certificate,
            "it is reached by plain HTTP: its password travels in the clear",
            "use https:// and pin its certificate",
        )
    };
    let mut checks = vec![
        Check::yes(Name::Reachable, "it answers"),
        certificate,
        Check::yes(Name::Credentials, "it takes the stored credentials"),
        Check::yes(Name::System, format!("the machine is {}", probe.system)),
        identity(probe, expected),
        family(probe),
        power(probe),
    ];
    checks.extend(media(probe, expected));
    checks.push(boot_target(probe, expected));
    checks.push(media_url(probe, expected));
    checks.push(clock(probe));
    checks
}

fn identity(probe: &Probe, expected: &Expected<'_>) -> Check {
    let wrong = |seen: String, remedy: &str| Check::no(Name::Identity, "bmc.wrong_machine", seen, remedy);
    let wanted = expected.identity;
    let serial = probe.serial.as_deref().filter(|serial| !schema::identity::is_placeholder_serial(serial));
    if let Some(serial) = serial
        && !schema::identity::same_serial(serial, &wanted.serial)
    {
        let seen =
            format!("this BMC says its machine's serial is {serial:?}, the job is for {:?}", wanted.serial);
        return wrong(seen, "correct the machine's BMC address");
    }
    let uuid = probe.uuid.as_deref().filter(|uuid| !uuid.is_empty());
    if let (Some(found), Some(uuid)) = (uuid, &wanted.uuid)
        && !schema::identity::same_uuid(found, uuid)
    {
        let seen = format!("this BMC says its machine's UUID is {found}, the record says {uuid}");
        return wrong(seen, "correct the machine's record");
    }
    let known = |mac: &String| probe.macs.iter().any(|found| found.eq_ignore_ascii_case(mac));
    let macs_differ = !probe.macs.is_empty() && !wanted.macs.is_empty() && !wanted.macs.iter().any(known);
    if serial.is_none() && uuid.is_none() && macs_differ {
        let seen = format!("none of this BMC's MAC addresses ({}) is in the record", probe.macs.join(", "));
        return wrong(seen, "correct the machine's BMC address, or its MAC addresses");
    }
    match (serial, uuid) {
        _ if macs_differ => Check::warn(
            Name::Identity,
            format!(
                "none of the MAC addresses that the BMC lists ({}) is in the record",
                probe.macs.join(", ")
            ),
            "see whether the record's are those of add-in cards",
        ),
        (Some(serial), _) => Check::yes(Name::Identity, format!("serial {serial}")),
        (None, Some(uuid)) => Check::yes(Name::Identity, format!("no serial, UUID {uuid}")),
        (None, None) => Check::warn(
            Name::Identity,
            "the BMC says neither serial nor UUID of its machine",
            "nothing: the host checks itself before it writes",
        ),
    }
}

fn family(probe: &Probe) -> Check {
    let firmware = probe.firmware.as_deref().unwrap_or("unknown version");
    let seen = format!("treated as {} ({firmware})", probe.family);
    match probe.advice.first() {
        None => Check::yes(Name::Family, seen),
        Some(_) => Check::warn(Name::Family, seen, &probe.advice.join("; ")),
    }
}

fn power(probe: &Probe) -> Check {
    match probe.power {
        Power::Off => Check::yes(Name::Power, "off"),
        Power::On => {
            Check::warn(Name::Power, "on", "see that nobody needs what runs on it: a job switches it off")
        }
    }
}

/// Whether the firmware is to fetch the medium itself: where the record wants that, or nothing else is left.
fn by_http(probe: &Probe, expected: &Expected<'_>) -> bool {
    match expected.transport {
        TransportSetting::HttpBoot => true,
        TransportSetting::Auto => {
            let no_media = probe.boots_once.is_none() || !probe.slots.iter().any(|slot| slot.boots);
            no_media && probe.http_boot == HttpBoot::Offered
        }
        TransportSetting::VirtualMedia | TransportSetting::Composed => false,
    }
}

/// What stands for slots where the firmware fetches the medium itself.
fn http_boot(probe: &Probe) -> Check {
    let (seen, remedy) = match probe.http_boot {
        HttpBoot::Offered => return Check::yes(Name::Slots, "none is needed: the firmware boots over HTTP"),
        HttpBoot::KeysMissing => (
            "the BMC does not show HttpBootUri, which HTTP boot needs",
            "restart the machine once with ForceRestart: some firmware shows it only then",
        ),
        HttpBoot::NotOffered => (
            "the BMC offers no HTTP boot, which the machine's record wants",
            "set another transport, or `auto`",
        ),
    };
    Check::no(
        Name::Slots,
        "transport.unusable",
        format!("{seen} (transport {})", Transport::HttpBoot),
        remedy,
    )
}

fn media(probe: &Probe, expected: &Expected<'_>) -> [Check; 2] {
    if by_http(probe, expected) {
        return [http_boot(probe), Check::yes(Name::Licence, "virtual media are not needed")];
    }
    let licence = || Check::yes(Name::Licence, "virtual media are offered");
    let is_ours = |slot: &crate::redfish::Slot| berth::is_in_our_namespace(slot, expected.media_url);
    let slots = match berth::choose(&probe.slots, expected.evict, is_ours) {
        Ok(Berths { boot, data: Some(data) }) => {
            Check::yes(Name::Slots, format!("boots from {}, task medium in {}", boot.id.0, data.id.0))
        }
        Ok(Berths { boot, data: None }) => {
            Check::yes(Name::Slots, format!("boots from {}, with the task medium inside", boot.id.0))
        }
        Err(NoBerth::Occupied(slot)) => Check::no(
            Name::Slots,
            "slot.occupied",
            format!("{}, which is not ours", occupant(slot)),
            "eject it, or submit the job with \"evict\": true",
        ),
        Err(NoBerth::NoBootSlot) => {
            let seen = if probe.slots.is_empty() {
                "this BMC has no virtual media slot that takes remote images"
            } else {
                "this BMC has no virtual media slot that a CD image boots from"
            };
            let remedy = if probe.slots.is_empty() && probe.boot_targets.is_empty() {
                "restart the BMC, since some show neither slots nor boot settings until then; check its licence and its \
                 virtual media settings"
            } else {
                "check its licence and its virtual media settings"
            };
            let unlicensed = Check::warn(
                Name::Licence,
                "virtual media are not offered",
                "see whether it has the licence for them",
            );
            return [Check::no(Name::Slots, "bmc.no_boot_slot", seen, remedy), unlicensed];
        }
    };
    [slots, licence()]
}

fn boot_target(probe: &Probe, expected: &Expected<'_>) -> Check {
    if by_http(probe, expected) {
        return Check::yes(Name::BootTarget, "one-time boot: UefiHttp");
    }
    match &probe.boots_once {
        Some(target) if probe.boot_targets.is_empty() => Check::yes(
            Name::BootTarget,
            format!("it does not say what it boots once: {target} will be tried"),
        ),
        Some(target) => Check::yes(Name::BootTarget, format!("one-time boot: {target}")),
        None => Check::no(
            Name::BootTarget,
            "bmc.no_boot_target",
            format!("it cannot boot once from a virtual CD (it allows {})", probe.boot_targets.join(", ")),
            "update its firmware, or use another transport",
        ),
    }
}

fn media_url(probe: &Probe, expected: &Expected<'_>) -> Check {
    let url = expected.media_url;
    let scheme = url.split("://").next().unwrap_or_default().to_ascii_lowercase();
    // Over HTTP boot it is the firmware that reads, and of it nothing is known.
    let bmc_reads = !by_http(probe, expected);
    if bmc_reads && !probe.schemes.is_empty() && !probe.schemes.contains(&scheme) {
        return Check::no(
            Name::MediaUrl,
            "bmc.media_scheme",
            format!("it takes images by {} only, and media are at {url}", probe.schemes.join(" and ")),
            "give this machine a media_url that it can read",
        );
    }
    if url.contains(['?', '&']) {
        return Check::no(
            Name::MediaUrl,
            "bmc.media_url",
            format!("{url} has a query, which BMCs refuse"),
            "give a media_url without one",
        );
    }
    let host = url.split("://").nth(1).unwrap_or_default();
    let is_name = host
        .split([':', '/'])
        .next()
        .is_some_and(|host| !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err());
    if is_name {
        return Check::warn(
            Name::MediaUrl,
            format!("media are at {url}, a name that the BMC must resolve"),
            "give a media_url with an address: BMCs often have no resolver, or another one",
        );
    }
    Check::yes(Name::MediaUrl, format!("media are at {url}"))
}

fn clock(probe: &Probe) -> Check {
    match probe.skew_seconds {
        None => Check::yes(Name::Clock, "it does not tell its time"),
        Some(skew) if skew.abs() <= SKEW_MAX => Check::yes(Name::Clock, format!("{skew} s from ours")),
        Some(skew) => Check::warn(
            Name::Clock,
            format!("{} s {} ours", skew.abs(), if skew < 0 { "behind" } else { "ahead of" }),
            "set the BMC's clock or give it a time server: with https media it judges our certificate by it",
        ),
    }
}
