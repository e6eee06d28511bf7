//! `cargo xtask demo`: a controller, a mock BMC with a real virtual machine behind it, and one recipe from POST to
//! the greeting of the installed system. Everything on screen is the product's own CLI.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cache;
use crate::packages;
use crate::run::Run;
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
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A process that ends with this one.
struct Service(Child);

impl Service {
    fn start(program: &Path, args: &[&str], log: &Path) -> Result<Self> {
        let log = File::create(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self(child))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the demo keeps what it makes, for whoever wants to look afterwards.
struct Places {
    state: PathBuf,
    rack: PathBuf,
    api_port: u16,
    media_port: u16,
    bmc_port: u16,
}

/// Runs it.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    let mut stages = Stages::default();
    stages.run("packages", || packages::ensure(packages::EVERYTHING))?;
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
    let controller = start_controller(&bin, &places, &built.iso)?;
    let cli = Cli { program: bin.join("slipway"), places: &places };

    stages
        .run("push the image", || cli.run(&["image", "push", &os_image.display().to_string(), REFERENCE]))?;
    let password = places.state.join("demo-bmc-password");
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
        bail!(
            "{error:#}\nLook at {} and {}",
            places.state.join("controller.log").display(),
            console(&places).display()
        );
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
        places.state.display()
    );
    drop((rack, controller));
    Ok(())
}

fn places() -> Result<Places> {
    let folder = cache::folder("demo")?;
    fs::remove_dir_all(&folder)?;
    let (state, rack) = (folder.join("state"), folder.join("rack"));
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&rack)?;
    let port = || -> Result<u16> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()) };
    Ok(Places { state, rack, api_port: port()?, media_port: port()?, bmc_port: port()? })
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
    let file = file.display().to_string();
    let service = Service::start(&bin.join("mock-redfish"), &[&file], &places.rack.join("mock.log"))?;
    listening(places.bmc_port, &places.rack.join("mock.log"))?;
    Ok(service)
}

fn start_controller(bin: &Path, places: &Places, iso: &Path) -> Result<Service> {
    let args = [
        "serve".to_owned(),
        format!("--state-dir={}", places.state.display()),
        format!("--api-listen=127.0.0.1:{}", places.api_port),
        format!("--media-listen=127.0.0.1:{}", places.media_port),
        // QEMU's user network shows this host's loopback to the guest as 10.0.2.2.
        format!("--api-url=https://10.0.2.2:{}", places.api_port),
        format!("--media-url=http://127.0.0.1:{}", places.media_port),
        "--api-name=127.0.0.1".to_owned(),
        "--api-name=10.0.2.2".to_owned(),
        "--allow-loopback".to_owned(),
        "--allow-plain-http-bmcs".to_owned(),
        format!("--maintenance-iso={}", iso.display()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let log = places.state.join("controller.log");
    let service = Service::start(&bin.join("slipway"), &args, &log)?;
    listening(places.api_port, &log)?;
    Ok(service)
}

fn listening(port: u16, log: &Path) -> Result<()> {
    let end = Instant::now() + READY_WITHIN;
    while Instant::now() < end {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!(
        "nothing listens on port {port}; {} says:\n{}",
        log.display(),
        fs::read_to_string(log).unwrap_or_default()
    )
}

/// The product's CLI, as an operator on the controller's host has it.
struct Cli<'a> {
    program: PathBuf,
    places: &'a Places,
}

impl Cli<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("SLIPWAY_URL", format!("https://127.0.0.1:{}", self.places.api_port))
            .env("SLIPWAY_TOKEN_FILE", self.places.state.join("admin.token"))
            .env("SLIPWAY_CA", self.places.state.join("site/ca.pem"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        println!("$ slipway {}", args.join(" "));
        let status = self.command(args).status()?;
        ensure!(status.success(), "slipway {} ended with {status}", args.join(" "));
        Ok(())
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.command(args).output()?;
        ensure!(
            output.status.success(),
            "slipway {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
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
fn timeline(cli: &Cli<'_>) -> Result<()> {
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
