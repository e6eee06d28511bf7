//! What is said of BMCs that fit, and of those that do not.

use schema::task::Identity;

use super::{Expected, Fitness, Name, Verdict};
use crate::model::TransportSetting;
use crate::redfish::{BmcError, HttpBoot, Power, Probe, RefusalKind, Slot, SlotId};

const UUID: &str = "4c4c4544-0051-3610-8052-b4c04f4e3233";
const MAC: &str = "52:54:00:00:00:01";

fn slot(id: &str, boots: bool, image: Option<&str>) -> Slot {
    Slot {
        id: SlotId(id.to_owned()),
        media_types: vec!["CD".to_owned()],
        inserted: image.is_some(),
        image: image.map(str::to_owned),
        boots,
    }
}

fn good() -> Probe {
    Probe {
        vendor: Some("Acme".to_owned()),
        model: Some("One".to_owned()),
        firmware: Some("1.0".to_owned()),
        serial: Some(" abc123 ".to_owned()),
        uuid: Some(UUID.to_owned()),
        macs: vec![],
        power: Power::Off,
        slots: vec![slot("cd", true, None), slot("usb", false, None)],
        boot_targets: vec!["Cd".to_owned()],
        http_boot: HttpBoot::NotOffered,
        boots_once: Some("Cd".to_owned()),
        system: "/redfish/v1/Systems/1".to_owned(),
        family: "any".to_owned(),
        advice: vec![],
        schemes: vec![],
        skew_seconds: Some(1),
        encrypted: true,
    }
}

fn judged(probe: Result<&Probe, &BmcError>) -> Fitness {
    let identity =
        Identity { serial: "ABC123".to_owned(), uuid: Some(UUID.to_owned()), macs: vec![MAC.to_owned()] };
    let (media_url, transport) = ("http://10.0.0.5:8080", TransportSetting::Auto);
    let expected = Expected { identity: &identity, media_url, evict: false, transport };
    Fitness::of(probe, &expected)
}

/// The checks that are not a plain yes, as `name verdict code`.
fn remarkable(fitness: &Fitness) -> Vec<String> {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let one = |check: &super::Check| {
        let (name, verdict) = (serde_json::json!(check.name), serde_json::json!(check.verdict));
        format!("{} {} {}", word(name), word(verdict), check.code.as_deref().unwrap_or("-"))
    };
    fitness.checks.iter().filter(|check| check.verdict != Verdict::Yes).map(one).collect()
}

#[test]
fn a_bmc_that_fits_is_told_so_in_every_respect() {
    let fitness = judged(Ok(&good()));
    assert!(fitness.bootable && fitness.failure().is_none());
    assert_eq!(remarkable(&fitness), Vec::<String>::new());
    assert!(fitness.checks.iter().map(|check| check.name).eq(Name::OF_A_PROBE));
}

