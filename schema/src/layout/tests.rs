//! The solver by table and by property.

use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn partition(size: &str, type_guid: &str, format: Format, mountpoint: Option<&str>) -> Partition {
    Partition {
        size: size.to_owned(),
        type_guid: type_guid.to_owned(),
        format: Some(format),
        label: None,
        mountpoint: mountpoint.map(str::to_owned),
    }
}

fn raw(sizes: &[&str]) -> Vec<Partition> {
    sizes.iter().map(|size| partition(size, "8300", Format::Raw, None)).collect()
}

fn disk(size_bytes: u64) -> DiskGeometry {
    DiskGeometry { size_bytes, sector_bytes: 512 }
}

fn sizes_in_mib(sizes: &[&str], geometry: DiskGeometry, config_drive: bool) -> Vec<(u64, u64)> {
    let solved = solve(&raw(sizes), geometry, Extras { config_drive }).unwrap();
    solved.iter().map(|one| (one.start_bytes / MIB, one.size_bytes / MIB)).collect()
}

#[test]
fn fixed_then_percent_then_rest_whatever_the_order_of_the_list() {
    // 10 GiB: 1 MiB goes to the front, 1 MiB to the backup table's alignment: 10238 MiB to give.
    assert_eq!(
        sizes_in_mib(&["rest", "50%", "1G"], disk(10 * GIB), false),
        [(1, 4607), (4608, 4607), (9215, 1024)]
    );
    assert_eq!(sizes_in_mib(&["1G", "100%"], disk(10 * GIB), false), [(1, 1024), (1025, 9214)]);
}

#[test]
fn the_config_drive_is_set_aside_before_the_rest_is_solved() {
    assert_eq!(sizes_in_mib(&["1G", "rest"], disk(10 * GIB), true), [(1, 1024), (1025, 9198), (10223, 16)]);
    // Without a rest it still sits at the end; the gap stays free.
    assert_eq!(sizes_in_mib(&["1G"], disk(10 * GIB), true), [(1, 1024), (10223, 16)]);
    // On a whole-disk image it is all there is.
    assert_eq!(sizes_in_mib(&[], disk(10 * GIB), true), [(10223, 16)]);
    let solved = solve(&raw(&["rest"]), disk(GIB), Extras { config_drive: true }).unwrap();
    let drive = solved.last().unwrap();
    assert_eq!((drive.name.as_str(), drive.label.as_deref()), ("CIDATA", Some("CIDATA")));
    assert_eq!((drive.number, drive.role, drive.format), (2, Role::ConfigDrive, Format::Vfat));
}

#[test]
fn odd_sizes_are_rounded_up_to_whole_mebibytes() {
    assert_eq!(sizes_in_mib(&["1", "1025K", "rest"], disk(GIB), false), [(1, 1), (2, 2), (4, 1019)]);
}

#[test]
fn a_disk_with_4096_byte_sectors_is_solved_in_the_same_bytes() {
    let big = DiskGeometry { size_bytes: 10 * GIB, sector_bytes: 4096 };
    assert_eq!(
        sizes_in_mib(&["1G", "rest"], big, false),
        sizes_in_mib(&["1G", "rest"], disk(10 * GIB), false)
    );
    let solved = solve(&raw(&["1G", "rest"]), big, Extras::default()).unwrap();
    assert_eq!((solved[0].first_sector(4096), solved[0].last_sector(4096)), (256, 262_399));
    assert_eq!((solved[0].first_sector(512), solved[0].last_sector(512)), (2048, 2_099_199));
}

