//! How much BMCs are asked, and when one is left alone.
//!
//! BMCs are small computers: one change and two reads at a time is what they bear, and one that is in trouble needs
//! quiet. What is kept here belongs to the endpoint, not to the client: a job and an operator's probe share it.
//!
//! ```text
//!   request ─▶ breaker shut? ─▶ lane of this BMC ─▶ the site's share ─▶ everybody's share ─▶ breaker admits ─▶ BMC
//!                  │            1 change per system     first come,        first come,            │
//!                  ▼            2 reads per BMC         first served       first served           ▼
//!            bmc.circuit_open                                             answered, failed, or gone away in the middle
//! ```
//! Every wait here ends when its future is dropped, and gives back what it had.

mod backoff;
mod breaker;
mod count;
mod door;
mod gates;

pub use breaker::Rules;
pub use door::{CircuitState, Door, Pass, Place, Shut, Standing};
pub use gates::{Entry, Gates, Limits};
