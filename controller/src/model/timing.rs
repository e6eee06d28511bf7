//! How long each phase may take. The recipe's word beats the machine's, the machine's beats the site's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::Phase;

/// The deadline of each phase, settled when the job is accepted. Whole seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// Making the task medium.
    pub staging: u64,
    /// Reaching and reading the BMC.
    pub probing: u64,
    /// Power off, both media in, override set.
    pub mounting: u64,
    /// From power-on to the host's question.
    pub booting: u64,
    /// The same while the BMC is seen reading media.
    pub booting_extended: u64,
    /// From `started` to the outcome.
    pub installing: u64,
    /// Cleaning; passing it raises an alarm, it does not end the job.
    pub cleaning_up: u64,
    /// The whole job up to its outcome, when someone asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
}

/// Deadlines that someone set, by phase name (`booting`, `installing`, `job` …), in seconds.
pub type Overrides = BTreeMap<String, u64>;

const MINUTE: u64 = 60;
/// Windows images are larger and applied by slower programs.
const INSTALLING_WINDOWS: u64 = 150 * MINUTE;

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            staging: MINUTE,
            probing: 5 * MINUTE,
            mounting: 20 * MINUTE,
            booting: 30 * MINUTE,
            booting_extended: 60 * MINUTE,
            installing: 90 * MINUTE,
            cleaning_up: 10 * MINUTE,
            job: None,
        }
    }
}

impl Deadlines {
    /// What holds for one job: site, then machine, then recipe; Windows gets more time unless someone said otherwise.
    #[must_use]
    pub fn settle(&self, task_target: &str, machine: &Overrides, recipe: &Overrides) -> Self {
        let mut settled = self.clone();
        if task_target == "install-windows.target" {
            settled.installing = settled.installing.max(INSTALLING_WINDOWS);
        }
        for overrides in [machine, recipe] {
            for (name, seconds) in overrides {
                settled.set(name, *seconds);
            }
        }
        settled.booting_extended = settled.booting_extended.max(settled.booting);
        settled
    }

    fn set(&mut self, name: &str, seconds: u64) {
        match name {
            "staging" => self.staging = seconds,
            "probing" => self.probing = seconds,
            "mounting" => self.mounting = seconds,
            // Whoever sets it means it: the extension shrinks to it as well.
            "booting" => (self.booting, self.booting_extended) = (seconds, seconds),
            "installing" => self.installing = seconds,
            "cleaning" | "cleaning_up" => self.cleaning_up = seconds,
            "job" => self.job = Some(seconds),
            _ => {} // a step's own deadline: it goes to the host
        }
    }

    /// Whether `name` in a recipe's `timeouts` is ours, and not a step's.
    pub fn is_phase(name: &str) -> bool {
        matches!(
            name,
            "staging"
                | "probing"
                | "mounting"
                | "booting"
                | "installing"
                | "cleaning"
                | "cleaning_up"
                | "job"
        )
    }

    /// The deadline of a phase; none while holding.
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        let seconds = match phase {
            Phase::Staging => self.staging,
            Phase::Probing => self.probing,
            Phase::Mounting => self.mounting,
            Phase::Booting => self.booting,
            Phase::Installing => self.installing,
            Phase::CleaningUp => self.cleaning_up,
            Phase::Holding => return None,
        };
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, u64)]) -> Overrides {
        pairs.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect()
    }

    #[test]
    fn the_recipe_beats_the_machine_and_the_machine_beats_the_site() {
        let site = Deadlines::default();
        let settled = site.settle(
            "install-linux.target",
            &overrides(&[("installing", 100), ("mounting", 200)]),
            &overrides(&[("installing", 50), ("image-linux", 7), ("job", 900)]),
        );
        assert_eq!((settled.installing, settled.mounting, settled.probing), (50, 200, 300));
        assert_eq!(settled.job, Some(900));
    }

    #[test]
    fn windows_gets_more_time_unless_someone_says_otherwise() {
        let site = Deadlines::default();
        let none = Overrides::new();
        assert_eq!(site.settle("install-windows.target", &none, &none).installing, 9000);
        let recipe = overrides(&[("installing", 60)]);
        assert_eq!(site.settle("install-windows.target", &none, &recipe).installing, 60);
    }
}
