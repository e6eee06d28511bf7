//! The `slipway` program against a running controller, as people and pipelines use it: words out, exit codes.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

mod api_support;

use std::io::Write as _;

use api_support::host::Script;
use api_support::{World, without_ids};
use schema::recipe::ImageKind;
use serde_json::{Value, json};

/// A file with a recipe.
fn recipe(value: &Value) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(value.to_string().as_bytes()).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Lines of the timeline without their time.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.get(..8) {
        Some(time) if time.bytes().all(|b| b.is_ascii_digit() || b == b':') => {
            format!("<time>{}", &line[8..])
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_added_shown_probed_powered_and_removed() {
    let world = World::start(1).await;
    let url = world.rack.machine(0).base_url().to_owned();
    let add =
        ["machine", "add", "S1", "--bmc", &url, "--bmc-user", "admin", "--plain-http", "--label", "rack=7"];
    let ran = world.slipway(&add, "password\n").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let ran = world.slipway(&["machine", "list", "--label", "rack=7"], "").await;
    assert!(ran.out.contains("S1      free"), "{ran:?}");
    let ran = world.slipway(&["machine", "probe", "s1"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = ran.out.lines().filter(|line| !line.contains("  media url ") && !line.contains("  clock "));
    let shown = shown.collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("a_probe_tells_whether_the_bmc_can_boot_a_job", shown);
    let ran = world.slipway(&["machine", "power", "S1", "on"], "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "on\n"), "{ran:?}");
    assert_eq!(world.rack.machine(0).power(), mock_redfish::Power::On);
    let ran = world.slipway(&["machine", "show", "S1", "--json"], "").await;
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["serial"], "S1");
    assert!(!ran.out.contains("password"), "{}", ran.out);
    assert_eq!(world.slipway(&["machine", "rm", "S1"], "").await.code, 0);
    let ran = world.slipway(&["machine", "show", "S1"], "").await;
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err, @r#"slipway: no machine has serial "S1"; add it with `slipway machine add` [machine.unknown]"#);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_a_file_or_a_pipe_and_is_not_empty() {
    let world = World::start(1).await;
    let url = world.rack.machine(0).base_url().to_owned();
    let file = world.state.path().join("bmc.password");
    std::fs::write(&file, "password\n").unwrap();
    let add = ["machine", "add", "S1", "--bmc", &url, "--bmc-user", "admin", "--plain-http"];
    let ran = world.slipway(&add, "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is empty; type it, pipe it in"), "{}", ran.err);
    let ran = world.slipway(&[&add[..], &["--password-file", file.to_str().unwrap()]].concat(), "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(world.slipway(&["machine", "power", "S1"], "").await.out, "off\n");
    // A new password is stored; an empty one keeps it.
    let replace = [&add[..], &["--replace"]].concat();
    assert_eq!(world.slipway(&replace, "wrong\n").await.code, 0);
    let ran = world.slipway(&["machine", "power", "S1"], "").await;
    assert!(ran.err.contains("refuses the stored credentials"), "{}", ran.err);
    assert_eq!(world.slipway(&replace, "password\n").await.code, 0);
    let ran = world.slipway(&[&replace[..], &["--label", "rack=7"]].concat(), "").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "S1 is changed\n"), "{ran:?}");
    assert_eq!(world.slipway(&["machine", "power", "S1"], "").await.out, "off\n");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_job_is_told_line_by_line_and_its_outcome_is_the_exit_code() {
    let world = World::start(1).await;
    world.add(0).await;
    let file = recipe(&World::inventory());
    world.player.pause(std::time::Duration::from_millis(1500));
    world.player.script("S1", Script::Succeed(vec!["inventory"]));
    let ran = world.slipway(&["job", "submit", "S1", path(&file), "--watch"], "").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("inventory is at 50 %"), "{}", ran.out);
    assert!(ran.out.lines().last().unwrap().contains(" on S1 succeeded after "), "{}", ran.out);

    world.player.script("S1", Script::Fail(vec!["inventory"]));
    let ran = world.slipway(&["job", "submit", "S1", path(&file), "--watch"], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let id = ran.out.lines().next().unwrap().to_owned();
    let verdict = ran.out.split_once(" failed after ").unwrap().1.split_once('\n').unwrap().1;
    insta::assert_snapshot!(without_ids(verdict), @r"
      inventory.service: the layer is gone (exit code 1)
      the host's log: slipway job logs <id>
    ");
    // A job that is over is told the same way.
    let again = world.slipway(&["job", "watch", &id], "").await;
    assert_eq!(again.code, 1);
    assert!(again.out.contains("complete: "), "{}", again.out);
    let logs = world.slipway(&["job", "logs", &id], "").await;
    assert!(logs.out.contains("line one\nline two"), "{logs:?}");
    let shown = world.slipway(&["job", "show", &id], "").await;
    assert!(shown.out.contains("inventory          failed"), "{}", shown.out);
    let list = world.slipway(&["job", "list", "--status", "failed", "--machine", "S1"], "").await;
    assert!(list.out.contains(&id) && list.out.contains("inventory.service"), "{}", list.out);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_2_and_one_that_nobody_knows_is_3() {
    let world = World::start(1).await;
    world.add(0).await;
    let id = world.job("S1", &World::inventory(), Script::Begin).await;
    let watch = ["job", "watch", &id];
    let watching = world.slipway(&watch, "");
    let cancelling = async {
        world.until(&id, "phase", "installing").await;
        world.slipway(&["job", "cancel", &id], "").await
    };
    let (watched, cancelled) = tokio::join!(watching, cancelling);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    assert_eq!(watched.code, 2, "{watched:?}");
    assert!(watched.out.contains("cancelled by first admin"), "{}", watched.out);
    let unknown = world.slipway(&["job", "watch", "01900000-0000-7000-8000-000000000000"], "").await;
    assert_eq!(unknown.code, 3);
    insta::assert_snapshot!(without_ids(&unknown.err), @"slipway: cannot tell how job <id> goes: there is no job <id> [job.unknown]");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_job_is_a_new_one() {
    let world = World::start(1).await;
    world.add(0).await;
    let id = world.job("S1", &World::inventory(), Script::Fail(vec!["inventory"])).await;
    world.complete(&id).await;
    world.player.script("S1", Script::Succeed(vec!["inventory"]));
    let ran = world.slipway(&["job", "retry", &id, "--watch"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_ne!(ran.out.lines().next().unwrap(), id);
    let refused = world.slipway(&["job", "retry", ran.out.lines().next().unwrap()], "").await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("[job.not_repeatable]"), "{}", refused.err);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_creates_nothing() {
    let world = World::start(1).await;
    world.add(0).await;
    assert_eq!(world.push_debian().await.code, 0);
    let file = recipe(&World::debian());
    let ran = world.slipway(&["job", "submit", "S1", path(&file), "--dry-run"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan: Vec<&str> = ran.out.lines().filter(|line| !line.starts_with("image")).collect();
    insta::assert_snapshot!(plan.join("\n"), @r"
    install-linux.target on S1
    step        preflight
    step        partition
    step        image-linux
    step        bootloader-linux
    step        config-drive
    assumed     a disk of 480000000000 bytes with 512-byte sectors
    partition   1 256 MiB vfat /boot/efi
    partition   2 446.7 GiB ext4 /
    partition   3 16 MiB vfat
    ");
    assert_eq!(world.slipway(&["job", "list"], "").await.out.lines().count(), 1);
    world.rack.machine(0).inject(mock_redfish::Injection::always(mock_redfish::Fault::status(401)));
    let ran = world.slipway(&["job", "submit", "S1", path(&file), "--dry-run"], "").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("PROBLEM     "), "{}", ran.out);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipe_is_refused_with_every_fault() {
    let world = World::start(1).await;
    world.add(0).await;
    let file = recipe(
        &json!({ "schema_version": "1", "task_target": "inventory.target", "wipe": "burn", "colour": "red" }),
    );
    let ran = world.slipway(&["job", "submit", "S1", path(&file)], "").await;
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_folder_is_a_rootfs_that_recipes_can_name() {
    let world = World::start(1).await;
    let ran = world.push_debian().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = ran.out.trim().strip_prefix("images/debian:trixie@").unwrap();
    let images =
        controller::server::RegistryImages::new(std::sync::Arc::clone(&world.server.registry), vec![]);
    let found = controller::workflow::Images::resolve(&images, ran.out.trim()).await.unwrap().unwrap();
    assert_eq!((found.says, found.digest.as_str()), (Some(ImageKind::Rootfs), digest));
    let raw = world.server.registry.resolve("images/debian", digest).await.unwrap().unwrap();
    assert_eq!(raw.layers.len(), 1);
    assert!(raw.annotations[schema::task::UNPACKED_SIZE_ANNOTATION].parse::<u64>().unwrap() > 1024);
    assert_eq!(world.push_debian().await.out, ran.out, "the same folder, another digest");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_layouts_are_pushed_as_what_they_are() {
    let world = World::start(1).await;
    let folder = world.state.path().join("push");
    std::fs::create_dir(&folder).unwrap();
    // A disk of 5 MiB that does not compress, so that it travels in several pieces.
    let mut disk = vec![0_u8; 5 << 20];
    getrandom::fill(&mut disk).unwrap();
    disk[512..520].copy_from_slice(b"EFI PART");
    let name = folder.join("disk.raw.zst");
    std::fs::write(&name, zstd::encode_all(&disk[..], 1).unwrap()).unwrap();
    let ran = world.slipway(&["image", "push", name.to_str().unwrap(), "images/disk"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("images/disk:latest@sha256:"), "{}", ran.out);
    let images =
        controller::server::RegistryImages::new(std::sync::Arc::clone(&world.server.registry), vec![]);
    let found = controller::workflow::Images::resolve(&images, "images/disk").await.unwrap().unwrap();
    assert_eq!(found.says, Some(ImageKind::Disk));
    let again = world.slipway(&["image", "push", name.to_str().unwrap(), "images/disk"], "").await;
    assert_eq!(again.out, ran.out);
    assert!(again.err.contains("is in the registry already"), "{}", again.err);
    let wrong = world
        .slipway(&["image", "push", name.to_str().unwrap(), "images/disk", "--kind", "rootfs"], "")
        .await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("is a disk, not what --kind says"), "{}", wrong.err);

    let layout = layout(&folder.join("layout"));
    let ran = world.slipway(&["image", "push", layout.to_str().unwrap(), "images/app:1"], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let found = controller::workflow::Images::resolve(&images, "images/app:1").await.unwrap().unwrap();
    assert_eq!(found.says, Some(ImageKind::Container));
    assert!(ran.out.trim().ends_with(&found.digest), "{}", ran.out);
    world.server.stop().await;
}

/// A container image of one layer as an OCI layout.
fn layout(folder: &std::path::Path) -> std::path::PathBuf {
    use sha2::{Digest as _, Sha256};
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let hex = hex::encode(Sha256::digest(bytes));
        std::fs::write(blobs.join(&hex), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    };
    let config = put(br#"{"architecture":"amd64","os":"linux"}"#, "application/vnd.oci.image.config.v1+json");
    let layer = put(&[0; 1024], "application/vnd.oci.image.layer.v1.tar");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
    let manifest = put(manifest.to_string().as_bytes(), media_type);
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(
        folder.join("index.json"),
        json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string(),
    )
    .unwrap();
    folder.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_revoked_and_a_small_role_is_refused() {
    let world = World::start(1).await;
    world.add(0).await;
    let file = world.state.path().join("ci.token");
    let create =
        ["token", "create", "ci", "--role", "viewer", "--days", "7", "--out", file.to_str().unwrap()];
    let ran = world.slipway(&create, "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let id = ran.out.trim().to_owned();
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(!ran.err.contains(secret.trim()) && !ran.out.contains(secret.trim()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let listed = world.slipway(&["token", "list"], "").await;
    assert!(listed.out.contains(&id) && listed.out.contains("ci           viewer"), "{}", listed.out);
    let as_ci = ["--token-file", file.to_str().unwrap()];
    assert_eq!(world.slipway(&[&["machine", "list"][..], &as_ci].concat(), "").await.code, 0);
    let ran = world.slipway(&[&["machine", "rm", "S1"][..], &as_ci].concat(), "").await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "slipway: token \"ci\" is viewer; this needs operator [auth.role]\n");
    assert_eq!(world.slipway(&["token", "revoke", &id], "").await.code, 0);
    let ran = world.slipway(&[&["machine", "list"][..], &as_ci].concat(), "").await;
    assert!(ran.err.contains("[auth.token]"), "{}", ran.err);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_not_there_or_not_ours_is_said_so() {
    let world = World::start(0).await;
    let ran = world.slipway(&["machine", "list", "--url", "https://127.0.0.1:1"], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is it running? see --url and --ca"), "{}", ran.err);
    let ran = world.slipway(&["machine", "list", "--url", "http://10.0.0.5:8443"], "").await;
    assert!(ran.err.contains("the token would cross the network in clear"), "{}", ran.err);
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = world.state.path().join("other.pem");
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let ran = world.slipway(&["machine", "list", "--ca", ca.to_str().unwrap()], "").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("certificate"), "{}", ran.err);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_are_checked_and_explained_without_a_controller() {
    let world = World::start(0).await;
    let bad = recipe(&json!({ "schema_version": "1", "task_target": "install-linux.target" }));
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes/linux-debian.json");
    let ran = world.slipway(&["recipe", "check", good], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = world.slipway(&["recipe", "check", good, path(&bad)], "").await;
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.out.replace(path(&bad), "bad.json").replace(good, "good.json"));
    let ran = world.slipway(&["recipe", "explain", good, "--disk-size", "480G"], "").await;
    assert!(ran.code == 0 && ran.out.contains("1. preflight"), "{ran:?}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_shows_no_name_of_a_medium() {
    let world = World::start(1).await;
    world.add(0).await;
    let id = world.job("S1", &World::inventory(), Script::Succeed(vec!["inventory"])).await;
    world.complete(&id).await;
    let ran = world.slipway(&["job", "show", &id], "").await;
    // How much was read, and how far firmware was when somebody looked, is different every time.
    let varies = |line: &&str| line.contains("has read") || line.contains("boot progress");
    let events: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| !line.contains("S1 succeeded") && !line.starts_with("  ") && !varies(line))
        .collect();
    insta::assert_snapshot!(without_times(&without_ids(&events.join("\n"))));
    world.server.stop().await;
}
