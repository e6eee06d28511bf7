//! What tests of media begin with: a maintenance disc that is one and boots nothing, and the inputs of a task medium.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::path::Path;

use controller::media::TaskInputs;
use schema::task::{
    COMPOSED_TASK_FILE, COMPOSED_TASK_SIZE, Identity, MAINTENANCE_LABEL, TRUST_FILE, TRUST_SIZE, TaskJob,
};

/// Writes a maintenance disc with this kernel to `path`.
pub fn maintenance_iso(path: &Path, kernel: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("slipway")).unwrap();
    let trust = vec![b'\n'; usize::try_from(TRUST_SIZE).unwrap()];
    std::fs::write(folder.path().join(TRUST_FILE), trust).unwrap();
    let room = std::fs::File::create(folder.path().join(COMPOSED_TASK_FILE)).unwrap();
    room.set_len(COMPOSED_TASK_SIZE).unwrap();
    std::fs::write(folder.path().join("vmlinuz"), kernel).unwrap();
    let output = std::process::Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", MAINTENANCE_LABEL, "-o"])
        .args([path, folder.path()])
        .output()
        .expect("xorriso is needed: apt-get install xorriso");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Inputs of the task medium of an attempt at a job.
pub fn inputs(job: &str, attempt: u32) -> TaskInputs {
    TaskInputs {
        job: TaskJob {
            version: 1,
            job_id: job.into(),
            attempt,
            expected: Identity { serial: "SN-1".into(), uuid: None, macs: vec![] },
            api_url: "https://10.0.0.5:8443".into(),
            bootstrap_token: "not-a-real-token".into(),
            site_ca: None,
            issued_at: "2026-11-21T08:45:00Z".parse().unwrap(),
            image: None,
            heartbeat_seconds: 15,
            step_seconds: BTreeMap::new(),
            proxy: None,
            offline: None,
        },
        recipe: serde_json::from_str(r#"{"task_target": "inventory.target"}"#).unwrap(),
        recipe_schema: schema::validate::RECIPE_SCHEMA.to_owned(),
        host_network: None,
        remote_payloads: BTreeMap::new(),
    }
}
