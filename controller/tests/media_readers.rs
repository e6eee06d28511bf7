//! The task medium as others read it: xorriso, isoinfo (primary, Rock Ridge and Joliet trees), bsdtar and 7z all
//! find the same files with the same bytes. A missing reader fails the test and names its package.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use controller::media::{TaskInputs, TaskMedium};
use ed25519_dalek::SigningKey;
use schema::task::{Identity, Offline, TaskJob};
use sha2::{Digest as _, Sha256};

fn inputs() -> TaskInputs {
    let recipe = serde_json::from_value(serde_json::json!({
        "task_target": "install-linux.target",
        "user_data": "#cloud-config\n".to_owned() + &"x".repeat(64 << 10),
        "meta_data": "instance-id: 1\n",
        "network_config": "version: 2\n",
        "unattend_xml": "<unattend/>",
        "ks_cfg": "vmaccepteula\n"
    }))
    .unwrap();
    let host_network = serde_json::from_value(serde_json::json!({"links": [
        {"mac": "52:54:00:00:00:01", "vlan": 7, "addresses": ["10.0.0.9/24"]},
        {"bond": {"mode": "active-backup", "members": ["52:54:00:00:00:02", "52:54:00:00:00:03"]}}
    ]}))
    .unwrap();
    TaskInputs {
        job: TaskJob {
            version: 1,
            job_id: "0190b5a0-0000-7000-8000-000000000001".into(),
            attempt: 3,
            expected: Identity { serial: "SN-1".into(), uuid: None, macs: vec![] },
            api_url: "https://10.0.0.5:8443".into(),
            bootstrap_token: "not-a-real-token".into(),
            site_ca: Some("-----BEGIN CERTIFICATE-----\n".into()),
            issued_at: "2026-11-21T08:45:00Z".parse().unwrap(),
            image: None,
            heartbeat_seconds: 15,
            step_seconds: BTreeMap::new(),
            proxy: None,
            offline: Some(Offline { expires_at: "2026-11-22T08:45:00Z".parse().unwrap() }),
        },
        recipe,
        recipe_schema: "{\"title\": \"recipe\"}\n".repeat(2000),
        host_network: Some(host_network),
        remote_payloads: BTreeMap::new(),
    }
}

/// Path to SHA-256: the manifest's own list, plus the manifest and its signature.
fn wanted(image: &Path) -> BTreeMap<String, String> {
    let manifest = run("isoinfo", &["-R", "-x", "/manifest.json", "-i", image.to_str().unwrap()]);
    let signature = run("isoinfo", &["-R", "-x", "/manifest.sig", "-i", image.to_str().unwrap()]);
    assert_eq!(signature.len(), 64);
    let mut files: schema::task::Manifest = serde_json::from_slice(&manifest).unwrap();
    files.files.insert("manifest.json".into(), digest(&manifest));
    files.files.insert("manifest.sig".into(), digest(&signature));
    assert_eq!(files.files.len(), 16, "{:?}", files.files.keys());
    files.files
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let package = match program {
        "isoinfo" => "genisoimage",
        "bsdtar" => "libarchive-tools",
        "7z" => "p7zip-full",
        other => other,
    };
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: apt-get install {package} ({error})"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Every file under `root`, by path, as SHA-256.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, digest(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

struct Bench {
    folder: tempfile::TempDir,
    image: PathBuf,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("task.iso");
    let medium = TaskMedium::build(&inputs(), &SigningKey::from_bytes(&[7; 32])).unwrap();
    std::fs::write(&image, &medium.bytes).unwrap();
    Bench { folder, image }
}

impl Bench {
    fn image(&self) -> &str {
        self.image.to_str().unwrap()
    }
    fn out(&self) -> PathBuf {
        let out = self.folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        out
    }
}

#[test]
fn xorriso_reads_a_task_medium() {
    let bench = bench();
    let out = bench.out();
    let stdout = run(
        "xorriso",
        &[
            "-abort_on",
            "WARNING",
            "-indev",
            bench.image(),
            "-osirrox",
            "on",
            "-extract",
            "/",
            out.to_str().unwrap(),
        ],
    );
    drop(stdout);
    assert_eq!(tree(&out), wanted(&bench.image));
}

#[test]
fn bsdtar_reads_a_task_medium() {
    let bench = bench();
    let out = bench.out();
    run("bsdtar", &["-x", "-f", bench.image(), "-C", out.to_str().unwrap()]);
    assert_eq!(tree(&out), wanted(&bench.image));
}

#[test]
fn seven_zip_reads_a_task_medium() {
    let bench = bench();
    let out = bench.out();
    run("7z", &["x", "-y", &format!("-o{}", out.to_str().unwrap()), bench.image()]);
    assert_eq!(tree(&out), wanted(&bench.image));
}

#[test]
fn isoinfo_finds_every_file_in_the_rock_ridge_and_joliet_trees_and_all_in_the_primary_one() {
    let bench = bench();
    let wanted = wanted(&bench.image);
    for tree in ["-R", "-J"] {
        for (path, sha256) in &wanted {
            let bytes = run("isoinfo", &[tree, "-x", &format!("/{path}"), "-i", bench.image()]);
            assert_eq!(&digest(&bytes), sha256, "{tree} {path}");
        }
    }
    let listed = run("isoinfo", &["-f", "-i", bench.image()]);
    let files = String::from_utf8(listed).unwrap().lines().filter(|line| line.ends_with(";1")).count();
    assert_eq!(files, wanted.len());
}

#[test]
fn the_label_and_every_date_are_the_jobs() {
    let bench = bench();
    let info = String::from_utf8(run("isoinfo", &["-d", "-i", bench.image()])).unwrap();
    assert!(info.contains("Volume id: SLIPWAY_TASK\n"), "{info}");
    assert!(info.contains("Joliet with UCS level 3") && info.contains("Rock Ridge"), "{info}");
    let list = String::from_utf8(run("bsdtar", &["-t", "-v", "-f", bench.image()])).unwrap();
    let dates: std::collections::BTreeSet<String> = list
        .lines()
        .map(|line| line.split_whitespace().skip(5).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(dates.len(), 1, "{list}");
}
