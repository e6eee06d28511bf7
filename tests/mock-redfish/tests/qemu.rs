//! The qemu backend with real firmware: discs over HTTP, one-time boots, boot order, guests that restart and
//! switch off, a network without DHCP. What boots is a program made in
//! `support::efi`, which says on the console where it came from.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    time::Duration,
};

use mock_redfish::{
    BootSource, Enabled, MachineConfig, Power, Rack, RackConfig,
    backend::qemu::{DiskConfig, Network, QemuConfig, vars::Vars},
};
use reqwest::StatusCode;
use support::{
    Client, ImageServer,
    efi::{End, program},
};

/// One boot of the firmware under TCG on a busy host.
const BOOT: Duration = Duration::from_secs(180);

/// Where UEFI looks when no boot entry says otherwise, as mtools writes it.
const REMOVABLE: &str = "::EFI/BOOT/BOOTX64.EFI";
/// GUID of the partition on [`disk`].
const PARTITION: &str = "0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0";

/// Runs a program of a Debian package that the test cannot do without.
fn run(package: &str, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; install the Debian package {package}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A FAT filesystem of 16 MiB that UEFI boots.
fn esp(folder: &Path, name: &str, line: &str, end: End, path: &str) -> PathBuf {
    let efi = folder.join(format!("{name}.efi"));
    std::fs::write(&efi, program(line, end)).unwrap();
    let image = folder.join(format!("{name}.img"));
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let image_text = image.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &["-n", "MOCK", image_text]);
    run("mtools", "mmd", &["-i", image_text, "::EFI", "::EFI/BOOT", "::EFI/MOCK"]);
    run("mtools", "mcopy", &["-i", image_text, efi.to_str().unwrap(), path]);
    image
}

