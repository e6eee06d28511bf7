//! The clients that people use: skopeo, podman, buildah and oras, against a registry on loopback.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions: a helper that cannot go on ends its test

mod registry_support;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use controller::registry::{
    auth::{Access, Action, Authorizer, Credentials, Identity, Open, Verdict},
    digest::Digest,
};
use registry_support::{Rig, options, rig, rig_with_realm, sha256};
use serde_json::{Value, json};

/// Longest run of one client call.
const CALL_TIME: Duration = Duration::from_secs(120);

/// Where `cargo xtask test` puts programs that the host's release has not packaged.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/slipway/tools/usr/bin");

/// The program as it is to be called; a test without its program fails, and says what to install.
fn program(name: &str) -> String {
    let kept = format!("{TOOLS}/{name}");
    for candidate in [kept.as_str(), name] {
        // Even a program that knows no such word is there.
        if std::process::Command::new(candidate).arg("version").output().is_ok() {
            return candidate.to_owned();
        }
    }
    panic!(
        "{name} is needed: apt-get install {name}; `cargo xtask setup` does it, and keeps what this release lacks in {TOOLS}"
    );
}

/// Runs a client to its good end; what it printed.
async fn run(program: &str, args: &[&(dyn AsRef<OsStr> + Sync)]) -> String {
    let (good, text) = attempt(program, args).await;
    assert!(good, "{program} {:?}: {text}", args.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    text
}

async fn attempt(program: &str, args: &[&(dyn AsRef<OsStr> + Sync)]) -> (bool, String) {
    let mut command = tokio::process::Command::new(program);
    command.args(args.iter().map(AsRef::as_ref)).kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(CALL_TIME, command.output()).await.expect("a client hangs").unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// An OCI layout with one image of two layers, tagged `1`; the manifest's digest and the second layer's bytes.
fn layout(dir: &Path) -> (Digest, Vec<u8>) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = sha256(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest
    };
    let small = tar_of("etc/motd", b"hello\n");
    let noise: Vec<u8> =
        (0..9_000_000_u64).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let large = tar_of("opt/noise", &noise);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&small), sha256(&large)]},
    })
    .to_string();
    let tar_type = "application/vnd.oci.image.layer.v1.tar";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": registry_support::MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config.as_bytes()), "size": config.len()},
        "layers": [
            {"mediaType": tar_type, "digest": put(&small), "size": small.len()},
            {"mediaType": tar_type, "digest": put(&large), "size": large.len()},
        ],
    })
    .to_string();
    let digest = put(manifest.as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": registry_support::MANIFEST, "digest": digest, "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    }]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    (digest, large)
}

fn tar_of(path: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, path, content).unwrap();
    archive.into_inner().unwrap()
}

