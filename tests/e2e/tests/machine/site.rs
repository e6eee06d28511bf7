//! A real controller process on this host, and the hands of an operator: its CLI and its API.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use command_fds::{CommandFdExt as _, FdMapping};
use serde_json::Value;

/// What the controller logs when it serves.
const READY: &str = "ready";
/// How long a controller may take to answer after its start.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What the tests need and `cargo xtask test` makes.
pub struct Made {
    /// The `slipway` binary.
    pub slipway: PathBuf,
    /// maintenance.iso.
    pub maintenance_iso: PathBuf,
    /// The same as files to boot over a network: vmlinuz, initramfs.img, rootfs.squashfs.
    pub netboot: PathBuf,
    /// The Debian root filesystem, `tar.zst`.
    pub os_image: PathBuf,
}

impl Made {
    /// From the environment that `cargo xtask test` sets.
    pub fn find() -> Result<Self> {
        let path = |name: &str| -> Result<PathBuf> {
            let value = std::env::var_os(name).with_context(|| {
                format!("{name} is not set; run the whole-machine tests with `cargo xtask test`")
            })?;
            let path = PathBuf::from(value);
            ensure!(path.exists(), "{name} names {}, which is not there", path.display());
            Ok(path)
        };
        Ok(Self {
            slipway: path("SLIPWAY_BIN")?,
            maintenance_iso: path("SLIPWAY_MAINTENANCE_ISO")?,
            netboot: path("SLIPWAY_NETBOOT")?,
            os_image: path("SLIPWAY_OS_IMAGE")?,
        })
    }
}

/// First file descriptor of those that systemd passes.
const FIRST_PASSED: i32 = 3;
/// Says whom the sockets are for, as systemd does, and becomes the controller.
const PASS: &str = "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"";

/// One controller with its state folder. Its sockets are kept here as systemd keeps those of slipway.socket, so that a
/// reader of media meets a pause and not a refusal while the controller is dead.
pub struct Site {
    made: Made,
    folder: tempfile::TempDir,
    api: TcpListener,
    media: TcpListener,
    api_port: u16,
    media_port: u16,
    child: Option<Child>,
    kills: usize,
    client: reqwest::Client,
}

