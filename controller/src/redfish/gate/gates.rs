//! All BMCs that one controller talks to, and how much it talks to them in all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::super::origin::{origin_of, shown};
use super::super::reach::Judge;
use super::backoff::Dice;
use super::breaker::{Hurry, Rules};
use super::count;
use super::door::{Door, Gate, Standing};

/// Changes in flight per BMC and system.
const CHANGES: usize = 1;
/// Streams of events from all BMCs together: each costs a connection for minutes. Jobs beyond these poll.
const STREAMS: usize = 256;
/// What is known against a BMC that nobody asks for is forgotten after this time.
const FORGET: Duration = Duration::from_secs(3600);
/// From how many gates on it is looked which ones may go.
const SWEEP_FROM: usize = 64;

/// How much BMCs are asked in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight at all BMCs together.
    pub all: usize,
    /// Requests in flight at the BMCs of one site.
    pub per_site: usize,
    /// When a BMC is left alone.
    pub rules: Rules,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: 256, per_site: 128, rules: Rules::field() }
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Where the client's traffic counts.
    pub gates: &'a Gates,
    /// The site whose share it takes from.
    pub site: &'a str,
    /// An operator waits for it: it may find out, before its time, whether a BMC is back.
    pub by_hand: bool,
}

/// The gates of one controller.
#[derive(Clone)]
pub struct Gates(Arc<Inner>);

struct Inner {
    limits: Limits,
    clock: fn() -> Timestamp,
    /// Where BMCs may be.
    judge: Judge,
    all: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    gates: HashMap<String, Arc<Gate>>,
    /// Lanes of changes by endpoint and system, and shares by site: as long as somebody uses them.
    changes: HashMap<(String, String), Weak<Semaphore>>,
    sites: HashMap<String, Weak<Semaphore>>,
    sweep_at: usize,
}

impl Gates {
    /// For BMCs that may be anywhere. The clock is for what people read.
    pub fn new(limits: Limits, clock: fn() -> Timestamp) -> Self {
        Self::judged(limits, clock, Arc::new(|_| None))
    }

    /// For BMCs that may be only where `judge` has no objection.
    pub fn judged(limits: Limits, clock: fn() -> Timestamp, judge: Judge) -> Self {
        count::describe();
        let all = Arc::new(Semaphore::new(limits.all.clamp(1, Semaphore::MAX_PERMITS)));
        let known = Mutex::new(Known { sweep_at: SWEEP_FROM, ..Known::default() });
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self(Arc::new(Inner { limits, clock, judge, all, streams, known }))
    }

    /// The way of one client to the BMC at `origin`.
    pub fn door(&self, origin: &Url, system: Option<&str>, site: &str, by_hand: bool) -> Door {
        let endpoint = shown(origin);
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.gates.len() + known.changes.len() + known.sites.len() >= known.sweep_at {
            known.sweep(Instant::now());
        }
        let rules = self.0.limits.rules;
        let gate = known.gates.entry(endpoint.clone());
        let gate =
            Arc::clone(gate.or_insert_with(|| Arc::new(Gate::new(endpoint.clone(), rules, self.0.clock))));
        gate.touch();
        let changes = shared(&mut known.changes, (endpoint, system_key(system)), CHANGES);
        let site = shared(&mut known.sites, site.to_owned(), self.0.limits.per_site);
        let hurry = if by_hand { Hurry::ByHand } else { Hurry::None };
        let (all, streams) = (Arc::clone(&self.0.all), Arc::clone(&self.0.streams));
        Door { gate, changes, site, all, streams, hurry, dice: Dice::any() }
    }

    /// Where BMCs may be.
    pub fn judge(&self) -> &Judge {
        &self.0.judge
    }

