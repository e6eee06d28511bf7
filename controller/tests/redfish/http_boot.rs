//! UEFI HTTP boot: for machines whose BMC has no virtual media, or none that works.

use controller::redfish::{Bmc, HttpBoot, Power};
use mock_redfish::{BootSource, Enabled, Fault, Injection, Quirks};
use serde_json::json;

use super::support::{client, machine, rack};

const URI: &str = "http://10.0.0.5:8080/m/4f2a/composed.iso";

#[tokio::test]
async fn a_machine_boots_our_uri_once_and_is_left_without_it() {
    type Deviation = fn(&mut Quirks);
    let table: &[(&str, Deviation)] = &[
        ("by the book", |_| {}),
        ("boot settings object", |q| q.boot_settings = true),
        ("no override mode", |q| q.no_override_mode = true),
        ("needs If-Match", |q| q.needs_if_match = true),
        ("weak ETags", |q| q.weak_etags = true),
    ];
    for (name, deviate) in table {
        let mut config = machine();
        deviate(&mut config.quirks);
        let rack = rack(config).await;
        let (bmc, machine) = (client(rack.machine(0)), rack.machine(0));
        assert_eq!(bmc.probe().await.unwrap().http_boot, HttpBoot::Offered, "{name}");
        bmc.set_power(Power::Off).await.unwrap();
        let seen = bmc.boot_http(URI).await.unwrap().seen;
        assert!(seen.starts_with("the boot override shows UefiHttp Once"), "{name}: {seen}");
        assert!(seen.ends_with(URI), "{name}: {seen}");
        bmc.set_power(Power::On).await.unwrap();
        assert_eq!(machine.last_source(), Some(BootSource::UefiHttp { uri: URI.into() }), "{name}");

        bmc.set_power(Power::Off).await.unwrap();
        let seen = bmc.clear_boot(Some(URI)).await.unwrap().seen;
        // What is seen after the clearing is told: a change that waits in settings is not seen yet.
        assert_eq!(seen.contains(URI), *name == "boot settings object", "{name}: {seen}");
        // Armed again, as by a job that ended before it switched on.
        bmc.boot_http(URI).await.unwrap();
        bmc.clear_boot(Some(URI)).await.unwrap();
        bmc.set_power(Power::On).await.unwrap();
        assert_eq!(machine.last_source(), Some(BootSource::Order), "{name}");
        let left = machine.boot_override();
        assert_eq!((left.enabled, left.http_boot_uri.as_str()), (Enabled::Disabled, ""), "{name}");
        bmc.close().await;
        assert_eq!(machine.open_sessions(), 0, "{name}");
    }
}

#[tokio::test]
async fn an_uri_that_a_site_set_for_itself_stays() {
    let rack = rack(machine()).await;
    let (bmc, machine) = (client(rack.machine(0)), rack.machine(0));
    bmc.boot_http("http://theirs/boot.efi").await.unwrap();
    for ours in [None, Some(URI)] {
        bmc.clear_boot(ours).await.unwrap();
        let left = machine.boot_override();
        assert_eq!(left.enabled, Enabled::Disabled);
        assert_eq!(left.http_boot_uri, "http://theirs/boot.efi");
    }
}

#[tokio::test]
async fn a_bmc_that_does_not_take_null_is_told_the_empty_text_and_one_that_takes_neither_keeps_a_dead_uri() {
    for (refusals, left_uri) in [(1, ""), (2, URI)] {
        let rack = rack(machine()).await;
        let (bmc, machine) = (client(rack.machine(0)), rack.machine(0));
        bmc.boot_http(URI).await.unwrap();
        let refused = Fault::message(400, "PropertyValueTypeError");
        machine.inject(Injection::times(refusals, refused).on("PATCH", "/redfish/v1/Systems/1"));
        bmc.clear_boot(Some(URI)).await.unwrap();
        let left = machine.boot_override();
        assert_eq!((left.enabled, left.http_boot_uri.as_str()), (Enabled::Disabled, left_uri));
    }
}

#[tokio::test]
async fn firmware_that_does_not_show_the_key_yet_is_named_with_the_remedy() {
    let rack = rack(machine()).await;
    let (bmc, machine) = (client(rack.machine(0)), rack.machine(0));
    let keyless = json!({ "Boot": {
        "BootSourceOverrideEnabled": "Disabled",
        "BootSourceOverrideTarget": "None",
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "UefiHttp"],
    }});
    let properties = keyless.as_object().unwrap().clone();
    let id =
        machine.inject(Injection::always(Fault::Replace { properties }).on("GET", "/redfish/v1/Systems/1"));
    assert_eq!(bmc.probe().await.unwrap().http_boot, HttpBoot::KeysMissing);
    let error = bmc.boot_http(URI).await.unwrap_err();
    assert_eq!(error.code(), "bmc.missing");
    assert!(error.to_string().contains("restart the machine once"), "{error}");
    machine.remove_fault(id);
    assert_eq!(client(machine).probe().await.unwrap().http_boot, HttpBoot::Offered);
}
