//! What `slipway recipe explain` says of every example, word for word.

mod corpus;

use schema::explain::explain;
use schema::layout::DiskGeometry;
use schema::validate;

const DISK: DiskGeometry = DiskGeometry { size_bytes: 480_103_981_056, sector_bytes: 512 };

#[test]
fn every_example_is_explained_for_a_disk_of_480_gb() {
    for (path, value) in corpus::files("../recipes") {
        let recipe = validate::recipe(&value.to_string()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        insta::assert_snapshot!(name, explain(&recipe, Some(DISK)));
    }
}

#[test]
fn without_a_disk_the_sizes_are_shown_as_asked_for() {
    let examples = corpus::files("../recipes");
    let (_, value) = examples.iter().find(|(path, _)| path.ends_with("linux-debian.json")).unwrap();
    let recipe = validate::recipe(&value.to_string()).unwrap();
    insta::assert_snapshot!(explain(&recipe, None));
}

#[test]
fn a_disk_that_is_too_small_is_explained_too() {
    let examples = corpus::files("../recipes");
    let (_, value) = examples.iter().find(|(path, _)| path.ends_with("linux-container.json")).unwrap();
    let recipe = validate::recipe(&value.to_string()).unwrap();
    let small = DiskGeometry { size_bytes: 8 << 30, sector_bytes: 4096 };
    insta::assert_snapshot!(explain(&recipe, Some(small)));
}

#[test]
fn no_explanation_shows_a_secret() {
    let recipe = serde_json::json!({
        "task_target": "install-windows.target", "target_disk": {"serial": "S1"}, "oci_url": "images/w",
        "unattend_xml": "<hunter2/>", "user_data": {"content": "hunter2"}, "env": {"JOIN": "hunter2"},
        "first_boot_scripts": [{"url": "https://hunter2@h/x", "sha256": "0".repeat(64)}],
        "host_network": {"proxy": "http://u:hunter2@proxy:3128"}
    });
    let recipe = validate::recipe(&recipe.to_string()).unwrap();
    let text = explain(&recipe, Some(DISK));
    assert!(text.contains("answer file") && !text.contains("hunter2"), "{text}");
}
