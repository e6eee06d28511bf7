//! The JSON Schema and the Rust types hold each other: what one accepts and the other refuses is a fault
//! of this crate. Only rules with a dot in their code may differ.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::structure;
use super::corpus::files;
use crate::recipe::Recipe;

/// Whether types and rules accept a value, leaving out what JSON Schema cannot say.
fn rust_accepts(value: &Value) -> Result<(), String> {
    let recipe: Recipe = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let faults: Vec<_> =
        super::check(&recipe).into_iter().filter(|fault| !fault.code.contains('.')).collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?}")) }
}

fn agree(value: &Value) -> Result<(), TestCaseError> {
    let rust = rust_accepts(value);
    let schema = structure::accepts(value);
    prop_assert_eq!(
        schema,
        rust.is_ok(),
        "schema {}: {:?}; rust: {:?}; {}",
        schema,
        structure::faults(value),
        rust,
        value
    );
    Ok(())
}

#[test]
fn schema_and_types_agree_on_every_example_and_every_refused_recipe() {
    let examples = files("../recipes");
    let refused = files("tests/refused");
    assert!(examples.len() >= 8 && refused.len() >= 40, "{} {}", examples.len(), refused.len());
    for (path, value) in examples {
        agree(&value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    for (path, value) in refused {
        agree(&value["recipe"]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Texts on both sides of every pattern.
fn any_text() -> impl Strategy<Value = Value> {
    const KNOWN: &[&str] = &[
        "",
        "1",
        "1.2",
        "1.02",
        "2",
        "rest",
        "100%",
        "5%",
        "0%",
        "512M",
        "10GiB",
        "1iB",
        "99999999999999999999P",
        "ef00",
        "EF02",
        "8304",
        "zzzz",
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "/",
        "/boot/efi",
        "/..",
        "/a/",
        "/.x",
        "/a..b",
        "/dev/sda",
        "/dev//sda",
        "/dev/disk/by-id/x",
        "/dev/../x",
        "root",
        "a label",
        "CIDATA",
        " x",
        "x ",
        "images/debian:trixie",
        "images/debian@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "UPPER/x",
        "a//b",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://h/x",
        "http://",
        "ftp://h",
        "https://a b",
        "install-linux.target",
        "install-windows.target",
        "install-esxi.target",
        "wipe.target",
        "inventory.target",
        "firmware-update.target",
        "site.target",
        ".target",
        "-x.target",
        "x.target\n",
        "disk",
        "rootfs",
        "container",
        "none",
        "metadata",
        "boot",
        "stay",
        "power-off",
        "nvme",
        "10.0.0.1",
        "10.0.0.5/24",
        "fd00::1/64",
        "::1",
        "fd00::1",
        "1/999",
        "52:54:00:12:34:56",
        "52-54-00-12-34-57",
        "01:00:5e:00:00:01",
        "802.3ad",
        "90m",
        "0s",
        "1234567m",
        "30s",
        "image-linux",
        "0x5002538e40a1b2c3",
        "eui.0025388b710116d5",
        "0x",
        "vfat",
        "ext4",
        "ntfs",
        "swap",
        "raw",
        "YWJj",
        "<a/>",
        "job",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f demo",
        "ssh-rsa AAAA=== x",
        "ssh-ed25519 AAAA  two blanks",
        "ssh-ed25519  AAAA",
        "ssh-ed25519 AAAA ",
        "installer-8.0.iso",
        "SITE",
        "TASK_TARGET",
        "JOB_ATTEMPT",
        "OCI_DIGEST",
        "LD_X",
        "pci-0000:01:00.0-nvme-1",
    ];
    prop_oneof![
        6 => proptest::sample::select(KNOWN).prop_map(Value::from),
        1 => "[ -~]{0,40}".prop_map(Value::from),
        1 => "\\PC{0,40}".prop_map(Value::from),
        1 => (0_usize..2100).prop_map(|length| Value::from("x".repeat(length))),
    ]
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => any_text(),
        1 => any::<bool>().prop_map(Value::from),
        2 => proptest::sample::select(&[0_i64, 1, 2, -1, 575, 576, 1024, 1025, 4094, 4095, 9216, 9217, 65537, 1 << 40][..]).prop_map(Value::from),
        1 => proptest::sample::select(&[1.0, 1.5, 4094.0, 1e300, -2.0][..]).prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

/// Every key that means something somewhere, so that objects are hit and missed alike.
fn any_key() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "serial",
        "wwn",
        "model",
        "by_path",
        "min_size",
        "max_size",
        "rotational",
        "transport",
        "smallest",
        "size",
        "type_guid",
        "format",
        "label",
        "mountpoint",
        "content",
        "content_base64",
        "url",
        "sha256",
        "links",
        "ntp",
        "proxy",
        "mac",
        "addresses",
        "gateway",
        "dns",
        "mtu",
        "vlan",
        "bond",
        "mode",
        "members",
        "SITE",
        "TASK_TARGET",
        "JOB_ATTEMPT",
        "OCI_DIGEST",
        "LD_PRELOAD",
        "lower",
        "image-linux",
        "partition",
        "job",
        "UP",
        "x",
    ];
    proptest::sample::select(KEYS).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any_key(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in a document, as JSON Pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &super::super::join(at, key), found));
        }
        Value::Array(list) => {
            list.iter().zip(0..).for_each(|(value, index)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// A document that uses every field once, so that a mutation can hit any of them.
fn everything() -> Vec<Value> {
    let sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let mut all: Vec<Value> = files("../recipes").into_iter().map(|(_, value)| value).collect();
    all.push(json!({
        "$schema": "x", "schema_version": "1.2", "task_target": "site.target",
        "target_disk": {"serial": "a", "wwn": "0x5002538e40a1b2c3", "model": "b", "by_path": "c", "min_size": "1G", "max_size": "2G",
            "rotational": false, "transport": "sas", "smallest": true},
        "allow_kernel_name": true, "oci_url": "a:b", "image_kind": "rootfs", "firmware_url": "https://h/x", "firmware_sha256": sha,
        "partition_layout": [{"size": "1M", "type_guid": "8300", "format": "raw", "label": "x"},
            {"size": "5%", "type_guid": "8300", "format": "xfs", "label": "y", "mountpoint": "/srv"}],
        "user_data": "a", "meta_data": {"content": "b"}, "network_config": {"url": "https://h/x", "sha256": sha},
        "host_network": {"links": [
            {"mac": "52:54:00:12:34:56", "addresses": ["10.0.0.5/24"], "gateway": "10.0.0.1", "dns": ["10.0.0.2"], "mtu": 1500, "vlan": 5},
            {"bond": {"mode": "802.3ad", "members": ["52:54:00:12:34:57", "52:54:00:12:34:58"]}}],
            "ntp": ["ntp.example.com"], "proxy": "http://proxy:3128"},
        "unattend_xml": "<a/>", "wim_index": 1, "drivers": ["a:b"], "first_boot_scripts": ["x", {"content_base64": "YQ=="}],
        "ks.cfg": "x", "installer": "a.iso", "env": {"SITE": "x"}, "tools": {"step": format!("a@sha256:{sha}")},
        "wipe": "none", "on_success": "stay", "on_failure": "stay", "boot_order": "keep", "cloud_init": "ignore",
        "debug_ssh_keys": ["ssh-ed25519 AAAA x"], "timeouts": {"step": "1h"}, "notes": "n", "metadata": null
    }));
    all
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Insert(String, Value),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => any_value().prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => (any_key(), any_value()).prop_map(|(key, value)| Change::Insert(key, value)),
    ]
}

fn apply(document: &mut Value, place: &str, change: Change) {
    match change {
        Change::Replace(new) => {
            if let Some(old) = document.pointer_mut(place) {
                *old = new;
            }
        }
        Change::Insert(key, new) => {
            if let Some(Value::Object(map)) = document.pointer_mut(place) {
                map.insert(key, new);
            }
        }
        Change::Remove => {
            let Some((parent, token)) = place.rsplit_once('/') else { return };
            match document.pointer_mut(parent) {
                Some(Value::Object(map)) => {
                    map.remove(&token.replace("~1", "/").replace("~0", "~"));
                }
                Some(Value::Array(list)) => {
                    if let Some(at) = token.parse().ok().filter(|at| *at < list.len()) {
                        list.remove(at);
                    }
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn schema_and_types_agree_on_documents_changed_at_random(
        pick: proptest::sample::Index,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any_change()), 1..4),
    ) {
        static ALL: LazyLock<Vec<Value>> = LazyLock::new(everything);
        let all = &*ALL;
        let mut document = all[pick.index(all.len())].clone();
        for (place, change) in changes {
            let mut found = Vec::new();
            places(&document, "", &mut found);
            let place = found[place.index(found.len())].clone();
            apply(&mut document, &place, change);
        }
        agree(&document)?;
        // The whole gate never panics, and refuses at least what the schema refuses.
        let gate = super::super::recipe(&document.to_string());
        prop_assert!(gate.is_err() || structure::accepts(&document));
        if let Err(refusal) = gate {
            prop_assert!(!refusal.faults.is_empty());
            prop_assert!(refusal.faults.iter().all(|fault| !fault.message.is_empty() && fault.code != "types"), "{refusal:?}");
        }
    }
}
