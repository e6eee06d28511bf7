//! Metrics in Prometheus text form. Anyone counts with the `metrics` macros; names begin with `slipway_`.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Bounds of durations in seconds: BMC calls take 0.1 to 60 s, phases up to an hour.
const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// One recorder per process, whoever asks first.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

fn handle() -> Option<&'static PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            // Both fail only when an embedding program installed its own recorder: then there is nothing to show.
            PrometheusBuilder::new().set_buckets(SECONDS).ok()?.install_recorder().ok()
        })
        .as_ref()
}

/// Starts counting and says what the numbers of the server mean.
pub fn describe() {
    if handle().is_none() {
        return;
    }
    metrics::describe_counter!("slipway_media_requests_total", "Requests for media, by answered status");
    metrics::describe_counter!("slipway_media_bytes_total", "Bytes of media handed out");
    metrics::describe_gauge!("slipway_media_staged", "Attempts whose media can be read now");
    metrics::describe_gauge!("slipway_media_memory_bytes", "Memory taken by staged media");
    metrics::describe_counter!("slipway_http_requests_total", "API requests, by method and status class");
    metrics::describe_histogram!("slipway_http_seconds", "Time to the head of an API answer");
    metrics::describe_gauge!("slipway_connections", "Open connections, by listener");
}

/// All numbers, in Prometheus text form.
pub fn render() -> String {
    let Some(handle) = handle() else { return String::new() };
    handle.run_upkeep();
    handle.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        describe();
        metrics::counter!("slipway_media_requests_total", "status" => "206").increment(3);
        let text = render();
        assert!(text.contains("# HELP slipway_media_requests_total Requests for media"), "{text}");
        assert!(text.contains("slipway_media_requests_total{status=\"206\"}"), "{text}");
    }
}