/// An ISO that UEFI boots.
fn iso(folder: &Path, name: &str, line: &str, end: End) -> Vec<u8> {
    let tree = folder.join(format!("{name}-tree"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::rename(esp(folder, name, line, end, REMOVABLE), tree.join("efi.img")).unwrap();
    let image = folder.join(format!("{name}.iso"));
    run(
        "xorriso",
        "xorriso",
        &[
            "-as",
            "mkisofs",
            "-quiet",
            "-V",
            "MOCK",
            "-o",
            image.to_str().unwrap(),
            "-e",
            "efi.img",
            "-no-emul-boot",
            tree.to_str().unwrap(),
        ],
    );
    std::fs::read(image).unwrap()
}

/// A raw disk whose only partition holds the program at `path`.
fn disk(folder: &Path, name: &str, line: &str, end: End, path: &str) -> PathBuf {
    let image = folder.join(format!("{name}.raw"));
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let disk_text = image.to_str().unwrap();
    run(
        "gdisk",
        "sgdisk",
        &["-n", "1:2048:+16M", "-t", "1:ef00", "-u", &format!("1:{PARTITION}"), disk_text],
    );
    let part = esp(folder, name, line, end, path);
    let of = format!("of={disk_text}");
    run("coreutils", "dd", &[&format!("if={}", part.display()), &of, "bs=1M", "seek=1", "conv=notrunc"]);
    image
}

fn small(disk: &Path) -> QemuConfig {
    QemuConfig {
        memory_mib: 512,
        disks: vec![DiskConfig { file: disk.display().to_string(), ..DiskConfig::default() }],
        ..QemuConfig::default()
    }
}

async fn rack(folder: &Path, qemu: QemuConfig) -> (Rack, Client) {
    let machines = vec![MachineConfig::qemu("m1", qemu)];
    let config = RackConfig { folder: folder.join("rack"), machines, ..RackConfig::default() };
    let rack = Rack::start(config).await.unwrap();
    let client = Client::new(rack.machine(0));
    (rack, client)
}

#[tokio::test]
async fn once_boots_the_cd_from_its_url_and_the_restart_boots_the_disk_with_the_cd_still_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = ImageServer::start(iso(folder, "cd", "BOOTED-THE-CD", End::Restart)).await;
    let disk = disk(folder, "disk", "BOOTED-THE-DISK", End::PowerOff, REMOVABLE);
    let (rack, client) = rack(folder, small(&disk)).await;
    let machine = rack.machine(0);

    assert_eq!(client.insert("Cd", &images.url("boot.iso")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.boot_once("Cd").await.status, StatusCode::OK);
    let before = images.gets.load(Ordering::Relaxed);
    assert_eq!(client.reset("On").await.status, StatusCode::NO_CONTENT);
    assert_eq!(machine.boot_override().enabled, Enabled::Disabled, "used up by this boot");
    machine.wait_boots(2, BOOT).await.unwrap();
    assert!(machine.console().contains("BOOTED-THE-CD"), "{}", machine.console());
    assert!(images.gets.load(Ordering::Relaxed) > before, "QEMU itself read the image");

    machine.wait_console("BOOTED-THE-DISK", BOOT).await.unwrap();
    machine.wait_power(Power::Off, BOOT).await.unwrap();
    assert_eq!((machine.boots(), machine.broken()), (2, None));
    assert_eq!(machine.last_source(), Some(BootSource::Order));
    assert_eq!(machine.console().matches("BOOTED-THE-CD").count(), 1);
    rack.shutdown().await;
}

#[tokio::test]
async fn a_machine_whose_disk_does_not_boot_falls_back_to_the_cd_and_loses_it_on_eject() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = ImageServer::start(iso(folder, "cd", "BOOTED-THE-CD", End::Hang)).await;
    let qemu = QemuConfig { network: Network::NoDhcp, ..small(&folder.join("blank.raw")) };
    let (rack, client) = rack(folder, qemu).await;
    let machine = rack.machine(0);
    assert_eq!(client.reset("On").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        client.insert("Usb", &images.url("boot.iso")).await.status,
        StatusCode::NO_CONTENT,
        "while on"
    );
    assert_eq!(client.eject("Usb").await.status, StatusCode::NO_CONTENT, "while on");
    assert_eq!(client.insert("Cd", &images.url("boot.iso")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.reset("ForceRestart").await.status, StatusCode::NO_CONTENT);
    machine.wait_console("BOOTED-THE-CD", BOOT).await.unwrap();
    machine.pull_power().await.unwrap();
    assert_eq!(machine.power(), Power::Off);
    machine.wipe_nvram().await.unwrap();
    assert_eq!(machine.broken(), None);
    rack.shutdown().await;
}

/// The boot entry an installed system makes for itself: its partition by GUID, its loader by path.
fn installed_entry() -> Vec<u8> {
    let mut path = vec![4, 1, 42, 0]; // hard drive
    path.extend(1_u32.to_le_bytes());
    path.extend(2048_u64.to_le_bytes());
    path.extend((16_u64 << 11).to_le_bytes());
    path.extend(PARTITION.parse::<uuid::Uuid>().unwrap().to_bytes_le());
    path.extend([2, 2]); // GPT, GUID
    let file: Vec<u8> = "\\EFI\\MOCK\\SYSTEM.EFI\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    path.extend([4, 4]);
    path.extend(u16::try_from(4 + file.len()).unwrap().to_le_bytes());
    path.extend(file);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut entry = 1_u32.to_le_bytes().to_vec();
    entry.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    entry.extend("installed\0".encode_utf16().flat_map(u16::to_le_bytes));
    entry.extend(path);
    entry
}

#[tokio::test]
async fn an_entry_the_system_made_survives_a_one_time_boot_and_boots_the_disk_until_the_nvram_is_wiped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = ImageServer::start(iso(folder, "cd", "BOOTED-THE-CD", End::PowerOff)).await;
    let disk = disk(folder, "disk", "BOOTED-THE-ENTRY", End::PowerOff, "::EFI/MOCK/SYSTEM.EFI");
    let (rack, client) = rack(folder, small(&disk)).await;
    let machine = rack.machine(0);
    let vars_file = machine.folder().unwrap().join("VARS.fd");
    let mut vars = Vars::parse(std::fs::read(&vars_file).unwrap()).unwrap();
    let entry = vars.ensure_entry(&installed_entry()).unwrap();
    vars.put_first(&[entry]);
    std::fs::write(&vars_file, vars.into_image().unwrap()).unwrap();

    client.insert("Cd", &images.url("boot.iso")).await;
    for (target, boot, line) in
        [(Some("Cd"), 1, "BOOTED-THE-CD"), (None, 2, "BOOTED-THE-ENTRY"), (None, 3, "BOOTED-THE-ENTRY")]
    {
        if let Some(target) = target {
            client.boot_once(target).await;
        }
        assert_eq!(client.reset("On").await.status, StatusCode::NO_CONTENT);
        machine.wait_power(Power::Off, BOOT).await.unwrap();
        assert_eq!(machine.boots(), boot);
        let console = machine.console();
        let last = console.rsplit("=== mock-redfish: boot").next().unwrap();
        assert!(last.contains(line), "boot {boot}: {console}");
        let vars = Vars::parse(std::fs::read(&vars_file).unwrap()).unwrap();
        assert_eq!(vars.boot_order().first(), Some(&entry), "boot {boot}");
    }

    machine.wipe_nvram().await.unwrap();
    client.reset("On").await;
    machine.wait_power(Power::Off, BOOT).await.unwrap();
    let console = machine.console();
    assert!(console.rsplit("=== mock-redfish: boot").next().unwrap().contains("BOOTED-THE-CD"), "{console}");
    rack.shutdown().await;
}

#[tokio::test]
async fn secure_boot_refuses_a_program_that_nobody_signed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let disk = disk(folder, "disk", "BOOTED-THE-DISK", End::Restart, REMOVABLE);
    let (rack, client) = rack(folder, QemuConfig { secure_boot: true, ..small(&disk) }).await;
    let machine = rack.machine(0);
    assert_eq!(client.get("/redfish/v1/Systems/1/SecureBoot").await.body["SecureBootCurrentBoot"], "Enabled");
    client.reset("On").await;
    machine.wait_console("Access Denied", BOOT).await.unwrap();
    assert!(!machine.console().contains("BOOTED-THE-DISK"));
    rack.shutdown().await;
}

#[tokio::test]
async fn uefi_http_boot_loads_the_uri_of_the_override() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = ImageServer::start(program("BOOTED-OVER-HTTP", End::PowerOff)).await;
    let (rack, client) = rack(folder, small(&folder.join("blank.raw"))).await;
    let machine = rack.machine(0);
    let uri = format!("http://10.0.2.2:{}/boot.efi", images.address.port());
    let boot = serde_json::json!({"Boot": {
        "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "UefiHttp", "HttpBootUri": uri,
    }});
    assert_eq!(client.patch("/redfish/v1/Systems/1", boot).await.status, StatusCode::OK);
    client.reset("On").await;
    machine.wait_console("BOOTED-OVER-HTTP", BOOT).await.unwrap();
    machine.wait_power(Power::Off, BOOT).await.unwrap();
    rack.shutdown().await;
}
