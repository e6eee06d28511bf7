//! Holding: media and power stay for an operator. Nothing is done until someone ends it.

use std::time::Duration;

use super::{Cx, Next};

/// Nothing comes of looking; the bell ends it.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

pub fn step(cx: &Cx) -> Next {
    let reason =
        "media and power are kept for an operator, as the recipe asks; release the job to end it".to_owned();
    Next::Wait { until: cx.workflow.later(LOOK_EVERY), reason }
}
