//! Pauses between two tries: they double, up to a bound, and no two clients take the same. Pure, but for the dice.
//!
//! A thousand machines behind a switch that restarted would otherwise come back all at once, again and again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest pause as a multiple of the first.
pub const LONGEST: u32 = 5;

/// The pause before a try: `tries` were made so far, one at least. Half of it is certain, half is by the roll.
pub fn pause(first: Duration, tries: u32, roll: u32) -> Duration {
    let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let whole = doubled.min(first.saturating_mul(LONGEST));
    let half = whole / 2;
    half + half.mul_f64(f64::from(roll) / f64::from(u32::MAX))
}

/// Numbers nobody foresees; the same ones for the same seed.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// That sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Any sequence.
    pub fn any() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }

    /// The next number (splitmix64).
    pub fn roll(&self) -> u32 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_five_times_the_first_and_never_fall_below_half() {
        let second = Duration::from_secs(1);
        for (tries, least, most) in
            [(1, 500, 1000), (2, 1000, 2000), (3, 2000, 4000), (4, 2500, 5000), (40, 2500, 5000)]
        {
            assert_eq!(pause(second, tries, 0), Duration::from_millis(least), "{tries}");
            assert_eq!(pause(second, tries, u32::MAX), Duration::from_millis(most), "{tries}");
        }
    }

    #[test]
    fn the_same_seed_rolls_the_same_numbers_and_another_seed_others() {
        let rolls = |seed| {
            let dice = Dice::seeded(seed);
            [dice.roll(), dice.roll(), dice.roll()]
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }

    #[test]
    fn a_thousand_clients_do_not_come_back_together() {
        let dice = Dice::seeded(1);
        let mut buckets = [0; 10];
        for _ in 0..1000 {
            let pause = pause(Duration::from_secs(2), 1, dice.roll());
            let at = (pause.as_millis() - 1000) / 100;
            buckets[usize::try_from(at).unwrap().min(9)] += 1;
        }
        assert!(buckets.iter().all(|count| (50..200).contains(count)), "{buckets:?}");
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_its_bound(first in 0u64..100_000, tries in 0u32..100, roll: u32) {
            let first = Duration::from_millis(first);
            prop_assert!(pause(first, tries, roll) <= first * LONGEST);
        }
    }
}
