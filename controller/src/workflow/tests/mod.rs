//! Whole lives of jobs against a fake BMC, a fake clock and a real SQLite file.

mod accepting;
mod bmc;
mod failing;
mod finishing;
mod leaving;
mod pushing;
mod reporting;
mod restarting;
mod telling;
mod transporting;
mod waking;
mod world;
