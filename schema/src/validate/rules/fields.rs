//! Rules for the fields that stand alone: names, references, environment, tools, deadlines.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::super::join;
use super::{Faults, text};
use crate::recipe::{DiskChoice, DiskHints, Recipe};
use crate::reference::Reference;
use crate::{size, target};

/// Names in `env` that are the product's own, besides the [`RESERVED_PREFIXES`].
const RESERVED: &[&str] = &[
    "TASK_TARGET",
    "TARGET_DISK",
    "OCI_URL",
    "FIRMWARE_URL",
    "SERIAL_NUMBER",
    "JOB_ID",
    "JOB_ATTEMPT",
    "OCI_DIGEST",
    "FIRMWARE_SHA256",
    "API_URL",
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "IFS",
    "ENV",
    "BASH_ENV",
    "NOTIFY_SOCKET",
    "CREDENTIALS_DIRECTORY",
];
/// Beginnings of names in `env` that are the product's or the loader's own.
const RESERVED_PREFIXES: &[&str] = &["SLIPWAY_", "LD_", "LISTEN_"];
/// One of the predicates of [`text`].
type Pattern = fn(&str) -> bool;
/// Deadlines that are no step's.
const PHASES: &[&str] = &["staging", "probing", "mounting", "booting", "installing", "cleaning_up", "job"];

pub(super) fn check(recipe: &Recipe, faults: &mut Faults) {
    names(recipe, faults);
    if let Some(choice) = &recipe.target_disk {
        disk(choice, faults);
    }
    images(recipe, faults);
    environment(recipe, faults);
    steps(recipe, faults);
    for (key, at) in recipe.debug_ssh_keys.iter().zip(0..) {
        ssh_key(key, &format!("/debug_ssh_keys/{at}"), faults);
    }
    faults.unless(
        recipe.debug_ssh_keys.len() <= 16,
        "/debug_ssh_keys",
        "maxItems",
        "must have at most 16 entries",
    );
    let notes = recipe.notes.as_ref().is_none_or(|notes| notes.chars().count() <= 2000);
    faults.unless(notes, "/notes", "maxLength", "must have at most 2000 characters");
}

fn names(recipe: &Recipe, faults: &mut Faults) {
    let minor = match recipe.schema_version.strip_prefix('1') {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|minor| {
            (1..=4).contains(&minor.len())
                && minor.bytes().all(|byte| byte.is_ascii_digit())
                && (minor == "0" || !minor.starts_with('0'))
        }),
        None => false,
    };
    let message = "this Slipway reads recipes of version 1 and 1.N only; write \"1\"";
    faults.unless(minor, "/schema_version", "pattern", message);

    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let stem = recipe.task_target.strip_suffix(".target").unwrap_or_default();
    let named = !stem.is_empty()
        && !stem.starts_with(['.', '-'])
        && stem.bytes().all(plain)
        && recipe.task_target.len() <= 128;
    let message = "a target is named in lower-case letters, digits, dots and dashes and ends in .target";
    faults.unless(named, "/task_target", "pattern", message);

    let file = |name: &str| {
        name.len() <= 128
            && text::alphanumeric_first(name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let message = "name a file of the media library in letters, digits, dots, dashes and underscores";
    faults.unless(recipe.installer.as_deref().is_none_or(file), "/installer", "pattern", message);
}

fn disk(choice: &DiskChoice, faults: &mut Faults) {
    let hints = match choice {
        DiskChoice::Path(path) => {
            let message = "name a device such as /dev/nvme0n1 or /dev/disk/by-id/…";
            return faults.unless(text::device_path(path), "/target_disk", "pattern", message);
        }
        DiskChoice::Hints(hints) => hints,
    };
    let none = "give at least one hint, such as {\"min_size\": \"100G\"} or {\"smallest\": true}";
    faults.unless(*hints != DiskHints::default(), "/target_disk", "choice", none);
    let fields: [(&str, &Option<String>, Pattern); 6] = [
        ("serial", &hints.serial, text::hint),
        ("model", &hints.model, text::hint),
        ("wwn", &hints.wwn, text::wwn),
        ("by_path", &hints.by_path, text::device_name),
        ("min_size", &hints.min_size, text::bytes),
        ("max_size", &hints.max_size, text::bytes),
    ];
    for (name, value, fits) in fields {
        let message = "is not written as this hint must be: see the schema's examples";
        faults.unless(value.as_deref().is_none_or(fits), format!("/target_disk/{name}"), "pattern", message);
    }
    let transports = ["nvme", "sata", "sas", "virtio", "scsi", "mmc"];
    let known = hints.transport.as_deref().is_none_or(|transport| transports.contains(&transport));
    faults.unless(
        known,
        "/target_disk/transport",
        "enum",
        "must be one of nvme, sata, sas, virtio, scsi, mmc",
    );
    sizes(hints, faults);
}

fn sizes(hints: &DiskHints, faults: &mut Faults) {
    let mut read = |name: &str, value: &Option<String>| {
        let value = value.as_deref().filter(|value| text::bytes(value))?;
        size::absolute(value)
            .inspect_err(|error| {
                faults.add(format!("/target_disk/{name}"), "size.too_large", error.to_string());
            })
            .ok()
    };
    let (min, max) = (read("min_size", &hints.min_size), read("max_size", &hints.max_size));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let message = format!(
            "min_size {} is more than max_size {}: no disk can match",
            size::human(min),
            size::human(max)
        );
        faults.add("/target_disk/min_size", "disk.size_range", message);
    }
}

