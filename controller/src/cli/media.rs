//! `slipway media`: task media without a controller. `build` makes what a job would get, for a machine that is
//! booted by hand; `inspect` looks at one as a host would.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use schema::task::{Identity, TaskJob};

use crate::media::{self, MaintenanceMedium, MediumFile, Shelf, ShelfLimits, TaskInputs};
use crate::site::Site;

/// Seconds between heartbeats of a host that was booted by hand.
const HEARTBEAT: u32 = 15;
/// How much of a medium is written at a time.
const CHUNK: usize = 4 << 20;

/// Build task media by hand, and look at them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Build a task medium from a recipe, and the maintenance medium that trusts it.
    Build(Build),
    /// Show what is on a task medium and whether a host would accept it.
    Inspect(Inspect),
}

/// Options of `media build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The recipe, as JSON.
    #[arg(long)]
    recipe: PathBuf,
    /// Serial number of the machine the medium is for.
    #[arg(long)]
    serial: String,
    /// State folder of the controller whose key signs; made when there is none.
    #[arg(long, default_value = "/var/lib/slipway")]
    state_dir: PathBuf,
    /// URL by which the host reaches the controller.
    #[arg(long, default_value = "https://127.0.0.1:8443")]
    api_url: String,
    /// The maintenance medium; with it `maintenance.iso` and `composed.iso` are written too.
    #[arg(long)]
    maintenance: Option<PathBuf>,
    /// Folder for the media; made when there is none. They hold secrets and are written 0600.
    #[arg(long, short)]
    out: PathBuf,
}

/// Options of `media inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The task medium.
    medium: PathBuf,
    /// State folder of the controller whose keys are trusted.
    #[arg(long, default_value = "/var/lib/slipway")]
    state_dir: PathBuf,
}

/// Runs one of them.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Build(options) => build(&options),
        Command::Inspect(options) => inspect(&options),
    }
}

fn build(options: &Build) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(&options.recipe)
        .with_context(|| format!("reading recipe {}", options.recipe.display()))?;
    let recipe = schema::validate::recipe(&text)
        .with_context(|| format!("checking recipe {}", options.recipe.display()))?;
    let now = jiff::Timestamp::now();
    let site = open_site(&options.state_dir)?;
    let maintenance = options.maintenance.as_deref().map(MaintenanceMedium::open).transpose()?.map(Arc::new);
    let inputs = TaskInputs {
        job: TaskJob {
            version: 1,
            job_id: uuid::Uuid::now_v7().to_string(),
            attempt: 1,
            expected: Identity { serial: options.serial.clone(), uuid: None, macs: Vec::new() },
            api_url: options.api_url.clone(),
            // Buys nothing: no controller knows this job.
            bootstrap_token: "by-hand".to_owned(),
            site_ca: Some(site.ca_pem.clone()),
            issued_at: now,
            image: None,
            heartbeat_seconds: HEARTBEAT,
            step_seconds: BTreeMap::new(),
            proxy: recipe.host_network.as_ref().and_then(|network| network.proxy.clone()),
            offline: None,
        },
        host_network: recipe.host_network.clone(),
        recipe,
        recipe_schema: schema::validate::RECIPE_SCHEMA.to_owned(),
        remote_payloads: BTreeMap::new(),
    };
    fs::create_dir_all(&options.out).with_context(|| format!("making folder {}", options.out.display()))?;
    let medium = media::TaskMedium::build(&inputs, &site.signing)?;
    let task = options.out.join(MediumFile::Task.name());
    write(&task, medium.bytes.len() as u64, |_, _| Ok(medium.bytes.clone()))?;
    println!("{}  {}", hex::encode(medium.sha256), task.display());
    if maintenance.is_some() {
        let names = site.derive("by hand");
        let shelf =
            Shelf::new(names, site.signing.clone(), &site.previous, maintenance, ShelfLimits::default())?;
        let staged = shelf.stage(&inputs)?;
        for file in [MediumFile::Maintenance, MediumFile::Composed] {
            let Some(opened) = shelf.open(staged.path(file)) else { bail!("{} was not staged", file.name()) };
            let path = options.out.join(file.name());
            write(&path, opened.object.len, |offset, count| opened.object.read(offset, count))?;
            println!("{}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a medium piece by piece, 0600 from the first byte.
fn write(
    path: &Path,
    len: u64,
    read: impl Fn(u64, usize) -> std::io::Result<bytes::Bytes>,
) -> anyhow::Result<()> {
    let work = || -> std::io::Result<()> {
        let _ = fs::remove_file(path);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut at = 0;
        while at < len {
            let count = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
            let piece = read(at, count)?;
            file.write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        file.sync_all()
    };
    work().with_context(|| format!("writing {}", path.display()))
}

fn inspect(options: &Inspect) -> anyhow::Result<ExitCode> {
    let image = fs::read(&options.medium).with_context(|| format!("reading {}", options.medium.display()))?;
    if !Site::exists(&options.state_dir) {
        bail!(
            "{} holds no site key; name the controller's folder with --state-dir",
            options.state_dir.display()
        );
    }
    let site = open_site(&options.state_dir)?;
    let mut keys = vec![site.signing.verifying_key()];
    keys.extend(&site.previous);
    let found = media::inspect(&image, &keys)?;
    println!("sha256    {}", found.sha256);
    println!("job       {} (attempt {})", found.job.job_id, found.job.attempt);
    println!("machine   {}", found.job.expected.serial);
    println!("issued    {}", found.job.issued_at);
    println!("reports   {}", found.job.api_url);
    for (path, size, sha256) in &found.files {
        println!("{sha256}  {size:>9}  {path}");
    }
    for fault in &found.faults {
        println!("FAULT     {fault}");
    }
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open_site(state_dir: &Path) -> anyhow::Result<Site> {
    Site::open(state_dir, jiff::Timestamp::now())
        .with_context(|| format!("opening the site's keys in {}", state_dir.display()))
}
