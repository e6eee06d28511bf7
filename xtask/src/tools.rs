//! Programs for tests that the build host's release has not packaged: Debian trixie's package, unpacked under
//! `target/slipway/tools/` and nowhere else. Nothing of the host changes, and root is not needed.
//!
//! ```text
//! apt-get with folders of its own ─▶ signed index of trixie ─▶ <package>.deb ─▶ dpkg-deb -x ─▶ tools/usr/bin/…
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::base::SUITE;
use crate::cache;
use crate::packages;
use crate::run::Run;

/// What is taken, as (package, its program). Each needs nothing but a C library no newer than bookworm's.
const PROGRAMS: &[(&str, &str)] = &[("oras", "usr/bin/oras")];
const MIRROR: &str = "http://deb.debian.org/debian";
/// Whose signature makes the index Debian's.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Sees to it that each program is installed or in `target/slipway/tools/`.
pub fn ensure() -> Result<()> {
    let tools = cache::folder("tools")?;
    for (package, program) in PROGRAMS {
        let name = program.rsplit('/').next().unwrap_or(program);
        if tools.join(program).exists() || Run::new(name).arg("version").succeeds() {
            continue;
        }
        fetch(package, &tools).with_context(|| format!("getting {package} of Debian {SUITE}"))?;
        if !Run::new(&tools.join(program).to_string_lossy()).arg("version").succeeds() {
            bail!(
                "{package} of Debian {SUITE} does not run here; install {name} by hand, so that it is in PATH"
            );
        }
    }
    Ok(())
}

fn fetch(package: &str, tools: &Path) -> Result<()> {
    packages::ensure(&[("debian-archive-keyring", "tells whether an index is Debian's")])?;
    println!("{package} is not in PATH: unpacking Debian {SUITE}'s into {}", tools.display());
    let work = tools.join("apt");
    for folder in ["state/lists/partial", "cache/archives/partial", "deb"] {
        fs::create_dir_all(work.join(folder)).with_context(|| format!("making {}", work.display()))?;
    }
    let sources = work.join("sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {MIRROR} {SUITE} main\n"))
        .with_context(|| format!("writing {}", sources.display()))?;
    let options = [
        format!("Dir::State={}", work.join("state").display()),
        format!("Dir::Cache={}", work.join("cache").display()),
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=-".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    let apt = || options.iter().fold(Run::new("apt-get"), |run, option| run.args(["-q", "-o", option]));
    apt().arg("update").quiet("tools-update")?;
    // `download` writes where it stands.
    let deb = work.join("deb");
    apt().folder(&deb).args(["download", package]).quiet("tools-download")?;
    for entry in fs::read_dir(&deb).with_context(|| format!("listing {}", deb.display()))? {
        let path = entry?.path();
        Run::new("dpkg-deb").arg("-x").arg(&path).arg(tools).quiet("tools-unpack")?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))
}
