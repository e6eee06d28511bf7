//! What is counted of the traffic to BMCs. No name of a job or path of a medium is in here, only endpoints.

/// Says what the numbers mean.
pub fn describe() {
    metrics::describe_gauge!("slipway_bmc_calls_in_flight", "Requests at BMCs now");
    metrics::describe_gauge!(
        "slipway_bmc_calls_waiting",
        "Requests that wait for their turn at a BMC, its site or all"
    );
    metrics::describe_counter!(
        "slipway_bmc_calls_total",
        "Requests to BMCs, by outcome: answered, failed (no connection, or 5xx), dropped (cancelled)"
    );
    metrics::describe_counter!(
        "slipway_bmc_calls_refused_total",
        "Requests not sent because the BMC's circuit breaker is open, by BMC"
    );
    metrics::describe_counter!(
        "slipway_bmc_circuit_opened_total",
        "How often the circuit breaker opened, by BMC"
    );
    metrics::describe_gauge!(
        "slipway_bmc_circuit",
        "Circuit breaker by BMC: 0 closed, 1 one call is trying it, 2 open"
    );
    metrics::describe_histogram!(
        "slipway_bmc_seconds",
        "Time of one request to a BMC, without waiting for its turn"
    );
}

/// A number that goes up now and down when this is dropped.
pub struct Level(&'static str);

impl Level {
    fn of(name: &'static str) -> Self {
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }

    /// One more request at a BMC.
    pub fn in_flight() -> Self {
        Self::of("slipway_bmc_calls_in_flight")
    }

    /// One more that waits.
    pub fn waiting() -> Self {
        Self::of("slipway_bmc_calls_waiting")
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}

/// A request ended.
pub fn ended(outcome: &'static str, seconds: f64) {
    metrics::counter!("slipway_bmc_calls_total", "outcome" => outcome).increment(1);
    metrics::histogram!("slipway_bmc_seconds").record(seconds);
}

/// A request was not sent.
pub fn refused(endpoint: &str) {
    metrics::counter!("slipway_bmc_calls_refused_total", "bmc" => endpoint.to_owned()).increment(1);
}

/// A breaker opened.
pub fn opened(endpoint: &str) {
    metrics::counter!("slipway_bmc_circuit_opened_total", "bmc" => endpoint.to_owned()).increment(1);
}

/// Where a breaker stands.
pub fn circuit(endpoint: &str, position: u8) {
    metrics::gauge!("slipway_bmc_circuit", "bmc" => endpoint.to_owned()).set(f64::from(position));
}
