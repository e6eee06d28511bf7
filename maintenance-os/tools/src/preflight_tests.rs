//! What is proved before anything is erased.

use schema::recipe::{DiskChoice, DiskHints, Recipe};

use super::*;
use crate::runner::RecordingRunner;
use crate::testing::registry::TinyRegistry;
use crate::testing::{self, vda};

const LSBLK: &str = r#"{"blockdevices":[{"name":"vda","kname":"vda","path":"/dev/vda","type":"disk","size":10737418240,
    "serial":"DISK1","tran":"virtio","rm":false,"ro":false,"rota":true,"log-sec":512,"disc-max":0,"mountpoints":[null]}]}"#;

fn uefi() -> Hardware {
    Hardware { firmware: Firmware::Uefi, memory_bytes: 8 << 30, raid: vec![] }
}

fn runner() -> RecordingRunner {
    let mut runner = RecordingRunner::default();
    runner.answers.insert("lsblk".into(), vec![LSBLK.into()]);
    runner
}

fn settled(recipe: &Recipe, hardware: &Hardware) -> Result<Checks, PreflightError> {
    let folder = testing::provision_with(recipe, &testing::job(ImageKind::Rootfs, "https://10.0.0.5:8443"));
    plan(&testing::handoff(&folder), vec![vda()], hardware)
}

#[test]
fn the_checks_read_as_a_transcript() {
    let recipe = Recipe {
        tools: [("partition".to_owned(), format!("10.0.0.5:8443/tools/part:2@sha256:{}", "b".repeat(64)))]
            .into(),
        ..testing::recipe()
    };
    let folder = testing::provision_with(&recipe, &testing::job(ImageKind::Rootfs, "https://10.0.0.5:8443"));
    let handoff = testing::handoff(&folder);
    insta::assert_snapshot!(plan(&handoff, vec![vda()], &uefi()).unwrap().transcript(&handoff));
}

