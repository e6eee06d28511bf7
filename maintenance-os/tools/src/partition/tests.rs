//! The plans, as transcripts; and what is read back.

use schema::layout::type_guid;

use super::*;
use crate::disk::Node;
use crate::runner::RecordingRunner;
use crate::testing::{self, on_top, part, vda};

fn seed() -> Seed {
    Seed::new("0190f3a2-0000-7000-8000-000000000001", 1)
}

fn made(disk: &Disk) -> PartitionTable {
    let layout = schema::layout::LayoutPlan::from_recipe(&testing::recipe());
    table(disk, layout.solve(disk.geometry()).unwrap(), &seed())
}

#[test]
fn an_empty_disk_is_partitioned() {
    let disk = vda();
    insta::assert_snapshot!(plan(&disk, &made(&disk), Wipe::Metadata).transcript());
}

#[test]
fn a_mess_is_stopped_and_cleared_from_the_top_and_on_this_disk_alone() {
    let lv = on_top("/dev/mapper/vg0-root", "lvm", vec![]);
    let swap = Node { mountpoints: vec!["[SWAP]".into()], ..on_top("/dev/mapper/vg0-swap", "lvm", vec![]) };
    let md = || on_top("/dev/md127", "raid1", vec![lv.clone(), swap.clone()]);
    let esp = part("/dev/nvme0n1p1", &type_guid::ESP.to_ascii_lowercase(), vec![]);
    let disk = Disk {
        name: "nvme0n1".into(),
        path: "/dev/nvme0n1".into(),
        sector_bytes: 4096,
        // Both halves of one mirror on one disk: the array is stopped once.
        nodes: vec![esp, part("/dev/nvme0n1p2", "x", vec![md()]), part("/dev/nvme0n1p3", "x", vec![md()])],
        ..vda()
    };
    insta::assert_snapshot!(plan(&disk, &made(&disk), Wipe::Metadata).transcript());
    assert_eq!(made(&disk).replaced.len(), 3);
}

#[test]
fn each_way_of_wiping_does_what_it_says() {
    let disk = Disk { nodes: vec![part("/dev/vda1", "x", vec![])], ..vda() };
    let lines = |wipe| {
        let transcript =
            plan(&disk, &PartitionTable { partitions: vec![], ..made(&disk) }, wipe).transcript();
        (
            transcript.matches("wipefs").count(),
            transcript.contains("blkdiscard --force /dev/vda"),
            transcript.contains("nvme format"),
        )
    };
    assert_eq!(lines(Wipe::None), (0, false, false));
    assert_eq!(lines(Wipe::Metadata), (2, false, false));
    assert_eq!(lines(Wipe::Discard), (2, true, false));
    assert_eq!(lines(Wipe::SecureErase), (2, false, true));
}

#[test]
fn the_boot_sector_goes_before_anything_else_is_written() {
    let disk = Disk { nodes: vec![part("/dev/vda1", "x", vec![])], ..vda() };
    for wipe in [Wipe::None, Wipe::Metadata, Wipe::Discard] {
        let plan = plan(&disk, &made(&disk), wipe);
        let first = plan.actions.iter().find(|action| !matches!(action, Action::Say(_)));
        assert_eq!(first, Some(&Action::Zero { device: "/dev/vda".into(), offset: 0, length: 440 }));
    }
}

#[test]
fn every_filesystem_is_made_under_the_name_it_was_given() {
    let recipe = schema::recipe::Recipe {
        partition_layout: serde_json::from_str(
            r#"[{"size":"1M","type_guid":"ef02"},
                {"size":"1G","type_guid":"8300","format":"xfs","label":"data","mountpoint":"/srv"},
                {"size":"1G","type_guid":"8300","format":"btrfs","label":"my pool"},
                {"size":"1G","type_guid":"0700","format":"ntfs","label":"win"},
                {"size":"64M","type_guid":"0700","format":"vfat"},
                {"size":"rest","type_guid":"8300","format":"ext4","mountpoint":"/"}]"#,
        )
        .unwrap(),
        user_data: None,
        ..testing::recipe()
    };
    let disk = vda();
    let solved = schema::layout::LayoutPlan::from_recipe(&recipe).solve(disk.geometry()).unwrap();
    let transcript = plan(&disk, &table(&disk, solved, &seed()), Wipe::None).transcript();
    let made: Vec<&str> = transcript.lines().filter(|line| line.starts_with("mk")).collect();
    insta::assert_snapshot!(made.join("\n"));
}

