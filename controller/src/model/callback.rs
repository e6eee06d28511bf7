//! Outgoing webhooks: who is told what, and how each telling went.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{CallbackId, JobId, PushRuleId};

/// A subscription. Its secrets stay sealed in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Its identity.
    pub id: CallbackId,
    /// Where it goes.
    pub url: String,
    /// Kinds it wants, such as `job.failed` or `job.*`; empty means all.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Paused when false.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Callback {
    /// Whether it wants to hear of `kind`.
    pub fn wants(&self, kind: &str) -> bool {
        self.enabled
            && (self.kinds.is_empty()
                || self.kinds.iter().any(|wanted| match wanted.strip_suffix('*') {
                    Some(prefix) => kind.starts_with(prefix),
                    None => wanted == kind,
                }))
    }
}

/// Something worth telling, before it is known who wants to hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// `job.queued`, `job.started`, `job.step`, `job.succeeded`, `job.failed`, `job.cancelled`, `job.complete`, `machine.…`, `push_rule.run`
    pub kind: String,
    /// The `data` of the webhook body. Never a secret.
    pub data: serde_json::Value,
}

impl Announcement {
    /// The body that is sent and signed: Standard Webhooks' `{type, timestamp, data}`.
    pub fn body(&self, at: Timestamp) -> String {
        serde_json::json!({ "type": self.kind, "timestamp": at, "data": self.data }).to_string()
    }
}

/// One telling to one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Position in the outbox; per job, deliveries to one subscriber go out in this order.
    pub seq: i64,
    /// `webhook-id`: the same on every attempt, so that the receiver can drop repeats.
    pub webhook_id: String,
    /// The subscription; none for a job's own `callback_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_id: Option<CallbackId>,
    /// Where it goes.
    pub url: String,
    /// The job it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The push rule whose own `callback_url` this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<PushRuleId>,
    /// What happened.
    pub kind: String,
    /// The body, exactly as it is sent and signed.
    pub body: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// What the last attempt met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Will be tried.
    Pending,
    /// The receiver said 2xx.
    Delivered,
    /// Given up after the last back-off; can be replayed.
    Dead,
}

impl DeliveryState {
    /// As stored and as written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_hears_what_it_asked_for() {
        let mut callback = Callback {
            id: CallbackId::fresh(),
            url: "https://example.org/hook".to_owned(),
            kinds: vec!["job.failed".to_owned(), "machine.*".to_owned()],
            enabled: true,
            created_at: Timestamp::UNIX_EPOCH,
        };
        for (kind, wanted) in [("job.failed", true), ("job.step", false), ("machine.quarantined", true)] {
            assert_eq!(callback.wants(kind), wanted, "{kind}");
        }
        callback.kinds.clear();
        assert!(callback.wants("job.step"));
        callback.enabled = false;
        assert!(!callback.wants("job.step"));
    }
}
