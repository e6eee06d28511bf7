//! The qemu backend with real firmware: discs over HTTP, one-time boots, boot order, guests that restart and
//! switch off, a network without DHCP. What boots is a program made in
//! `support::efi`, which says on the console where it came from.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    time::Duration,
};

use mock_redfish::{
    BootSource, Enabled, MachineConfig, Power, Rack, RackConfig,
    backend::qemu::{DiskConfig, QemuConfig},
};
use reqwest::StatusCode;
use support::{
    Client, ImageServer,
    efi::{End, program},
};

/// One boot of the firmware under TCG on a busy host.
const BOOT: Duration = Duration::from_secs(180);

/// Runs a program of a Debian package that the test cannot do without.
fn run(package: &str, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; install the Debian package {package}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A FAT filesystem of 16 MiB that UEFI boots.
fn esp(folder: &Path, name: &str, line: &str, end: End) -> PathBuf {
    let efi = folder.join(format!("{name}.efi"));
    std::fs::write(&efi, program(line, end)).unwrap();
    let image = folder.join(format!("{name}.img"));
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let image_text = image.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &["-n", "MOCK", image_text]);
    run("mtools", "mmd", &["-i", image_text, "::EFI", "::EFI/BOOT"]);
    run("mtools", "mcopy", &["-i", image_text, efi.to_str().unwrap(), "::EFI/BOOT/BOOTX64.EFI"]);
    image
}

/// An ISO that UEFI boots.
fn iso(folder: &Path, name: &str, line: &str, end: End) -> Vec<u8> {
    let tree = folder.join(format!("{name}-tree"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::rename(esp(folder, name, line, end), tree.join("efi.img")).unwrap();
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

/// A raw disk whose only partition UEFI boots by the removable path.
fn disk(folder: &Path, name: &str, line: &str, end: End) -> PathBuf {
    let image = folder.join(format!("{name}.raw"));
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let disk_text = image.to_str().unwrap();
    run("gdisk", "sgdisk", &["-n", "1:2048:+16M", "-t", "1:ef00", disk_text]);
    let part = esp(folder, name, line, end);
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
    let disk = disk(folder, "disk", "BOOTED-THE-DISK", End::PowerOff);
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
    let (rack, client) = rack(folder, small(&folder.join("blank.raw"))).await;
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
