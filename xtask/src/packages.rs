//! Distribution packages: what is missing is listed first, then installed by name.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run::Run;

/// What builds and boots everything, as (package, what for).
pub const EVERYTHING: &[(&str, &str)] = &[
    ("qemu-system-x86", "the virtual machine that tests and demo install"),
    ("qemu-utils", "its disks"),
    ("qemu-block-extra", "QEMU reads virtual media over HTTP, like a BMC"),
    ("ovmf", "UEFI firmware of that machine"),
    ("mmdebstrap", "Debian base image and OS image"),
    ("podman", "builds the maintenance OS"),
    ("buildah", "builds the maintenance OS"),
    ("crun", "builds the maintenance OS"),
    ("skopeo", "moves the tool image into it; registry tests"),
    ("xorriso", "writes maintenance.iso; reads task.iso in tests"),
    ("genisoimage", "isoinfo reads task.iso in tests"),
    ("libarchive-tools", "bsdtar reads task.iso in tests"),
    ("p7zip-full", "7z reads task.iso in tests"),
    ("squashfs-tools", "root filesystem of the maintenance OS"),
    ("mtools", "EFI partition of maintenance.iso; config drive tests"),
    ("dosfstools", "EFI partition of maintenance.iso; partition tests"),
    ("grub-common", "BIOS boot of maintenance.iso"),
    ("gdisk", "partition tests"),
    ("fdisk", "partition tests"),
    ("e2fsprogs", "partition tests"),
    ("xfsprogs", "partition tests"),
    ("btrfs-progs", "partition tests"),
    ("mdadm", "tests on disks with an old life"),
    ("lvm2", "tests on disks with an old life"),
    ("python3-venv", "DMTF's Redfish validators"),
    ("musl-tools", "static dispatcher and tools"),
    ("zstd", "image tests"),
    ("curl", "benchmarks"),
    ("tar", "benchmarks"),
    ("gcc", "SQLite"),
    ("ca-certificates", "Debian mirrors over TLS"),
    ("uidmap", "podman"),
];

/// Asked by Debian's packages whether their services may start (invoke-rc.d(8)); 101 is no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing of a list.
pub fn ensure(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|(name, _)| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("Missing distribution packages, to be installed with apt-get:");
    for (name, purpose) in &missing {
        eprintln!("  {name:<20} {purpose}");
    }
    if !Run::new("apt-get").arg("--version").succeeds() {
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        bail!("there is no apt-get here; install the counterparts of: {}", names.join(" "));
    }
    apt(&["update", "-q"]).quiet("apt-update").context("updating package lists")?;
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&names);
    if apt(&install).quiet("apt-install").is_ok() {
        return Ok(());
    }
    // A host whose qemu-utils comes from backports can take the rest of QEMU only from there.
    let release = Run::new("sh").args(["-c", ". /etc/os-release; echo $VERSION_CODENAME"]).text()?;
    let suite = format!("{release}-backports");
    eprintln!("Not installable from {release} alone; trying with {suite}.");
    let source = format!("deb http://deb.debian.org/debian {suite} main");
    sudo("sh")
        .args(["-c", &format!("echo '{source}' > /etc/apt/sources.list.d/slipway-backports.list")])
        .quiet("apt-source")?;
    apt(&["update", "-q"]).quiet("apt-update").context("updating package lists")?;
    let (qemu, rest): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("qemu-"));
    if !qemu.is_empty() {
        let mut install = vec!["install", "-y", "-q", "--no-install-recommends", "-t", &suite, "qemu-utils"];
        install.extend(&qemu);
        apt(&install).quiet("apt-install-qemu").context("installing QEMU from backports")?;
    }
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&rest);
    apt(&install).quiet("apt-install").context("installing packages")
}

/// Installs servers that are only compared with. Debian would start them on the ports of everybody; they shall not.
pub fn ensure_unstarted(wanted: &[(&str, &str)]) -> Result<()> {
    if wanted.iter().all(|(name, _)| installed(name)) {
        return Ok(());
    }
    let ours = !Path::new(POLICY).exists();
    if ours {
        let write = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 0755 {POLICY}");
        sudo("sh").args(["-c", &write]).quiet("policy")?;
    }
    let done = ensure(wanted);
    if ours {
        sudo("rm").arg(POLICY).quiet("policy")?;
    }
    done
}

fn installed(package: &str) -> bool {
    Run::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .text()
        .is_ok_and(|status| status == "installed")
}

fn apt(args: &[&str]) -> Run {
    sudo("env").args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args)
}

/// The program, through sudo unless we are root already.
pub fn sudo(program: &str) -> Run {
    if nix_is_root() { Run::new(program) } else { Run::new("sudo").arg(program) }
}

fn nix_is_root() -> bool {
    Run::new("id").arg("-u").text().is_ok_and(|id| id == "0")
}
