//! A whole site in one process: controller, a rack of simulated machines whose hosts report by a script, an admin's
//! token, and the `slipway` program to call it with.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses its part

pub mod host;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use controller::config::{Config, Fragment};
use controller::server::{Pace, Server};
use host::{Player, Script};
use mock_redfish::{MachineConfig, Rack, RackConfig};
use reqwest::Method;
use serde_json::{Value, json};

/// How long a job may take here.
pub const SOON: Duration = Duration::from_secs(60);

/// The site.
pub struct World {
    mount: Option<Mount>,
    disc: tempfile::TempDir,
    pub state: tempfile::TempDir,
    config: Config,
    pub server: Server,
    pub rack: Rack,
    pub player: Arc<Player>,
    pub http: reqwest::Client,
    pub token: String,
}

/// A small filesystem over a folder, until it is dropped.
pub struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, bytes: u64) -> Option<Self> {
        use nix::mount::{MsFlags, mount};
        let options = format!("size={bytes},mode=700");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).ok()?;
        Some(Self(folder.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Files may still be open; the filesystem goes when they do.
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// A refusal as a golden shows it, ids left out.
    pub fn refusal(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(!text(&self.body["request_id"]).is_empty(), "no request id: {self:?}");
        let mut lines =
            vec![format!("{} {}: {}", self.status, text(&self.body["error"]), text(&self.body["message"]))];
        for fault in self.body["details"].as_array().into_iter().flatten() {
            lines.push(format!(
                "  {} [{}]: {}",
                text(&fault["path"]),
                text(&fault["code"]),
                text(&fault["message"])
            ));
        }
        without_ids(&lines.join("\n"))
    }
}

/// Ids of jobs replaced by `<id>`, ports by `<port>`.
pub fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_id = rest.get(..36).is_some_and(|word| uuid::Uuid::parse_str(word).is_ok());
        if is_id {
            out.push_str("<id>");
            rest = &rest[36..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("127.0.0.1:") {
            out.push_str("127.0.0.1:<port>");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            continue;
        }
        let next = rest.chars().next().map_or(1, char::len_utf8);
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    out
}

/// What the `slipway` program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

fn maintenance(folder: &Path) -> PathBuf {
    let path = folder.join("maintenance.iso");
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(source.path().join("slipway")).unwrap();
    std::fs::write(source.path().join("slipway/trust"), vec![b'\n'; 4096]).unwrap();
    std::fs::write(source.path().join("slipway/task.img"), vec![0; 12 << 20]).unwrap();
    let output = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-V", "SLIPWAY_MAINT", "-o"])
        .args([path.as_path(), source.path()])
        .output()
        .expect("xorriso is needed: apt-get install xorriso");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

impl World {
    /// A site with `machines`; `S1`, `S2` … when only their number matters.
    pub async fn start(count: usize) -> Self {
        let machines = (1..=count)
            .map(|number| MachineConfig {
                serial: format!("S{number}"),
                ..MachineConfig::sim(&format!("s{number}"))
            })
            .collect();
        Self::with(machines).await
    }

    /// A site with these machines in its rack; none is added to the controller yet.
    pub async fn with(machines: Vec<MachineConfig>) -> Self {
        let rack = RackConfig { machines, ..RackConfig::default() };
        Self::at(tempfile::tempdir().unwrap(), None, rack, Fragment::default()).await
    }

    /// A site without machines that is configured so; what `more` leaves open is as everywhere here.
    pub async fn configured(more: Fragment) -> Self {
        Self::at(tempfile::tempdir().unwrap(), None, RackConfig::default(), more).await
    }

    /// A site of one machine, `S1`, whose BMC speaks TLS with a certificate of its own.
    pub async fn secure() -> Self {
        let machines = vec![MachineConfig { serial: "S1".into(), ..MachineConfig::sim("s1") }];
        let rack = RackConfig { tls: true, machines, ..RackConfig::default() };
        Self::at(tempfile::tempdir().unwrap(), None, rack, Fragment::default()).await
    }

    /// A site of one machine whose state folder is a filesystem of `bytes`; none where that may not be mounted, see
    /// [`again_in_a_namespace`].
    pub async fn small(bytes: u64) -> Option<Self> {
        let state = tempfile::tempdir().unwrap();
        let mount = Mount::new(state.path(), bytes)?;
        let machine = MachineConfig { serial: "S1".into(), ..MachineConfig::sim("s1") };
        let rack = RackConfig { machines: vec![machine], ..RackConfig::default() };
        Some(Self::at(state, Some(mount), rack, Fragment::default()).await)
    }

    async fn at(state: tempfile::TempDir, mount: Option<Mount>, rack: RackConfig, more: Fragment) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let disc = tempfile::tempdir().unwrap();
        let usual = Fragment {
            state_dir: Some(state.path().into()),
            api_listen: Some("127.0.0.1:0".into()),
            media_listen: Some("127.0.0.1:0".into()),
            maintenance_iso: Some(maintenance(disc.path())),
            allow_loopback: Some(true),
            allow_plain_http_bmcs: Some(true),
            allow_outgoing: Some(vec!["127.0.0.0/8".into()]),
            ..Fragment::default()
        };
        let config = Config::check(more.over(usual)).unwrap();
        let server = Server::start_at(config.clone(), Pace::fast()).await.unwrap();
        let player = Arc::new(Player::default());
        let rack = RackConfig { folder: disc.path().join("rack"), ..rack };
        let rack = Rack::start_with_host(rack, player.clone()).await.unwrap();
        let ca = std::fs::read(state.path().join("site/ca.pem")).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .no_proxy()
            .timeout(SOON)
            .build()
            .unwrap();
        let token = std::fs::read_to_string(state.path().join("admin.token")).unwrap().trim().to_owned();
        Self { mount, disc, state, config, server, rack, player, http, token }
    }

    /// The same site after its controller was cut off at once, as by a power cut, and started again.
    pub async fn killed(self) -> Self {
        let Self { mount, disc, state, config, server, rack, player, http, token } = self;
        server.kill().await;
        let begun = std::time::Instant::now();
        let server = loop {
            match Server::start_at(config.clone(), Pace::fast()).await {
                Ok(server) => break server,
                // A thread of the one before is at its last write.
                Err(error) => assert!(begun.elapsed() < SOON, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Self { mount, disc, state, config, server, rack, player, http, token }
    }

    /// Asks the API as the first admin.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(&self.token, method, path, &[], body.map(|body| body.to_string().into_bytes())).await
    }

    /// Asks the API.
    pub async fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.server.api_url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or(Value::Null)
        };
        Answer { status, body, headers }
    }

    /// Body of a machine of the rack.
    pub fn machine(&self, index: usize) -> Value {
        let machine = self.rack.machine(index);
        json!({
            "serial": machine.config().serial,
            "bmc": { "url": machine.base_url(), "user": "admin", "password": "password", "plain_http": true },
        })
    }

    /// Adds a machine of the rack to the controller; its serial.
    pub async fn add(&self, index: usize) -> String {
        let body = self.machine(index);
        let answer = self.ask("POST", "/machines", Some(body.clone())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        body["serial"].as_str().unwrap().to_owned()
    }

    /// Submits a recipe.
    pub async fn submit(&self, serial: &str, recipe: &Value) -> Answer {
        self.ask("POST", "/jobs", Some(json!({ "server_serial": serial, "recipe": recipe }))).await
    }

    /// Submits a recipe that must be accepted; the job's id.
    pub async fn job(&self, serial: &str, recipe: &Value, script: Script) -> String {
        self.player.script(serial, script);
        let answer = self.submit(serial, recipe).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job is complete.
    pub async fn complete(&self, id: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let job = self.ask("GET", &format!("/jobs/{id}"), None).await.body;
            if job["complete"] == json!(true) {
                return job;
            }
            assert!(begun.elapsed() < SOON, "job does not end: {job:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a job says `what` in `field`.
    pub async fn until(&self, id: &str, field: &str, what: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let job = self.ask("GET", &format!("/jobs/{id}"), None).await.body;
            if job[field] == json!(what) {
                return job;
            }
            assert!(begun.elapsed() < SOON, "{field} is never {what}: {job:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs the program against this site.
    pub async fn slipway(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
        command
            .args(args)
            .env("SLIPWAY_URL", &self.server.api_url)
            .env("SLIPWAY_STATE_DIR", self.state.path())
            .env("TZ", "UTC")
            .env("RUST_BACKTRACE", "0");
        run(command, stdin.to_owned()).await
    }

    /// A recipe that reads and writes nothing.
    pub fn inventory() -> Value {
        json!({ "schema_version": "1", "task_target": "inventory.target" })
    }

    /// The repository's own example.
    pub fn debian() -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/linux-debian.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Pushes a tiny root filesystem as `images/debian:trixie`; what the program printed.
    pub async fn push_debian(&self) -> Ran {
        let folder = self.state.path().join("root");
        std::fs::create_dir_all(folder.join("etc")).unwrap();
        let file = folder.join("etc/hostname");
        if !file.exists() {
            std::fs::write(file, "x\n").unwrap(); // written again it would have another date
        }
        self.slipway(&["image", "push", folder.to_str().unwrap(), "images/debian:trixie"], "").await
    }
}

/// Set in a test that runs again in namespaces of its own.
const AGAIN: &str = "SLIPWAY_TEST_IN_NAMESPACE";

/// Runs a test of this binary once more where it may mount: as root of user and mount namespaces of its own, which
/// takes no root. Fails where a kernel allows neither.
pub fn again_in_a_namespace(test: &str) {
    let remedy = "run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
                  kernel.apparmor_restrict_unprivileged_userns=0)";
    assert!(std::env::var_os(AGAIN).is_none(), "a small filesystem cannot be mounted here; {remedy}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(AGAIN, "1")
        .output()
        .expect("unshare is needed: apt-get install util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "in a namespace of its own ({remedy}):\n{text}\n{said}");
    assert!(text.contains("1 passed"), "{test} is no test of this binary:\n{text}");
}

/// Runs a command off the test's own threads.
pub async fn run(mut command: Command, stdin: String) -> Ran {
    tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    })
    .await
    .unwrap()
}