#[test]
fn every_refusal_carries_its_numbers_and_a_remedy() {
    let refuse = |partitions: &[Partition], geometry, config_drive| {
        let error = solve(partitions, geometry, Extras { config_drive }).unwrap_err();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    let mut unknown = raw(&["1G"]);
    unknown[0].type_guid = "1234".to_owned();
    let mut xfs = raw(&["200M"]);
    xfs[0].format = Some(Format::Xfs);
    let texts = [
        refuse(&raw(&["12Q"]), disk(GIB), false),
        refuse(&raw(&["600M", "600M"]), disk(GIB), false),
        refuse(&raw(&["1022M"]), disk(GIB), true),
        refuse(&raw(&["rest", "1M", "100%"]), disk(GIB), false),
        refuse(&raw(&["60%", "41%"]), disk(GIB), false),
        refuse(&raw(&["50%", "50%", "rest"]), disk(1024 * MIB), false),
        refuse(&raw(&["1022M", "rest"]), disk(GIB), false),
        refuse(&raw(&["1%"]), disk(50 * MIB), false),
        refuse(&unknown, disk(GIB), false),
        refuse(&xfs, disk(GIB), false),
        refuse(&raw(&["1M"]), disk(MIB), false),
        refuse(&raw(&["rest"]), DiskGeometry { size_bytes: GIB, sector_bytes: 520 }, false),
        fits_firmware(&[], Firmware::Uefi).unwrap_err().to_string(),
        fits_firmware(&[], Firmware::Bios).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn roles_follow_type_format_and_mountpoint() {
    let partitions = [
        partition("1M", "ef02", Format::Raw, None),
        partition("512M", "EF00", Format::Vfat, Some("/boot/efi")),
        partition("16M", "0c01", Format::Raw, None),
        partition("1G", "8200", Format::Swap, None),
        partition("1G", "8300", Format::Swap, None),
        partition("1G", "8300", Format::Ext4, Some("/home")),
        partition("rest", "8304", Format::Ext4, Some("/")),
    ];
    let solved = solve(&partitions, disk(10 * GIB), Extras::default()).unwrap();
    let roles: Vec<Role> = solved.iter().map(|one| one.role).collect();
    assert_eq!(roles, [Role::BiosBoot, Role::Esp, Role::Msr, Role::Swap, Role::Swap, Role::Data, Role::Root]);
    assert_eq!(solved[1].type_guid, type_guid::ESP);
    assert_eq!(fits_firmware(&solved, Firmware::Uefi), Ok(()));
    assert_eq!(fits_firmware(&solved, Firmware::Bios), Ok(()));
}

#[test]
fn windows_brings_a_layout_of_its_own_and_cloud_init_a_config_drive() {
    let recipe = |text: &str| serde_json::from_str::<Recipe>(text).unwrap();
    let windows = LayoutPlan::from_recipe(&recipe(r#"{"task_target":"install-windows.target"}"#));
    assert!(!windows.config_drive);
    let solved = windows.solve(disk(64 * GIB)).unwrap();
    let shape: Vec<_> = solved.iter().map(|one| (one.role, one.size_bytes / MIB, one.format)).collect();
    assert_eq!(
        shape,
        [(Role::Esp, 300, Format::Vfat), (Role::Msr, 16, Format::Raw), (Role::Data, 65218, Format::Ntfs)]
    );
    for field in ["user_data", "meta_data", "network_config"] {
        let text = format!(r##"{{"task_target":"install-linux.target","{field}":"#"}}"##);
        assert!(LayoutPlan::from_recipe(&recipe(&text)).config_drive, "{field}");
    }
}

#[test]
fn a_solved_layout_survives_its_own_json() {
    let solved = solve(&windows_default(), disk(64 * GIB), Extras { config_drive: true }).unwrap();
    let text = serde_json::to_string(&solved).unwrap();
    assert_eq!(serde_json::from_str::<Vec<SolvedPartition>>(&text).unwrap(), solved);
    let plan = LayoutPlan { partitions: windows_default(), config_drive: true };
    assert_eq!(serde_json::from_str::<LayoutPlan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
}

fn any_size() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1_u64..4000).prop_map(|mib| format!("{mib}M")),
        1 => (1_u64..u64::MAX).prop_map(|bytes| bytes.to_string()),
        2 => (1_u8..60).prop_map(|percent| format!("{percent}%")),
        2 => Just("rest".to_owned()),
    ]
}

proptest! {
    #[test]
    fn solved_partitions_are_aligned_apart_inside_the_disk_and_sum_up(
        sizes in proptest::collection::vec(any_size(), 0..8),
        disk_bytes in prop_oneof![0_u64..64 * MIB, GIB..64 * GIB, any::<u64>()],
        sector_bytes in prop_oneof![Just(512_u32), Just(4096)],
        config_drive: bool,
    ) {
        let texts: Vec<&str> = sizes.iter().map(String::as_str).collect();
        let geometry = DiskGeometry { size_bytes: disk_bytes, sector_bytes };
        if let Ok(solved) = solve(&raw(&texts), geometry, Extras { config_drive }) {
            prop_assert_eq!(solved.len(), sizes.len() + usize::from(config_drive));
            let mut end = MIB;
            for (one, number) in solved.iter().zip(1..) {
                prop_assert_eq!(one.number, number);
                prop_assert_eq!((one.start_bytes % MIB, one.size_bytes % MIB), (0, 0));
                prop_assert!(one.size_bytes >= MIB);
                prop_assert!(one.start_bytes >= end);
                end = one.end_bytes();
            }
            // The backup table of 16 KiB entries and one header sector stays free.
            prop_assert!(solved.is_empty() || end + 16384 + u64::from(sector_bytes) <= disk_bytes);
            for (one, text) in solved.iter().zip(&sizes) {
                if let Ok(size::Size::Bytes(bytes)) = text.parse() {
                    prop_assert!(one.size_bytes >= bytes && one.size_bytes - bytes < MIB);
                }
            }
            if sizes.iter().any(|text| text == "rest") {
                // Nothing but the alignment of the tail is left over.
                prop_assert!(disk_bytes - end < 2 * MIB);
                for pair in solved.windows(2) {
                    prop_assert_eq!(pair[0].end_bytes(), pair[1].start_bytes);
                }
            }
        }
    }
}
