//! OpenStack's BMC emulator, sushy-tools, with its fake driver: a BMC that we did not write. It has no machines
//! behind it, but slots that fetch what is inserted, power that takes seconds, and no sense of humour.
//!
//! One process shows many systems behind one URL, by Basic authentication. It writes a line for each request; that
//! is where they are counted, and not in the client that sends them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::sim::PASSWORD;

/// User of every system.
pub const USER: &str = "admin";
/// bcrypt of [`PASSWORD`], of the least cost there is: the emulator computes it for every request.
const PASSWORD_HASH: &str = "$2b$04$D8jZsyJYh792CsHWZ4QkDOPH1ToEqg/o/vNo/kRtS1TJNq2EkvRUC";
/// How long it may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where the boot device of a system is when nobody set one.
pub const REST_TARGET: &str = "Hdd";

/// A running emulator. Dropping it ends it.
pub struct Emulator {
    child: Child,
    url: String,
    log: PathBuf,
    systems: Vec<String>,
}

impl Emulator {
    /// Starts `TOOLS/sushy-emulator` with that many systems, all off; everything it writes is below `folder`.
    pub fn start(tools: &Path, folder: &Path, systems: u16) -> Result<Self> {
        let scratch = folder.join("scratch");
        fs::create_dir_all(&scratch)?;
        let login = folder.join("htpasswd");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&login)?;
        writeln!(file, "{USER}:{PASSWORD_HASH}")?;
        let names: Vec<String> = (0..systems).map(|n| format!("5f3c1c52-0000-4000-8000-{n:012x}")).collect();
        let described: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(n, uuid)| {
                json!({ "uuid": uuid, "name": format!("fake-{n}"), "power_state": "Off",
                    "nics": [{ "mac": format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256) }] })
            })
            .collect();
        let address = free_address()?;
        let config = folder.join("emulator.conf");
        // The file is Python; texts and numbers look the same in both.
        let text = format!(
            "SUSHY_EMULATOR_LISTEN_IP = {:?}\nSUSHY_EMULATOR_LISTEN_PORT = {}\nSUSHY_EMULATOR_FAKE_DRIVER = True\n\
             SUSHY_EMULATOR_STATE_DIR = {}\nSUSHY_EMULATOR_AUTH_FILE = {}\nSUSHY_EMULATOR_FAKE_SYSTEMS = {}\n",
            address.ip().to_string(),
            address.port(),
            json!(folder.join("state")),
            json!(login),
            Value::from(described),
        );
        fs::write(&config, text)?;
        let log = folder.join("emulator.log");
        let written = fs::File::create(&log)?;
        let program = tools.join("sushy-emulator");
        let child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .env_clear()
            // Its images are left in the temporary folder.
            .env("TMPDIR", &scratch)
            .env("PATH", "/usr/bin:/bin")
            .env("NO_PROXY", "*")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(written.try_clone()?)
            .stderr(written)
            .spawn()
            .with_context(|| {
                format!("starting {}; `cargo xtask test` installs it with python3-venv", program.display())
            })?;
        let mut emulator = Self { child, url: format!("http://{address}"), log, systems: names };
        let end = Instant::now() + READY_WITHIN;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = emulator.child.try_wait()? {
                bail!("sushy-emulator ended with {status}: {}", fs::read_to_string(&emulator.log)?);
            }
            if Instant::now() > end {
                bail!("sushy-emulator does not listen on {address}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(emulator)
    }

    /// Number of systems.
    pub fn systems(&self) -> usize {
        self.systems.len()
    }

    /// Serial under which the controller is told of that system. The emulator itself shows none.
    pub fn serial(&self, n: usize) -> String {
        format!("FAKE-{n}")
    }

    /// What the controller is told of that system.
    pub fn description(&self, n: usize) -> Value {
        json!({
            "serial": self.serial(n),
            "uuid": self.systems[n],
            "bmc": {
                "url": self.url, "user": USER, "password": PASSWORD, "plain_http": true,
                "system": self.systems[n],
            },
        })
    }

    /// Path of that system, or of something below it.
    pub fn path(&self, n: usize, below: &str) -> String {
        format!("/redfish/v1/Systems/{}{below}", self.systems[n])
    }

    /// Reads a resource past the controller. It counts as a request.
    pub async fn read(&self, path: &str) -> Result<Value> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer =
            client.get(format!("{}{path}", self.url)).basic_auth(USER, Some(PASSWORD)).send().await?;
        let text = answer.error_for_status()?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path} is no JSON"))
    }

    /// The requests so far, `GET /redfish/v1/…`, in order.
    pub fn requests(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for line in BufReader::new(fs::File::open(&self.log)?).lines() {
            let line = line?;
            let request = line.split_once('"').and_then(|(_, rest)| rest.split_once(" HTTP/"));
            if let Some((request, _)) = request.filter(|(request, _)| request.contains(" /redfish/")) {
                // Whatever is not answered with 200 is in colours.
                let plain = request.rsplit_once('\u{1b}').and_then(|(_, coloured)| coloured.split_once('m'));
                found.push(plain.map_or(request, |(_, plain)| plain).to_owned());
            }
        }
        Ok(found)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