impl Site {
    /// Starts a controller on free ports; guests of QEMU's user network reach it as 10.0.2.2.
    pub async fn start(made: Made) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("slipway-site").tempdir()?;
        let (api, media) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (api_port, media_port) = (api.local_addr()?.port(), media.local_addr()?.port());
        let mut site = Self {
            made,
            folder,
            api,
            media,
            api_port,
            media_port,
            child: None,
            kills: 0,
            client: reqwest::Client::new(),
        };
        site.spawn()?;
        site.ready(0).await?;
        let ca = std::fs::read(site.state().join("site/ca.pem"))?;
        site.client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca)?])
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(site)
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    /// Where guests of QEMU's user network find the media.
    pub fn media_url_of_guests(&self) -> String {
        format!("http://10.0.2.2:{}", self.media_port)
    }

    fn spawn(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.state().join("controller.log"))?;
        let passed = [&self.api, &self.media].into_iter().zip(FIRST_PASSED..);
        let passed = passed
            .map(|(socket, child_fd)| {
                Ok(FdMapping { parent_fd: OwnedFd::from(socket.try_clone()?), child_fd })
            })
            .collect::<Result<Vec<_>>>()?;
        let child = Command::new("setpriv")
            .fd_mappings(passed)?
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", PASS])
            .arg(&self.made.slipway)
            .arg("serve")
            .arg("--state-dir")
            .arg(self.state())
            .args(["--api-url", &format!("https://10.0.2.2:{}", self.api_port)])
            .args(["--media-url", &format!("http://127.0.0.1:{}", self.media_port)])
            .args([
                "--api-name",
                "127.0.0.1",
                "--api-name",
                "10.0.2.2",
                "--allow-loopback",
                "--allow-plain-http-bmcs",
            ])
            .arg("--maintenance-iso")
            .arg(&self.made.maintenance_iso)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting slipway serve")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the controller says that it is ready, after this much of its log.
    async fn ready(&mut self, from: usize) -> Result<()> {
        let end = Instant::now() + READY_WITHIN;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                bail!("the controller ended with {status}:\n{}", self.log());
            }
            if self.log()[from..].contains(READY) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the controller does not listen after {} s:\n{}", READY_WITHIN.as_secs(), self.log())
    }

    /// What the controller logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state().join("controller.log")).unwrap_or_default()
    }

    /// `kill -9` and a new start, as systemd would after a crash.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        let (from, killed) = (self.log().len(), Instant::now());
        self.kill();
        self.kills += 1;
        self.spawn()?;
        self.ready(from).await?;
        println!("  kill -9 of the controller; it was away for {} ms", killed.elapsed().as_millis());
        Ok(())
    }

    /// How often it was killed.
    pub fn kills(&self) -> usize {
        self.kills
    }

    /// Waits for a job's phase and kills the controller in it.
    pub async fn kill_in(&mut self, job: &str, phase: &str, within: Duration) -> Result<()> {
        let end = Instant::now() + within;
        loop {
            let now = self.get(&format!("/api/v1/jobs/{job}")).await?;
            if now["phase"] == phase {
                println!("  job: {phase}");
                return self.kill_and_restart().await;
            }
            ensure!(now["complete"] != true, "the job was over before {phase} was seen: {now:#}");
            ensure!(Instant::now() < end, "{phase} was not reached within {} s: {now:#}", within.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs the CLI as an operator on this host would.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        self.cli_with_input(args, "")
    }

    /// The same, with something typed at its standard input.
    pub fn cli_with_input(&self, args: &[&str], input: &str) -> Result<Output> {
        use std::io::Write as _;
        let mut child = Command::new(&self.made.slipway)
            .args(args)
            .env("SLIPWAY_URL", format!("https://127.0.0.1:{}", self.api_port))
            .env("SLIPWAY_TOKEN_FILE", self.state().join("admin.token"))
            .env("SLIPWAY_CA", self.state().join("site/ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(child.wait_with_output()?)
    }

    /// The CLI, which must end well; its standard output.
    pub fn cli_ok(&self, args: &[&str]) -> Result<String> {
        let output = self.cli(args)?;
        ensure!(
            output.status.success(),
            "slipway {args:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn request(&self, method: reqwest::Method, path: &str) -> Result<reqwest::RequestBuilder> {
        let token = std::fs::read_to_string(self.state().join("admin.token"))?;
        let url = format!("https://127.0.0.1:{}{path}", self.api_port);
        Ok(self.client.request(method, url).bearer_auth(token.trim()))
    }

    /// GET, which must be 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.request(reqwest::Method::GET, path)?.send().await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "GET {path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// POST; status and body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.send(reqwest::Method::POST, path, body).await
    }

    /// PUT; status and body.
    pub async fn put(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.send(reqwest::Method::PUT, path, body).await
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<(u16, Value)> {
        let response = self.request(method, path)?.json(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// The Debian root filesystem, `tar.zst`.
    pub fn os_image(&self) -> &Path {
        &self.made.os_image
    }

    /// Pushes the Debian root filesystem as CI would.
    pub fn push_os_image(&self, reference: &str) -> Result<()> {
        let tar = self.made.os_image.to_str().context("a path is text")?.to_owned();
        self.cli_ok(&["image", "push", &tar, reference]).map(drop)
    }

    /// Lets a tag mean another image, one that cannot be installed.
    pub async fn move_tag_to_something_else(&self, reference: &str) -> Result<()> {
        let (repository, tag) = reference.split_once(':').context("a tag")?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let mut manifest = self.get(&path).await?;
        let mut layer = manifest["config"].clone();
        layer["mediaType"] = manifest["layers"][0]["mediaType"].clone();
        manifest["layers"] = serde_json::json!([layer]);
        let kind =
            manifest["mediaType"].as_str().unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned();
        let response = self
            .request(reqwest::Method::PUT, &path)?
            .header("content-type", kind)
            .body(manifest.to_string())
            .send()
            .await?;
        ensure!(response.status().as_u16() == 201, "moving the tag: {}", response.text().await?);
        Ok(())
    }

    /// What a tag means now.
    pub async fn digest(&self, reference: &str) -> Result<String> {
        let (repository, tag) = reference.split_once(':').context("a tag")?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.request(reqwest::Method::HEAD, &path)?.send().await?;
        let digest = answer.headers().get("docker-content-digest").context("a manifest has a digest")?;
        Ok(digest.to_str()?.to_owned())
    }

    /// The file of an image's first layer in the registry's folder.
    pub async fn layer_file(&self, reference: &str) -> Result<PathBuf> {
        let (repository, tag) = reference.split_once(':').context("a tag")?;
        let manifest = self.get(&format!("/v2/{repository}/manifests/{tag}")).await?;
        let digest = manifest["layers"][0]["digest"].as_str().context("a layer has a digest")?;
        let (algorithm, hex) = digest.split_once(':').context("a digest has two parts")?;
        Ok(self.state().join("registry/blobs").join(algorithm).join(hex))
    }

    /// How many entries of a job's timeline have this code.
    pub async fn events_with_code(&self, job: &str, code: &str) -> Result<usize> {
        let events = self.get(&format!("/api/v1/jobs/{job}/events")).await?;
        let events = events["events"].as_array().cloned().unwrap_or_default();
        Ok(events.iter().filter(|event| event["code"] == code).count())
    }

    /// Prints when each phase and step of a job began, for docs/benchmarks.md.
    pub async fn print_times(&self, id: &str) -> Result<()> {
        let events = self.get(&format!("/api/v1/jobs/{id}/events")).await?;
        println!("  times of job {id}:");
        for event in events["events"].as_array().into_iter().flatten() {
            println!(
                "  {}  {}",
                event["at"].as_str().unwrap_or_default(),
                event["text"].as_str().unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Submits a recipe; the job's id.
    pub async fn submit(&self, serial: &str, recipe: &Value, reinstall: bool) -> Result<String> {
        let body = serde_json::json!({ "server_serial": serial, "recipe": recipe, "reinstall": reinstall });
        let (status, answer) = self.post("/api/v1/jobs", &body).await?;
        ensure!(status == 202, "POST /jobs: {status} {answer}");
        Ok(answer["job_id"].as_str().context("the answer has no job_id")?.to_owned())
    }

    /// Waits until a step runs.
    pub async fn wait_step(&self, job: &str, step: &str, within: Duration) -> Result<()> {
        let runs = |job: &Value| {
            let steps = job["steps"].as_array();
            steps.is_some_and(|all| all.iter().any(|it| it["name"] == step && it["status"] == "running"))
        };
        self.wait_job(job, &format!("running {step}"), within, runs).await.map(drop)
    }

    /// Waits until a job looks as wanted, and returns it; says what it last looked like otherwise.
    pub async fn wait_job(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + within;
        let mut last = Value::Null;
        let mut shown = String::new();
        while Instant::now() < end {
            // A controller that was just killed does not answer for a moment.
            if let Ok(job) = self.get(&format!("/api/v1/jobs/{id}")).await {
                let line = format!("{} {} {}", job["status"], job["phase"], job["wait"]["reason"]);
                if line != shown {
                    println!("  job: {line}");
                    shown = line;
                }
                if wanted(&job) {
                    return Ok(job);
                }
                last = job;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("after {} s the job is not {what}: {last:#}", within.as_secs())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("── controller log\n{}", self.log());
        }
    }
}
