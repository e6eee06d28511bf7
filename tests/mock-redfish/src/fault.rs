//! Faults to inject: how a BMC misbehaves, for which requests, how often. Pure; the service and the driver
//! ask [`Faults::take`] at the point where a fault of that kind would show.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One way to misbehave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The answer waits that long; the request is served normally then.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The request is not served; this is answered instead.
    Status {
        /// HTTP status.
        status: u16,
        /// Suffix of the `MessageId` of the error body; default `GeneralError`.
        #[serde(default)]
        message_id: Option<String>,
        /// Message text of the error body.
        #[serde(default)]
        message: Option<String>,
        /// `Retry-After` header, seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// The request is not served; a page that is no JSON is answered.
    Page {
        /// HTTP status.
        status: u16,
    },
    /// The request is served, and this is answered all the same (the lie of a BMC whose work went through).
    StatusAfter {
        /// HTTP status.
        status: u16,
    },
    /// The connection is reset, nothing is served.
    Reset,
    /// The request is served, then the connection is reset before the answer.
    ResetAfter,
    /// Top-level properties of the answer are replaced; `null` removes the property.
    Replace {
        /// Property name to value.
        properties: serde_json::Map<String, Value>,
    },
    /// Eject reports success, and the slot still says `Inserted` with the old image for this many reads.
    StaleInserted {
        /// Reads of the slot that are stale.
        reads: u32,
    },
    /// Insert reports success, and nothing is in the slot.
    PhantomInsert,
    /// The machine starts as if there were no boot override, and the override is used up.
    OnceIgnored,
    /// The override stays after the boot that should have used it up.
    OnceSticks,
    /// `PowerState` says this instead of the truth.
    PowerLies {
        /// What is said: `On`, `Off`, `PoweringOn`, `PoweringOff`.
        says: String,
    },
    /// Reset reports success, and nothing happens.
    ResetIgnored,
    /// Power-on fails in the machine: success is reported, the machine stays off.
    WillNotStart,
}

impl Fault {
    /// That status with a general error body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, message_id: None, message: None, retry_after: None }
    }

    /// That status with a message id, such as `UnableToModifyDuringSystemPOST`.
    pub fn message(status: u16, message_id: &str) -> Self {
        Self::Status { status, message_id: Some(message_id.into()), message: None, retry_after: None }
    }

    /// Whether it shows at a request (and not at something the machine does).
    fn at_request(&self) -> bool {
        matches!(
            self,
            Self::Delay { .. }
                | Self::Status { .. }
                | Self::Page { .. }
                | Self::StatusAfter { .. }
                | Self::Reset
                | Self::ResetAfter
                | Self::Replace { .. }
        )
    }
}

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
    /// HTTP method it shows at; absent: all.
    #[serde(default)]
    pub method: Option<String>,
    /// Start of the path it shows at; absent: all under `/redfish`.
    #[serde(default)]
    pub path: Option<String>,
}

impl Injection {
    /// Shows until removed.
    pub fn always(fault: Fault) -> Self {
        Self { fault, times: None, after: 0, method: None, path: None }
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

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
    }
}

/// The faults that are armed at one machine.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<(u64, Injection)>,
    next: u64,
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

    /// Every fault that shows at this request, in the order they were armed; each is used once.
    pub fn at_request(&mut self, method: &str, path: &str) -> Vec<Fault> {
        let mut shown = Vec::new();
        for (_, injection) in &mut self.armed {
            if !injection.fault.at_request() || !injection.matches(method, path) {
                continue;
            }
            if injection.after > 0 {
                injection.after -= 1;
            } else if use_once(injection) {
                shown.push(injection.fault.clone());
            }
        }
        self.armed.retain(|(_, injection)| injection.times != Some(0));
        shown
    }

    /// The first armed fault that `wanted` picks, used once.
    pub fn take<T>(&mut self, wanted: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let (injection, found) = self
            .armed
            .iter_mut()
            .find_map(|(_, injection)| wanted(&injection.fault).map(|t| (injection, t)))?;
        use_once(injection);
        self.armed.retain(|(_, injection)| injection.times != Some(0));
        Some(found)
    }

    /// Whether a fault like `fault` is armed; uses it once.
    pub fn takes(&mut self, fault: &Fault) -> bool {
        self.take(|armed| (armed == fault).then_some(())).is_some()
    }
}

fn use_once(injection: &mut Injection) -> bool {
    match &mut injection.times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
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
