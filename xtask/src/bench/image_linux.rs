//! `image-linux`: an image from a real controller's registry, over TLS, onto a fresh filesystem, against what a
//! shell does with the same bytes. The same server, token, disk and options; ours checks the digest besides.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Findings;
use super::figure::{Figure, Target};
use super::programs::Programs;
use super::scratch::Scratch;
use crate::packages::sudo;
use crate::run::Run;
use crate::site::Site;
use crate::{cache, os_image};

/// What it is compared with.
pub const PEERS: &[&str] = &["curl", "zstd", "tar"];
/// Where the image is.
const REPOSITORY: &str = "images/debian";
/// Everything of a tree that both must agree on, as one number: names, contents, owners, modes, times, links,
/// devices, attributes.
const DIGEST_OF_TREE: &str = "tar --create --sort=name --format=pax --pax-option=delete=atime,delete=ctime \
--xattrs --xattrs-include='*' --numeric-owner --exclude=./lost+found --directory \"$1\" . | sha256sum";

/// One way to bring the image to a folder.
enum Way {
    Ours,
    Peer,
}

struct Bench<'a> {
    programs: &'a Programs,
    site: &'a Site,
    header: String,
    manifest: String,
    layer: String,
}

/// Measures it.
pub fn measure(programs: &Programs, rounds: u32) -> Result<Findings> {
    let image = os_image::build()?;
    let folder = cache::folder("bench")?.join("image-linux");
    let _ = fs::remove_dir_all(&folder);
    let site = Site::new(&programs.slipway, &folder.join("state"))?;
    let service = site.serve(&["--allow-loopback".to_owned()])?;
    let pushed =
        site.text(&["image", "push", &image.display().to_string(), &format!("{REPOSITORY}:bench")])?;
    let (_, manifest) = pushed.rsplit_once('@').context("`image push` prints a digest")?;
    let bench = Bench {
        programs,
        site: &site,
        header: header(&site, &folder)?,
        manifest: manifest.to_owned(),
        layer: Run::new("sha256sum").arg(&image).text()?.chars().take(64).collect(),
    };
    let scratch = Scratch::new(&folder)?;
    let found = bench.rounds(&scratch, rounds, &image)?;
    drop((scratch, service));
    fs::remove_dir_all(&folder)?;
    Ok(found)
}

/// A file with the header that carries the token: it must not stand on a command line.
fn header(site: &Site, folder: &Path) -> Result<String> {
    let token = fs::read_to_string(site.token_file())?;
    let path = folder.join("header");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "Authorization: Bearer {}", token.trim())?;
    Ok(path.display().to_string())
}

impl Bench<'_> {
    fn rounds(&self, scratch: &Scratch, rounds: u32, image: &Path) -> Result<Findings> {
        let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ours_synced, mut theirs_synced, mut trees) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            // Whoever comes second finds the image in the page cache in any case: the first round is for warmth.
            let ways = if round % 2 == 0 { [Way::Ours, Way::Peer] } else { [Way::Peer, Way::Ours] };
            for way in ways {
                let mounted = scratch.fresh()?;
                let (text, seconds) = self.command(&way, mounted.path()).timed()?;
                let (_, sync) = sudo("sync").arg("--file-system").arg(mounted.path()).timed()?;
                if round == 0 {
                    trees.push(sudo("sh").args(["-c", DIGEST_OF_TREE, "sh"]).arg(mounted.path()).text()?);
                    continue;
                }
                match way {
                    Way::Ours => {
                        ours.push(seconds);
                        ours_synced.push(seconds + sync);
                        peaks.push(peak_mib(&text)?);
                    }
                    Way::Peer => {
                        theirs.push(seconds);
                        theirs_synced.push(seconds + sync);
                    }
                }
            }
        }
        ensure!(trees[0] == trees[1], "the two trees differ: {} and {}", trees[0], trees[1]);
        Ok(Findings {
            figures: vec![
                Figure::ratio("speed, of curl | zstd -d | tar -x", &theirs, &ours)
                    .should_be(Target::AtLeast(0.9)),
                Figure::largest("peak memory (VmHWM)", "MiB", peaks).should_be(Target::AtMost(64.0)),
                Figure::ratio("speed until it is on the disk (sync)", &theirs_synced, &ours_synced),
                Figure::median("image-linux", "s", ours),
                Figure::median("curl | zstd -d | tar -x", "s", theirs),
            ],
            commands: vec![
                self.command(&Way::Ours, Path::new("DIR")).shown().to_owned(),
                self.command(&Way::Peer, Path::new("DIR")).shown().to_owned(),
            ],
            notes: vec![
                format!("image: {}, {} MiB stored", file_name(image), fs::metadata(image)?.len() >> 20),
                "both: the same `slipway serve` on loopback by TLS, a fresh ext4 on a loop device each time, in \
                 turns; process starts are included; ours checks the image's digest besides"
                    .to_owned(),
                "both trees are equal in names, contents, owners, modes, times, links, devices and attributes"
                    .to_owned(),
            ],
        })
    }

    fn command(&self, way: &Way, folder: &Path) -> Run {
        match way {
            Way::Ours => sudo("env")
                .arg(format!("SLIPWAY_TOKEN_FILE={}", self.site.token_file().display()))
                .arg(format!("SLIPWAY_CA={}", self.site.ca_file().display()))
                .arg(&self.programs.unpack)
                .args([self.site.url().as_str(), REPOSITORY, &self.manifest])
                .arg(folder),
            Way::Peer => {
                let url = format!("{}/v2/{REPOSITORY}/blobs/sha256:{}", self.site.url(), self.layer);
                let line = format!(
                    "curl -sSf --cacert {} --header @{} {url} | zstd -dc | \
                     tar -x -p --same-owner --numeric-owner --xattrs --xattrs-include='*' -C {}",
                    self.site.ca_file().display(),
                    self.header,
                    folder.display()
                );
                sudo("bash").args(["-o", "pipefail", "-c", &line])
            }
        }
    }
}

/// From `… VmHWM:    12996 kB`.
fn peak_mib(text: &str) -> Result<f64> {
    let number = text.split("VmHWM:").nth(1).and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib: f64 = number.and_then(|number| number.parse().ok()).context("the unpacker tells its VmHWM")?;
    Ok(kib / 1024.0)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
