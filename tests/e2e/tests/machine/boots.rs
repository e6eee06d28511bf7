//! The maintenance OS started by other ways than a BMC's media under UEFI: it waits for its medium, says so, and
//! touches no disk.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::disk;
use crate::site::Made;

/// From power-on to the dispatcher's first line, under TCG on two busy cores.
const BOOTED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// What the dispatcher says when it found no task medium.
const WAITING: &str = "waiting for a task medium";
const KERNEL_LINE: &str = "rd.live.image rd.live.overlay.overlayfs=1 rd.live.ram=1 rd.auto=0 rd.md=0 rd.lvm=0 rd.dm=0 \
                           rd.luks=0 rd.multipath=0 noresume systemd.gpt_auto=0 rd.systemd.gpt_auto=0 quiet loglevel=4 \
                           console=ttyS0,115200";

/// A machine without a BMC. Gone when dropped.
struct Bare {
    qemu: Child,
    console: PathBuf,
    disk: PathBuf,
    untouched: String,
    _folder: tempfile::TempDir,
}

impl Bare {
    /// SeaBIOS, a disk with a former life, a network card, and what `with` adds.
    fn start(memory_mib: u32, with: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("slipway-bare").tempdir()?;
        let (console, disk) = (folder.path().join("console.log"), folder.path().join("disk.raw"));
        disk::make_a_mess(&disk)?;
        let untouched = disk::digest(&disk)?;
        let qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-machine", "q35"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", &memory_mib.to_string()])
            .args(["-display", "none", "-no-reboot", "-smbios", "type=1,serial=BARE-1"])
            .args(["-drive", &format!("if=virtio,format=raw,file={}", disk.display())])
            .args(["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(with)
            .stdin(Stdio::null())
            .spawn()
            .context("starting qemu-system-x86_64")?;
        Ok(Self { qemu, console, disk, untouched, _folder: folder })
    }

    /// Waits for a text on the console, then cuts power and looks at the disk.
    fn says(mut self, text: &str) -> Result<()> {
        let end = Instant::now() + BOOTED_WITHIN;
        let console =
            || String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).into_owned();
        while !console().contains(text) {
            if let Some(status) = self.qemu.try_wait()? {
                bail!("QEMU ended with {status} before it said {text:?}: {}", console());
            }
            ensure!(Instant::now() < end, "{text:?} is not on the console: {}", console());
            std::thread::sleep(Duration::from_millis(500));
        }
        self.qemu.kill()?;
        self.qemu.wait()?;
        ensure!(disk::digest(&self.disk)? == self.untouched, "the disk was written to");
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is text")
}

#[test]
fn under_a_bios_the_disc_boots_and_waits() -> Result<()> {
    let made = Made::find()?;
    Bare::start(4096, &["-cdrom", text(&made.maintenance_iso)?, "-boot", "d"])?.says(WAITING)
}

#[test]
fn with_too_little_memory_it_says_how_much_it_needs_and_goes_no_further() -> Result<()> {
    let made = Made::find()?;
    let line = format!("root=live:CDLABEL=SLIPWAY_MAINT {KERNEL_LINE}");
    let (kernel, initrd) = (made.netboot.join("vmlinuz"), made.netboot.join("initramfs.img"));
    let files = ["-kernel", text(&kernel)?, "-initrd", text(&initrd)?, "-append", &line];
    let disc = ["-cdrom", text(&made.maintenance_iso)?];
    Bare::start(2048, &[&files[..], &disc[..]].concat())?.says("the maintenance OS needs 4096 MiB")
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_netboot_files_it_fetches_its_root_over_http_and_waits() -> Result<()> {
    let made = Made::find()?;
    let root = bytes::Bytes::from(std::fs::read(made.netboot.join("rootfs.squashfs"))?);
    let router = axum::Router::new().route("/rootfs.squashfs", axum::routing::get(async move || root));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(axum::serve(listener, router).into_future());
    let line = format!("root=live:http://10.0.2.2:{port}/rootfs.squashfs ip=dhcp {KERNEL_LINE}");
    tokio::task::spawn_blocking(move || {
        let (kernel, initrd) = (made.netboot.join("vmlinuz"), made.netboot.join("initramfs.img"));
        let files = ["-kernel", text(&kernel)?, "-initrd", text(&initrd)?, "-append", &line];
        Bare::start(4096, &files)?.says(WAITING)
    })
    .await?
}
