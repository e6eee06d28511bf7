//! Where the controller is and who calls: flags, environment, and what lies in the state folder when the command
//! runs on the controller's own host. A token is read from a file, never from a command line.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use url::{Host, Url};

use super::client::Client;
use crate::model::Secret;

/// Largest token or certificate file.
const FILE_MAX: u64 = 256 << 10;

/// How to reach the controller.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// URL of the controller's API
    #[arg(
        long,
        global = true,
        env = "SLIPWAY_URL",
        hide_env_values = true,
        default_value = "https://127.0.0.1:8443"
    )]
    url: String,
    /// File with an API token; default: admin.token in the state folder
    #[arg(long, global = true, env = "SLIPWAY_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authority that signed the controller's certificate; default: site/ca.pem in the state
    /// folder when it is there, else the system's authorities
    #[arg(long, global = true, env = "SLIPWAY_CA", hide_env_values = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The controller's state folder, for the two defaults above
    #[arg(
        long,
        global = true,
        env = "SLIPWAY_STATE_DIR",
        hide_env_values = true,
        value_name = "FOLDER",
        default_value = "/var/lib/slipway"
    )]
    state_dir: PathBuf,
}

impl Connection {
    /// A client with everything read; nothing is sent yet.
    pub fn client(&self) -> anyhow::Result<Client> {
        let url = Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .with_context(|| format!("--url {:?} is no URL; give https://address[:port]", self.url))?;
        if url.scheme() == "http" && !is_loopback(&url) {
            bail!("--url {url} is plain http: the token would cross the network in clear; use https");
        }
        let (path, remedy) = match &self.token_file {
            Some(path) => (path.clone(), "check --token-file"),
            None => (
                self.state_dir.join("admin.token"),
                "name a token file with --token-file, or run this on the controller's host",
            ),
        };
        let token =
            read(&path).with_context(|| format!("reading the API token in {} ({remedy})", path.display()))?;
        warn_if_open(&path);
        let default = self.state_dir.join("site/ca.pem");
        let file = self.ca.as_ref().or_else(|| default.exists().then_some(&default));
        let ca = file
            .map(|path| read(path).with_context(|| format!("reading the authority in {}", path.display())))
            .transpose()?;
        Client::new(url, &Secret::new(token.trim().to_owned()), ca.as_deref())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A small text file.
pub fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A token that others can read is worth a word; refusing it would break mounted secrets of CI systems.
fn warn_if_open(path: &Path) {
    if let Ok(meta) = path.metadata()
        && meta.is_file()
        && meta.mode() & 0o004 != 0
    {
        eprintln!("slipway: warning: {} can be read by everyone; run chmod 600 on it", path.display());
    }
}