    /// How it stands between us and the BMC at `url`.
    pub fn standing(&self, url: &str) -> Standing {
        let Ok(origin) = origin_of(url) else { return Standing::quiet() };
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = known.gates.get(&shown(&origin)).cloned();
        drop(known);
        gate.map_or_else(Standing::quiet, |gate| gate.standing())
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl Known {
    /// Lets go of what nobody uses and of which nothing must be remembered.
    fn sweep(&mut self, now: Instant) {
        self.gates
            .retain(|_, gate| Arc::strong_count(gate) > 1 || (!gate.is_quiet() && gate.idle(now) < FORGET));
        self.changes.retain(|_, lane| lane.strong_count() > 0);
        self.sites.retain(|_, share| share.strong_count() > 0);
        // Twice what is in use: so that a sweep of many costs each client little.
        let left = self.gates.len() + self.changes.len() + self.sites.len();
        self.sweep_at = SWEEP_FROM.max(2 * left);
    }
}

/// A system by however it is named: its id, or the path of its resource.
fn system_key(system: Option<&str>) -> String {
    let path = system.unwrap_or_default().trim().trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn shared<K: Eq + std::hash::Hash>(
    map: &mut HashMap<K, Weak<Semaphore>>,
    key: K,
    permits: usize,
) -> Arc<Semaphore> {
    let slot = map.entry(key).or_default();
    slot.upgrade().unwrap_or_else(|| {
        let made = Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        *slot = Arc::downgrade(&made);
        made
    })
}

#[cfg(test)]
mod tests {
    use super::super::door::{CircuitState, Pass};
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn gates(all: usize, per_site: usize) -> Gates {
        let rules = Rules { first: FIRST, most: 20 * FIRST, ..Rules::field() };
        Gates::new(Limits { all, per_site, rules }, Timestamp::now)
    }

    async fn fail(door: &Door, times: u32) {
        for _ in 0..times {
            door.enter(true).await.unwrap().failed("connection refused".into());
        }
    }

    /// Whether it would have to wait.
    fn waits(door: &Door, is_read: bool) -> bool {
        let mut entering = std::pin::pin!(door.enter(is_read));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        entering.as_mut().poll(&mut cx).is_pending()
    }

    #[tokio::test]
    async fn a_bmc_is_one_however_its_url_is_written() {
        let gates = gates(100, 100);
        let door = gates.door(&url("https://BMC.example:443/"), None, "", false);
        fail(&door, 5).await;
        for (same, is) in [
            ("https://bmc.example", true),
            ("https://bmc.example:443", true),
            ("https://bmc.example:8443", false),
            ("http://bmc.example", false),
        ] {
            let other = gates.door(&url(same), Some("1"), "elsewhere", false);
            assert_eq!(other.enter(true).await.is_err(), is, "{same}");
        }
    }

    #[tokio::test]
    async fn one_change_goes_to_a_system_and_two_reads_to_its_bmc() {
        let (gates, bmc) = (gates(100, 100), url("https://10.0.0.7"));
        let first = gates.door(&bmc, Some("/redfish/v1/Systems/1"), "", false);
        let same = gates.door(&bmc, Some("1"), "", false);
        let second = gates.door(&bmc, Some("2"), "", false);
        let change = first.enter(false).await.unwrap();
        assert!(waits(&same, false) && !waits(&second, false) && !waits(&same, true));
        drop(change);
        assert!(!waits(&same, false));
        let _reads = [first.enter(true).await.unwrap(), second.enter(true).await.unwrap()];
        assert!(waits(&first, true) && waits(&second, true) && !waits(&first, false));
    }

    #[tokio::test]
    async fn a_site_takes_its_share_and_leaves_the_rest_to_others() {
        let gates = gates(3, 2);
        let door = |n: u8, site: &str| gates.door(&url(&format!("https://10.0.0.{n}")), None, site, false);
        let x = [door(1, "x"), door(2, "x"), door(3, "x")];
        let others = [door(4, "y"), door(5, "z")];
        let held = x[0].enter(true).await.unwrap();
        let _more = x[1].enter(true).await.unwrap();
        assert!(waits(&x[2], true), "the site's share is used up");
        let _other = others[0].enter(true).await.unwrap();
        assert!(waits(&others[1], true), "everything is used up");
        drop(held);
        assert!(!waits(&x[2], true) && !waits(&others[1], true));
    }

    #[tokio::test]
    async fn whoever_waits_longest_comes_first() {
        let gates = gates(1, 1);
        let door = |n: u8| gates.door(&url(&format!("https://10.0.0.{n}")), None, "", false);
        let doors: Vec<Door> = (0..5).map(door).collect();
        let held = doors[0].enter(true).await.unwrap();
        let order = Mutex::new(Vec::new());
        let order = &order;
        let queue = doors[1..].iter().enumerate().map(|(n, door)| async move {
            let pass = door.enter(true).await.unwrap();
            order.lock().unwrap().push(n);
            pass.answered();
        });
        let release = async {
            tokio::task::yield_now().await;
            held.answered();
        };
        tokio::join!(futures_util::future::join_all(queue), release);
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn whoever_goes_away_while_waiting_or_asking_leaves_everything_as_it_was() {
        let (gates, bmc) = (gates(1, 1), url("https://10.0.0.7"));
        let door = gates.door(&bmc, None, "", false);
        let held = door.enter(false).await.unwrap();
        assert_eq!(gates.standing(bmc.as_str()).calls_in_flight, 1);
        for is_read in [true, false] {
            assert!(tokio::time::timeout(Duration::from_millis(20), door.enter(is_read)).await.is_err());
        }
        drop::<Pass<'_>>(held);
        assert_eq!(gates.standing(bmc.as_str()), Standing::quiet());
        door.enter(true).await.unwrap().answered();
        // Also the one that tries whether the BMC is back.
        fail(&door, 5).await;
        tokio::time::sleep(FIRST).await;
        let trying = door.enter(true).await.unwrap();
        assert_eq!(gates.standing(bmc.as_str()).state, CircuitState::HalfOpen);
        assert!(door.enter(true).await.unwrap_err().retry_at.is_none());
        drop(trying);
        door.enter(true).await.unwrap().answered();
        assert_eq!(gates.standing(bmc.as_str()), Standing::quiet());
    }

    #[tokio::test]
    async fn a_bmc_that_is_left_alone_says_since_when_why_and_until_when() {
        let (gates, bmc) = (gates(9, 9), url("https://10.0.0.7"));
        let door = gates.door(&bmc, None, "", false);
        fail(&door, 5).await;
        let shut = door.enter(true).await.unwrap_err();
        assert_eq!((shut.failures, shut.reason.as_str()), (5, "connection refused"));
        assert_eq!(shut.retry_at.unwrap().duration_since(shut.since).as_secs(), 1);
        let standing = gates.standing(bmc.as_str());
        assert_eq!((standing.state, standing.failures), (CircuitState::Open, 5));
        assert!(standing.since.is_some() && standing.retry_at.is_some());
        assert!(gates.door(&bmc, None, "", true).enter(true).await.is_ok(), "an operator may try");
        door.enter_anyway().await.answered();
    }

    #[tokio::test]
    async fn only_bmcs_in_use_or_in_trouble_are_kept_in_mind() {
        let gates = gates(9, 9);
        let bad = url("https://10.0.0.7");
        fail(&gates.door(&bad, None, "", false), 5).await;
        let held = gates.door(&url("https://10.9.9.9"), None, "s", false);
        let many = |gates: &Gates| {
            for n in 0..10_000 {
                drop(gates.door(&url(&format!("https://bmc-{n}.example")), Some("1"), &n.to_string(), false));
            }
            let known = gates.0.known.lock().unwrap();
            (known.gates.len(), known.changes.len(), known.sites.len())
        };
        let (kept, lanes, shares) = many(&gates);
        assert!(kept <= SWEEP_FROM && lanes <= SWEEP_FROM && shares <= SWEEP_FROM, "{kept} {lanes} {shares}");
        assert_eq!(gates.standing(bad.as_str()).state, CircuitState::Open);
        gates.0.known.lock().unwrap().sweep(Instant::now() + FORGET);
        assert_eq!(gates.standing(bad.as_str()).state, CircuitState::Closed, "forgotten");
        assert!(!waits(&held, true));
    }
}
