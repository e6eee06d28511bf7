//! What the types of a report write, the published schema accepts; the short forms are read by both.

#![allow(clippy::unwrap_used, reason = "test code outside a test function")]

use schema::event::{Report, ReportStatus, StepState};
use schema::validate::EVENT_SCHEMA;
use serde_json::{Value, json};

fn accepts(body: &Value) -> bool {
    let schema: Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
    jsonschema::draft202012::new(&schema).unwrap().is_valid(body)
}

#[test]
fn a_report_with_everything_in_it_fits_the_schema_in_every_status() {
    let read: Report = serde_json::from_value(json!({
        "delivery_id": "d1", "job_id": "j1", "attempt": 1, "boot_nonce": "0".repeat(32), "status": "failed",
        "step": "partition.service", "step_state": "started", "failed_step": "partition.service", "done": 1, "total": u64::MAX,
        "exit_code": -1, "message": "m", "log_tail": "l", "found_serial": "s", "at": "2026-11-21T09:00:00Z"
    }))
    .unwrap();
    for status in [
        ReportStatus::Started,
        ReportStatus::Step,
        ReportStatus::Progress,
        ReportStatus::Heartbeat,
        ReportStatus::Success,
        ReportStatus::Failed,
    ] {
        for step_state in [StepState::Started, StepState::Finished] {
            let report = Report { status, step_state: Some(step_state), ..read.clone() };
            let body = serde_json::to_value(&report).unwrap();
            assert_eq!(body.as_object().unwrap().len(), 15);
            assert!(accepts(&body), "{body}");
        }
    }
}

#[test]
fn the_short_forms_are_read_by_schema_and_types() {
    for (body, fits) in [
        (json!({"status": "success"}), true),
        (json!({"status": "failed", "failed_step": "image-linux.service"}), true),
        (json!({"status": "success", "something_new": 1}), true),
        (json!({"status": "done"}), false),
        (json!({"failed_step": "image-linux.service"}), false),
        (json!({"status": "failed", "attempt": -1}), false),
    ] {
        assert_eq!(accepts(&body), fits, "{body}");
        assert_eq!(serde_json::from_value::<Report>(body.clone()).is_ok(), fits, "{body}");
    }
}
