//! What the dispatcher's exit code says. Stable: units/slipway-dispatcher.service, the runbook and people's
//! monitoring rely on these numbers.

/// Exit code of `slipway-dispatcher`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is said and done.
    Ok = 0,
    /// The command line is not understood.
    Usage = 2,
    /// No task medium in any drive. Console only; systemd starts the dispatcher again and it keeps looking.
    NoTaskMedium = 10,
    /// A task medium is there but could not be mounted or read. Console only, tried again.
    MountFailed = 11,
    /// Manifest or signature of the task medium is wrong. Console only, tried again: the right one may come.
    MediumRefused = 12,
    /// The recipe on a trusted medium is not a recipe. Reported.
    RecipeInvalid = 20,
    /// The medium is for another machine. Reported with the serial number found.
    WrongMachine = 21,
    /// The controller did not let this boot proceed; the machine idles and nothing is touched.
    NotAllowed = 22,
    /// `/run/provision` could not be written (by `run`) or read (by `report`). Reported where possible.
    HandoffFailed = 30,
    /// The target is unknown, is not one of ours, or systemd did not start it. Reported.
    TargetNotStarted = 40,
}

impl Exit {
    /// Every code, for documentation and tests.
    pub const ALL: &[Self] = &[
        Self::Ok,
        Self::Usage,
        Self::NoTaskMedium,
        Self::MountFailed,
        Self::MediumRefused,
        Self::RecipeInvalid,
        Self::WrongMachine,
        Self::NotAllowed,
        Self::HandoffFailed,
        Self::TargetNotStarted,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether systemd shall start the dispatcher again, because waiting may mend it.
    pub const fn is_tried_again(self) -> bool {
        matches!(self, Self::NoTaskMedium | Self::MountFailed | Self::MediumRefused)
    }

    /// Whether the controller is told. It cannot be for 10 to 12: nothing trusted says where it is.
    pub const fn is_reported(self) -> bool {
        self.code() >= Self::RecipeInvalid.code()
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_numbers_are_those_of_the_runbook() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(numbers, [0, 2, 10, 11, 12, 20, 21, 22, 30, 40]);
    }

    #[test]
    fn what_is_tried_again_is_not_reported_and_the_unit_agrees() {
        let unit = include_str!("../../units/slipway-dispatcher.service");
        let line =
            unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap_or_default();
        let final_codes: Vec<u8> = line.split_whitespace().filter_map(|code| code.parse().ok()).collect();
        for exit in Exit::ALL {
            assert!(!(exit.is_tried_again() && exit.is_reported()), "{exit:?}");
            let stays_down = *exit == Exit::Ok || final_codes.contains(&exit.code());
            assert_eq!(stays_down, !exit.is_tried_again(), "{exit:?} and RestartPreventExitStatus={line}");
        }
    }
}
