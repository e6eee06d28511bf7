//! The command line of a machine. Pure: configuration in, arguments out.

use std::{net::SocketAddr, path::Path};

use super::{
    config::{DiskBus, DiskConfig, Network, QemuConfig},
    load_option::{FIRST_DISK_SLOT, FIRST_EUI64, FIRST_NIC_SLOT, FIRST_SATA_PORT},
};
use crate::config::MachineConfig;

/// Files and sockets of one run.
pub(crate) struct Run<'a> {
    /// Firmware code, read-only.
    pub code: &'a Path,
    /// Firmware variables of this machine.
    pub vars: &'a Path,
    /// Serial console, appended to.
    pub console: &'a Path,
    /// Disk files in the order of the configuration.
    pub disks: Vec<String>,
    /// Both ends of the wire without DHCP, when the network is one.
    pub wire: Option<(SocketAddr, SocketAddr)>,
    /// The firmware may boot from the network this time.
    pub network_boot: bool,
    /// Number of virtual drives.
    pub drives: usize,
}

/// Arguments for `qemu-system-x86_64`. The machine starts stopped, with empty drives, QMP on its stdin.
pub(crate) fn arguments(machine: &MachineConfig, qemu: &QemuConfig, run: &Run) -> Vec<String> {
    let mut args = Args(Vec::new());
    args.pair("-name", &escaped(&machine.name));
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.flag("-S");
    let smm = if qemu.secure_boot { "on" } else { "off" };
    args.pair("-machine", &format!("q35,smm={smm}"));
    let tcg = if qemu.accel == "tcg" { "tcg,thread=multi" } else { &qemu.accel };
    args.pair("-accel", tcg);
    args.pair("-cpu", "max");
    args.pair("-m", &qemu.memory_mib.to_string());
    args.pair("-smp", &qemu.cpus.to_string());
    args.pair("-display", "none");
    args.pair("-chardev", "stdio,id=qmp,signal=off");
    args.pair("-mon", "chardev=qmp,mode=control");
    args.pair("-chardev", &format!("file,id=console,append=on,path={}", path(run.console)));
    args.pair("-serial", "chardev:console");
    args.pair("-action", "reboot=shutdown,shutdown=poweroff");

    if qemu.secure_boot {
        args.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
        args.pair("-global", "ICH9-LPC.disable_s3=1");
    }
    args.pair("-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={}", path(run.code)));
    args.pair("-drive", &format!("if=pflash,format=raw,unit=1,file={}", path(run.vars)));
    if !run.network_boot {
        for key in ["IPv4PXESupport", "IPv6PXESupport", "IPv4Support", "IPv6Support"] {
            args.pair("-fw_cfg", &format!("name=opt/org.tianocore/{key},string=n"));
        }
    }

    let uuid = machine.uuid.unwrap_or_default();
    args.pair("-uuid", &uuid.to_string());
    args.pair(
        "-smbios",
        &format!(
            "type=1,manufacturer={},product={},serial={},uuid={uuid}",
            escaped(&machine.manufacturer),
            escaped(&machine.model),
            escaped(&machine.serial),
        ),
    );

    for drive in 0..run.drives {
        args.pair("-device", &format!("ide-cd,id=drive{drive},bus=ide.{drive}"));
    }
    for (index, (disk, file)) in qemu.disks.iter().zip(&run.disks).enumerate() {
        disk_arguments(&mut args, index, qemu.place(index), disk, file);
    }
    network_arguments(&mut args, machine, qemu, run);
    args.0.extend(qemu.extra_args.iter().cloned());
    args.0
}

fn disk_arguments(args: &mut Args, index: usize, place: usize, disk: &DiskConfig, file: &str) {
    // A killed QEMU leaves raw data in the page cache, so nothing needs a sync; qcow2 tables do.
    let cache = if disk.format == super::config::DiskFormat::Raw { "unsafe" } else { "writeback" };
    args.pair(
        "-drive",
        &format!(
            "if=none,id=disk{index},format={},cache={cache},discard=unmap,detect-zeroes=unmap,file={}",
            disk.format.name(),
            escaped(file),
        ),
    );
    let serial = escaped(&disk.serial);
    let slot = usize::from(FIRST_DISK_SLOT) + place;
    match disk.bus {
        DiskBus::Virtio => {
            args.pair("-device", &format!("virtio-blk-pci,drive=disk{index},serial={serial},addr={slot:#x}"));
        }
        DiskBus::Sata => {
            let port = usize::from(FIRST_SATA_PORT) + place;
            args.pair("-device", &format!("ide-hd,drive=disk{index},serial={serial},bus=ide.{port}"));
        }
        DiskBus::Nvme => {
            let eui = FIRST_EUI64 + place as u64;
            args.pair("-device", &format!("nvme,id=nvme{index},serial={serial},addr={slot:#x}"));
            args.pair("-device", &format!("nvme-ns,drive=disk{index},bus=nvme{index},nsid=1,eui64={eui:#x}"));
        }
    }
}

