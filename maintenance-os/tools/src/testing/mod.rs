//! What several unit tests need: a hand-off folder, a disk, a job.

pub mod proxy;
pub mod registry;

use std::fs;

use schema::layout::LayoutPlan;
use schema::recipe::{ImageKind, Recipe};
use schema::task::{Identity, TaskImage, TaskJob};
use tempfile::TempDir;

use crate::disk::{Disk, Node};
use crate::handoff::Handoff;

/// A recipe as the demo uses it.
pub fn recipe() -> Recipe {
    serde_json::from_str(
        r#"{
            "task_target": "install-linux.target",
            "target_disk": {"min_size": "4G"},
            "oci_url": "images/debian:trixie",
            "partition_layout": [
                {"size": "256M", "type_guid": "ef00", "format": "vfat", "label": "ESP", "mountpoint": "/boot/efi"},
                {"size": "512M", "type_guid": "8200", "format": "swap", "label": "swap"},
                {"size": "rest", "type_guid": "8304", "format": "ext4", "label": "root", "mountpoint": "/"}
            ],
            "user_data": "x: y\n"
        }"#,
    )
    .unwrap()
}

/// A job for an image of that kind.
pub fn job(kind: ImageKind, registry: &str) -> TaskJob {
    TaskJob {
        version: 1,
        job_id: "0190f3a2-0000-7000-8000-000000000001".into(),
        attempt: 1,
        expected: Identity { serial: "SRV1".into(), ..Default::default() },
        api_url: registry.to_owned(),
        bootstrap_token: "unused".into(),
        site_ca: None,
        issued_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        image: Some(TaskImage {
            registry: registry.to_owned(),
            repository: "images/debian".into(),
            digest: format!("sha256:{}", "a".repeat(64)),
            kind,
        }),
        heartbeat_seconds: 30,
        step_seconds: std::collections::BTreeMap::default(),
        proxy: None,
        offline: None,
    }
}

/// A hand-off folder with those documents.
pub fn provision_with(recipe: &Recipe, job: &TaskJob) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    put("recipe.json", serde_json::to_string(recipe).unwrap());
    put("job.json", serde_json::to_string(job).unwrap());
    put("layout.json", serde_json::to_string(&LayoutPlan::from_recipe(recipe)).unwrap());
    put("token", "session-token\n".into());
    folder
}

/// The usual hand-off folder.
pub fn provision() -> TempDir {
    provision_with(&recipe(), &job(ImageKind::Rootfs, "http://127.0.0.1:1"))
}

/// The hand-off of that folder.
pub fn handoff(folder: &TempDir) -> Handoff {
    Handoff::read(folder.path()).unwrap()
}

/// A disk of 10 GiB in a virtual machine.
pub fn vda() -> Disk {
    Disk {
        name: "vda".into(),
        path: "/dev/vda".into(),
        kind: "disk".into(),
        size_bytes: 10 << 30,
        sector_bytes: 512,
        serial: Some("DISK1".into()),
        transport: Some("virtio".into()),
        by_id: vec!["/dev/disk/by-id/virtio-DISK1".into()],
        by_path: vec!["/dev/disk/by-path/pci-0000:00:04.0".into()],
        ..Default::default()
    }
}

/// An old partition.
pub fn part(path: &str, parttype: &str, nodes: Vec<Node>) -> Node {
    Node {
        path: path.into(),
        kind: "part".into(),
        size_bytes: 1 << 30,
        parttype: Some(parttype.into()),
        partuuid: Some(format!("00000000-0000-0000-0000-0000000000{:0>2}", &path[path.len() - 1..])),
        nodes,
        ..Default::default()
    }
}

/// Something on a partition.
pub fn on_top(path: &str, kind: &str, nodes: Vec<Node>) -> Node {
    Node { path: path.into(), kind: kind.into(), size_bytes: 1 << 30, nodes, ..Default::default() }
}
