//! The last requests a BMC saw, for tests that ask what a client did. Bounded; passwords are not kept.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Requests kept per machine.
const KEPT: usize = 512;

/// One request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct RequestRecord {
    /// When it was answered.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Request body if it was JSON, with passwords masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Injected faults that showed at it, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Status answered; 0 when the connection was cut instead.
    pub status: u16,
}

/// A ring of [`RequestRecord`]s.
#[derive(Debug, Default)]
pub(crate) struct Journal(VecDeque<RequestRecord>);

impl Journal {
    pub fn add(&mut self, record: RequestRecord) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    pub fn list(&self) -> Vec<RequestRecord> {
        self.0.iter().cloned().collect()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// `body` with every `Password` masked.
pub(crate) fn masked(mut body: Value) -> Value {
    if let Some(map) = body.as_object_mut() {
        for (key, value) in map.iter_mut() {
            if key.contains("Password") {
                *value = Value::from("***");
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_kept() {
        let kept = masked(serde_json::json!({"UserName": "root", "Password": "secret"}));
        assert_eq!(kept, serde_json::json!({"UserName": "root", "Password": "***"}));
    }
}