#[test]
fn what_cannot_succeed_is_refused_by_name() {
    let recipe = testing::recipe;
    let bios = Hardware { firmware: Firmware::Bios, ..uefi() };
    let small = Hardware { memory_bytes: 2 << 30, ..uefi() };
    let large = Recipe {
        target_disk: Some(DiskChoice::Hints(DiskHints { min_size: Some("1T".into()), ..Default::default() })),
        ..recipe()
    };
    let tool = Recipe { tools: [("partition".to_owned(), "tools/part:2".to_owned())].into(), ..recipe() };
    let layout =
        |layout: &str| Recipe { partition_layout: serde_json::from_str(layout).unwrap(), ..recipe() };
    let too_much = layout(
        r#"[{"size":"20G","type_guid":"ef00","format":"vfat"},{"size":"rest","type_guid":"8300","format":"ext4","mountpoint":"/"}]"#,
    );
    for (recipe, hardware, says) in [
        (recipe(), &bios, "laying out /dev/vda"),
        (recipe(), &small, "2 GiB of usable memory"),
        (large, &uefi(), "no disk matches"),
        (tool, &uefi(), "tools.partition"),
        (too_much, &uefi(), "laying out /dev/vda"),
        (Recipe { wipe: Some(Wipe::Discard), ..recipe() }, &uefi(), "wipe: discard"),
        (Recipe { wipe: Some(Wipe::SecureErase), ..recipe() }, &uefi(), "wipe: secure-erase"),
    ] {
        let error = settled(&recipe, hardware).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn an_image_that_is_all_there_lets_the_disk_be_chosen_and_nothing_be_written() {
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Container, &[b"one", b"three"]);
    let folder = testing::provision_with(&testing::recipe(), &job);
    let handoff = testing::handoff(&folder);
    let mut runner = runner();
    run(&handoff, &mut runner, &uefi()).unwrap();
    assert_eq!(handoff.disk().unwrap().serial.as_deref(), Some("DISK1"));
    assert!(
        runner.done.lines().all(|line| line.starts_with("lsblk ") || line.starts_with("# ")),
        "{}",
        runner.done
    );
    let requests = registry.requests.lock().unwrap();
    assert_eq!(requests.iter().filter(|request| request.starts_with("HEAD")).count(), 2, "{requests:?}");
    assert!(!requests.iter().any(|request| request.starts_with("GET") && request.contains("blobs")));
}

#[test]
fn an_image_that_is_not_all_there_is_refused_and_no_disk_is_chosen() {
    type Harm = fn(&TinyRegistry);
    let cases: [(Harm, &str); 4] = [
        (
            |registry| {
                drop(registry.files.lock().unwrap().remove(&format!(
                    "/v2/images/debian/blobs/{}",
                    crate::testing::registry::digest(b"layer")
                )));
            },
            "is not in the registry any more (404)",
        ),
        (
            |registry| registry.files.lock().unwrap().retain(|path, _| !path.contains("manifests")),
            "is not in the registry any more (404)",
        ),
        (
            |registry| registry.files.lock().unwrap().values_mut().for_each(|bytes| bytes.push(b' ')),
            "does not hold what its digest says",
        ),
        (
            |registry| {
                registry
                    .files
                    .lock()
                    .unwrap()
                    .iter_mut()
                    .filter(|(path, _)| path.contains("blobs"))
                    .for_each(|(_, bytes)| bytes.push(b' '));
            },
            "has 6 bytes, its manifest says 5",
        ),
    ];
    for (harm, says) in cases {
        let registry = TinyRegistry::start();
        let folder =
            testing::provision_with(&testing::recipe(), &registry.job(ImageKind::Rootfs, &[b"layer"]));
        harm(&registry);
        let handoff = testing::handoff(&folder);
        let error = anyhow::Error::from(run(&handoff, &mut runner(), &uefi()).unwrap_err());
        assert!(format!("{error:#}").contains(says), "{says}: {error:#}");
        assert!(handoff.disk().is_err(), "no disk.json, so no later step can write");
    }
}

#[test]
fn a_dead_token_an_unreachable_registry_and_a_wrong_kind_are_told_apart() {
    let registry = TinyRegistry::start();
    let job = registry.job(ImageKind::Rootfs, &[b"a", b"b"]);
    let folder = testing::provision_with(&testing::recipe(), &job);
    let said = |folder: &tempfile::TempDir| {
        let error = anyhow::Error::from(run(&testing::handoff(folder), &mut runner(), &uefi()).unwrap_err());
        format!("{error:#}")
    };
    assert!(said(&folder).contains("exactly one blob"), "{}", said(&folder));
    std::fs::write(folder.path().join("token"), "another-token").unwrap();
    let dead = said(&folder);
    assert!(
        dead.contains("may not be read with this job's token (401)") && !dead.contains("another-token"),
        "{dead}"
    );
    let folder =
        testing::provision_with(&testing::recipe(), &testing::job(ImageKind::Rootfs, "http://127.0.0.1:1"));
    assert!(
        said(&folder).contains("asking http://127.0.0.1:1/v2/images/debian/manifests/"),
        "{}",
        said(&folder)
    );
    let folder =
        testing::provision_with(&testing::recipe(), &testing::job(ImageKind::Rootfs, "http://10.0.0.5:5000"));
    assert!(said(&folder).contains("is not https"), "{}", said(&folder));
}

#[test]
fn an_image_larger_than_its_place_is_refused() {
    let checks = settled(&testing::recipe(), &uefi()).unwrap();
    let manifest = |unpacked| Manifest {
        layers: vec![crate::manifest::Layer { digest: String::new(), size: 5 << 30 }],
        unpacked,
    };
    assert!(check_room(&checks, ImageKind::Rootfs, &manifest(None)).is_ok());
    let error = check_room(&checks, ImageKind::Rootfs, &manifest(Some(10 << 30))).unwrap_err().to_string();
    assert!(
        error.starts_with("the image needs 10 GiB but the layout's filesystems on /dev/vda have")
            || error.contains("has"),
        "{error}"
    );
    assert!(check_room(&checks, ImageKind::Disk, &manifest(Some(10 << 30))).is_ok());
    assert!(check_room(&checks, ImageKind::Disk, &manifest(Some((10 << 30) + 1))).is_err());
}

/// A certificate authority and a server configuration with a certificate of it for 127.0.0.1.
fn authority() -> (String, std::sync::Arc<rustls::ServerConfig>) {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "registry.invalid".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (ca.pem(), config.into())
}

#[test]
fn the_registry_is_trusted_by_the_site_s_own_authority_and_by_nothing_else() {
    let (ca, server) = authority();
    let registry = TinyRegistry::start_tls(server);
    let job = registry.job(ImageKind::Rootfs, &[b"layer"]);
    let with = |site_ca: Option<String>| {
        let job = schema::task::TaskJob { site_ca, ..job.clone() };
        let folder = testing::provision_with(&testing::recipe(), &job);
        let outcome = run(&testing::handoff(&folder), &mut runner(), &uefi());
        outcome.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    with(Some(ca)).unwrap();
    let asked = registry.requests.lock().unwrap().len();
    for stranger in [None, Some(authority().0)] {
        let error = with(stranger).unwrap_err();
        assert!(error.contains("asking https://127.0.0.1") && error.contains("ertificate"), "{error}");
    }
    assert_eq!(registry.requests.lock().unwrap().len(), asked, "the token is not shown to a stranger");
}

#[test]
fn the_registry_is_reached_through_the_proxy_of_the_job() {
    let (ca, server) = authority();
    let registry = TinyRegistry::start_tls(server);
    let proxy = testing::proxy::TinyProxy::start(registry.base.strip_prefix("https://").unwrap());
    let job = registry.job(ImageKind::Rootfs, &[b"layer"]);
    let image = job.image.clone().unwrap();
    let job = schema::task::TaskJob {
        site_ca: Some(ca),
        proxy: Some(proxy.url.clone()),
        image: Some(schema::task::TaskImage {
            registry: "https://registry.invalid:8443".to_owned(),
            ..image
        }),
        ..job
    };
    let folder = testing::provision_with(&testing::recipe(), &job);
    run(&testing::handoff(&folder), &mut runner(), &uefi()).unwrap();
    let asked = proxy.asked.lock().unwrap();
    let login = "Basic dXNlcjpzZWNyZXQ=".to_owned();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|asked| *asked == ("registry.invalid:8443".to_owned(), login.clone())),
        "{asked:?}"
    );
    assert!(registry.requests.lock().unwrap().iter().any(|request| request.contains("/manifests/")));
}
