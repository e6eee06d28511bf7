//! The `slipway` binary. Under construction.
fn main() {}
