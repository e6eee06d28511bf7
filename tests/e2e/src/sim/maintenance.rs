//! The smallest maintenance medium that is one: a label, a trust block and a place for a composed task medium.
//! Nothing on it boots; a simulated host brings its own "operating system".

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use schema::task::{COMPOSED_TASK_FILE, COMPOSED_TASK_SIZE, MAINTENANCE_LABEL, TRUST_FILE, TRUST_SIZE};

/// Writes it to `path` with xorriso, which is not the library that the product writes discs with.
pub fn maintenance_iso(path: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trust = folder.path().join(TRUST_FILE);
    let inside = trust.parent().context("the trust file has a folder")?;
    std::fs::create_dir_all(inside)?;
    let size = usize::try_from(TRUST_SIZE)?;
    std::fs::write(&trust, vec![b'\n'; size])?;
    std::fs::File::create(folder.path().join(COMPOSED_TASK_FILE))?.set_len(COMPOSED_TASK_SIZE)?;
    let output = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", MAINTENANCE_LABEL, "-o"])
        .args([path, folder.path()])
        .output()
        .context("running xorriso; apt-get install xorriso")?;
    ensure!(output.status.success(), "xorriso: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