#[test]
fn whatever_stops_a_job_is_a_no_with_its_code_and_whatever_should_be_looked_at_is_a_warning() {
    type Change = fn(&mut Probe);
    let table: &[(Change, &[&str])] = &[
        (|p| p.serial = None, &[]),
        (|p| p.serial = Some("To Be Filled By O.E.M.".to_owned()), &[]),
        // The other byte order of SMBIOS.
        (|p| p.uuid = Some("44454c4c-5100-1036-8052-b4c04f4e3233".to_owned()), &[]),
        (|p| p.serial = Some("XYZ789".to_owned()), &["identity no bmc.wrong_machine"]),
        (
            |p| p.uuid = Some("00000000-0000-0000-0000-0000000000ff".to_owned()),
            &["identity no bmc.wrong_machine"],
        ),
        (
            |p| (p.serial, p.uuid, p.macs) = (None, None, vec!["aa:bb:cc:00:00:00".to_owned()]),
            &["identity no bmc.wrong_machine"],
        ),
        (|p| (p.serial, p.uuid, p.macs) = (None, None, vec![MAC.to_uppercase()]), &["identity warn -"]),
        (|p| p.macs = vec!["aa:bb:cc:00:00:00".to_owned()], &["identity warn -"]),
        (|p| p.slots.clear(), &["slots no bmc.no_boot_slot", "licence warn -"]),
        // Without slots the firmware may fetch the medium itself.
        (
            |p| {
                p.slots.clear();
                p.http_boot = HttpBoot::Offered;
            },
            &[],
        ),
        (|p| p.slots = vec![slot("usb", false, None)], &["slots no bmc.no_boot_slot", "licence warn -"]),
        (|p| p.slots = vec![slot("cd", true, None)], &[]),
        (|p| p.slots[0] = slot("cd", true, Some("http://10.0.0.9/rescue.iso")), &["slots no slot.occupied"]),
        (
            |p| {
                p.slots[0] =
                    slot("cd", true, Some("http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxyz/task.iso"));
            },
            &[],
        ),
        (|p| p.boots_once = None, &["boot_target no bmc.no_boot_target"]),
        (|p| p.schemes = vec!["https".to_owned()], &["media_url no bmc.media_scheme"]),
        (|p| p.schemes = vec!["http".to_owned(), "https".to_owned()], &[]),
        (|p| p.power = Power::On, &["power warn -"]),
        (|p| p.encrypted = false, &["certificate warn -"]),
        (|p| p.advice = vec!["update it".to_owned()], &["family warn -"]),
        (|p| p.skew_seconds = Some(-3600), &["clock warn -"]),
        (|p| p.skew_seconds = None, &[]),
    ];
    for (change, wanted) in table {
        let mut probe = good();
        change(&mut probe);
        let fitness = judged(Ok(&probe));
        assert_eq!(remarkable(&fitness), *wanted, "{probe:?}");
        let fails = wanted.iter().any(|check| check.contains(" no "));
        assert_eq!((fitness.bootable, fitness.failure().is_some()), (!fails, fails), "{probe:?}");
        for check in fitness.checks.iter().filter(|check| check.verdict != Verdict::Yes) {
            assert!(check.remedy.is_some(), "{check:?} says what to do");
        }
    }
}

#[test]
fn a_name_in_the_media_url_is_worth_a_warning_and_a_query_ends_it() {
    let identity = Identity { serial: "ABC123".to_owned(), uuid: None, macs: vec![] };
    for (media_url, wanted) in [
        ("http://10.0.0.5:8080", Verdict::Yes),
        ("http://[fd00::5]:8080", Verdict::Yes),
        ("http://media.example:8080", Verdict::Warn),
        ("http://10.0.0.5/?site=a", Verdict::No),
    ] {
        let transport = TransportSetting::Auto;
        let expected = Expected { identity: &identity, media_url, evict: false, transport };
        let fitness = Fitness::of(Ok(&good()), &expected);
        let check = fitness.checks.iter().find(|check| check.name == Name::MediaUrl).unwrap();
        assert_eq!(check.verdict, wanted, "{media_url}: {check:?}");
    }
}

#[test]
fn of_a_bmc_that_cannot_be_asked_it_is_said_how_far_one_got() {
    let endpoint = || "https://10.0.0.20".to_owned();
    let refused = |kind, id: &str, message: &str| BmcError::Refused {
        endpoint: endpoint(),
        what: "the login".to_owned(),
        status: 403,
        kind,
        message_id: Some(id.to_owned()),
        message: message.to_owned(),
    };
    for (error, stopped) in [
        (
            BmcError::Unreachable { endpoint: endpoint(), source: "connection refused".into() },
            Name::Reachable,
        ),
        (BmcError::Certificate { endpoint: endpoint(), found: "ab".repeat(32) }, Name::Certificate),
        (BmcError::Credentials { endpoint: endpoint() }, Name::Credentials),
        (
            refused(RefusalKind::PasswordExpired, "Base.1.8.PasswordChangeRequired", "change it"),
            Name::Credentials,
        ),
        (
            refused(
                RefusalKind::Licence,
                "iLO.2.14.LicenseKeyRequired",
                "An iLO Advanced license is required.",
            ),
            Name::Licence,
        ),
        (
            BmcError::Missing {
                endpoint: endpoint(),
                what: "single system but A and B".to_owned(),
                remedy: String::new(),
            },
            Name::System,
        ),
    ] {
        let fitness = judged(Err(&error));
        let no = fitness.checks.iter().find(|check| check.verdict == Verdict::No).unwrap();
        assert_eq!(no.name, stopped, "{error}");
        assert_eq!(no.code.as_deref(), Some(error.code()));
        assert!(!fitness.bootable && fitness.bmc.is_none());
        let after = fitness.checks.iter().skip_while(|check| check.name != stopped).skip(1);
        assert!(after.into_iter().all(|check| check.verdict == Verdict::Unknown), "{fitness:?}");
    }
}
