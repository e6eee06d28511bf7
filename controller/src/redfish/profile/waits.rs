//! How long to wait for what: a set for real hardware, one for emulators, and how a profile stretches either.

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

/// How much longer than others one family takes, as factors of the base values; 1 where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stretch {
    /// Of everything about power.
    pub power: f64,
    /// Of everything about media.
    pub media: f64,
    /// Of everything about boot settings.
    pub boot: f64,
    /// Of pauses after "not now".
    pub busy: f64,
    /// Of tasks.
    pub task: f64,
}

impl Default for Stretch {
    fn default() -> Self {
        Self { power: 1.0, media: 1.0, boot: 1.0, busy: 1.0, task: 1.0 }
    }
}

impl Stretch {
    /// Smallest and largest factor a profile may name.
    pub const RANGE: std::ops::RangeInclusive<f64> = 0.1..=20.0;

    /// All factors with their names.
    pub fn factors(&self) -> [(&'static str, f64); 5] {
        [
            ("power", self.power),
            ("media", self.media),
            ("boot", self.boot),
            ("busy", self.busy),
            ("task", self.task),
        ]
    }

    /// The waits of this family. How long a connection or an answer may take is the site's to say, not a family's.
    pub fn of(&self, waits: &Waits) -> Waits {
        Waits {
            power_total: waits.power_total.mul_f64(self.power),
            media_total: waits.media_total.mul_f64(self.media),
            boot_total: waits.boot_total.mul_f64(self.boot),
            busy: waits.busy.mul_f64(self.busy),
            task_total: waits.task_total.mul_f64(self.task),
            ..waits.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_given_more_time_for_what_it_is_slow_at_and_nothing_else() {
        let slow = Stretch { media: 2.0, ..Stretch::default() };
        let waits = slow.of(&Waits::field());
        assert_eq!(waits.media_total, Waits::field().media_total * 2);
        assert_eq!(Waits { media_total: Waits::field().media_total, ..waits }, Waits::field());
    }
}
