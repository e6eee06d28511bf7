//! The Debian that the demo and the whole-machine tests install: a root filesystem as one zstd tar, made of
//! ordinary Debian packages, for UEFI (signed) and BIOS machines alike.

use std::path::PathBuf;

use anyhow::Result;

use crate::base::SUITE;
use crate::cache;
use crate::packages::sudo;

/// What a small server needs: kernel, both GRUBs, cloud-init, SSH, network.
const PACKAGES: &str = "linux-image-amd64,systemd,systemd-sysv,systemd-resolved,dbus,udev,initramfs-tools,\
grub-efi-amd64-bin,grub-efi-amd64-signed,grub-pc-bin,grub2-common,shim-signed,\
cloud-init,openssh-server,sudo,iproute2,ca-certificates,zstd,netbase";

/// Runs in the new root: console login on the serial port, network by DHCP, no leftovers.
const CUSTOMIZE: &str = r#"
set -e
cat > "$1/etc/default/grub" <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
END
cat > "$1/etc/systemd/network/80-dhcp.network" <<'END'
[Match]
Type=ether
[Network]
DHCP=yes
END
chroot "$1" systemctl enable systemd-networkd.service systemd-resolved.service ssh.service >/dev/null 2>&1
echo 'datasource_list: [ NoCloud, ConfigDrive, None ]' > "$1/etc/cloud/cloud.cfg.d/90-slipway.cfg"
rm -f "$1/etc/hostname" "$1"/etc/ssh/ssh_host_*
: > "$1/etc/machine-id"
"#;

/// Builds it, or finds it built.
pub fn build() -> Result<PathBuf> {
    let packages: Vec<&str> = PACKAGES.split(',').collect();
    let key = cache::key(&[], &[SUITE, &packages.join(","), CUSTOMIZE])?;
    let folder = cache::folder("os-image")?;
    let tar = folder.join(format!("debian-{key}.tar.zst"));
    if tar.exists() {
        return Ok(tar);
    }
    cache::forget_others(&folder, "debian", &key)?;
    eprintln!("building the Debian {SUITE} image to install (about two minutes) …");
    let part = folder.join("part.tar.zst");
    sudo("mmdebstrap")
        .args(["--variant=minbase", &format!("--include={}", packages.join(",")), "--customize-hook"])
        .arg(format!("sh -c '{}' sh \"$1\"", CUSTOMIZE.replace('\'', r"'\''")))
        .arg(SUITE)
        .arg(&part)
        .arg("http://deb.debian.org/debian")
        .quiet("os-image")?;
    std::fs::rename(&part, &tar)?;
    Ok(tar)
}
