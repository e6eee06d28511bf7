//! How the maintenance OS gets onto a machine: a ladder of transports, the best that a BMC is known to do first.
//! Pure: what a BMC offers, what was learnt of its kind and what an operator wants go in, a choice with its reason
//! comes out.
//!
//! ```text
//!   virtual-media   two slots: maintenance medium and task medium side by side
//!        │ second slot refused, dropped, or known not to work
//!        ▼
//!   composed        one slot: the task medium laid over its place on the maintenance medium
//!        │ no slot to boot from, or none that takes the medium
//!        ▼
//!   http-boot       no slot: the firmware loads the composed medium itself (UefiHttp + HttpBootUri)
//! ```

use serde::{Deserialize, Serialize};

use super::capability::{Capability, Seen};

/// How the maintenance OS gets onto a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Two slots: boot medium and task medium.
    VirtualMedia,
    /// One slot: the task medium travels inside the boot medium.
    Composed,
    /// No slot: firmware fetches the composed medium into memory.
    HttpBoot,
}

impl Transport {
    /// As written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualMedia => "virtual-media",
            Self::Composed => "composed",
            Self::HttpBoot => "http-boot",
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator wants of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSetting {
    /// The best that works.
    #[default]
    Auto,
    /// This one or none.
    VirtualMedia,
    /// This one or none.
    Composed,
    /// This one or none.
    HttpBoot,
}

impl TransportSetting {
    /// Whether the ladder decides.
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
    pub fn is_auto(&self) -> bool {
        self.forced().is_none()
    }

    /// The one that is wanted, when it is one.
    pub fn forced(self) -> Option<Transport> {
        match self {
            Self::Auto => None,
            Self::VirtualMedia => Some(Transport::VirtualMedia),
            Self::Composed => Some(Transport::Composed),
            Self::HttpBoot => Some(Transport::HttpBoot),
        }
    }
}

/// What a probe found of use for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Slots that take remote images.
    pub slots: usize,
    /// Whether one of them boots.
    pub boots: bool,
    /// HTTP boot of an URI of ours.
    pub http: HttpOffer,
}

/// Whether a BMC offers HTTP boot of an URI of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpOffer {
    /// Yes.
    Yes,
    /// It should, but the attributes are not there yet.
    KeysMissing,
    /// No.
    No,
}

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The transport.
    pub transport: Transport,
    /// Why it and not another, for people.
    pub why: String,
}

/// Why nothing can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Stable code.
    pub code: &'static str,
    /// What is missing and what helps.
    pub reason: String,
}

/// Where a transport did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// The second slot did not take its medium, or did not keep it.
    SecondSlot,
    /// The slot to boot from takes nothing, or cannot be booted.
    BootSlot,
}

/// Chooses before anything is touched.
pub fn choose(
    setting: TransportSetting,
    offer: Offer,
    learnt: Option<&Capability>,
) -> Result<Chosen, Unusable> {
    if let Some(transport) = setting.forced() {
        return match lacks(transport, offer) {
            None => Ok(Chosen { transport, why: "the machine's record says so".to_owned() }),
            Some(lack) => Err(Unusable {
                code: "transport.unusable",
                reason: format!(
                    "the machine's record wants transport {transport}, but {lack}; set another transport, or `auto`"
                ),
            }),
        };
    }
    let failed = |seen: fn(&Capability) -> Option<&Seen>| learnt.and_then(seen).filter(|seen| !seen.works);
    let mut passed_over = Vec::new();
    for transport in [Transport::VirtualMedia, Transport::Composed, Transport::HttpBoot] {
        if let Some(lack) = lacks(transport, offer) {
            passed_over.push(lack);
            continue;
        }
        let why = match transport {
            Transport::VirtualMedia => {
                if let Some(seen) = failed(|known| known.second_slot.as_ref()) {
                    passed_over.push(format!("two slots did not work for this model and firmware ({seen})"));
                    continue;
                }
                "the BMC has a slot for each medium".to_owned()
            }
            Transport::Composed | Transport::HttpBoot => passed_over.join("; "),
        };
        return Ok(Chosen { transport, why });
    }
    Err(Unusable {
        code: "bmc.no_boot_slot",
        reason: format!(
            "this BMC has no virtual media slot that a CD image boots from; check its licence and virtual media settings \
             ({})",
            passed_over.last().map_or("", String::as_str)
        ),
    })
}

/// What else to try when one did not work. A forced transport is never left.
pub fn below(setting: TransportSetting, from: Transport, stuck: Stuck, offer: Offer) -> Option<Transport> {
    if !setting.is_auto() {
        return None;
    }
    match (from, stuck) {
        (Transport::VirtualMedia, Stuck::SecondSlot) => Some(Transport::Composed),
        (Transport::VirtualMedia | Transport::Composed, Stuck::BootSlot) => {
            lacks(Transport::HttpBoot, offer).is_none().then_some(Transport::HttpBoot)
        }
        _ => None,
    }
}

