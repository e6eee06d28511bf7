//! A recipe in plain words: step by step what would be done, with the partition table where the disk is
//! known. For people who read before they run (`slipway recipe explain`). Contents of payloads, URLs and
//! environment values are not shown.

use std::fmt::Write as _;

use crate::layout::{DiskGeometry, LayoutPlan, SolvedPartition, type_guid};
use crate::payload;
use crate::recipe::{
    BootOrder, CloudInit, DiskChoice, DiskHints, Format, HostLink, ImageKind, OnFailure, OnSuccess, Payload,
    Recipe, Wipe,
};
use crate::size::human;
use crate::target;

/// What the recipe would do. With a geometry the partition table is solved for that disk; without one the
/// sizes are shown as they were asked for.
pub fn explain(recipe: &Recipe, geometry: Option<DiskGeometry>) -> String {
    let mut lines = Lines::default();
    headline(recipe, &mut lines);
    match target::find(&recipe.task_target) {
        Some(target) => {
            for step in target.steps {
                lines.step(step);
                one_step(step, recipe, geometry, &mut lines);
            }
        }
        None => lines.detail("Its steps are the site's own; Slipway cannot say what they do."),
    }
    ending(recipe, &mut lines);
    lines.text
}

#[derive(Default)]
struct Lines {
    text: String,
    steps: u32,
}

impl Lines {
    fn plain(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn step(&mut self, name: &str) {
        self.steps += 1;
        let _ = writeln!(self.text, "{}. {name}", self.steps);
    }

    fn detail(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.text, "   {}", line.as_ref());
    }
}

fn headline(recipe: &Recipe, lines: &mut Lines) {
    let effect = match target::find(&recipe.task_target) {
        Some(target) if target.destructive => "writes to the machine",
        Some(_) => "only reads",
        None => "a site's own target",
    };
    lines.plain(&format!("{}: {effect}", recipe.task_target));
    if let Some(network) = &recipe.host_network {
        lines.plain("Before anything is reported, the maintenance OS configures its network:");
        for link in &network.links {
            lines.detail(one_link(link));
        }
        if !network.ntp.is_empty() {
            lines.detail(format!("time from {}", network.ntp.join(", ")));
        }
        if network.proxy.is_some() {
            lines.detail("what it reports and pulls goes through the proxy");
        }
    }
    if !recipe.debug_ssh_keys.is_empty() {
        lines.plain(&format!("For debugging it accepts {} SSH key(s).", recipe.debug_ssh_keys.len()));
    }
}

fn one_link(link: &HostLink) -> String {
    let name = match (&link.bond, &link.mac) {
        (Some(bond), _) => format!("{} bond of {}", bond.mode, bond.members.join(" and ")),
        (None, Some(mac)) => mac.clone(),
        (None, None) => "unnamed link".to_owned(),
    };
    let vlan = link.vlan.map_or_else(String::new, |vlan| format!(", VLAN {vlan}"));
    let mtu = link.mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
    let gateway = link.gateway.as_ref().map_or_else(String::new, |gateway| format!(" via {gateway}"));
    let dns = if link.dns.is_empty() { String::new() } else { format!(", DNS {}", link.dns.join(" ")) };
    match link.addresses.as_slice() {
        [] => format!("{name}{vlan}: DHCP and RA{mtu}{dns}"),
        addresses => format!("{name}{vlan}: {}{gateway}{mtu}{dns}", addresses.join(" ")),
    }
}

fn one_step(step: &str, recipe: &Recipe, geometry: Option<DiskGeometry>, lines: &mut Lines) {
    match step {
        "preflight" => preflight(recipe, lines),
        "partition" => partition(recipe, geometry, lines),
        "image-linux" => lines.detail(match recipe.image_kind {
            Some(ImageKind::Rootfs) => {
                "Unpacks the root filesystem into place, verifying its digest on the way."
            }
            Some(ImageKind::Container) => {
                "Applies the container's layers in order, verifying each digest on the way."
            }
            Some(ImageKind::Disk) => {
                "Writes the raw image over the whole disk, moves the backup GPT to its end."
            }
            None => "Writes the image as its media type says, verifying its digest on the way.",
        }),
        "image-windows" => windows(recipe, lines),
        "image-esxi" => esxi(recipe, lines),
        "bootloader-linux" => {
            lines.detail(match recipe.image_kind {
                Some(ImageKind::Disk) => "Keeps the boot loader that the image brings.",
                _ => "Writes fstab by UUID and installs the boot loader, the removable path too; the ESP is written last.",
            });
            boot_order(recipe, lines);
        }
        "bootloader-windows" => {
            lines.detail("Writes the boot files and the BCD to the ESP.");
            boot_order(recipe, lines);
        }
        "config-drive" => config_drive(recipe, lines),
        "wipe" => lines.detail(wiping(recipe)),
        "inventory" => lines.detail("Reads what is in the machine and reports it. Writes to no disk."),
        "firmware-update" => {
            let sha = recipe.firmware_sha256.as_deref().unwrap_or("not given");
            lines.detail(format!("Fetches the firmware, checks its SHA-256 ({sha}) and applies it."));
        }
        _ => {}
    }
    if let Some(image) = recipe.tools.get(step) {
        lines.detail(format!("Runs from {image} instead of the built-in image."));
    }
    if let Some(limit) = recipe.timeouts.get(step) {
        lines.detail(format!("Fails after {limit}."));
    }
}

