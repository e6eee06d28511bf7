//! `cargo xtask demo`: a controller, a mock BMC with a real virtual machine behind it, and one recipe from POST to
//! the greeting of the installed system. Everything on screen is the product's own CLI.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cache;
use crate::packages;
use crate::run::Run;
use crate::service::{Service, free_port};
use crate::site::Site;
use crate::space;
use crate::stage::Stages;
use crate::{maintenance, os_image};

const SERIAL: &str = "DEMO-0001";
/// The mock BMC's only account. Not a secret: it guards a machine that lives as long as this program.
const BMC_USER: &str = "admin";
const BMC_PASSWORD: &str = "password";
const REFERENCE: &str = "images/debian:trixie";
const RECIPE: &str = "recipes/linux-debian.json";
/// How long the new system may take to its login prompt on a slow host without KVM.
const GREETING_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Where the demo keeps what it makes, for whoever wants to look afterwards.
struct Places {
    folder: PathBuf,
    rack: PathBuf,
    bmc_port: u16,
}

/// Runs it.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    let mut stages = Stages::default();
    stages.run("packages", || {
        space::ensure(&cache::cargo_target(), space::DEMO)?;
        packages::ensure(packages::EVERYTHING)
    })?;
    let built = stages.run("maintenance.iso", maintenance::build)?;
    let os_image = stages.run("Debian image", os_image::build)?;
    stages.run("controller and mock BMC", || {
        Run::new("cargo")
            .args(["build", "--locked", "--quiet", "-p", "controller", "-p", "mock-redfish"])
            .loud()
    })?;
    let bin = cache::cargo_target().join("debug");
    let places = places()?;
    let rack = start_rack(&bin, &places)?;
    let cli = Site::new(&bin.join("slipway"), &places.folder.join("state"))?;
    let controller = start_controller(&cli, &built.iso)?;

    stages
        .run("push the image", || cli.run(&["image", "push", &os_image.display().to_string(), REFERENCE]))?;
    let password = cli.state.join("demo-bmc-password");
    fs::write(&password, BMC_PASSWORD)?;
    let bmc = format!("http://127.0.0.1:{}", places.bmc_port);
    cli.run(&[
        "machine",
        "add",
        SERIAL,
        "--bmc",
        &bmc,
        "--bmc-user",
        BMC_USER,
        "--plain-http",
        "--password-file",
        &password.display().to_string(),
    ])?;
    let outcome = stages.run("the job", || cli.run(&["job", "submit", SERIAL, RECIPE, "--watch"]));
    if let Err(error) = outcome {
        bail!("{error:#}\nLook at {} and {}", cli.log().display(), console(&places).display());
    }
    let greeting = stages.run("first boot to login prompt", || greeting(&places))?;
    println!("\nThe installed machine's own console:\n");
    for line in greeting.lines() {
        println!("  │ {line}");
    }
    println!("\nWhat the job did, by its own timeline:\n");
    timeline(&cli)?;
    stages.print();
    println!(
        "\nFrom nothing to a login prompt in {:.0} s. Left to look at: {}",
        begun.elapsed().as_secs_f64(),
        places.folder.display()
    );
    drop((rack, controller));
    Ok(())
}

fn places() -> Result<Places> {
    let folder = cache::folder("demo")?;
    fs::remove_dir_all(&folder)?;
    let rack = folder.join("rack");
    fs::create_dir_all(&rack)?;
    Ok(Places { folder, rack, bmc_port: free_port()? })
}

fn start_rack(bin: &Path, places: &Places) -> Result<Service> {
    let config = format!(
        "folder = \"{}\"\n[[machines]]\nname = \"metal-1\"\nport = {}\nserial = {SERIAL:?}\n\
         [machines.backend.qemu]\nmemory_mib = 4096\ncpus = 2\n\
         [[machines.backend.qemu.disks]]\nfile = \"disk0.raw\"\nsize_mib = 8192\n",
        places.rack.display(),
        places.bmc_port
    );
    let file = places.rack.join("rack.toml");
    fs::write(&file, config)?;
    let args = [file.display().to_string()];
    Service::start(&bin.join("mock-redfish"), &args, &places.rack.join("mock.log"), places.bmc_port)
}

fn start_controller(site: &Site, iso: &Path) -> Result<Service> {
    site.serve(&[
        // QEMU's user network shows this host's loopback to the guest as 10.0.2.2.
        format!("--api-url=https://10.0.2.2:{}", site.api_port),
        format!("--media-url=http://127.0.0.1:{}", site.media_port),
        "--api-name=127.0.0.1".to_owned(),
        "--api-name=10.0.2.2".to_owned(),
        "--allow-loopback".to_owned(),
        "--allow-plain-http-bmcs".to_owned(),
        format!("--maintenance-iso={}", iso.display()),
    ])
}

fn console(places: &Places) -> PathBuf {
    places.rack.join("metal-1/console.log")
}

/// Waits for the login prompt of the newest boot; what the console showed from the system's name on.
fn greeting(places: &Places) -> Result<String> {
    let end = Instant::now() + GREETING_WITHIN;
    let mut text = String::new();
    while Instant::now() < end {
        let bytes = fs::read(console(places)).unwrap_or_default();
        let all = String::from_utf8_lossy(&bytes).replace('\r', "");
        text = all
            .rsplit_once("=== mock-redfish: boot ")
            .map(|(_, newest)| newest.to_owned())
            .unwrap_or_default();
        if let Some(at) = text.find(" login:") {
            let from = text[..at].rfind("Debian GNU/Linux").unwrap_or(0);
            return Ok(text[from..at + " login:".len()].to_owned());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let tail: Vec<&str> = text.lines().rev().take(30).collect();
    bail!(
        "no login prompt within {} s; the console ends with:\n{}",
        GREETING_WITHIN.as_secs(),
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    )
}

/// Phases and steps with what each took, from the job's events.
fn timeline(cli: &Site) -> Result<()> {
    let jobs = cli.json(&["job", "list", "--json", "--limit", "1"])?;
    let id = jobs["jobs"][0]["job_id"]
        .as_str()
        .or_else(|| jobs[0]["job_id"].as_str())
        .context("the job is listed")?
        .to_owned();
    let job = cli.json(&["job", "show", &id, "--json"])?;
    let events = job["timeline"].as_array().cloned().unwrap_or_default();
    let shown: Vec<&Value> = events
        .iter()
        .filter(|event| {
            let code = event["code"].as_str().unwrap_or_default();
            code.starts_with("phase.")
                || code.starts_with("step.started")
                || code.starts_with("host.started")
                || code.starts_with("outcome.")
        })
        .collect();
    for pair in shown.windows(2) {
        let took = seconds(&pair[1]["at"])? - seconds(&pair[0]["at"])?;
        println!("  {took:>7.1} s  {}", pair[0]["text"].as_str().unwrap_or_default());
    }
    if let Some(last) = shown.last() {
        println!("             {}", last["text"].as_str().unwrap_or_default());
    }
    Ok(())
}

/// Seconds of the day of an RFC 3339 time; jobs of the demo do not last over midnight often enough to matter.
fn seconds(at: &Value) -> Result<f64> {
    let text = at.as_str().context("an event has a time")?;
    let clock = text.get(11..).context("a time has a clock part")?.trim_end_matches('Z');
    let mut parts = clock.split(':');
    let mut next = || -> Result<f64> { Ok(parts.next().context("hours, minutes and seconds")?.parse()?) };
    Ok(next()? * 3600.0 + next()? * 60.0 + next()?)
}