fn network_arguments(args: &mut Args, machine: &MachineConfig, qemu: &QemuConfig, run: &Run) {
    if qemu.network == Network::None {
        return;
    }
    for (index, mac) in machine.macs.iter().enumerate() {
        match (index, run.wire) {
            (0, Some((near, far))) => {
                let stream = |id: &str, to: SocketAddr| {
                    format!(
                        "stream,id={id},server=off,addr.type=inet,addr.host={},addr.port={}",
                        to.ip(),
                        to.port()
                    )
                };
                args.pair("-netdev", &stream("net0", near));
                args.pair("-netdev", "user,id=outside,ipv6=off");
                args.pair("-netdev", "hubport,id=hub-outside,hubid=0,netdev=outside");
                args.pair("-netdev", &stream("far", far));
                args.pair("-netdev", "hubport,id=hub-far,hubid=0,netdev=far");
            }
            (0, None) => args.pair("-netdev", "user,id=net0,ipv6=off"),
            // Further cards have a link and nothing behind it.
            _ => args.pair(
                "-netdev",
                &format!("user,id=net{index},ipv6=off,restrict=on,net=10.0.{}.0/24", 100 + index),
            ),
        }
        let slot = usize::from(FIRST_NIC_SLOT) + index;
        let device = format!("virtio-net-pci,netdev=net{index},mac={mac},addr={slot:#x},romfile=");
        args.pair("-device", &device);
    }
}

struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

/// QEMU splits at commas; two of them stand for one.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::{super::config::DiskFormat, *};

    fn shown(qemu: &QemuConfig, wire: bool) -> String {
        let machine = MachineConfig { manufacturer: "Acme, Inc.".into(), ..MachineConfig::sim("m1") };
        shown_of(machine, qemu, wire, false)
    }

    fn shown_of(machine: MachineConfig, qemu: &QemuConfig, wire: bool, network_boot: bool) -> String {
        let machine = machine.completed();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let run = Run {
            code: Path::new("/fw/CODE.fd"),
            vars: Path::new("/rack/m1/VARS.fd"),
            console: Path::new("/rack/m1/console.log"),
            disks: qemu.disks.iter().map(|disk| format!("/rack/m1/{}", disk.file)).collect(),
            wire: wire.then(|| (address(1001), address(1002))),
            network_boot,
            drives: if machine.quirks.single_slot { 1 } else { 2 },
        };
        arguments(&machine, qemu, &run).join(" ").replace(" -", "\n-")
    }

    #[test]
    fn a_plain_machine_is_started_like_this() {
        insta::assert_snapshot!(shown(&QemuConfig::default(), false));
    }

    #[test]
    fn a_machine_with_everything_is_started_like_this() {
        let disk = |bus, file: &str| DiskConfig { bus, file: file.into(), ..DiskConfig::default() };
        let qemu = QemuConfig {
            secure_boot: true,
            network: Network::NoDhcp,
            disks: vec![disk(DiskBus::Sata, "a.raw"), disk(DiskBus::Nvme, "b.raw")],
            extra_args: vec!["-snapshot".into()],
            ..QemuConfig::default()
        };
        insta::assert_snapshot!(shown(&qemu, true));
    }

    #[test]
    fn a_machine_of_one_drive_that_boots_from_the_network_is_started_like_this() {
        let disk = |bus, file: &str| DiskConfig {
            bus,
            file: file.into(),
            format: DiskFormat::Qcow2,
            serial: "S,1".into(),
            ..DiskConfig::default()
        };
        let qemu = QemuConfig {
            disks: vec![disk(DiskBus::Nvme, "a.qcow2"), disk(DiskBus::Sata, "b.qcow2")],
            accel: "kvm".into(),
            ..QemuConfig::default()
        };
        let mut machine = MachineConfig::sim("m1");
        machine.quirks.single_slot = true;
        machine.macs = vec!["52:54:00:00:00:01".into(), "52:54:00:00:00:02".into()];
        insta::assert_snapshot!(shown_of(machine, &qemu, false, true));
    }
}
