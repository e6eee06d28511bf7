//! The host's clock, which a flat CMOS battery sets to 2000: moved forward, never back, so that certificates hold.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// Reads and moves the system clock, and waits.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Sets the system clock; the hardware clock is left alone.
    fn set(&self, to: Timestamp) -> std::io::Result<()>;
    /// Waits.
    fn sleep(&self, time: Duration);
}

/// A file whose time stamp is the time the image was built; systemd's own convention.
const BUILD_EPOCH: &str = "/usr/lib/clock-epoch";

/// When this maintenance OS was built, when it says so.
pub fn build_time() -> Option<Timestamp> {
    fs::metadata(BUILD_EPOCH).and_then(|file| file.modified()).ok()?.try_into().ok()
}

/// Where the clock must be moved to: the later of the two times, when that lies ahead.
pub fn forward(now: Timestamp, built: Option<Timestamp>, issued: Timestamp) -> Option<Timestamp> {
    let earliest = built.map_or(issued, |built| built.max(issued));
    (earliest > now).then_some(earliest)
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn set(&self, to: Timestamp) -> std::io::Result<()> {
        let time = Duration::from_secs(u64::try_from(to.as_second()).unwrap_or_default());
        Ok(clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(time))?)
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A clock that jumps instead of waiting.
#[cfg(test)]
pub mod tests_support {
    use std::sync::Mutex;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::Clock;

    /// Remembers how long it was asked to wait, and what it was set to.
    #[derive(Default)]
    pub struct FakeClock {
        slept: Mutex<Duration>,
        set: Mutex<Option<Timestamp>>,
    }

    impl FakeClock {
        /// All waiting so far.
        pub fn slept(&self) -> Duration {
            *self.slept.lock().unwrap()
        }

        /// The last time it was set to.
        pub fn was_set(&self) -> Option<Timestamp> {
            *self.set.lock().unwrap()
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Timestamp {
            self.was_set().unwrap_or(Timestamp::UNIX_EPOCH) + *self.slept.lock().unwrap()
        }

        fn set(&self, to: Timestamp) -> std::io::Result<()> {
            *self.set.lock().unwrap() = Some(to);
            Ok(())
        }

        fn sleep(&self, time: Duration) {
            *self.slept.lock().unwrap() += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::forward;

    #[test]
    fn the_clock_is_moved_to_the_later_time_and_never_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(forward(at(100), Some(at(50)), at(200)), Some(at(200)));
        assert_eq!(forward(at(100), Some(at(300)), at(200)), Some(at(300)));
        assert_eq!(forward(at(100), None, at(200)), Some(at(200)));
        assert_eq!(forward(at(400), Some(at(300)), at(200)), None);
    }
}