#[test]
fn partitions_are_named_as_the_kernel_names_them() {
    for (disk, expected) in [
        ("/dev/sda", "/dev/sda3"),
        ("/dev/vdab", "/dev/vdab3"),
        ("/dev/nvme0n1", "/dev/nvme0n1p3"),
        ("/dev/mmcblk0", "/dev/mmcblk0p3"),
        ("/dev/loop7", "/dev/loop7p3"),
    ] {
        assert_eq!(partition_path(disk, 3), expected);
    }
}

fn blkid(table: &PartitionTable) -> Vec<String> {
    let answer = |record: &PartitionRecord| {
        let kind = match record.solved.format {
            schema::recipe::Format::Raw => "",
            schema::recipe::Format::Vfat => "vfat",
            schema::recipe::Format::Swap => "swap",
            _ => "ext4",
        };
        format!(
            "DEVNAME=/dev/vda\nTYPE={kind}\nUUID={}\nPART_ENTRY_UUID={}\nPART_ENTRY_TYPE={}\nPART_ENTRY_OFFSET={}\nPART_ENTRY_SIZE={}\n",
            record.uuid.clone().unwrap_or_default(),
            record.partuuid,
            record.solved.type_guid.to_lowercase(),
            record.solved.start_bytes / 512,
            record.solved.size_bytes / 512
        )
    };
    table.partitions.iter().map(answer).collect()
}

#[test]
fn what_is_read_back_must_be_what_was_made() {
    let disk = vda();
    let table = made(&disk);
    let with = |answers: Vec<String>| {
        let mut runner = RecordingRunner::default();
        runner.answers.insert("blkid".into(), answers);
        read_back(&mut runner, &disk, &table)
    };
    assert_eq!(with(blkid(&table)).unwrap(), table);
    for (from, to, says) in [
        ("TYPE=ext4", "TYPE=xfs", "filesystem"),
        ("TYPE=swap", "TYPE=", "filesystem"),
        ("PART_ENTRY_OFFSET=2048", "PART_ENTRY_OFFSET=2049", "first sector"),
        (table.partitions[2].partuuid.as_str(), "other", "partition GUID"),
        (table.partitions[0].uuid.as_deref().unwrap(), "0000-0000", "UUID"),
    ] {
        let answers = blkid(&table).into_iter().map(|answer| answer.replace(from, to)).collect();
        let error = with(answers).unwrap_err().to_string();
        assert!(error.contains(says), "{from}: {error}");
    }
}

#[test]
fn an_esp_too_small_for_fat32_is_told_of_with_the_size_that_is_not() {
    let esp = |size_bytes| schema::layout::SolvedPartition {
        number: 1,
        start_bytes: 1 << 20,
        size_bytes,
        type_guid: schema::layout::type_guid::ESP.to_owned(),
        name: "ESP".to_owned(),
        format: schema::recipe::Format::Vfat,
        label: None,
        mountpoint: None,
        role: schema::layout::Role::Esp,
    };
    let mib = 1 << 20;
    assert_eq!(small_esp(&esp(100 * mib), 512), None);
    assert_eq!(small_esp(&esp(260 * mib), 4096), None);
    let warning = small_esp(&esp(100 * mib), 4096).unwrap();
    assert!(warning.contains("100 MiB") && warning.contains("FAT32 begins at 260 MiB"), "{warning}");
    assert!(small_esp(&esp(32 * mib), 512).unwrap().contains("FAT32 begins at 40 MiB"));
    let raw = schema::layout::SolvedPartition { format: schema::recipe::Format::Raw, ..esp(mib) };
    assert_eq!(small_esp(&raw, 4096), None);
}
