//! What has been read of a medium: the only thing a controller sees of firmware and kernel before the host
//! reports. Counts, and when; not who.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// Counts of one medium of one attempt.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    requests: AtomicU64,
    /// Milliseconds since 1970; 0 for never.
    first: AtomicI64,
    last: AtomicI64,
}

/// A meter at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reading {
    /// Bytes handed out, repeats included.
    pub bytes: u64,
    /// Requests answered, HEAD included.
    pub requests: u64,
    /// When the first one came.
    pub first: Option<Timestamp>,
    /// When the last one came, or its last bytes left.
    pub last: Option<Timestamp>,
}

impl Meter {
    /// A request came.
    pub fn request(&self, now: Timestamp) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.touch(now);
    }

    /// Bytes left.
    pub fn sent(&self, count: u64, now: Timestamp) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
        self.touch(now);
    }

    /// The counts now.
    pub fn reading(&self) -> Reading {
        let time = |cell: &AtomicI64| {
            Some(cell.load(Ordering::Relaxed))
                .filter(|ms| *ms != 0)
                .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        };
        Reading {
            bytes: self.bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            first: time(&self.first),
            last: time(&self.last),
        }
    }

    fn touch(&self, now: Timestamp) {
        let now = now.as_millisecond().max(1);
        let _ = self.first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
    }
}
