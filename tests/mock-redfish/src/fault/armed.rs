//! Which faults are armed at a machine, for which requests, how often; and which have shown. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fault;

/// A fault, the requests it shows at, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    /// The fault.
    pub fault: Fault,
    /// How many times it shows; absent: until it is removed.
    #[serde(default)]
    pub times: Option<u32>,
    /// How many matching requests pass before it shows.
    #[serde(default)]
    pub after: u32,
    /// After that, it shows at every so many matching requests, the first among them; 0 and 1: at all.
    #[serde(default)]
    pub every: u32,
    /// HTTP method it shows at; absent: all.
    #[serde(default)]
    pub method: Option<String>,
    /// Start of the path it shows at; absent: all under `/redfish`.
    #[serde(default)]
    pub path: Option<String>,
    /// Matching requests since it last showed.
    #[serde(skip)]
    pub(crate) passed: u32,
}

impl Injection {
    /// Shows until removed.
    pub fn always(fault: Fault) -> Self {
        Self { fault, times: None, after: 0, every: 0, method: None, path: None, passed: 0 }
    }

    /// Shows that many times.
    pub fn times(times: u32, fault: Fault) -> Self {
        Self { times: Some(times), ..Self::always(fault) }
    }

    /// Only for that method and paths that start with `path`.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_uppercase());
        self.path = Some(path.into());
        self
    }

    /// Lets that many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    /// Shows at every so many matching requests.
    #[must_use]
    pub fn every(mut self, requests: u32) -> Self {
        self.every = requests;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let login = method.eq_ignore_ascii_case("POST") && path.ends_with("/Sessions");
        (login || self.fault != Fault::SessionsFull)
            && self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
    }
}

/// The faults that are armed at one machine.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<(u64, Injection)>,
    next: u64,
    shown: BTreeMap<String, u32>,
}

impl Faults {
    /// Arms one and returns its number.
    pub fn add(&mut self, injection: Injection) -> u64 {
        self.next += 1;
        self.armed.push((self.next, injection));
        self.next
    }

    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.armed.len();
        self.armed.retain(|(number, _)| *number != id);
        self.armed.len() < before
    }

    pub fn clear(&mut self) {
        self.armed.clear();
    }

    pub fn list(&self) -> &[(u64, Injection)] {
        &self.armed
    }

    /// How often each kind has shown.
    pub fn shown(&self) -> &BTreeMap<String, u32> {
        &self.shown
    }

    /// What only a restart of the BMC mends is mended.
    pub fn bmc_restarted(&mut self) {
        self.armed.retain(|(_, injection)| injection.fault != Fault::KeysMissing);
    }

    /// Every fault that shows at this request, in the order they were armed; each is used once.
    pub fn at_request(&mut self, method: &str, path: &str) -> Vec<Fault> {
        let mut found = Vec::new();
        for (_, injection) in &mut self.armed {
            if injection.fault.at_request() && injection.matches(method, path) && injection.shows() {
                found.push(injection.fault.clone());
            }
        }
        self.note(&found);
        found
    }

    /// The first armed fault that `wanted` picks, used once.
    pub fn take<T>(&mut self, wanted: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.take_where(|_| true, wanted)
    }

    /// The same among those that are armed for this request.
    pub fn take_at<T>(
        &mut self,
        method: &str,
        path: &str,
        wanted: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        self.take_where(|injection| injection.matches(method, path), wanted)
    }

    fn take_where<T>(
        &mut self,
        matches: impl Fn(&Injection) -> bool,
        wanted: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        let mut candidates = self.armed.iter_mut().map(|(_, injection)| injection);
        let (injection, found) = candidates.find_map(|injection| {
            wanted(&injection.fault).filter(|_| matches(injection)).map(|t| (injection, t))
        })?;
        let fault = injection.shows().then(|| injection.fault.clone())?;
        self.note(&[fault]);
        Some(found)
    }

    /// Whether a fault like `fault` is armed; uses it once.
    pub fn takes(&mut self, fault: &Fault) -> bool {
        self.take(|armed| (armed == fault).then_some(())).is_some()
    }

    /// Counts what has shown, and puts away what is used up.
    fn note(&mut self, shown: &[Fault]) {
        for fault in shown {
            *self.shown.entry(fault.kind()).or_default() += 1;
        }
        self.armed.retain(|(_, injection)| injection.times != Some(0));
    }
}

impl Injection {
    /// Whether it shows at a request that matches; counts.
    fn shows(&mut self) -> bool {
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        let turn = self.passed == 0;
        self.passed = (self.passed + 1) % self.every.max(1);
        if !turn || self.times == Some(0) {
            return false;
        }
        self.times = self.times.map(|left| left - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_only_at_its_requests_and_only_so_often() {
        let mut faults = Faults::default();
        faults.add(Injection::times(2, Fault::status(503)).on("get", "/redfish/v1/Systems").after(1));
        let mut at = |method, path| faults.at_request(method, path).len();
        assert_eq!(at("GET", "/redfish/v1/Managers"), 0);
        assert_eq!(at("PATCH", "/redfish/v1/Systems/1"), 0);
        assert_eq!(at("GET", "/redfish/v1/Systems/1"), 0, "the first passes");
        assert_eq!(at("GET", "/redfish/v1/Systems/1"), 1);
        assert_eq!(at("GET", "/redfish/v1/Systems"), 1);
        assert_eq!(at("GET", "/redfish/v1/Systems/1"), 0, "used up");
    }

    #[test]
    fn a_flapping_fault_shows_at_every_so_many_requests_and_is_counted() {
        let mut faults = Faults::default();
        faults.add(Injection::times(2, Fault::status(404)).every(2));
        let at: Vec<usize> = (0..6).map(|_| faults.at_request("GET", "/redfish/v1").len()).collect();
        assert_eq!(at, [1, 0, 1, 0, 0, 0]);
        assert_eq!(faults.shown().get("status"), Some(&2));
    }

    #[test]
    fn a_full_session_table_shows_at_the_login_alone() {
        let mut faults = Faults::default();
        faults.add(Injection::always(Fault::SessionsFull));
        assert!(faults.at_request("GET", "/redfish/v1/SessionService/Sessions").is_empty());
        assert_eq!(faults.at_request("POST", "/redfish/v1/SessionService/Sessions"), [Fault::SessionsFull]);
    }

    #[test]
    fn a_fault_of_the_machine_never_shows_at_a_request() {
        let mut faults = Faults::default();
        faults.add(Injection::times(1, Fault::OnceIgnored));
        assert!(faults.at_request("GET", "/").is_empty());
        assert!(faults.takes(&Fault::OnceIgnored));
        assert!(!faults.takes(&Fault::OnceIgnored));
    }

    #[test]
    fn the_control_api_reads_faults_as_written_in_the_readme() {
        let injection: Injection = serde_json::from_str(
            r#"{"fault": {"kind": "status", "status": 503, "retry_after": 2}, "times": 3, "method": "GET", "path": "/redfish/v1"}"#,
        )
        .unwrap();
        assert_eq!(injection.times, Some(3));
        let lie: Injection =
            serde_json::from_str(r#"{"fault": {"kind": "power-lies", "says": "Off"}}"#).unwrap();
        assert_eq!(lie.fault, Fault::PowerLies { says: "Off".into() });
        assert!(serde_json::from_str::<Injection>(r#"{"fault": {"kind": "gremlins"}}"#).is_err());
    }
}
