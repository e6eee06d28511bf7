//! What goes on the config drive.

use std::fs;

use super::*;
use crate::testing;

#[test]
fn the_job_is_the_instance_unless_meta_data_names_one() {
    for (given, expected) in [
        ("", "instance-id: J\n"),
        ("local-hostname: web1\n", "instance-id: J\nlocal-hostname: web1\n"),
        ("instance-id: mine\nlocal-hostname: web1\n", "instance-id: mine\nlocal-hostname: web1\n"),
        ("\"instance-id\": mine\n", "\"instance-id\": mine\n"),
        ("x: instance-id\n", "instance-id: J\nx: instance-id\n"),
        (r#"{"local-hostname":"w"}"#, "{\n  \"instance-id\": \"J\",\n  \"local-hostname\": \"w\"\n}\n"),
        (r#"{"instance-id":"mine"}"#, "{\n  \"instance-id\": \"mine\"\n}\n"),
    ] {
        assert_eq!(String::from_utf8(meta_data(given.as_bytes(), "J").unwrap()).unwrap(), expected);
    }
    assert!(matches!(meta_data(b"{x", "J"), Err(ConfigDriveError::NotJson(_))));
    assert!(matches!(meta_data(&[0xff], "J"), Err(ConfigDriveError::NotText)));
}

#[test]
fn without_payloads_there_is_nothing_to_do_and_it_is_said() {
    let folder = testing::provision();
    let mut runner = crate::runner::RecordingRunner::default();
    run(&testing::handoff(&folder), &mut runner).unwrap();
    assert_eq!(runner.done, "# the recipe brings no cloud-init data; there is nothing to do\n");
}

#[test]
fn user_data_and_meta_data_are_there_even_if_only_a_network_was_given() {
    let folder = testing::provision();
    fs::write(folder.path().join("network-config"), "version: 2\n").unwrap();
    let files = files(&testing::handoff(&folder)).unwrap().unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["user-data", "meta-data", "network-config"]);
    assert!(files[0].1.is_empty() && files[1].1.starts_with(b"instance-id: 0190f3a2"));
    let text =
        crate::plan::Plan { actions: plan("/dev/vda4", "/run/provision/config-drive", &files), undo: vec![] };
    insta::assert_snapshot!(text.transcript());
}

#[test]
fn cloud_init_is_found_where_distributions_put_it() {
    let root = tempfile::tempdir().unwrap();
    assert!(!has_cloud_init(root.path()));
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::write(root.path().join("usr/bin/cloud-init"), "").unwrap();
    assert!(has_cloud_init(root.path()));
}
