//! The servers, each alone in its processes, on ports of the loopback.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::content;
use crate::bench::programs::Programs;
use crate::cache;
use crate::run::Run;
use crate::service::{Service, free_port};
use crate::site::Site;

/// Ticks of a second in `/proc/<pid>/stat` (`getconf CLK_TCK`; 100 on every Linux).
const TICKS: f64 = 100.0;
/// Size of every pushed blob in bytes.
const PUSHED: u64 = 1 << 30;
/// A recipe for the job whose media are served; which one does not matter.
const RECIPE: &str = "recipes/linux-debian.json";

/// A way to ask one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Our registry by plain HTTP.
    Slipway,
    /// The same by TLS.
    SlipwayTls,
    /// Our media listener.
    Media,
    /// Debian's docker-registry, plain.
    Docker,
    /// nginx with sendfile, plain.
    Nginx,
    /// nginx by TLS.
    NginxTls,
}

impl Server {
    pub fn is_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::NginxTls)
    }
}

/// All of them, running.
pub struct Servers {
    site: Site,
    slipway: Service,
    plain_port: u16,
    media: Media,
    docker: Service,
    docker_port: u16,
    docker_folder: PathBuf,
    nginx: Service,
    nginx_ports: [u16; 2],
    certificate: PathBuf,
    filled: RefCell<BTreeSet<PathBuf>>,
}

/// A controller with staged media. It ends when it is dropped.
struct Media {
    child: Child,
    url: String,
    path: String,
    iso: PathBuf,
}

impl Drop for Media {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Servers {
    pub fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let site = Site::new(&programs.slipway, &folder.join("slipway"))?;
        let plain_port = free_port()?;
        let slipway = site.serve(&[format!("--registry-listen=127.0.0.1:{plain_port}")])?;
        let docker_port = free_port()?;
        let docker_folder = folder.join("docker");
        let docker = docker(folder, &docker_folder, docker_port)?;
        let nginx_ports = [free_port()?, free_port()?];
        let (nginx, certificate) = nginx(folder, nginx_ports)?;
        let media = media(programs, folder)?;
        Ok(Self {
            site,
            slipway,
            plain_port,
            media,
            docker,
            docker_port,
            docker_folder,
            nginx,
            nginx_ports,
            certificate,
            filled: RefCell::default(),
        })
    }

    pub fn url(&self, server: Server) -> String {
        match server {
            Server::Slipway => format!("http://127.0.0.1:{}", self.plain_port),
            Server::SlipwayTls => self.site.url(),
            Server::Media => self.media.url.clone(),
            Server::Docker => format!("http://127.0.0.1:{}", self.docker_port),
            Server::Nginx => format!("http://127.0.0.1:{}", self.nginx_ports[0]),
            Server::NginxTls => format!("https://127.0.0.1:{}", self.nginx_ports[1]),
        }
    }

    /// Options of the client that let it in.
    pub fn access(&self, server: Server) -> Vec<String> {
        let token = format!("--token-file={}", self.site.token_file().display());
        match server {
            Server::Slipway => vec![token],
            Server::SlipwayTls => vec![token, format!("--ca={}", self.site.ca_file().display())],
            Server::NginxTls => vec![format!("--ca={}", self.certificate.display())],
            Server::Media | Server::Docker | Server::Nginx => Vec::new(),
        }
    }

    /// Processor time it has used, its children's included.
    pub fn cpu_seconds(&self, server: Server) -> Result<f64> {
        cpu_seconds(match server {
            Server::Slipway | Server::SlipwayTls => self.slipway.pid(),
            Server::Media => self.media.child.id(),
            Server::Docker => self.docker.pid(),
            Server::Nginx | Server::NginxTls => self.nginx.pid(),
        })
    }

    /// From now on what is there is not [forgotten](Self::forget_pushed).
    pub fn keep_filled(&self) -> Result<()> {
        for server in [Server::Slipway, Server::Docker] {
            self.filled.borrow_mut().extend(self.pushed(server)?);
        }
        Ok(())
    }

    /// Frees what a push has put on the disk, so that every push finds it as the one before did.
    pub fn forget_pushed(&self, server: Server) -> Result<()> {
        for path in self.pushed(server)?.difference(&self.filled.borrow()) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Files of the size that is pushed.
    fn pushed(&self, server: Server) -> Result<BTreeSet<PathBuf>> {
        let folder = match server {
            Server::Docker => self.docker_folder.join("docker/registry/v2/blobs"),
            _ => self.site.state.join("registry/blobs"),
        };
        let mut files = cache::files(&folder)?;
        files.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() == PUSHED));
        Ok(files.into_iter().collect())
    }

    /// Where our registry has a blob.
    pub fn slipway_blob(&self, digest: &str) -> PathBuf {
        self.site.state.join("registry/blobs").join(digest.replace(':', "/"))
    }

    pub fn maintenance(&self) -> &Path {
        &self.media.iso
    }

    pub fn media_path(&self) -> &str {
        &self.media.path
    }
}

fn docker(folder: &Path, data: &Path, port: u16) -> Result<Service> {
    let config = folder.join("docker.yml");
    fs::write(
        &config,
        format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            data.display()
        ),
    )?;
    let args = ["serve".to_owned(), config.display().to_string()];
    Service::start(Path::new("docker-registry"), &args, &folder.join("docker.log"), port)
}

fn nginx(folder: &Path, ports: [u16; 2]) -> Result<(Service, PathBuf)> {
    let (key, certificate) = (folder.join("nginx.key"), folder.join("nginx.pem"));
    Run::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .text()?;
    let (www, scratch) = (folder.join("www"), folder.join("nginx"));
    fs::create_dir_all(&www)?;
    fs::create_dir_all(&scratch)?;
    let [plain, tls] = ports;
    let shown = scratch.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {shown};\n"))
        .collect();
    // Its workers must reach files below a home folder, so they run as whoever runs this.
    let user = if Run::new("id").arg("-u").text()? == "0" { "user root;\n" } else { "" };
    let config = folder.join("nginx.conf");
    fs::write(
        &config,
        format!(
            "daemon off;\n{user}worker_processes auto;\npid {shown}/pid;\nerror_log {shown}/error.log;\n\
             events {{ worker_connections 2048; }}\nhttp {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  \
             keepalive_requests 1000000000;\n  root {};\n{temporary}  server {{ listen 127.0.0.1:{plain}; }}\n  \
             server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {}; ssl_certificate_key {}; }}\n}}\n",
            www.display(),
            certificate.display(),
            key.display()
        ),
    )?;
    let args = ["-c".to_owned(), config.display().to_string()];
    Ok((Service::start(Path::new("nginx"), &args, &folder.join("nginx.log"), plain)?, certificate))
}

fn media(programs: &Programs, folder: &Path) -> Result<Media> {
    let iso = content::maintenance(folder)?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&programs.media_bench)
        .args(["serve", RECIPE])
        .args([folder.join("media"), iso.clone()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("media.log"))?)
        .spawn()
        .context("starting the media listener")?;
    let mut line = String::new();
    let output = child.stdout.take().context("its output")?;
    BufReader::new(output).read_line(&mut line)?;
    let at = line
        .find("/m/")
        .with_context(|| format!("the media listener tells no URL; see {}", folder.display()))?;
    let (url, path) = line.trim().split_at(at);
    Ok(Media { child, url: url.to_owned(), path: path.to_owned(), iso })
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a server has ended")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let mut seconds = (ticks(11) + ticks(12)) / TICKS;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|text| text.parse().ok()) {
        seconds += cpu_seconds(child)?;
    }
    Ok(seconds)
}
