//! What one source says: every field optional, unknown ones refused. The same names in the file, the environment
//! (`SLIPWAY_` and upper case) and the flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::immutable::WrittenImmutable;
use super::quota::WrittenQuota;
use super::retention::Written;

/// Prefix of environment variables.
const ENV_PREFIX: &str = "SLIPWAY_";
/// Largest configuration file.
const FILE_MAX: u64 = 1 << 20;

/// What one source of configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// Folder of everything the controller keeps. Default `/var/lib/slipway`.
    pub state_dir: Option<PathBuf>,
    /// Address of the API: people, hosts, registry; TLS. Default `127.0.0.1:8443`.
    pub api_listen: Option<String>,
    /// Address of the media listener, on the BMC network. Default `127.0.0.1:8080`.
    pub media_listen: Option<String>,
    /// Address where the registry answers by plain HTTP besides, for a TLS proxy on this host or a network where nobody
    /// listens. Default: nowhere.
    pub registry_listen: Option<String>,
    /// URL by which clients reach that: `https://…` behind a TLS proxy. They are sent there for their tokens. Default: `http://`
    /// and the name or address by which they came.
    pub registry_url: Option<String>,
    /// URL by which hosts reach the API. Default: made of `api_listen`.
    pub api_url: Option<String>,
    /// URL by which BMCs reach the media. Default: made of `media_listen`.
    pub media_url: Option<String>,
    /// More names and addresses for the API's certificate.
    pub api_names: Option<Vec<String>>,
    /// The maintenance medium. Default `<state_dir>/media/maintenance.iso`.
    pub maintenance_iso: Option<PathBuf>,
    /// Lets jobs run whose URLs are loopback. For tests on one machine.
    pub allow_loopback: Option<bool>,
    /// Lets BMCs be reached by plain HTTP when their machine is marked so.
    pub allow_plain_http_bmcs: Option<bool>,
    /// Folder of more profiles of BMC families, one TOML file each. Default: the built-in ones alone.
    pub bmc_profiles: Option<PathBuf>,
    /// Requests in flight at all BMCs together. Default 256.
    pub bmc_calls: Option<u32>,
    /// Requests in flight at the BMCs of one site. Default 128.
    pub bmc_calls_per_site: Option<u32>,
    /// Label of machines that names their site. Default `site`; machines without it are one site.
    pub bmc_site_label: Option<String>,
    /// Seconds between heartbeats of a host. Default 15.
    pub heartbeat_seconds: Option<u32>,
    /// Deadline by phase (`staging`, `probing`, `mounting`, `booting`, `installing`, `cleaning`), such as `90m`.
    pub deadlines: Option<BTreeMap<String, String>>,
    /// Addresses or prefixes whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Option<Vec<String>>,
    /// Prefixes that callbacks and payload URLs may reach although they are link-local or metadata addresses.
    pub allow_outgoing: Option<Vec<String>>,
    /// Repositories of the registry that anybody may pull, such as `images/*`; `*` stands for anything. Default: none.
    pub registry_anonymous_pull: Option<Vec<String>>,
    /// What the registry need not keep. Default: it keeps every tag and manifest.
    pub registry_retention: Option<Vec<Written>>,
    /// Tags of the registry that are made once, neither moved nor removed. Default: none.
    pub registry_immutable: Option<Vec<WrittenImmutable>>,
    /// How much namespaces of the registry may hold. Default: the disk is the bound.
    pub registry_quota: Option<Vec<WrittenQuota>>,
    /// `text` or `json`. Default `text`.
    pub log_format: Option<String>,
    /// What is logged, in tracing's filter syntax. Default `info`.
    pub log_filter: Option<String>,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not to be read.
    #[error("reading configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Absurdly large.
    #[error("configuration file {path} is larger than {FILE_MAX} bytes; is it the right file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, or with fields that do not exist.
    #[error("configuration file {path} cannot be used")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// An environment variable holds something else.
    #[error("environment variable {name} is {value:?}, expected {expected}")]
    Variable {
        /// Its name.
        name: String,
        /// Its value; no variable of ours is secret.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

impl Fragment {
    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, FileError> {
        let read = |source| FileError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read)?.len() > FILE_MAX {
            return Err(FileError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text).map_err(|source| FileError::Toml { path: path.to_owned(), source })
    }

    /// Reads the process's environment.
    pub fn from_environment() -> Result<Self, FileError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads variables through `get`. Lists are separated by commas; `deadlines` and
    /// tables of rules are for the file only.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, FileError> {
        let name = |field: &str| format!("{ENV_PREFIX}{}", field.to_ascii_uppercase());
        let text = |field: &str| get(&name(field)).filter(|value| !value.is_empty());
        let list = |field: &str| {
            text(field).map(|value| value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
        };
        let parsed = |field: &str, expected: &'static str| -> Result<Option<serde_json::Value>, FileError> {
            let Some(value) = text(field) else { return Ok(None) };
            serde_json::from_str(&value).map(Some).map_err(|_| FileError::Variable {
                name: name(field),
                value,
                expected,
            })
        };
        let flag = |field: &str| -> Result<Option<bool>, FileError> {
            let Some(value) = parsed(field, "true or false")? else { return Ok(None) };
            value.as_bool().map(Some).ok_or_else(|| FileError::Variable {
                name: name(field),
                value: value.to_string(),
                expected: "true or false",
            })
        };
        let number = |field: &str, expected: &'static str| -> Result<Option<u32>, FileError> {
            let Some(value) = parsed(field, expected)? else { return Ok(None) };
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.map(Some).ok_or_else(|| FileError::Variable {
                name: name(field),
                value: value.to_string(),
                expected,
            })
        };
        Ok(Self {
            state_dir: text("state_dir").map(PathBuf::from),
            api_listen: text("api_listen"),
            media_listen: text("media_listen"),
            registry_listen: text("registry_listen"),
            registry_url: text("registry_url"),
            api_url: text("api_url"),
            media_url: text("media_url"),
            api_names: list("api_names"),
            maintenance_iso: text("maintenance_iso").map(PathBuf::from),
            allow_loopback: flag("allow_loopback")?,
            allow_plain_http_bmcs: flag("allow_plain_http_bmcs")?,
            bmc_profiles: text("bmc_profiles").map(PathBuf::from),
            bmc_calls: number("bmc_calls", "a number of requests")?,
            bmc_calls_per_site: number("bmc_calls_per_site", "a number of requests")?,
            bmc_site_label: text("bmc_site_label"),
            heartbeat_seconds: number("heartbeat_seconds", "a number of seconds")?,
            deadlines: None,
            trusted_proxies: list("trusted_proxies"),
            allow_outgoing: list("allow_outgoing"),
            registry_anonymous_pull: list("registry_anonymous_pull"),
            registry_retention: None,
            registry_immutable: None,
            registry_quota: None,
            log_format: text("log_format"),
            log_filter: text("log_filter"),
        })
    }

    /// This fragment, with `lower` where it says nothing.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            state_dir: self.state_dir.or(lower.state_dir),
            api_listen: self.api_listen.or(lower.api_listen),
            media_listen: self.media_listen.or(lower.media_listen),
            registry_listen: self.registry_listen.or(lower.registry_listen),
            registry_url: self.registry_url.or(lower.registry_url),
            api_url: self.api_url.or(lower.api_url),
            media_url: self.media_url.or(lower.media_url),
            api_names: self.api_names.or(lower.api_names),
            maintenance_iso: self.maintenance_iso.or(lower.maintenance_iso),
            allow_loopback: self.allow_loopback.or(lower.allow_loopback),
            allow_plain_http_bmcs: self.allow_plain_http_bmcs.or(lower.allow_plain_http_bmcs),
            bmc_profiles: self.bmc_profiles.or(lower.bmc_profiles),
            bmc_calls: self.bmc_calls.or(lower.bmc_calls),
            bmc_calls_per_site: self.bmc_calls_per_site.or(lower.bmc_calls_per_site),
            bmc_site_label: self.bmc_site_label.or(lower.bmc_site_label),
            heartbeat_seconds: self.heartbeat_seconds.or(lower.heartbeat_seconds),
            deadlines: self.deadlines.or(lower.deadlines),
            trusted_proxies: self.trusted_proxies.or(lower.trusted_proxies),
            allow_outgoing: self.allow_outgoing.or(lower.allow_outgoing),
            registry_anonymous_pull: self.registry_anonymous_pull.or(lower.registry_anonymous_pull),
            registry_retention: self.registry_retention.or(lower.registry_retention),
            registry_immutable: self.registry_immutable.or(lower.registry_immutable),
            registry_quota: self.registry_quota.or(lower.registry_quota),
            log_format: self.log_format.or(lower.log_format),
            log_filter: self.log_filter.or(lower.log_filter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slipway.toml");
        std::fs::write(&path, "api_listen = \"127.0.0.1:1\"\nmedia_lisen = \"x\"\n").unwrap();
        let FileError::Toml { source, .. } = Fragment::from_file(&path).unwrap_err() else {
            panic!("not Toml")
        };
        assert!(source.to_string().contains("media_lisen"), "{source}");
    }

    #[test]
    fn a_file_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slipway.toml");
        let text = "state_dir = \"/s\"\napi_names = [\"a\", \"b\"]\nallow_loopback = true\n[deadlines]\nbooting = \"40m\"\n";
        std::fs::write(&path, text).unwrap();
        let fragment = Fragment::from_file(&path).unwrap();
        assert_eq!(fragment.state_dir, Some("/s".into()));
        assert_eq!(fragment.api_names, Some(vec!["a".into(), "b".into()]));
        assert_eq!(fragment.deadlines.unwrap()["booting"], "40m");
    }

    #[test]
    fn variables_are_read_by_their_prefix() {
        let variables = BTreeMap::from([
            ("SLIPWAY_API_NAMES", "a, b"),
            ("SLIPWAY_ALLOW_LOOPBACK", "true"),
            ("SLIPWAY_HEARTBEAT_SECONDS", "5"),
            ("SLIPWAY_MEDIA_URL", ""),
        ]);
        let get = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let fragment = Fragment::from_variables(get).unwrap();
        assert_eq!(fragment.api_names, Some(vec!["a".into(), "b".into()]));
        assert_eq!((fragment.allow_loopback, fragment.heartbeat_seconds), (Some(true), Some(5)));
        assert_eq!(fragment.media_url, None);
        let wrong =
            Fragment::from_variables(|name| (name == "SLIPWAY_ALLOW_LOOPBACK").then(|| "maybe".into()));
        assert!(wrong.unwrap_err().to_string().contains("SLIPWAY_ALLOW_LOOPBACK"));
    }

    #[test]
    fn the_upper_fragment_wins_field_by_field() {
        let upper = Fragment { api_url: Some("https://u".into()), ..Fragment::default() };
        let lower = Fragment {
            api_url: Some("https://l".into()),
            media_url: Some("http://l".into()),
            ..Fragment::default()
        };
        let merged = upper.over(lower);
        assert_eq!(merged.api_url.as_deref(), Some("https://u"));
        assert_eq!(merged.media_url.as_deref(), Some("http://l"));
    }
}
