//! The rules of choosing a disk, one row each.

use super::*;
use crate::lsblk;
use crate::testing::{on_top, part, vda};

fn disk(name: &str, gib: u64) -> Disk {
    Disk {
        name: name.into(),
        path: format!("/dev/{name}"),
        size_bytes: gib << 30,
        serial: Some(format!("SER-{name}")),
        by_id: vec![format!("/dev/disk/by-id/ata-{name}")],
        by_path: vec![format!("/dev/disk/by-path/pci-{name}")],
        transport: Some("sata".into()),
        ..vda()
    }
}

fn hints(json: &str) -> DiskChoice {
    serde_json::from_str(json).unwrap()
}

fn path(path: &str) -> DiskChoice {
    DiskChoice::Path(path.into())
}

#[test]
fn only_disks_that_belong_to_the_machine_are_candidates() {
    let base = || disk("sda", 100);
    let label = |label: &str| Some(label.to_owned());
    let rows: Vec<(Disk, Option<&str>)> = vec![
        (base(), None),
        (Disk { removable: true, ..base() }, Some("removable")),
        (Disk { transport: Some("usb".into()), ..base() }, Some("USB")),
        (Disk { read_only: true, ..base() }, Some("read-only")),
        (Disk { size_bytes: 0, ..base() }, Some("no medium")),
        (Disk { kind: "rom".into(), name: "sr0".into(), ..base() }, Some("a rom device")),
        (Disk { kind: "loop".into(), ..base() }, Some("a loop device")),
        (Disk { name: "pmem0".into(), ..base() }, Some("not a physical disk")),
        (Disk { name: "zram0".into(), ..base() }, Some("not a physical disk")),
        (Disk { vendor: label("iDRAC"), model: label("Virtual HDD"), ..base() }, Some("BMC")),
        (Disk { vendor: label("AMI"), model: label("Virtual Floppy0"), ..base() }, Some("BMC")),
        // A virtual machine's disk is no BMC drive.
        (Disk { vendor: label("VMware"), model: label("Virtual disk"), ..base() }, None),
        (Disk { vendor: label("Msft"), model: label("Virtual Disk"), ..base() }, None),
        (Disk { label: label("SLIPWAY_MAINT"), ..base() }, Some("Slipway's own medium")),
        (
            Disk { nodes: vec![Node { label: label("SLIPWAY_TASK"), ..Node::default() }], ..base() },
            Some("Slipway's own medium"),
        ),
        (Disk { mountpoints: vec!["/srv".into()], ..base() }, Some("mounted at /srv")),
        (
            Disk { nodes: vec![Node { mountpoints: vec!["/".into()], ..Node::default() }], ..base() },
            Some("mounted at /"),
        ),
        // Swap of the old system is stopped, not respected.
        (
            Disk { nodes: vec![Node { mountpoints: vec!["[SWAP]".into()], ..Node::default() }], ..base() },
            None,
        ),
    ];
    for (disk, expected) in rows {
        let reason = disk.excluded();
        match expected {
            None => assert_eq!(reason, None, "{disk:?}"),
            Some(words) => {
                assert!(reason.as_ref().is_some_and(|reason| reason.contains(words)), "{reason:?} {disk:?}");
            }
        }
    }
}

