//! Which profile a BMC has. Pure.
//!
//! The maker decides first: by the service root, and by the system where no profile knows that one, since chassis
//! makers put their name on systems whose BMC somebody else made. Among the profiles of a maker the one with the most
//! conditions that hold wins.

use std::sync::Arc;

use super::{Profile, Profiles, Range, Rule, Version};

/// What a BMC says of itself, as far as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity<'a> {
    /// `ServiceRoot.Vendor`.
    pub vendor: Option<&'a str>,
    /// The system's `Manufacturer`.
    pub manufacturer: Option<&'a str>,
    /// `Manager.Model`.
    pub manager: Option<&'a str>,
    /// The system's `Model`.
    pub model: Option<&'a str>,
    /// `Manager.FirmwareVersion`.
    pub firmware: Option<&'a str>,
}

impl Profiles {
    /// The profile of this BMC; the generic one where no other fits.
    pub fn choose(&self, identity: &Identity<'_>) -> &Arc<Profile> {
        let of = |maker: Option<&str>| {
            let maker = maker?;
            let fitting = self.of_maker(maker).filter(|profile| profile.rule.holds(identity));
            // Of two that are as precise the first by name wins, so that the choice is always the same.
            fitting
                .reduce(|best, next| if next.rule.precision() > best.rule.precision() { next } else { best })
        };
        of(identity.vendor).or_else(|| of(identity.manufacturer)).unwrap_or(&self.generic)
    }

    /// Whether collections may be asked for with their members, when nothing but the maker is known yet.
    pub fn may_expand(&self, vendor: Option<&str>) -> bool {
        vendor.is_none_or(|vendor| self.of_maker(vendor).all(|profile| profile.read.expand))
    }

    /// Whether a system of this id is some board beside the server and never the server itself.
    pub fn is_no_server(&self, id: &str) -> bool {
        self.all.iter().any(|profile| profile.read.not_systems.iter().any(|known| known == id))
    }

    fn of_maker(&self, maker: &str) -> impl Iterator<Item = &Arc<Profile>> {
        let name = maker.trim().to_ascii_lowercase();
        self.all.iter().filter(move |profile| {
            profile.rule.maker.iter().any(|known| begins_with_word(&name, &known.to_ascii_lowercase()))
        })
    }
}

impl Rule {
    fn holds(&self, identity: &Identity<'_>) -> bool {
        begins(&self.manager, identity.manager)
            && begins(&self.model, identity.model)
            && self.firmware.holds(identity.firmware)
    }

    /// How many conditions it has beside the maker.
    fn precision(&self) -> usize {
        let lists = [&self.manager, &self.model].into_iter().filter(|list| !list.is_empty()).count();
        lists + usize::from(self.firmware.from.is_some()) + usize::from(self.firmware.below.is_some())
    }
}

impl Range {
    /// A version that cannot be read is in no range but the open one.
    fn holds(&self, found: Option<&str>) -> bool {
        if self.from.is_none() && self.below.is_none() {
            return true;
        }
        let Some(found) = found.and_then(Version::find) else { return false };
        self.from.as_ref().is_none_or(|from| found >= *from)
            && self.below.as_ref().is_none_or(|below| found < *below)
    }
}

fn begins(wanted: &[String], found: Option<&str>) -> bool {
    let found = found.unwrap_or_default().trim().to_ascii_lowercase();
    wanted.is_empty() || wanted.iter().any(|wanted| found.starts_with(&wanted.to_ascii_lowercase()))
}

