//! The program: what it prints, what it refuses, how it ends.
#![allow(clippy::unwrap_used)] // lints know test functions, not their helpers

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mock_redfish::{BackendConfig, RackConfig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mock-redfish");

fn start(arguments: &[&str]) -> Child {
    Command::new(PROGRAM).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn it_prints_its_endpoints_and_ends_on_sigterm() {
    let mut child = start(&["--sim", "2"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for index in 0..2 {
        let line = lines.next().unwrap().unwrap();
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!((columns[0], columns[2]), (&*format!("sim-{index}"), &*format!("MOCK-SIM-{index}")));
        assert!(columns[1].starts_with("http://127.0.0.1:"), "{line}");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let end = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "still there 10 s after SIGTERM");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_it_cannot_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("rack.toml");
    std::fs::write(&wrong, "[[machines]]\nname = \"a\"\ncolour = \"red\"\n").unwrap();
    for (arguments, words) in [
        (vec![], "--sim COUNT"),
        (vec!["/nowhere/rack.toml"], "/nowhere/rack.toml"),
        (vec![wrong.to_str().unwrap()], "colour"),
    ] {
        let output = start(&arguments).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn the_configuration_in_the_readme_is_one() {
    let readme = include_str!("../README.md");
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let config: RackConfig = toml::from_str(example).unwrap();
    assert!(matches!(&config.machines[0].backend, BackendConfig::Qemu(qemu) if qemu.disks.len() == 1));
}