#[test]
fn hints_must_match_exactly_one_disk() {
    let ssd = || Disk {
        transport: Some("nvme".into()),
        wwn: Some("0025388b91b0a1f2".into()),
        ..disk("nvme0n1", 400)
    };
    let hdd = || Disk {
        rotational: true,
        model: Some("ST4000NM".into()),
        vendor: Some("SEAGATE".into()),
        ..disk("sda", 4000)
    };
    let hdd2 = || Disk {
        rotational: true,
        model: Some("ST4000NM".into()),
        vendor: Some("SEAGATE".into()),
        ..disk("sdb", 4000)
    };
    for (json, expected) in [
        (r#"{"serial":"ser-nvme0n1"}"#, "/dev/nvme0n1"),
        (r#"{"wwn":"eui.0025388B91B0A1F2"}"#, "/dev/nvme0n1"),
        (r#"{"model":"seagate st4000","by_path":"pci-sdb"}"#, "/dev/sdb"),
        (r#"{"by_path":"/dev/disk/by-path/pci-sda"}"#, "/dev/sda"),
        (r#"{"min_size":"300G","max_size":"500G"}"#, "/dev/nvme0n1"),
        (r#"{"rotational":false}"#, "/dev/nvme0n1"),
        (r#"{"transport":"NVMe"}"#, "/dev/nvme0n1"),
        (r#"{"smallest":true}"#, "/dev/nvme0n1"),
        (r#"{"rotational":true}"#, "2 disks match"),
        (r#"{"rotational":true,"smallest":true}"#, "2 disks match"),
        (r#"{"min_size":"10T"}"#, "no disk matches"),
        (r#"{"serial":"SER-nvme0n1","rotational":true}"#, "no disk matches"),
        (r#"{"min_size":"50%"}"#, "not a size such as 400G"),
    ] {
        let said = match choose(vec![hdd(), ssd(), hdd2()], Some(&hints(json)), false, &[]) {
            Ok(chosen) => chosen.path,
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{json}: {said}");
    }
}

#[test]
fn a_kernel_name_is_taken_only_where_it_cannot_be_mistaken() {
    let usb = || Disk { transport: Some("usb".into()), ..disk("sdb", 8) };
    let (one, two) = (|| vec![disk("sda", 100), usb()], || vec![disk("sda", 100), disk("sdc", 100)]);
    assert_eq!(choose(one(), Some(&path("/dev/sda")), false, &[]).unwrap().path, "/dev/sda");
    let error = choose(two(), Some(&path("/dev/sda")), false, &[]).unwrap_err();
    assert!(matches!(error, ChooseError::KernelName { count: 2, .. }), "{error}");
    assert_eq!(choose(two(), Some(&path("/dev/sda")), true, &[]).unwrap().path, "/dev/sda");
    assert_eq!(choose(two(), Some(&path("/dev/disk/by-id/ata-sdc")), false, &[]).unwrap().path, "/dev/sdc");
    let error = choose(one(), Some(&path("/dev/sdb")), true, &[]).unwrap_err();
    assert!(matches!(error, ChooseError::Excluded { .. }), "{error}");
    let error = choose(one(), Some(&path("/dev/disk/by-id/gone")), false, &[]).unwrap_err();
    assert!(matches!(error, ChooseError::NoMatch { .. }), "{error}");
}

#[test]
fn paths_with_one_wwn_are_one_disk() {
    let path_to =
        |name: &str| Disk { wwn: Some("5000c5".into()), serial: Some("X".into()), ..disk(name, 100) };
    let disks = vec![path_to("sda"), path_to("sdb")];
    let chosen = choose(disks.clone(), Some(&hints(r#"{"serial":"X"}"#)), false, &[]).unwrap();
    assert_eq!(chosen.path, "/dev/sda");
    assert_eq!(choose(disks, Some(&path("/dev/sdb")), false, &[]).unwrap().path, "/dev/sda");
}

#[test]
fn errors_list_what_was_seen_and_name_a_raid_controller_without_volumes() {
    let disks = || {
        vec![
            Disk {
                kind: "rom".into(),
                name: "sr0".into(),
                path: "/dev/sr0".into(),
                removable: true,
                ..disk("sr0", 1)
            },
            Disk { transport: Some("usb".into()), model: Some("Flash".into()), ..disk("sda", 8) },
        ]
    };
    let raid = ["0000:03:00.0 1000:005d megaraid_sas".to_owned()];
    insta::assert_snapshot!(choose(disks(), Some(&hints("{}")), false, &raid).unwrap_err());
    insta::assert_snapshot!(choose(vec![], Some(&hints("{}")), false, &[]).unwrap_err());
    let two = vec![disk("sda", 100), Disk { wwn: Some("5000c5".into()), ..disk("sdb", 200) }];
    insta::assert_snapshot!(choose(two, Some(&hints(r#"{"min_size":"50G"}"#)), false, &[]).unwrap_err());
    let error = choose(disks(), None, false, &[]).unwrap_err();
    assert!(matches!(error, ChooseError::NotNamed { .. }), "{error}");
}

#[test]
fn the_chosen_disk_is_known_again_under_another_name_and_no_other_is_taken_for_it() {
    let (a, b) = (disk("sda", 100), disk("sdb", 100));
    let wanted =
        choose(vec![a.clone(), b.clone()], Some(&hints(r#"{"serial":"SER-sda"}"#)), false, &[]).unwrap();
    let renamed = Disk { name: "sdz".into(), path: "/dev/sdz".into(), ..a.clone() };
    assert_eq!(confirm(vec![b.clone(), renamed], &wanted).unwrap().path, "/dev/sdz");
    for other in [
        Disk { size_bytes: 1 << 30, ..a.clone() },
        Disk { serial: Some("other".into()), ..a.clone() },
        Disk { sector_bytes: 4096, ..a.clone() },
        Disk { by_path: vec!["/dev/disk/by-path/other".into()], ..a.clone() },
        Disk { wwn: Some("5000".into()), ..a.clone() },
    ] {
        let error = confirm(vec![b.clone(), other], &wanted).unwrap_err();
        assert!(matches!(error, ChooseError::Vanished { .. }), "{error}");
    }
    // A disk without any name but the kernel's must keep that one.
    let bare = |name: &str| Disk { serial: None, by_id: vec![], by_path: vec![], ..disk(name, 100) };
    let wanted = choose(vec![bare("sda")], Some(&path("/dev/sda")), false, &[]).unwrap();
    assert!(confirm(vec![bare("sdb")], &wanted).is_err());
    assert!(confirm(vec![bare("sda")], &wanted).is_ok());
}

#[test]
fn what_stands_on_a_disk_comes_before_what_it_stands_on() {
    let lv = on_top("/dev/mapper/vg-root", "lvm", vec![]);
    let md = on_top("/dev/md0", "raid1", vec![lv]);
    let disk = Disk { nodes: vec![part("/dev/vda1", "x", vec![md])], ..vda() };
    let paths: Vec<_> = disk.all_nodes().iter().map(|node| node.path.clone()).collect();
    assert_eq!(paths, ["/dev/mapper/vg-root", "/dev/md0", "/dev/vda1"]);
}

#[test]
fn what_lsblk_says_is_read() {
    let answer = include_str!("../fixtures/lsblk-mess.json");
    let links =
        std::collections::BTreeMap::from([("sda".to_owned(), vec!["/dev/disk/by-id/wwn-0x5000".to_owned()])]);
    let disks = lsblk::parse(answer, &links, &std::collections::BTreeMap::new()).unwrap();
    insta::assert_debug_snapshot!(disks);
    assert!(lsblk::parse("{}", &links, &links).is_err());
}
