//! The targets a maintenance OS offers and the steps each one runs, in order.

/// One workflow of the maintenance OS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// systemd target name, such as `install-linux.target`.
    pub name: &'static str,
    /// Its steps in order; each is a tool subcommand, a quadlet and a unit of the same name.
    pub steps: &'static [&'static str],
    /// Whether it writes to the disk.
    pub destructive: bool,
}

/// Every target that Slipway itself ships.
pub const TARGETS: &[Target] = &[
    Target {
        name: "install-linux.target",
        steps: &["preflight", "partition", "image-linux", "bootloader-linux", "config-drive"],
        destructive: true,
    },
    Target {
        name: "install-windows.target",
        steps: &["preflight", "partition", "image-windows", "bootloader-windows", "config-drive"],
        destructive: true,
    },
    Target { name: "install-esxi.target", steps: &["preflight", "image-esxi"], destructive: true },
    Target { name: "wipe.target", steps: &["preflight", "wipe"], destructive: true },
    Target { name: "inventory.target", steps: &["inventory"], destructive: false },
    Target { name: "firmware-update.target", steps: &["preflight", "firmware-update"], destructive: true },
];

/// The shipped target of that name, if there is one; a site's own targets are not here.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