fn preflight(recipe: &Recipe, lines: &mut Lines) {
    lines.detail("Proves all that follows can work before anything is erased.");
    match &recipe.target_disk {
        Some(DiskChoice::Path(path)) => lines.detail(format!("Disk: {path}.")),
        Some(DiskChoice::Hints(hints)) => {
            lines.detail(format!("Disk: exactly one must match: {}.", wanted(hints)));
        }
        None => {}
    }
    if let Some(image) = &recipe.oci_url {
        lines.detail(format!("Image: {image}, as resolved to a digest when the job was accepted."));
    }
}

fn wanted(hints: &DiskHints) -> String {
    let mut words = Vec::new();
    let texts = [
        ("serial", &hints.serial),
        ("WWN", &hints.wwn),
        ("model containing", &hints.model),
        ("slot", &hints.by_path),
        ("at least", &hints.min_size),
        ("at most", &hints.max_size),
        ("attached by", &hints.transport),
    ];
    for (what, value) in texts {
        words.extend(value.as_ref().map(|value| format!("{what} {value}")));
    }
    words.extend(
        hints.rotational.map(|rotational| if rotational { "spinning" } else { "solid state" }.to_owned()),
    );
    if hints.smallest {
        words.push("the smallest of several".to_owned());
    }
    words.join(", ")
}

fn partition(recipe: &Recipe, geometry: Option<DiskGeometry>, lines: &mut Lines) {
    lines.detail(wiping(recipe));
    let plan = LayoutPlan::from_recipe(recipe);
    if plan.partitions.is_empty() {
        lines.detail("Makes no partitions: the image brings its own.");
        if plan.config_drive {
            lines.detail("A 16 MiB CIDATA partition goes to the end of the disk.");
        }
        return;
    }
    let Some(geometry) = geometry else {
        lines.detail("Makes these partitions (the disk is not known, so sizes are as asked for):");
        for (one, number) in plan.partitions.iter().zip(1..) {
            let kind = type_guid::resolve(&one.type_guid).unwrap_or_else(|| one.type_guid.clone());
            let place = one.mountpoint.as_deref().unwrap_or("-");
            let row =
                row(number, &one.size, &kind, one.format.unwrap_or_default(), one.label.as_deref(), place);
            lines.detail(row);
        }
        if plan.config_drive {
            let number = u32::try_from(plan.partitions.len()).unwrap_or(u32::MAX).saturating_add(1);
            lines.detail(row(number, "16M", type_guid::BASIC_DATA, Format::Vfat, Some("CIDATA"), "-"));
        }
        return;
    };
    match plan.solve(geometry) {
        Ok(solved) => {
            lines.detail(format!(
                "Makes these partitions on a disk of {} ({} byte sectors):",
                human(geometry.size_bytes),
                geometry.sector_bytes
            ));
            for one in &solved {
                lines.detail(solved_row(one, geometry.sector_bytes));
            }
        }
        Err(error) => {
            let source =
                std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            lines.detail(format!(
                "Cannot be done on a disk of {}: {error}{source}.",
                human(geometry.size_bytes)
            ));
        }
    }
}

fn solved_row(one: &SolvedPartition, sector_bytes: u32) -> String {
    let size = human(one.size_bytes);
    let place = one.mountpoint.as_deref().unwrap_or("-");
    let row = row(one.number, &size, &one.type_guid, one.format, one.label.as_deref(), place);
    format!("{row:<84} sectors {}-{}", one.first_sector(sector_bytes), one.last_sector(sector_bytes))
}

