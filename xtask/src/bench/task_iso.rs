//! `task-iso`: the controller's own builder of task media, in process, against `xorriso -as mkisofs` on the very
//! files that are on the medium. Then everyone who reads discs reads it, and finds the same bytes.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Findings;
use super::figure::{Figure, Target, median};
use super::programs::Programs;
use super::readers;
use crate::cache;
use crate::run::Run;

/// What it is compared with.
pub const PEERS: &[&str] = &["xorriso"];
/// The recipe that goes onto the medium.
const RECIPE: &str = "recipes/linux-debian.json";
/// And user data of this many bytes.
const USER_DATA: &str = "65536";
/// Builds in a round; all must be the same, byte for byte.
const BUILDS: u32 = 1000;
/// Runs of xorriso in a round.
const PEER_RUNS: u32 = 10;

/// Measures it.
pub fn measure(programs: &Programs, rounds: u32) -> Result<Findings> {
    let folder = cache::folder("bench")?.join("task-iso");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let iso = folder.join("task.iso");
    let ours = || {
        Run::new(&programs.media_bench.display().to_string())
            .args(["build", RECIPE, USER_DATA, &BUILDS.to_string()])
            .arg(&iso)
    };
    ours().text()?;
    let agreed = readers::agree(&iso, &folder)?;
    let peer = || {
        Run::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", "SLIPWAY_TASK", "-o"])
            .arg(folder.join("peer.iso"))
            .arg(&agreed.tree)
    };
    let (mut builds, mut slowest, mut peers, mut starts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut digests, mut identical) = (Vec::new(), 0.0);
    for round in 0..rounds {
        let mut build = || -> Result<()> {
            let found: Value = serde_json::from_str(&ours().text()?)?;
            builds.push(number(&found, "median_seconds")?);
            slowest.push(number(&found, "slowest_seconds")? * 1000.0);
            identical += number(&found, "builds")?;
            digests.push(found["sha256"].as_str().context("sha256")?.to_owned());
            Ok(())
        };
        let mut compare = || -> Result<()> {
            peers.push(middle(PEER_RUNS, peer)?);
            starts.push(middle(PEER_RUNS, || Run::new("xorriso").arg("-version"))?);
            Ok(())
        };
        if round % 2 == 0 {
            build()?;
            compare()?;
        } else {
            compare()?;
            build()?;
        }
    }
    ensure!(digests.iter().all(|digest| *digest == digests[0]), "media of two processes differ: {digests:?}");
    let without_start: Vec<f64> = peers.iter().zip(&starts).map(|(peer, start)| peer - start).collect();
    let size = fs::metadata(&iso)?.len();
    let (ours, peer) = (ours().shown().to_owned(), peer().shown().to_owned());
    fs::remove_dir_all(&folder)?;
    let in_ms = |seconds: &[f64]| seconds.iter().map(|seconds| seconds * 1000.0).collect();
    Ok(Findings {
        figures: vec![
            Figure::median("one build, in process, signing included", "ms", in_ms(&builds))
                .should_be(Target::AtMost(5.0)),
            Figure::ratio("speed, of xorriso -as mkisofs", &peers, &builds).should_be(Target::AtLeast(20.0)),
            Figure::median("builds identical byte for byte", "", vec![identical])
                .should_be(Target::AtLeast(f64::from(BUILDS))),
            Figure::ratio("speed, of xorriso without its process start", &without_start, &builds),
            Figure::median("xorriso -as mkisofs, process start included", "ms", in_ms(&peers)),
            Figure::median("xorriso -version, the process start alone", "ms", in_ms(&starts)),
            Figure::median("slowest build of a round", "ms", slowest),
        ],
        commands: vec![ours, peer],
        notes: vec![
            format!("{} files, {size} bytes of image; user data of {USER_DATA} bytes", agreed.files),
            format!(
                "ours: median of {BUILDS} builds in one process, each with contents, manifest, signature, image and \
                 its SHA-256; xorriso: median of {PEER_RUNS} processes on the same files, image and file only"
            ),
            format!("{} read the same files, and each is what the manifest lists", agreed.readers.join(", ")),
        ],
    })
}

fn number(found: &Value, name: &str) -> Result<f64> {
    found[name].as_f64().with_context(|| format!("media_bench tells {name}"))
}

/// The median of some runs.
fn middle(runs: u32, run: impl Fn() -> Run) -> Result<f64> {
    let seconds: Result<Vec<f64>> = (0..runs).map(|_| Ok(run().timed()?.1)).collect();
    Ok(median(&seconds?))
}
