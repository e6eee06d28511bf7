//! What is done in each phase. A step looks how things are, does the one thing that is next, and says what came of
//! it. Each may be begun anew at any time: what already is so costs a read.

pub mod booting;
pub mod cleaning;
pub mod holding;
pub mod installing;
pub mod mounting;
pub mod probing;
pub mod staging;

use super::drive::{Cx, Fault, Next};

/// What every step answers. An error is a retry, or the end if it cannot help.
type Came = Result<Next, Fault>;