fn row(number: u32, size: &str, guid: &str, format: Format, label: Option<&str>, place: &str) -> String {
    let kind = type_guid::describe(guid).unwrap_or(guid);
    let format = format!("{format:?}").to_lowercase();
    let label = label.unwrap_or("-");
    format!("{number:>2}  {size:<10} {kind:<22} {format:<6} {label:<16} {place}")
}

fn wiping(recipe: &Recipe) -> &'static str {
    match recipe.wipe.unwrap_or_default() {
        Wipe::None => "Erases nothing beyond what is overwritten.",
        Wipe::Metadata => "Erases signatures, partition tables and md tails of the disk.",
        Wipe::Discard => "Erases signatures and tables, then discards every block of the disk.",
        Wipe::SecureErase => "Erases the disk by its own secure erase.",
    }
}

fn windows(recipe: &Recipe, lines: &mut Lines) {
    let which = match (&recipe.wim_name, recipe.wim_index) {
        (Some(name), _) => format!("image {name:?}"),
        (None, Some(index)) => format!("image {index}"),
        (None, None) => "the first image".to_owned(),
    };
    lines.detail(format!("Applies {which} of the WIM to the NTFS partition."));
    for driver in recipe.drivers.iter().flatten() {
        lines.detail(format!("Injects the drivers of {driver}."));
    }
    if let Some(answers) = &recipe.unattend_xml {
        lines.detail(format!("Adds the answer file ({}).", shown(answers)));
    }
    for script in recipe.first_boot_scripts.iter().flatten() {
        lines.detail(format!("Adds a first-boot script ({}).", shown(script)));
    }
}

fn esxi(recipe: &Recipe, lines: &mut Lines) {
    let installer = recipe.installer.as_deref().unwrap_or("the installer");
    lines.detail(format!("Runs the vendor's installer {installer}."));
    if let Some(kickstart) = &recipe.ks_cfg {
        lines.detail(format!("Its kickstart ({}) decides disk, network and password.", shown(kickstart)));
    }
}

fn config_drive(recipe: &Recipe, lines: &mut Lines) {
    let documents = [
        ("user-data", &recipe.user_data),
        ("meta-data", &recipe.meta_data),
        ("network-config", &recipe.network_config),
    ];
    if documents.iter().all(|(_, payload)| payload.is_none()) {
        return lines.detail("Nothing to do: the recipe brings no cloud-init data.");
    }
    for (name, payload) in documents {
        match payload {
            Some(payload) => lines.detail(format!("Writes {name} ({}) to CIDATA.", shown(payload))),
            None if name == "meta-data" => {
                lines.detail("Writes meta-data with the job id as instance-id to CIDATA.");
            }
            None => {}
        }
    }
    lines.detail(match recipe.cloud_init.unwrap_or_default() {
        CloudInit::Require => "Fails if the installed system has no cloud-init.",
        CloudInit::Ignore => "Does so even if the installed system has no cloud-init.",
    });
}

/// A payload for people: its size or checksum, never its content.
fn shown(payload: &Payload) -> String {
    match (payload.remote(), payload.bytes()) {
        (Some(remote), _) => format!("fetched, SHA-256 {}", remote.sha256),
        (None, Some(bytes)) => human(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
        (None, None) => format!("not readable, at most {} bytes", payload::CLOUD_INIT_MAX),
    }
}

fn boot_order(recipe: &Recipe, lines: &mut Lines) {
    lines.detail(match recipe.boot_order.unwrap_or_default() {
        BootOrder::First => "Puts the new system first in the firmware's boot order.",
        BootOrder::Keep => "Adds the new system at the end of the firmware's boot order.",
    });
}

fn ending(recipe: &Recipe, lines: &mut Lines) {
    lines.plain(match recipe.on_success.unwrap_or_default() {
        OnSuccess::Boot => "On success: media out, the machine boots from its disk.",
        OnSuccess::PowerOff => "On success: media out, the machine stays off.",
        OnSuccess::Stay => "On success: media and power stay until an operator ends it.",
    });
    lines.plain(match recipe.on_failure.unwrap_or_default() {
        OnFailure::PowerOff => {
            "On failure: media out, the machine goes off; quarantined if its disk had been touched."
        }
        OnFailure::Stay => "On failure: media and power stay for debugging until an operator ends it.",
    });
    if let Some(limit) = recipe.timeouts.get("job") {
        lines.plain(&format!("Fails if it is not done after {limit}."));
    }
}
