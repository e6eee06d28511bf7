//! What the registry counts, through the `metrics` facade: whoever embeds it decides where the numbers go.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::gc::{Collection, Stored};

/// Says what each number is.
pub(super) fn describe() {
    metrics::describe_counter!(
        "slipway_registry_requests_total",
        "Registry requests, by endpoint and status class"
    );
    metrics::describe_histogram!(
        "slipway_registry_seconds",
        "Time to the head of the registry's answer, by endpoint"
    );
    metrics::describe_counter!("slipway_registry_received_bytes_total", "Bytes of pushes that were written");
    metrics::describe_counter!(
        "slipway_registry_sent_bytes_total",
        "Bytes of blobs and manifests that were sent"
    );
    metrics::describe_gauge!("slipway_registry_uploads_in_flight", "Request bodies that are being received");
    metrics::describe_gauge!("slipway_registry_stored_blobs", "Files of the registry at its last collection");
    metrics::describe_gauge!("slipway_registry_stored_bytes", "Their bytes");
    metrics::describe_gauge!(
        "slipway_registry_garbage_bytes",
        "Of them nobody holds, until their grace has passed"
    );
    metrics::describe_counter!("slipway_registry_collected_files_total", "Files that collections removed");
    metrics::describe_counter!("slipway_registry_collected_bytes_total", "Their bytes");
    metrics::describe_histogram!("slipway_registry_collection_seconds", "How long a collection took");
}

/// A request has its answer.
pub(super) fn answered(endpoint: &'static str, status: u16, took: Duration) {
    let class = match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    counter!("slipway_registry_requests_total", "endpoint" => endpoint, "status" => class).increment(1);
    histogram!("slipway_registry_seconds", "endpoint" => endpoint).record(took.as_secs_f64());
}

/// Bytes of a push are in their file.
pub(super) fn received(bytes: u64) {
    counter!("slipway_registry_received_bytes_total").increment(bytes);
}

/// Bytes have left.
pub(super) fn sent(bytes: u64) {
    counter!("slipway_registry_sent_bytes_total").increment(bytes);
}

/// A body is being received, until this is dropped.
pub(super) struct InFlight;

impl InFlight {
    pub(super) fn begin() -> Self {
        gauge!("slipway_registry_uploads_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("slipway_registry_uploads_in_flight").decrement(1.0);
    }
}

/// A collection has ended that was no rehearsal and not stopped.
#[allow(clippy::cast_precision_loss)] // gauges are floating; a petabyte is off by a byte
pub(super) fn collected(done: &Collection, stored: Stored, took: Duration) {
    counter!("slipway_registry_collected_files_total").increment(done.files);
    counter!("slipway_registry_collected_bytes_total").increment(done.bytes);
    histogram!("slipway_registry_collection_seconds").record(took.as_secs_f64());
    gauge!("slipway_registry_stored_blobs").set(stored.files as f64);
    gauge!("slipway_registry_stored_bytes").set(stored.bytes as f64);
    gauge!("slipway_registry_garbage_bytes").set(done.waiting_bytes as f64);
}
