//! What is known of a BMC family, as data: waits, slot rules, boot targets.
//!
//! Inert by design. A profile may choose, order and omit; it cannot name an image, a credential, a trust
//! decision, or a reset type the BMC does not list. One row fits every well-behaved service, the others name
//! only what differs. Rows are picked by the BMC maker first, the chassis maker second.

use std::time::Duration;

/// How long to wait for what. Every wait ends; every one is cancelled by dropping the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// For a TCP and TLS connection.
    pub connect: Duration,
    /// Between two pieces of an answer; setting BIOS attributes can take most of a minute.
    pub read: Duration,
    /// Before a read that met a 5xx or a broken connection is tried again.
    pub retry: Duration,
    /// How often a read is tried again after a 5xx answer.
    pub read_retries: u32,
    /// How often a read is tried again after a broken connection.
    pub connect_retries: u32,
    /// Between two looks at the power state.
    pub power_poll: Duration,
    /// For the machine to reach a power state, in all.
    pub power_total: Duration,
    /// Between two looks at a slot after an insert or eject.
    pub media_poll: Duration,
    /// For a slot to show what was inserted, or to be empty.
    pub media_total: Duration,
    /// Between two looks at the boot override.
    pub boot_poll: Duration,
    /// For the override to read back.
    pub boot_total: Duration,
    /// First pause after "not during POST" or "conflict"; grows to six times this.
    pub busy: Duration,
    /// How often such a refusal is tried again.
    pub busy_retries: u32,
    /// First pause between two looks at a task; doubles up to `task_poll_most`.
    pub task_poll: Duration,
    /// Longest pause between two looks at a task, also when the BMC asks for more.
    pub task_poll_most: Duration,
    /// For a task to end.
    pub task_total: Duration,
}

impl Waits {
    /// For real hardware.
    pub const fn field() -> Self {
        Self {
            connect: Duration::from_secs(30),
            read: Duration::from_secs(60),
            retry: Duration::from_secs(3),
            read_retries: 5,
            connect_retries: 2,
            power_poll: Duration::from_secs(5),
            power_total: Duration::from_secs(180),
            media_poll: Duration::from_secs(5),
            media_total: Duration::from_secs(120),
            boot_poll: Duration::from_secs(3),
            boot_total: Duration::from_secs(15),
            busy: Duration::from_secs(5),
            busy_retries: 6,
            task_poll: Duration::from_secs(1),
            task_poll_most: Duration::from_secs(10),
            task_total: Duration::from_secs(300),
        }
    }

    /// For emulated BMCs that answer in milliseconds.
    pub const fn fast() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            retry: Duration::from_millis(10),
            power_poll: Duration::from_millis(10),
            power_total: Duration::from_secs(5),
            media_poll: Duration::from_millis(10),
            media_total: Duration::from_secs(2),
            boot_poll: Duration::from_millis(10),
            boot_total: Duration::from_millis(500),
            busy: Duration::from_millis(5),
            task_poll: Duration::from_millis(5),
            task_poll_most: Duration::from_millis(50),
            task_total: Duration::from_secs(5),
            ..Self::field()
        }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self::field()
    }
}

/// What differs in one family of BMCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name, for notes and logs.
    pub name: &'static str,
    /// Lower-case beginnings of the maker's name; empty in the row that fits all.
    pub makers: &'static [&'static str],
    /// Where no slot has an insert action: only those whose `Id` begins so are filled, by PATCH.
    pub patch_prefix: Option<&'static str>,
    /// One-time boot targets for a virtual CD, best first.
    pub cd_targets: &'static [&'static str],
    /// Whether every boot PATCH must carry target, enabled and mode together.
    pub full_boot: bool,
    /// Whether the machine's serial is its `SKU`.
    pub serial_is_sku: bool,
    /// Whether `$expand` may be used where the service advertises it.
    pub expand: bool,
}

/// Fits a service that does what the standard says.
pub const GENERIC: Profile = Profile {
    name: "generic",
    makers: &[],
    patch_prefix: None,
    cd_targets: &["Cd", "UsbCd"],
    full_boot: false,
    serial_is_sku: false,
    expand: true,
};

/// The families that differ. Evidence for each row is in the Redfish field guide.
pub const FAMILIES: &[Profile] = &[
    // The service tag, which is what owners call the serial, is the SKU.
    Profile { name: "dell", makers: &["dell"], serial_is_sku: true, ..GENERIC },
    // XCC lists no actions on its media slots, and only the EXT ones take an image.
    Profile { name: "lenovo", makers: &["lenovo"], patch_prefix: Some("EXT"), ..GENERIC },
    // Virtual optical drives are USB ones to this firmware; `Cd` would be a SATA drive.
    Profile {
        name: "supermicro",
        makers: &["supermicro", "super micro"],
        cd_targets: &["UsbCd", "Cd"],
        full_boot: true,
        ..GENERIC
    },
    // Partial boot settings are accepted and ignored; expanded members lose their ids.
    Profile {
        name: "ami",
        makers: &["ami", "american megatrends", "asrockrack"],
        full_boot: true,
        expand: false,
        ..GENERIC
    },
];

/// The profile for a BMC whose service root names `vendor` and whose system names `manufacturer`.
pub fn choose(vendor: Option<&str>, manufacturer: Option<&str>) -> &'static Profile {
    let matching = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        FAMILIES.iter().find(|row| row.makers.iter().any(|maker| begins_with_word(&name, maker)))
    };
    vendor.and_then(matching).or_else(|| manufacturer.and_then(matching)).unwrap_or(&GENERIC)
}

/// `ami` begins `ami megarac`, and not `amiga`.
fn begins_with_word(name: &str, maker: &str) -> bool {
    name.strip_prefix(maker).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bmc_maker_decides_before_the_chassis_maker() {
        for (vendor, manufacturer, wanted) in [
            (Some("Dell"), None, "dell"),
            (Some("Dell"), Some("Lenovo"), "dell"),
            (None, Some("Dell Inc."), "dell"),
            (None, Some("Supermicro"), "supermicro"),
            (Some("AMI"), Some("NVIDIA"), "ami"),
            (Some("Amiga"), None, "generic"),
            (Some("HPE"), Some("HPE"), "generic"),
            (Some(""), Some(" lenovo "), "lenovo"),
            (None, None, "generic"),
        ] {
            assert_eq!(choose(vendor, manufacturer).name, wanted, "{vendor:?} {manufacturer:?}");
        }
    }
}
