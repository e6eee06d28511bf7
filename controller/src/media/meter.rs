//! What has been read of a medium: the only thing a controller sees of firmware and kernel before the host
//! reports. Counts, when, and from where last.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Blocks in which it is kept what was read, as bits: 16 words.
const WORDS: usize = 16;
const BLOCKS: u64 = WORDS as u64 * 64;

/// Counts of one medium of one attempt.
#[derive(Debug, Default)]
pub struct Meter {
    /// Length of the medium, in bytes.
    len: u64,
    /// Which blocks anything was read of.
    covered: [AtomicU64; WORDS],
    bytes: AtomicU64,
    requests: AtomicU64,
    /// Milliseconds since 1970; 0 for never.
    first: AtomicI64,
    last: AtomicI64,
    from: Mutex<Option<IpAddr>>,
}

/// A meter at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reading {
    /// Bytes handed out, repeats included.
    pub bytes: u64,
    /// Bytes handed out at least once, to about a thousandth of the medium.
    pub distinct: u64,
    /// Length of the medium.
    pub len: u64,
    /// Requests answered, HEAD included.
    pub requests: u64,
    /// When the first one came.
    pub first: Option<Timestamp>,
    /// When the last one came, or its last bytes left.
    pub last: Option<Timestamp>,
    /// The address that the last one came from: behind a proxy, the proxy's.
    pub from: Option<IpAddr>,
}

impl Meter {
    /// For a medium of that length.
    pub fn of(len: u64) -> Self {
        Self { len, ..Self::default() }
    }

    fn block(&self) -> u64 {
        self.len.div_ceil(BLOCKS).max(1)
    }

    /// A request came, from there if that is known.
    pub fn request(&self, from: Option<IpAddr>, now: Timestamp) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(from) = from {
            *self.from.lock().unwrap_or_else(PoisonError::into_inner) = Some(from.to_canonical());
        }
        self.touch(now);
    }

    /// Bytes left, from `offset` on.
    pub fn sent(&self, offset: u64, count: u64, now: Timestamp) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
        if count > 0 {
            let block = self.block();
            let last = (offset.saturating_add(count - 1) / block).min(BLOCKS - 1);
            for number in offset / block..=last {
                let word = usize::try_from(number / 64).unwrap_or(0) % WORDS;
                self.covered[word].fetch_or(1 << (number % 64), Ordering::Relaxed);
            }
        }
        self.touch(now);
    }

    /// The counts now.
    pub fn reading(&self) -> Reading {
        let time = |cell: &AtomicI64| {
            Some(cell.load(Ordering::Relaxed))
                .filter(|ms| *ms != 0)
                .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        };
        let bytes = self.bytes.load(Ordering::Relaxed);
        let blocks: u64 =
            self.covered.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum();
        // A block of which little was read counts whole, but never for more than went out in all.
        let distinct = blocks.saturating_mul(self.block()).min(bytes).min(self.len);
        Reading {
            bytes,
            distinct,
            len: self.len,
            requests: self.requests.load(Ordering::Relaxed),
            first: time(&self.first),
            last: time(&self.last),
            from: *self.from.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn touch(&self, now: Timestamp) {
        let now = now.as_millisecond().max(1);
        let _ = self.first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_is_counted_once() {
        let now = Timestamp::UNIX_EPOCH;
        let meter = Meter::of(1 << 20);
        for _ in 0..3 {
            meter.sent(0, 1 << 19, now);
        }
        assert_eq!((meter.reading().bytes, meter.reading().distinct), (3 << 19, 1 << 19));
        meter.sent(1 << 19, 1 << 19, now);
        assert_eq!(meter.reading().distinct, 1 << 20);
    }

    #[test]
    fn a_little_of_everything_is_no_more_than_what_went_out() {
        let meter = Meter::of(1 << 30);
        for block in 0..1024 {
            meter.sent(block << 20, 4096, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(meter.reading().distinct, 1024 * 4096);
        let small = Meter::of(10);
        small.sent(3, 1, Timestamp::UNIX_EPOCH);
        small.sent(u64::MAX, 1, Timestamp::UNIX_EPOCH); // beyond its end: nobody asks so, nothing breaks
        assert!(small.reading().distinct <= 2);
    }
}