/// `ami` begins `ami megarac`, and not `amiga`.
fn begins_with_word(name: &str, maker: &str) -> bool {
    name.strip_prefix(maker).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vendor, manufacturer, manager model, system model, firmware, profile.
    type Row = (
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        &'static str,
    );

    #[test]
    fn every_family_is_known_by_what_its_bmcs_say() {
        let profiles = Profiles::builtin();
        let table: &[Row] = &[
            (
                Some("Dell"),
                Some("Dell Inc."),
                Some("15G Monolithic"),
                None,
                Some("6.00.30.00"),
                "dell-idrac9",
            ),
            (Some("Dell"), None, Some("14G Monolithic"), None, Some("5.10.50.00"), "dell-idrac9-old"),
            (Some("Dell"), None, Some("13G Monolithic"), None, Some("2.83.83.83"), "dell-idrac8"),
            (Some("Dell"), None, Some("17G Monolithic"), None, Some("1.20.25.00"), "dell-idrac10"),
            (Some("Dell"), None, Some("18G"), None, Some("2.0"), "dell-idrac10"),
            (Some("Dell"), Some("Lenovo"), None, None, None, "dell-idrac9"),
            (None, Some("Dell Inc."), None, None, None, "dell-idrac9"),
            (Some("HPE"), Some("HPE"), Some("iLO 5"), None, Some("iLO 5 v2.72"), "hpe-ilo"),
            (Some("HPE"), None, Some("iLO 7"), None, Some("1.12.00"), "hpe-ilo"),
            (None, Some("HP"), Some("iLO 4"), None, Some("iLO 4 v2.80"), "hpe-ilo4"),
            (Some("Lenovo"), Some("Lenovo"), None, None, None, "lenovo-xcc"),
            (Some(""), Some(" lenovo "), None, None, None, "lenovo-xcc"),
            (
                None,
                Some("Supermicro"),
                Some("ASPEED"),
                Some("SYS-821GE-TNHR"),
                Some("11.01.01"),
                "supermicro",
            ),
            (Some("Super Micro Computer"), None, None, None, None, "supermicro"),
            (None, Some("Supermicro"), None, Some("ARS-111GL-NHR"), None, "supermicro-ars-111gl-nhr"),
            (Some("AMI"), Some("NVIDIA"), None, None, None, "ami-megarac"),
            (Some("AMI"), Some("NVIDIA"), None, Some("DGXH100"), None, "nvidia-dgx"),
            (None, Some("ASRockRack"), None, None, None, "ami-megarac"),
            (Some("Amiga"), None, None, None, None, "generic"),
            (Some("OpenBMC"), None, None, None, None, "openbmc"),
            (Some("NVIDIA"), None, None, Some("GB200 NVL"), None, "nvidia-gb200"),
            (Some("Nvidia"), None, Some("OpenBmc"), Some("BlueField-3 DPU"), None, "nvidia-bluefield"),
            (Some("FUJITSU"), None, None, None, None, "fujitsu-irmc"),
            (None, Some("Fsas Technologies Inc."), None, None, None, "fujitsu-irmc"),
            (Some("Huawei"), None, None, None, None, "huawei-ibmc"),
            (None, Some("xFusion"), None, None, None, "huawei-ibmc"),
            (Some("Cisco Systems Inc."), None, None, None, None, "cisco-cimc"),
            (Some("Cisco Systems, Inc."), None, None, None, None, "cisco-cimc"),
            (None, Some("Nokia Solutions and Networks"), None, None, None, "nokia"),
            (None, Some("Sushy Emulator"), None, None, None, "sushy-tools"),
            (None, None, None, None, None, "generic"),
        ];
        for (vendor, manufacturer, manager, model, firmware, wanted) in table {
            let identity = Identity {
                vendor: *vendor,
                manufacturer: *manufacturer,
                manager: *manager,
                model: *model,
                firmware: *firmware,
            };
            assert_eq!(profiles.choose(&identity).name, *wanted, "{identity:?}");
        }
    }

    #[test]
    fn expanding_is_left_alone_where_it_is_broken_in_one_of_a_makers_families() {
        let profiles = Profiles::builtin();
        assert!(profiles.may_expand(None) && profiles.may_expand(Some("Dell")));
        assert!(!profiles.may_expand(Some("AMI")));
    }
}
