//! The command line: `run`, `report success`, `report failed <unit>`, `--version`. Parsed by hand: units are the
//! only callers, and a parser crate would be a third of the binary that firmware reads byte by byte.

use thiserror::Error;

/// What the dispatcher was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Wait for a task medium and carry its recipe to systemd.
    Run,
    /// Tell the controller that all steps are done.
    ReportSuccess,
    /// Tell the controller that this unit failed, if it did.
    ReportFailed {
        /// Full unit name, such as `partition.service`.
        unit: String,
    },
    /// Print the version.
    Version,
}

/// A command line that is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UsageError {
    /// The words do not form a command.
    #[error(
        "unknown command {0:?}; usage: slipway-dispatcher run | report success | report failed <unit> | --version"
    )]
    Unknown(String),
    /// The unit name has characters that no unit name has.
    #[error("{0:?} is not a unit name; pass the failed unit's full name, such as partition.service")]
    UnitName(String),
}

/// Longest unit name systemd accepts, in bytes.
const UNIT_NAME_MAX: usize = 255;

/// Reads the words after the program name.
pub fn parse(words: &[&str]) -> Result<Command, UsageError> {
    match words {
        ["run"] => Ok(Command::Run),
        ["report", "success"] => Ok(Command::ReportSuccess),
        ["report", "failed", unit] if is_unit_name(unit) => {
            Ok(Command::ReportFailed { unit: (*unit).to_owned() })
        }
        ["report", "failed", unit] => Err(UsageError::UnitName((*unit).to_owned())),
        ["--version" | "-V"] => Ok(Command::Version),
        other => Err(UsageError::Unknown(other.join(" "))),
    }
}

/// Whether this could be a unit: it becomes an argument of `systemctl` and `journalctl`, so it must not be an option.
fn is_unit_name(name: &str) -> bool {
    name.len() <= UNIT_NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.contains('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::{Command, UsageError, parse};

    #[test]
    fn the_three_calls_of_our_units_are_understood() {
        assert_eq!(parse(&["run"]), Ok(Command::Run));
        assert_eq!(parse(&["report", "success"]), Ok(Command::ReportSuccess));
        assert_eq!(
            parse(&["report", "failed", "image-linux.service"]),
            Ok(Command::ReportFailed { unit: "image-linux.service".to_owned() })
        );
    }

    #[test]
    fn a_unit_name_cannot_smuggle_an_option() {
        for name in ["--root=/", "", "partition", "a b.service", "x/y.service"] {
            assert!(matches!(parse(&["report", "failed", name]), Err(UsageError::UnitName(_))), "{name}");
        }
    }

    #[test]
    fn anything_else_is_answered_with_the_usage() {
        for words in [&[][..], &["report"], &["run", "fast"]] {
            assert!(matches!(parse(words), Err(UsageError::Unknown(_))), "{words:?}");
        }
    }
}