fn images(recipe: &Recipe, faults: &mut Faults) {
    if let Some(image) = &recipe.oci_url {
        reference(image, "/oci_url", faults);
    }
    let drivers = recipe.drivers.as_deref().unwrap_or_default();
    faults.unless(drivers.len() <= 64, "/drivers", "maxItems", "must have at most 64 entries");
    for (driver, at) in drivers.iter().zip(0..) {
        reference(driver, &format!("/drivers/{at}"), faults);
    }
    let (url, sha256) = (&recipe.firmware_url, &recipe.firmware_sha256);
    let message = "write a URL that begins with https:// or http:// and holds no blanks";
    faults.unless(url.as_deref().is_none_or(text::url), "/firmware_url", "pattern", message);
    let message = "write the SHA-256 as 64 lower-case hex digits";
    faults.unless(sha256.as_deref().is_none_or(text::sha256), "/firmware_sha256", "pattern", message);
    let message = "is missing: firmware_url and firmware_sha256 go together";
    faults.unless(url.is_some() || sha256.is_none(), "/firmware_url", "required", message);
    faults.unless(sha256.is_some() || url.is_none(), "/firmware_sha256", "required", message);

    let index = recipe.wim_index.is_none_or(|index| (1..=1024).contains(&index));
    faults.unless(index, "/wim_index", "minimum", "must be from 1 to 1024");
    let name = recipe.wim_name.as_ref().is_none_or(|name| (1..=256).contains(&name.chars().count()));
    faults.unless(name, "/wim_name", "maxLength", "must have 1 to 256 characters");
    let message = "wim_index and wim_name both choose the image of the WIM: keep one of them";
    faults.unless(recipe.wim_index.is_none() || recipe.wim_name.is_none(), "/wim_name", "conflict", message);
}

fn reference(reference: &str, path: &str, faults: &mut Faults) {
    let letters = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b':' | b'@' | b'[' | b']' | b'-')
    };
    if !(1..=1024).contains(&reference.len()) || !reference.bytes().all(letters) {
        faults.add(path, "pattern", "write an image reference such as images/debian:trixie");
    } else if let Err(error) = reference.parse::<Reference>() {
        faults.add(path, "reference.syntax", error.to_string());
    }
}

fn environment(recipe: &Recipe, faults: &mut Faults) {
    faults.unless(recipe.env.len() <= 128, "/env", "maxProperties", "must have at most 128 entries");
    for (name, value) in &recipe.env {
        let path = join("/env", name);
        let plain = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        let message = "names are capital letters, digits and _, at most 64, beginning with no digit";
        faults.unless(plain, &path, "pattern", message);
        let reserved = RESERVED.contains(&name.as_str())
            || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        faults.unless(
            !reserved,
            &path,
            "conflict",
            "this name is Slipway's own or the system's: choose another",
        );
        let message = "values hold letters, digits and _ . / : @ = + , - only, at most 4096 of them";
        faults.unless(text::env_value(value), &path, "pattern", message);
    }
}

fn steps(recipe: &Recipe, faults: &mut Faults) {
    let shipped = target::find(&recipe.task_target);
    let runs = |step: &str| shipped.is_none_or(|target| target.steps.contains(&step));
    let offers = shipped.map_or_else(String::new, |target| target.steps.join(", "));
    let name_message = "names are lower-case letters, digits, _ and -, at most 64";

    faults.unless(recipe.tools.len() <= 32, "/tools", "maxProperties", "must have at most 32 entries");
    for (step, image) in &recipe.tools {
        let path = join("/tools", step);
        if !text::step_name(step) {
            faults.add(&path, "pattern", name_message);
        } else if !runs(step) {
            let message = format!("{} has no step of that name; it has {offers}", recipe.task_target);
            faults.add(&path, "tools.unknown_step", message);
        }
        tool_image(image, &path, faults);
    }

    faults.unless(recipe.timeouts.len() <= 64, "/timeouts", "maxProperties", "must have at most 64 entries");
    for (name, duration) in &recipe.timeouts {
        let path = join("/timeouts", name);
        if !text::step_name(name) {
            faults.add(&path, "pattern", name_message);
        } else if !runs(name) && !PHASES.contains(&name.as_str()) {
            let message =
                format!("nothing is called that; deadlines are for {offers}, {}", PHASES.join(", "));
            faults.add(&path, "timeouts.unknown_step", message);
        }
        if !text::duration(duration) {
            faults.add(&path, "pattern", "write a duration as 30s, 90m or 2h");
        } else if let Err(error) = size::duration(duration) {
            faults.add(&path, "timeouts.too_long", error.to_string());
        }
    }
}

fn tool_image(image: &str, path: &str, faults: &mut Faults) {
    let digest = image.split_once('@').filter(|(name, _)| !name.is_empty());
    let pinned = digest.is_some_and(|(_, digest)| digest.parse::<crate::reference::Digest>().is_ok());
    if !pinned || image.chars().count() > 1024 {
        let message = "name the tool image with its digest, such as tools/site@sha256:…";
        faults.add(path, "pattern", message);
    } else if let Err(error) = image.parse::<Reference>() {
        faults.add(path, "reference.syntax", error.to_string());
    }
}

fn ssh_key(key: &str, path: &str, faults: &mut Faults) {
    let message = "write an OpenSSH public key on one line, such as ssh-ed25519 AAAA… name";
    let Some((kind, base64)) = text::ssh_key(key) else {
        return faults.add(path, "pattern", message);
    };
    // The blob begins with the length and name of its kind.
    let blob = STANDARD.decode(base64).unwrap_or_default();
    let inside = blob.get(4..4 + kind.len()) == Some(kind.as_bytes());
    faults.unless(inside, path, "key.damaged", "the key is damaged: copy the whole line of the .pub file");
}
