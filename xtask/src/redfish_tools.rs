//! DMTF's Redfish validators and OpenStack's BMC emulator: Python programs, in an environment of their own below `target/`, at pinned versions.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache;
use crate::run::Run;

const REQUIREMENTS: &str = "tests/redfish-models/requirements.txt";
/// Written last into an environment: without it, the installation was cut short.
const COMPLETE: &str = "complete";

/// The folder of the programs, installed unless they are there for these versions and this Python.
pub fn ensure() -> Result<PathBuf> {
    let requirements = cache::repository().join(REQUIREMENTS);
    let python = Run::new("python3").arg("--version").text()?;
    let folder = cache::folder("redfish-tools")?;
    let name = format!("venv-{}", cache::key(&[&requirements], &[&python])?);
    let environment = folder.join(&name);
    if environment.join(COMPLETE).exists() {
        return Ok(environment.join("bin"));
    }
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Run::new("python3").args(["-m", "venv"]).arg(&environment).quiet("redfish-venv")?;
    Run::new(&environment.join("bin/pip").to_string_lossy())
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-r",
        ])
        .arg(&requirements)
        .quiet("redfish-pip")?;
    let mark = environment.join(COMPLETE);
    fs::write(&mark, python).with_context(|| format!("writing {}", mark.display()))?;
    Ok(environment.join("bin"))
}
