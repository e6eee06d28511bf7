//! The binary itself: it starts by its flags, stops by SIGTERM, and keeps its secrets off the terminal.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debug builds on a loaded machine start slowly.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn serve_starts_and_stops_in_order_and_prints_no_secret() {
    let state = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_slipway"))
        .args([
            "serve",
            "--api-listen",
            "127.0.0.1:0",
            "--media-listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ])
        .arg("--state-dir")
        .arg(state.path())
        .env_remove("SLIPWAY_CONFIG")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = String::new();
    loop {
        let line = lines.next().expect("it ended before it was ready").unwrap();
        seen.push_str(&line);
        if line.contains("\"ready\"") {
            break;
        }
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(asked.elapsed() < DEADLINE, "SIGTERM does not end it");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    for line in lines {
        seen.push_str(&line.unwrap());
    }
    let token = std::fs::read_to_string(state.path().join("admin.token")).unwrap();
    assert!(seen.contains("admin.token") && !seen.contains(token.trim()));
    assert!(seen.contains("SIGTERM"), "{seen}");
}

#[test]
fn a_bad_configuration_tells_every_fault_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway"))
        .args(["serve", "--api-listen", "nowhere", "--log-format", "xml"])
        .env_remove("SLIPWAY_CONFIG")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("api_listen is \"nowhere\"") && text.contains("log_format is \"xml\""), "{text}");
}