fn image_at(rig: &Rig, name: &str) -> String {
    format!("docker://{}/{name}", rig.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_an_image_in_between_and_out_unchanged() {
    program("skopeo");
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    let (digest, large) = layout(&folder.path().join("in"));
    let source = format!("oci:{}:1", folder.path().join("in").display());
    let (there, copy) = (image_at(&rig, "os/test:1"), image_at(&rig, "other/copy:2"));
    let insecure = [
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ];
    let copied = async |from: &str, to: &str| {
        let mut args: Vec<&(dyn AsRef<OsStr> + Sync)> = insecure.iter().map(|arg| arg as _).collect();
        args.extend([&from as &(dyn AsRef<OsStr> + Sync), &to as _]);
        run("skopeo", &args).await
    };
    copied(&source, &there).await;
    assert_eq!(rig.registry.resolve("os/test", "1").await.unwrap().unwrap().digest, digest);
    copied(&there, &copy).await;
    let out = format!("dir:{}", folder.path().join("out").display());
    copied(&copy, &out).await;
    let written = std::fs::read(folder.path().join("out/manifest.json")).unwrap();
    assert_eq!(sha256(&written), digest);
    let layer = std::fs::read(folder.path().join("out").join(sha256(&large).hex())).unwrap();
    assert!(layer == large);
    copied(&source, &there).await; // a second push of the same sends nothing and is as good

    let plain = "--tls-verify=false";
    let tags = run("skopeo", &[&"list-tags", &plain, &image_at(&rig, "os/test")]).await;
    assert_eq!(serde_json::from_str::<Value>(&tags).unwrap()["Tags"], json!(["1"]));
    let seen = run("skopeo", &[&"inspect", &plain, &there]).await;
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["Digest"], json!(digest));
    run("skopeo", &[&"delete", &plain, &there]).await;
    assert_eq!(rig.registry.resolve("os/test", "1").await.unwrap(), None);
    assert!(rig.registry.resolve("other/copy", "2").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_packs_layers_with_zstd_and_syncs_a_repository_with_all_its_tags() {
    program("skopeo");
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path());
    let source = format!("oci:{}:1", folder.path().display());
    let (policy, plain) = ("--insecure-policy", "--dest-tls-verify=false");
    let packed = image_at(&rig, "os/test:zstd");
    let zstd = "--dest-compress-format=zstd";
    run("skopeo", &[&policy, &"copy", &plain, &zstd, &source, &packed]).await;
    run("skopeo", &[&policy, &"copy", &plain, &source, &image_at(&rig, "os/test:plain")]).await;
    let found = rig.registry.resolve("os/test", "zstd").await.unwrap().unwrap();
    for layer in &found.layers {
        assert_eq!(layer.media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
        let bytes = std::fs::read(rig.registry.blob_path(&layer.digest)).unwrap();
        assert!(bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "what is called zstd is zstd");
    }
    let (from, to) = (format!("{}/os/test", rig.address), format!("{}/mirror", rig.address));
    let sync = ["sync", "--src-tls-verify=false", "--src=docker", "--dest=docker"];
    let mut args: Vec<&(dyn AsRef<OsStr> + Sync)> = vec![&policy];
    args.extend(sync.iter().map(|arg| arg as &(dyn AsRef<OsStr> + Sync)));
    args.extend([&plain as &(dyn AsRef<OsStr> + Sync), &from, &to]);
    run("skopeo", &args).await;
    for tag in ["zstd", "plain"] {
        let ours = rig.registry.resolve("os/test", tag).await.unwrap().unwrap();
        assert_eq!(rig.registry.resolve("mirror/test", tag).await.unwrap().unwrap().digest, ours.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_moves_an_artifact_of_a_gibibyte_there_and_back() {
    let oras = program("oras");
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk.img");
    let mut piece: Vec<u8> =
        (0..1_u64 << 20).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let mut written = std::fs::File::create(&file).unwrap();
    for number in 0..1024_u64 {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        std::io::Write::write_all(&mut written, &piece).unwrap();
    }
    let there = format!("{}/disks/large:1", rig.address);
    let loose = "--disable-path-validation";
    run(&oras, &[&"push", &"--plain-http", &loose, &there, &file]).await;
    let sum = async || run("sha256sum", &[&file]).await;
    let sent = sum().await;
    std::fs::remove_file(&file).unwrap();
    run(&oras, &[&"pull", &"--plain-http", &"--allow-path-traversal", &"--output", &folder.path(), &there])
        .await;
    assert_eq!(sum().await, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_pushes_attaches_discovers_copies_and_pulls_artifacts() {
    let oras = program("oras");
    let rig = rig().await;
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> =
        (0..7_000_000_u64).map(|number| number.wrapping_mul(40_503).to_le_bytes()[1]).collect();
    let file = folder.path().join("rootfs.tar.zst");
    std::fs::write(&file, &content).unwrap();
    std::fs::write(folder.path().join("sbom.json"), "{}").unwrap();
    let at = |name: &str| format!("{}/{name}", rig.address);
    let (there, copy) = (at("os/rootfs:1"), at("mirror/rootfs:1"));
    let (plain, loose) = ("--plain-http", "--disable-path-validation");
    let piece = format!("{}:application/zstd", file.display());
    let kind = "--artifact-type=application/vnd.slipway.rootfs";
    run(&oras, &[&"push", &plain, &loose, &kind, &there, &piece]).await;
    let found = rig.registry.resolve("os/rootfs", "1").await.unwrap().unwrap();
    assert_eq!(found.artifact_type.as_deref(), Some("application/vnd.slipway.rootfs"));
    assert_eq!(found.layers[0].media_type, "application/zstd");
    assert_eq!(found.layers[0].digest, sha256(&content));

    let bill = format!("{}:application/spdx+json", folder.path().join("sbom.json").display());
    run(&oras, &[&"attach", &plain, &loose, &"--artifact-type=application/spdx", &there, &bill]).await;
    let seen = run(&oras, &[&"discover", &plain, &"--format=json", &there]).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["manifests"][0]["artifactType"], "application/spdx", "{seen}");
    let tags = run(&oras, &[&"repo", &"tags", &plain, &at("os/rootfs")]).await;
    assert_eq!(tags.trim(), "1", "attaching leaves no tag behind");
    run(&oras, &[&"tag", &plain, &there, &"2"]).await;

    run(&oras, &[&"cp", &"--recursive", &"--from-plain-http", &"--to-plain-http", &there, &copy]).await;
    let out = folder.path().join("out");
    run(&oras, &[&"pull", &plain, &"--allow-path-traversal", &"--output", &out, &copy]).await;
    std::fs::write(&file, b"changed, so that the pull must have written it").unwrap();
    run(&oras, &[&"pull", &plain, &"--allow-path-traversal", &"--output", &out, &copy]).await;
    assert!(std::fs::read(&file).unwrap() == content);
    let seen = run(&oras, &[&"repo", &"ls", &plain, &rig.address.to_string()]).await;
    assert_eq!(seen.lines().collect::<Vec<_>>(), ["mirror/rootfs", "os/rootfs"]);
    run(&oras, &[&"manifest", &"delete", &plain, &"--force", &there]).await;
    assert_eq!(rig.registry.resolve("os/rootfs", "2").await.unwrap(), None, "its other tag went with it");
}

/// `ci` may do everything, anybody may pull.
struct Site;

#[async_trait]
impl Authorizer for Site {
    async fn authorize(&self, credentials: &Credentials, access: &Access) -> Verdict {
        match (credentials, access) {
            (Credentials::Basic { user, password }, _) if user == "ci" && password.as_str() == "s3cret" => {
                Verdict::Allowed(Identity("ci".to_owned()))
            }
            (Credentials::Anonymous, Access::Repository { action: Action::Pull, .. }) => {
                Verdict::Allowed(Identity("anonymous".to_owned()))
            }
            _ => Verdict::Challenge,
        }
    }
}

/// A podman with storage of its own, and the file of its logins.
struct Podman {
    folder: tempfile::TempDir,
    logins: PathBuf,
}

impl Podman {
    fn new(rig: &Rig, user: &str, password: &str) -> Self {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let folder = tempfile::tempdir().unwrap();
        let logins = folder.path().join("auth.json");
        let login = STANDARD.encode(format!("{user}:{password}"));
        let content = json!({"auths": {rig.address.to_string(): {"auth": login}}});
        std::fs::write(&logins, content.to_string()).unwrap();
        Self { folder, logins }
    }

    async fn attempt(&self, args: &[&str]) -> (bool, String) {
        let (root, run) = (self.folder.path().join("root"), self.folder.path().join("run"));
        let mut all: Vec<&(dyn AsRef<OsStr> + Sync)> =
            vec![&"--root", &root, &"--runroot", &run, &"--storage-driver=vfs"];
        all.extend(args.iter().map(|arg| arg as &(dyn AsRef<OsStr> + Sync)));
        attempt("podman", &all).await
    }

    async fn run(&self, args: &[&str]) -> String {
        let (good, text) = self.attempt(args).await;
        assert!(good, "podman {args:?}: {text}");
        text
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // podman may leave its storage mounted, which keeps the folder from being removed
        let root = self.folder.path().join("root/vfs");
        drop(std::process::Command::new("umount").arg("-l").arg(root).output());
    }
}

async fn pushes_and_pulls(rig: &Rig) {
    let podman = Podman::new(rig, "ci", "s3cret");
    let tar = podman.folder.path().join("rootfs.tar");
    std::fs::write(&tar, tar_of("etc/hostname", b"unit\n")).unwrap();
    podman.run(&["import", tar.to_str().unwrap(), "localhost/unit:1"]).await;
    let logins = format!("--authfile={}", podman.logins.display());
    for (format, media_type) in [
        ("oci", "application/vnd.oci.image.manifest.v1+json"),
        ("v2s2", "application/vnd.docker.distribution.manifest.v2+json"),
    ] {
        let there = format!("{}/os/unit:{format}", rig.address);
        let form = format!("--format={format}");
        podman.run(&["push", "--tls-verify=false", &logins, &form, "localhost/unit:1", &there]).await;
        let found = rig.registry.resolve("os/unit", format).await.unwrap().unwrap();
        assert_eq!(found.media_type, media_type);
        assert!(found.missing.is_empty());
        assert!(!found.layers.is_empty());
        podman.run(&["rmi", "--force", "--all"]).await;
        podman.run(&["pull", "--tls-verify=false", &logins, &there]).await;
        let seen = podman.run(&["image", "inspect", "--format={{.Digest}}", &there]).await;
        assert_eq!(seen.trim(), found.digest.to_string());
        podman.run(&["tag", &there, "localhost/unit:1"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pushes_and_pulls_with_a_login_and_not_with_a_wrong_one() {
    program("podman");
    let rig = registry_support::rig_with(options(), Arc::new(Site)).await;
    pushes_and_pulls(&rig).await;
    let wrong = Podman::new(&rig, "ci", "guess");
    let logins = format!("--authfile={}", wrong.logins.display());
    let there = format!("{}/os/unit:oci", rig.address);
    let (good, text) = wrong.attempt(&["pull", "--tls-verify=false", &logins, &there]).await;
    assert!(!good && (text.contains("unauthorized") || text.contains("authentication")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pushes_and_pulls_with_tokens_and_anybody_may_pull() {
    program("podman");
    let rig = rig_with_realm(Arc::new(Site)).await;
    pushes_and_pulls(&rig).await;
    let nobody = Podman::new(&rig, "", "");
    std::fs::write(&nobody.logins, "{}").unwrap();
    let logins = format!("--authfile={}", nobody.logins.display());
    let there = format!("{}/os/unit:oci", rig.address);
    nobody.run(&["pull", "--tls-verify=false", &logins, &there]).await;
    let other = format!("{}/os/mine:1", rig.address);
    let (good, _) = nobody.attempt(&["push", "--tls-verify=false", &logins, &there, &other]).await;
    assert!(!good, "reading is all that nobody may do");
    assert_eq!(rig.registry.resolve("os/mine", "1").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_logs_in_builds_pushes_and_pulls() {
    program("buildah");
    let rig = rig_with_realm(Arc::new(Site)).await;
    let folder = tempfile::tempdir().unwrap();
    let (root, runroot) = (folder.path().join("root"), folder.path().join("run"));
    let logins = folder.path().join("auth.json");
    let buildah = async |args: &[&str]| {
        let mut all: Vec<&(dyn AsRef<OsStr> + Sync)> =
            vec![&"--root", &root, &"--runroot", &runroot, &"--storage-driver=vfs"];
        all.extend(args.iter().map(|arg| arg as &(dyn AsRef<OsStr> + Sync)));
        run("buildah", &all).await
    };
    let file = folder.path().join("motd");
    std::fs::write(&file, "hello\n").unwrap();
    let there = format!("{}/tools/built:1", rig.address);
    let (plain, logged) = ("--tls-verify=false", format!("--authfile={}", logins.display()));
    // The password comes by a file that login reads in place of the terminal.
    let login = format!(
        "printf s3cret | buildah login {plain} {logged} --username ci --password-stdin {}",
        rig.address
    );
    run("sh", &[&"-c", &login]).await;
    let container = buildah(&["from", "scratch"]).await;
    let container = container.trim();
    buildah(&["copy", container, file.to_str().unwrap(), "/etc/motd"]).await;
    buildah(&["commit", container, "localhost/built:1"]).await;
    buildah(&["push", plain, &logged, "localhost/built:1", &there]).await;
    let found = rig.registry.resolve("tools/built", "1").await.unwrap().unwrap();
    assert!(found.missing.is_empty() && !found.layers.is_empty());
    buildah(&["rmi", "--force", "--all"]).await;
    buildah(&["pull", plain, &logged, &there]).await;
    let again = buildah(&["from", "--pull-never", &there]).await;
    let seen = buildah(&["inspect", "--format={{.FromImageDigest}}", again.trim()]).await;
    assert_eq!(seen.trim(), found.digest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_registry_takes_an_image_by_digest_alone_without_a_login() {
    program("skopeo");
    let rig = registry_support::rig_with(options(), Arc::new(Open)).await;
    let folder = tempfile::tempdir().unwrap();
    let (digest, _) = layout(folder.path());
    let source = format!("oci:{}:1", folder.path().display());
    let there = image_at(&rig, &format!("os/test@{digest}"));
    run(
        "skopeo",
        &[&"--insecure-policy", &"copy", &"--preserve-digests", &"--dest-tls-verify=false", &source, &there],
    )
    .await;
    assert!(
        rig.registry.resolve("os/test", &digest.to_string()).await.unwrap().is_some(),
        "pushed by digest alone"
    );
}
