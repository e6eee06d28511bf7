//! The maintenance OS: two podman builds, one squashfs, one ISO, and the same three files for netboot.
//!
//! ```text
//!   base image ──▶ tools/Containerfile ──▶ tool image ───┐ (into its additional image store)
//!        └───────▶ Containerfile ──▶ bootc-style image ──┴──▶ rootfs/ ──▶ squashfs ──▶ maintenance.iso
//!                                                                └─▶ netboot/{vmlinuz,initramfs.img,rootfs.squashfs}
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::packages::sudo;
use crate::run::Run;
use crate::stage::Stages;
use crate::{base, cache, hostbin, iso};

/// Bump when this file or iso.rs changes what comes out for equal input.
const RECIPE_VERSION: &str = "2";
/// Pages that the units' `Documentation=` lines name.
const PAGES: &[&str] = &["maintenance-os.md"];
const TOOL_IMAGE: &str = "localhost/slipway/tools:latest";
const MAINTENANCE_IMAGE: &str = "localhost/slipway/maintenance:latest";
/// Image store of the maintenance OS that its podman reads beside its own.
const STORE: &str = "usr/lib/containers/storage";
/// Name of the root filesystem among the netboot files.
const ROOT_FILESYSTEM: &str = "rootfs.squashfs";
/// zstd level of the root filesystem: 15 saves 4 % more and takes five times as long.
const SQUASHFS_LEVEL: &str = "9";

/// What came out.
pub struct Built {
    /// maintenance.iso.
    pub iso: PathBuf,
    /// Folder of vmlinuz, initramfs.img and rootfs.squashfs.
    pub netboot: PathBuf,
}

/// Builds it, or finds it built.
pub fn build() -> Result<Built> {
    let mut stages = Stages::default();
    let binaries = stages.run("static host binaries", hostbin::build)?;
    let base = stages.run("Debian base image", base::ensure)?;
    let context = context(&binaries)?;
    stages.run("tool image", || podman_build(&base, &context.join("tools"), TOOL_IMAGE, "tool-image"))?;
    stages.run("maintenance image", || {
        podman_build(&base, &context.join("os"), MAINTENANCE_IMAGE, "maintenance-image")
    })?;
    let key = cache::key(&[], &[RECIPE_VERSION, &image_id(TOOL_IMAGE)?, &image_id(MAINTENANCE_IMAGE)?])?;
    let folder = cache::folder("maintenance")?;
    let iso = folder.join(format!("maintenance-{key}.iso"));
    if !iso.exists() || !cache::folder("netboot")?.join(ROOT_FILESYSTEM).exists() {
        cache::forget_others(&folder, "maintenance", &key)?;
        let rootfs = stages.run("root filesystem", || rootfs(&folder))?;
        let netboot = stages.run("squashfs", || squash(&rootfs))?;
        stages.run("ISO", || iso::assemble(&rootfs, &netboot, &iso))?;
        sudo("rm").args(["-rf"]).arg(&rootfs).quiet("rootfs-clean")?;
    }
    let netboot = cache::folder("netboot")?;
    let link = cache::folder("")?.join("maintenance.iso");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&iso, &link).with_context(|| format!("linking {}", link.display()))?;
    stages.print();
    Ok(Built { iso: link, netboot })
}

/// Copies what the two builds may see into a folder of their own, with one time stamp for all, so that podman's
/// layer cache judges contents and not checkout times.
fn context(binaries: &hostbin::HostBinaries) -> Result<PathBuf> {
    let source = cache::repository();
    let folder = cache::folder("context")?;
    fs::remove_dir_all(&folder)?;
    let os = folder.join("os");
    for name in ["Containerfile", "packages.txt", "build", "root"] {
        copy(&source.join("maintenance-os").join(name), &os.join(name))?;
    }
    let staging = os.join("staging/usr");
    copy(&binaries.dispatcher, &staging.join("sbin/slipway-dispatcher"))?;
    copy(&source.join("quadlets"), &staging.join("share/containers/systemd"))?;
    for page in PAGES {
        copy(&source.join("docs").join(page), &staging.join("share/doc/slipway").join(page))?;
    }
    for file in cache::files(&source.join("units"))? {
        let name = file.file_name().context("a unit has a name")?.to_owned();
        let home = match file.extension().and_then(|ext| ext.to_str()) {
            Some("service" | "target" | "mount" | "socket" | "path" | "timer") => "lib/systemd/system",
            Some("network" | "link" | "netdev") => "lib/systemd/network",
            Some("preset") => "lib/systemd/system-preset",
            _ => continue,
        };
        copy(&file, &staging.join(home).join(name))?;
    }
    let tools = folder.join("tools");
    for name in ["Containerfile", "packages.txt"] {
        copy(&source.join("maintenance-os/tools").join(name), &tools.join(name))?;
    }
    copy(&source.join("maintenance-os/build/install-packages"), &tools.join("install-packages"))?;
    copy(&binaries.tools, &tools.join("slipway-tools"))?;
    Run::new("find")
        .arg(&folder)
        .args(["-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"])
        .quiet("context-touch")?;
    Ok(folder)
}