/// What a BMC lacks for a transport, with the remedy where there is one.
fn lacks(transport: Transport, offer: Offer) -> Option<String> {
    let no_boot = "the BMC has no slot that a CD image boots from";
    match transport {
        Transport::VirtualMedia | Transport::Composed if !offer.boots => Some(no_boot.to_owned()),
        Transport::VirtualMedia if offer.slots < 2 => Some("the BMC has one usable slot".to_owned()),
        Transport::VirtualMedia | Transport::Composed => None,
        Transport::HttpBoot => match offer.http {
            HttpOffer::Yes => None,
            HttpOffer::KeysMissing => Some(
                "the BMC does not show HttpBootUri, which some firmware shows only after the machine was restarted once \
                 (ForceRestart)"
                    .to_owned(),
            ),
            HttpOffer::No => Some("the BMC offers no HTTP boot".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobId;

    fn offer(slots: usize, boots: bool, http: HttpOffer) -> Offer {
        Offer { slots, boots, http }
    }

    fn learnt(works: bool) -> Capability {
        let at = "2026-11-21T09:00:00Z".parse().unwrap();
        let seen = Seen { works, what: "dropped".to_owned(), at, job: JobId::fresh() };
        Capability { second_slot: Some(seen), ..Capability::default() }
    }

    #[test]
    fn the_ladder_goes_down_only_for_a_reason() {
        use HttpOffer::{KeysMissing, No, Yes};
        use TransportSetting::{Auto, Composed, HttpBoot, VirtualMedia};
        let (bad, good) = (learnt(false), learnt(true));
        let table = [
            (Auto, offer(2, true, No), None, Ok("virtual-media")),
            (Auto, offer(4, true, Yes), None, Ok("virtual-media")),
            (Auto, offer(2, true, Yes), Some(&good), Ok("virtual-media")),
            (Auto, offer(2, true, Yes), Some(&bad), Ok("composed")),
            (Auto, offer(1, true, Yes), None, Ok("composed")),
            (Auto, offer(1, true, No), Some(&good), Ok("composed")),
            (Auto, offer(1, false, Yes), None, Ok("http-boot")),
            (Auto, offer(0, false, Yes), None, Ok("http-boot")),
            (Auto, offer(0, false, KeysMissing), None, Err("bmc.no_boot_slot")),
            (Auto, offer(1, false, No), None, Err("bmc.no_boot_slot")),
            (VirtualMedia, offer(2, true, No), Some(&bad), Ok("virtual-media")),
            (VirtualMedia, offer(1, true, Yes), None, Err("transport.unusable")),
            (Composed, offer(2, true, Yes), None, Ok("composed")),
            (Composed, offer(2, false, Yes), None, Err("transport.unusable")),
            (HttpBoot, offer(2, true, Yes), None, Ok("http-boot")),
            (HttpBoot, offer(0, false, Yes), None, Ok("http-boot")),
            (HttpBoot, offer(2, true, KeysMissing), None, Err("transport.unusable")),
            (HttpBoot, offer(2, true, No), None, Err("transport.unusable")),
        ];
        for (setting, offer, learnt, wanted) in table {
            let got = choose(setting, offer, learnt);
            let got = got.as_ref().map(|chosen| chosen.transport.as_str()).map_err(|not| not.code);
            assert_eq!(got, wanted, "{setting:?} {offer:?} {learnt:?}");
        }
    }

    #[test]
    fn a_choice_says_what_was_passed_over_and_a_refusal_what_helps() {
        let why = |offer, learnt| choose(TransportSetting::Auto, offer, learnt).unwrap().why;
        assert_eq!(why(offer(1, true, HttpOffer::No), None), "the BMC has one usable slot");
        let bad = learnt(false);
        let known = why(offer(2, true, HttpOffer::No), Some(&bad));
        assert!(known.contains("this model and firmware (dropped, seen 2026-11-21 by job "), "{known}");
        let none = why(offer(0, false, HttpOffer::Yes), None);
        assert!(none.contains("no slot that a CD image boots from"), "{none}");
        let refused =
            choose(TransportSetting::Auto, offer(0, false, HttpOffer::KeysMissing), None).unwrap_err();
        assert!(refused.reason.contains("ForceRestart"), "{}", refused.reason);
    }

    #[test]
    fn what_did_not_work_is_followed_by_the_next_rung_unless_an_operator_forced_it() {
        use Stuck::{BootSlot, SecondSlot};
        use Transport::{Composed, HttpBoot, VirtualMedia};
        let (http, none) = (offer(2, true, HttpOffer::Yes), offer(2, true, HttpOffer::No));
        for (setting, from, stuck, offer, wanted) in [
            (TransportSetting::Auto, VirtualMedia, SecondSlot, none, Some(Composed)),
            (TransportSetting::Auto, VirtualMedia, BootSlot, http, Some(HttpBoot)),
            (TransportSetting::Auto, VirtualMedia, BootSlot, none, None),
            (TransportSetting::Auto, Composed, BootSlot, http, Some(HttpBoot)),
            (TransportSetting::Auto, HttpBoot, BootSlot, http, None),
            (TransportSetting::VirtualMedia, VirtualMedia, SecondSlot, http, None),
            (TransportSetting::Composed, Composed, BootSlot, http, None),
        ] {
            assert_eq!(below(setting, from, stuck, offer), wanted, "{setting:?} {from} {stuck:?}");
        }
    }
}
