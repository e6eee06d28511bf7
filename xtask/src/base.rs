//! The Debian base image that both the maintenance OS and the tool image start from. Made by mmdebstrap, because
//! no container registry can be reached from a plain build host.

use anyhow::Result;

use crate::cache;
use crate::packages::sudo;

/// Debian release of everything we boot.
pub const SUITE: &str = "trixie";
const MIRROR: &str = "http://deb.debian.org/debian";
const COMPONENTS: &str = "main non-free-firmware";
/// What both images share: one copy on the ISO, since squashfs stores equal files once.
const INCLUDE: &str = "ca-certificates,systemd,systemd-sysv,dbus,udev,kmod,iproute2,zstd,util-linux";

/// Image reference of the base, built unless podman has it already.
pub fn ensure() -> Result<String> {
    let key = cache::key(&[], &[SUITE, MIRROR, COMPONENTS, INCLUDE])?;
    let reference = format!("localhost/slipway/base:{SUITE}-{key}");
    if sudo("podman").args(["image", "exists", &reference]).succeeds() {
        return Ok(reference);
    }
    let folder = cache::folder("base")?;
    let tar = folder.join(format!("base-{key}.tar"));
    sudo("mmdebstrap")
        .args([
            "--variant=minbase",
            &format!("--components={COMPONENTS}"),
            &format!("--include={INCLUDE}"),
            SUITE,
        ])
        .arg(&tar)
        .arg(MIRROR)
        .quiet("base-mmdebstrap")?;
    sudo("podman").args(["import", "-q"]).arg(&tar).arg(&reference).quiet("base-import")?;
    sudo("rm").arg("-f").arg(&tar).quiet("base-clean")?;
    Ok(reference)
}
