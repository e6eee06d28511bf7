//! The reset table: what each `ResetType` does in each power state. Pure.

use serde::{Deserialize, Serialize};

use super::board::Power;

/// `ResetType` of Redfish, as far as BMCs here offer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names of Redfish
pub enum ResetType {
    On,
    ForceOn,
    ForceOff,
    GracefulShutdown,
    ForceRestart,
    GracefulRestart,
    PowerCycle,
    PushPowerButton,
}

/// One thing the driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    CutPower,
    ApplyPower,
    /// Ask the guest to switch itself off.
    PressButton,
    /// The same, and power is applied again when it is off.
    PressButtonThenStart,
}

/// What to do, or `None` when the machine is in no state for it.
pub(crate) fn decide(kind: ResetType, power: Power) -> Option<&'static [Act]> {
    use ResetType as R;
    let on = matches!(power, Power::On | Power::PoweringOn);
    match (kind, on) {
        (R::On | R::ForceOn | R::PushPowerButton, false) => Some(&[Act::ApplyPower]),
        (R::ForceOff, true) => Some(&[Act::CutPower]),
        (R::GracefulShutdown | R::PushPowerButton, true) => Some(&[Act::PressButton]),
        (R::ForceRestart | R::PowerCycle, true) => Some(&[Act::CutPower, Act::ApplyPower]),
        (R::GracefulRestart, true) => Some(&[Act::PressButtonThenStart]),
        (R::On | R::ForceOn, true)
        | (R::ForceOff | R::GracefulShutdown | R::ForceRestart | R::GracefulRestart | R::PowerCycle, false) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reset_type_is_decided_in_both_states() {
        use Act::{ApplyPower, CutPower, PressButton, PressButtonThenStart};
        type Acts = Option<&'static [Act]>;
        let table: &[(&str, Acts, Acts)] = &[
            ("On", Some(&[ApplyPower]), None),
            ("ForceOn", Some(&[ApplyPower]), None),
            ("ForceOff", None, Some(&[CutPower])),
            ("GracefulShutdown", None, Some(&[PressButton])),
            ("ForceRestart", None, Some(&[CutPower, ApplyPower])),
            ("GracefulRestart", None, Some(&[PressButtonThenStart])),
            ("PowerCycle", None, Some(&[CutPower, ApplyPower])),
            ("PushPowerButton", Some(&[ApplyPower]), Some(&[PressButton])),
        ];
        for (name, off, on) in table {
            let kind: ResetType = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(decide(kind, Power::Off), *off, "{name} when off");
            assert_eq!(decide(kind, Power::On), *on, "{name} when on");
        }
    }
}
