//! Faults to inject: the catalogue of what BMCs do. Pure; the service and the driver ask [`armed::Faults`] at the
//! point where a fault of that kind would show.

pub(crate) mod armed;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use armed::Injection;

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
    /// Every session is gone before the request is served; one that brings a token gets 401.
    SessionForgotten,
    /// 403 with `PasswordChangeRequired`: the account must get a new password first.
    PasswordChange,
    /// No session can be opened; shows at the login alone.
    SessionsFull,
    /// The request is served, half of the answer is sent, then the connection is reset.
    CutAnswer,
    /// The answer is a whole one of HTTP, with half of its JSON.
    HalfJson,
    /// The answer comes in drops of 16 bytes.
    Drip {
        /// Milliseconds for each drop.
        ms: u64,
    },
    /// An order is answered with 202 and carried out; its task monitor is not there.
    TaskVanishes,
    /// An order is answered with 202, and its task never ends.
    TaskStuck {
        /// The order is carried out all the same.
        #[serde(default)]
        works: bool,
    },
    /// A one-time override is set, and off again by itself before the machine starts.
    OnceReverts {
        /// Reads of the system that still show it.
        reads: u32,
    },
    /// The next insert drops the override.
    OverrideDropped,
    /// The next boot PATCH makes the mode `Legacy`.
    ModeFlips,
    /// The BMC restarts instead of answering: nobody there, every session gone, then not ready.
    BmcReboots {
        /// Milliseconds that connections are cut.
        ms: u64,
        /// Requests that are answered with 503 after that.
        #[serde(default)]
        unready: u32,
    },
    /// The BMC's clock is wrong: `DateTime` and the header `Date`.
    ClockSkew {
        /// Seconds ahead; negative: behind.
        seconds: i64,
    },
    /// `Boot` and `VirtualMedia` are absent from what is read, until the BMC is restarted.
    KeysMissing,
    /// A stream of events that is opened tells of what never was, some of it in half an event.
    EventsLie,
    /// A stream of events that is opened says the same thing again and again, a thousand times a second.
    EventsFlood,
    /// A stream of events that is opened ends at once.
    EventsEnd,
}

impl Fault {
    /// That status with a general error body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, message_id: None, message: None, retry_after: None }
    }

    /// That status, and when to come back.
    pub fn busy(status: u16, seconds: u64) -> Self {
        Self::Status { status, message_id: None, message: None, retry_after: Some(seconds) }
    }

    /// Properties of the answer replaced.
    pub fn replace(properties: &[(&str, Value)]) -> Self {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self::Replace { properties: properties.collect() }
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
                | Self::SessionForgotten
                | Self::PasswordChange
                | Self::SessionsFull
                | Self::CutAnswer
                | Self::HalfJson
                | Self::Drip { .. }
                | Self::BmcReboots { .. }
                | Self::ClockSkew { .. }
                | Self::KeysMissing
        )
    }

    /// Its name in the README and in JSON.
    pub fn kind(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json["kind"].as_str().unwrap_or("fault").to_owned()
    }
}