/// Copies a file or a folder. Executables and scripts stay executable; nothing else is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in cache::files(from)? {
        let relative = file.strip_prefix(from)?;
        let target = if relative.as_os_str().is_empty() { to.to_path_buf() } else { to.join(relative) };
        let parent = target.parent().context("a copy has a folder")?;
        fs::create_dir_all(parent)?;
        fs::copy(&file, &target).with_context(|| format!("copying {}", file.display()))?;
        let executable = fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
        fs::set_permissions(&target, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}

fn podman_build(base: &str, context: &Path, tag: &str, log: &str) -> Result<()> {
    sudo("podman")
        .args(["build", "--isolation=chroot", "--layers", "--timestamp=1700000000", "--build-arg"])
        .arg(format!("BASE={base}"))
        .args(["-t", tag, "-f"])
        .arg(context.join("Containerfile"))
        .arg(context)
        .quiet(log)
}

fn image_id(reference: &str) -> Result<String> {
    sudo("podman").args(["image", "inspect", "--format", "{{.Id}}", reference]).text()
}

/// The image's files as a folder, with the tool image in its store.
fn rootfs(folder: &Path) -> Result<PathBuf> {
    let rootfs = folder.join("rootfs");
    sudo("rm").arg("-rf").arg(&rootfs).quiet("rootfs-clean")?;
    fs::create_dir_all(&rootfs)?;
    let container = sudo("podman").args(["create", MAINTENANCE_IMAGE, "/bin/true"]).text()?;
    let script = "podman export \"$1\" | tar -x --xattrs --xattrs-include='*' --numeric-owner -C \"$2\"";
    let exported = sudo("bash")
        .args(["-o", "pipefail", "-c", script, "export", &container])
        .arg(&rootfs)
        .quiet("rootfs-export");
    sudo("podman").args(["rm", &container]).quiet("rootfs-rm")?;
    exported?;
    // podman's own mounts left these as it makes them; the OS has its own.
    let fix = "cd \"$1\" && echo slipway > etc/hostname && chmod 644 etc/hostname \
               && ln -sf ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf && : > etc/machine-id \
               && printf '127.0.0.1 localhost slipway\\n::1 localhost slipway\\n' > etc/hosts && mkdir -p \"$2\"";
    sudo("bash").args(["-e", "-c", fix, "fix"]).arg(&rootfs).arg(rootfs.join(STORE)).quiet("rootfs-fix")?;
    let runroot = tempfile::tempdir()?;
    let destination = format!(
        "containers-storage:[overlay@{}+{}]{TOOL_IMAGE}",
        rootfs.join(STORE).display(),
        runroot.path().display()
    );
    sudo("skopeo")
        .args(["--insecure-policy", "copy", "-q", &format!("containers-storage:{TOOL_IMAGE}"), &destination])
        .quiet("tool-image-bind")?;
    // containers-storage bind-mounts its folder on itself and leaves it so.
    sudo("umount").arg(rootfs.join(STORE).join("overlay")).succeeds();
    ensure!(
        rootfs.join(STORE).join("overlay-images/images.json").exists(),
        "the tool image is not in the store of the OS"
    );
    Ok(rootfs)
}

/// Kernel, initramfs and squashfs for netboot; the ISO takes the same three.
fn squash(rootfs: &Path) -> Result<PathBuf> {
    let netboot = cache::folder("netboot")?;
    let modules = rootfs.join("usr/lib/modules");
    let kernel = fs::read_dir(&modules)?.next().context("the image has no kernel")??.path();
    for name in ["vmlinuz", "initramfs.img"] {
        sudo("install")
            .args(["-m", "644"])
            .arg(kernel.join(name))
            .arg(netboot.join(name))
            .quiet("netboot-copy")?;
    }
    let squashfs = netboot.join(ROOT_FILESYSTEM);
    let _ = fs::remove_file(&squashfs);
    let version = kernel.file_name().context("a kernel folder has a name")?.to_string_lossy().into_owned();
    // Boot files are beside it on the medium; GRUB and shim are only for making the medium.
    let excluded = [
        format!("usr/lib/modules/{version}/vmlinuz"),
        format!("usr/lib/modules/{version}/initramfs.img"),
        "usr/lib/grub".to_owned(),
        "usr/lib/shim".to_owned(),
    ];
    sudo("mksquashfs")
        .arg(rootfs)
        .arg(&squashfs)
        .args(["-comp", "zstd", "-Xcompression-level", SQUASHFS_LEVEL, "-noappend", "-no-progress", "-quiet"])
        .args(["-mkfs-time", "1700000000", "-e"])
        .args(excluded)
        .quiet("mksquashfs")?;
    sudo("chmod").arg("644").arg(&squashfs).quiet("netboot-mode")?;
    Ok(netboot)
}
