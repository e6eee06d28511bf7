//! What was learnt of a kind of BMC by watching it: a vendor's model with one version of its firmware. Observation,
//! not hearsay; a new firmware is a new kind, of which nothing is known yet.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::JobId;

/// Machines that are expected to do the same: vendor, model, firmware of the BMC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Family {
    /// The BMC's maker.
    pub vendor: String,
    /// The system's model.
    pub model: String,
    /// The BMC's firmware version.
    pub firmware: String,
}

/// Longest part of a family that is kept, in characters.
const PART_MAX: usize = 128;

impl Family {
    /// The family of a BMC that says who it is. One that leaves something out belongs to none: it would share what
    /// is learnt with strangers.
    pub fn of(vendor: Option<&str>, model: Option<&str>, firmware: Option<&str>) -> Option<Self> {
        let part = |text: Option<&str>| {
            let text: String = text?.trim().chars().take(PART_MAX).collect();
            (!text.is_empty()).then_some(text)
        };
        Some(Self { vendor: part(vendor)?, model: part(model)?, firmware: part(firmware)? })
    }

    /// As it is compared: without case.
    pub fn key(&self) -> [String; 3] {
        [&self.vendor, &self.model, &self.firmware].map(|part| part.to_lowercase())
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} (BMC {})", self.vendor, self.model, self.firmware)
    }
}

/// What is known of a family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// A second medium beside the boot medium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_slot: Option<Seen>,
    /// Everything in one slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composed: Option<Seen>,
    /// HTTP boot of our URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_boot: Option<Seen>,
}

impl Capability {
    /// What was seen last of something.
    pub fn of(&self, what: Feature) -> Option<&Seen> {
        match what {
            Feature::SecondSlot => self.second_slot.as_ref(),
            Feature::Composed => self.composed.as_ref(),
            Feature::HttpBoot => self.http_boot.as_ref(),
        }
    }

    /// Takes in what was seen last of something.
    pub fn learn(&mut self, what: Feature, seen: Seen) {
        let place = match what {
            Feature::SecondSlot => &mut self.second_slot,
            Feature::Composed => &mut self.composed,
            Feature::HttpBoot => &mut self.http_boot,
        };
        *place = Some(seen);
    }
}

/// What can be learnt about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// A second medium beside the boot medium.
    SecondSlot,
    /// Everything in one slot.
    Composed,
    /// HTTP boot of our URI.
    HttpBoot,
}

impl From<super::Transport> for Feature {
    fn from(transport: super::Transport) -> Self {
        match transport {
            super::Transport::VirtualMedia => Self::SecondSlot,
            super::Transport::Composed => Self::Composed,
            super::Transport::HttpBoot => Self::HttpBoot,
        }
    }
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whether it worked.
    pub works: bool,
    /// What was seen, in words.
    pub what: String,
    /// When.
    pub at: Timestamp,
    /// By which job.
    pub job: JobId,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, seen {} by job {}", self.what, self.at.strftime("%Y-%m-%d"), self.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_full_name_compared_without_case() {
        let family = |v, m, f| Family::of(v, m, f);
        let dell = family(Some("Dell"), Some(" R750 "), Some("6.10.30.00")).unwrap();
        assert_eq!(dell.key(), family(Some("DELL"), Some("r750"), Some("6.10.30.00")).unwrap().key());
        assert_ne!(dell.key(), family(Some("Dell"), Some("R750"), Some("7.00.00.00")).unwrap().key());
        assert_eq!(family(Some("Dell"), Some("R750"), None), None);
        assert_eq!(family(Some(""), Some("R750"), Some("1")), None);
        let long = family(Some(&"x".repeat(1000)), Some("m"), Some("1")).unwrap();
        assert_eq!(long.vendor.len(), PART_MAX);
    }
}
