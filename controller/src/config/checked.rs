//! A configuration that can be run. Its constructor is the check: every fault at once, each with its remedy.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use glob::Pattern;
use url::{Host, Url};

use super::bmc::{self, BmcTraffic};
use super::fragment::Fragment;
use super::quota;
use super::retention::Retention;
use crate::model::Deadlines;
use crate::registry::{Immutable, Quota};

/// Folder of everything, where a package puts it.
const STATE_DIR: &str = "/var/lib/slipway";
/// Loopback until told otherwise.
const API_LISTEN: &str = "127.0.0.1:8443";
/// Loopback until told otherwise.
const MEDIA_LISTEN: &str = "127.0.0.1:8080";
/// Longest base URL of media: with `/m/`, 26 characters and `/maintenance.iso` it makes 100, which every BMC takes.
const MEDIA_URL_MAX: usize = 100 - "/m//maintenance.iso".len() - 26;
/// Seconds between heartbeats.
const HEARTBEAT: u32 = 15;
/// Heartbeats slower than this would look like silence (3 minutes).
const HEARTBEAT_RANGE: std::ops::RangeInclusive<u32> = 1..=60;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Text or JSON.
    pub format: LogFormat,
    /// tracing's filter syntax.
    pub filter: String,
}

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of everything the controller keeps.
    pub state_dir: PathBuf,
    /// Address of the API listener.
    pub api_listen: SocketAddr,
    /// Address of the media listener.
    pub media_listen: SocketAddr,
    /// Where the registry listens by plain HTTP besides.
    pub registry_listen: Option<SocketAddr>,
    /// URL of that as its clients see it, without trailing slash; `None`: plain HTTP, where they came.
    pub registry_url: Option<String>,
    /// URL of the API as hosts see it, without trailing slash; `None`: made of the bound address.
    pub api_url: Option<String>,
    /// URL of the media as BMCs see it, without trailing slash; `None`: made of the bound address.
    pub media_url: Option<String>,
    /// Names and addresses on the API's certificate, `api_url`'s host and loopback included.
    pub api_names: Vec<String>,
    /// The maintenance medium.
    pub maintenance_iso: PathBuf,
    /// Whether jobs may have loopback URLs.
    pub allow_loopback: bool,
    /// Whether machines may be marked as having a plain HTTP BMC.
    pub allow_plain_http_bmcs: bool,
    /// Folder of more profiles of BMC families.
    pub bmc_profiles: Option<PathBuf>,
    /// Seconds between heartbeats of a host.
    pub heartbeat_seconds: u32,
    /// Deadlines of the phases, before machine and recipe.
    pub deadlines: Deadlines,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Prefix>,
    /// What outgoing requests may reach besides ordinary addresses.
    pub allow_outgoing: Vec<Prefix>,
    /// How much BMCs are asked.
    pub bmc_traffic: BmcTraffic,
    /// Repositories of the registry that anybody may pull.
    pub registry_anonymous_pull: Vec<Pattern>,
    /// What the registry need not keep.
    pub registry_retention: Vec<Retention>,
    /// Tags of the registry that are made once.
    pub registry_immutable: Vec<Immutable>,
    /// How much namespaces of the registry may hold.
    pub registry_quota: Vec<Quota>,
    /// Logging.
    pub logging: Logging,
}

/// An address with prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Some address inside.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the configuration cannot be used:\n  {}", faults.join("\n  "))]
pub struct ConfigError {
    /// One sentence per fault: field, value, remedy.
    pub faults: Vec<String>,
}

impl Config {
    /// Checks the merged fragment.
    pub fn check(merged: Fragment) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        let state_dir = merged.state_dir.unwrap_or_else(|| STATE_DIR.into());
        let api_listen = faults.address("api_listen", merged.api_listen.as_deref().unwrap_or(API_LISTEN));
        let media_listen =
            faults.address("media_listen", merged.media_listen.as_deref().unwrap_or(MEDIA_LISTEN));
        let registry_listen =
            merged.registry_listen.as_deref().map(|text| faults.address("registry_listen", text));
        let registry_url = merged.registry_url.as_deref().and_then(|text| {
            if registry_listen.is_none() {
                faults.add("registry_url is set and nothing listens for it; set registry_listen".into());
            }
            let listen = registry_listen.unwrap_or(api_listen);
            faults.url("registry_url", Some(text), &["http", "https"], listen)
        });
        let api_url = faults.url("api_url", merged.api_url.as_deref(), &["https"], api_listen);
        let media_url =
            faults.url("media_url", merged.media_url.as_deref(), &["http", "https"], media_listen);
        if let Some(text) = &media_url {
            faults.media_url(text);
        }
        let mut api_names = merged.api_names.unwrap_or_default();
        let own = api_url.as_deref().and_then(host_of).into_iter().chain([api_listen.ip().to_string()]);
        api_names.extend(own.chain(["localhost".into(), "127.0.0.1".into(), "::1".into()]));
        api_names.retain(|name| !name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()));
        api_names.sort();
        api_names.dedup();
        let heartbeat_seconds = merged.heartbeat_seconds.unwrap_or(HEARTBEAT);
        if !HEARTBEAT_RANGE.contains(&heartbeat_seconds) {
            faults.add(format!("heartbeat_seconds is {heartbeat_seconds}; give 1 to 60"));
        }
        let mut given = std::collections::BTreeMap::new();
        for (phase, text) in merged.deadlines.unwrap_or_default() {
            match schema::size::duration(&text) {
                _ if !Deadlines::is_phase(&phase) => faults.add(format!(
                    "deadlines.{phase} is no phase; give staging, probing, mounting, booting, installing, cleaning or job"
                )),
                Ok(duration) => drop(given.insert(phase, duration.as_secs())),
                Err(error) => faults.add(format!("deadlines.{phase}: {error}")),
            }
        }
        let format = match merged.log_format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                faults.add(format!("log_format is {other:?}; give text or json"));
                LogFormat::Text
            }
        };
        let filter = merged.log_filter.unwrap_or_else(|| "info".into());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&filter) {
            faults.add(format!("log_filter {filter:?}: {error}"));
        }
        let trusted_proxies = faults.prefixes("trusted_proxies", merged.trusted_proxies);
        let allow_outgoing = faults.prefixes("allow_outgoing", merged.allow_outgoing);
        let registry_anonymous_pull =
            faults.patterns("registry_anonymous_pull", merged.registry_anonymous_pull);
        let rules = merged.registry_retention.unwrap_or_default();
        let registry_retention =
            rules.iter().zip(1..).filter_map(|(rule, number)| rule.check(number, &mut faults.0)).collect();
        let rules = merged.registry_immutable.unwrap_or_default();
        let registry_immutable =
            rules.iter().zip(1..).filter_map(|(rule, number)| rule.check(number, &mut faults.0)).collect();
        let registry_quota = quota::check(merged.registry_quota.unwrap_or_default(), &mut faults.0);
        let bmc_traffic =
            bmc::check(merged.bmc_calls, merged.bmc_calls_per_site, merged.bmc_site_label, &mut faults.0);
        faults.into_result()?;
        Ok(Self {
            maintenance_iso: merged
                .maintenance_iso
                .unwrap_or_else(|| state_dir.join("media").join("maintenance.iso")),
            state_dir,
            api_listen,
            media_listen,
            registry_listen,
            registry_url,
            api_url,
            media_url,
            api_names,
            allow_loopback: merged.allow_loopback.unwrap_or(false),
            allow_plain_http_bmcs: merged.allow_plain_http_bmcs.unwrap_or(false),
            bmc_profiles: merged.bmc_profiles,
            heartbeat_seconds,
            // No target: Windows' longer deadline is settled per job.
            deadlines: Deadlines::default().settle("", &given, &std::collections::BTreeMap::new()),
            trusted_proxies,
            allow_outgoing,
            bmc_traffic,
            registry_anonymous_pull,
            registry_retention,
            registry_immutable,
            registry_quota,
            logging: Logging { format, filter },
        })
    }

    /// URL of the plain registry listener on its address. Where that is every address, `api_url` has a name for it.
    pub fn plain_registry_url(&self, bound: SocketAddr, api_url: &str) -> String {
        let own = || match Url::parse(api_url).ok().as_ref().and_then(Url::host) {
            Some(host) if bound.ip().is_unspecified() => format!("http://{host}:{}", bound.port()),
            _ => format!("http://{bound}"),
        };
        self.registry_url.clone().unwrap_or_else(own)
    }

    /// API and media URL, now that the listeners have their addresses.
    pub fn urls(&self, api: SocketAddr, media: SocketAddr) -> (String, String) {
        (
            self.api_url.clone().unwrap_or_else(|| format!("https://{api}")),
            self.media_url.clone().unwrap_or_else(|| format!("http://{media}")),
        )
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Prefix {
    /// Whether the address lies inside.
    pub fn holds(self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => bits == 0 || (u32::from(a) ^ u32::from(b)) >> (32 - bits) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                bits == 0 || (u128::from(a) ^ u128::from(b)) >> (128 - bits) == 0
            }
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }
}

fn host_of(url: &str) -> Option<String> {
    match Url::parse(url).ok()?.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.0 }) }
    }

    fn address(&mut self, field: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.add(format!("{field} is {text:?}; give an IP address and port, such as 192.0.2.5:8443"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn url(
        &mut self,
        field: &str,
        given: Option<&str>,
        schemes: &[&str],
        listen: SocketAddr,
    ) -> Option<String> {
        let Some(text) = given else {
            if listen.ip().is_unspecified() {
                self.add(format!(
                    "{field} is not set and the listener has no address of its own; set {field}"
                ));
            }
            return None;
        };
        let wanted = format!("give {}://host:port without path, user or query", schemes.join(":// or "));
        let fits = Url::parse(text).is_ok_and(|url| {
            schemes.contains(&url.scheme())
                && url.host().is_some()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        if !fits {
            self.add(format!("{field} is {text:?}; {wanted}"));
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    fn media_url(&mut self, text: &str) {
        let plain =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b":/.-[]".contains(&b));
        if !plain {
            self.add(format!(
                "media_url is {text:?}; BMCs want lower-case letters, digits, dots and dashes only"
            ));
        }
        if text.len() > MEDIA_URL_MAX {
            self.add(format!(
                "media_url has {} characters; {MEDIA_URL_MAX} is the most BMCs take",
                text.len()
            ));
        }
    }

    fn patterns(&mut self, field: &str, given: Option<Vec<String>>) -> Vec<Pattern> {
        let mut parsed = Vec::new();
        for text in given.unwrap_or_default() {
            match Pattern::new(&text) {
                Ok(pattern) if !text.is_empty() => parsed.push(pattern),
                _ => self.add(format!(
                    "{field} holds {text:?}; give the name of a repository or a pattern, such as images/*"
                )),
            }
        }
        parsed
    }

    fn prefixes(&mut self, field: &str, given: Option<Vec<String>>) -> Vec<Prefix> {
        let mut parsed = Vec::new();
        for text in given.unwrap_or_default() {
            match Prefix::parse(&text) {
                Some(prefix) => parsed.push(prefix),
                None => {
                    self.add(format!(
                        "{field} holds {text:?}; give an address or prefix, such as 192.0.2.0/24"
                    ));
                }
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_configured_is_loopback_only() {
        let config = Config::check(Fragment::default()).unwrap();
        assert!(config.api_listen.ip().is_loopback() && config.media_listen.ip().is_loopback());
        assert!(!config.allow_loopback && !config.allow_plain_http_bmcs);
        assert_eq!(config.api_names, ["127.0.0.1", "::1", "localhost"]);
        assert_eq!(config.maintenance_iso.to_str(), Some("/var/lib/slipway/media/maintenance.iso"));
        let urls = config.urls("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap());
        assert_eq!(urls, ("https://127.0.0.1:1".into(), "http://[::1]:2".into()));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = |text: &str| Some(text.to_owned());
        let error = Config::check(Fragment {
            api_listen: text("localhost"),
            media_listen: text("0.0.0.0:80"),
            api_url: text("http://10.0.0.5/api?x"),
            heartbeat_seconds: Some(600),
            deadlines: Some([("lunch".into(), "1h".into()), ("booting".into(), "soon".into())].into()),
            trusted_proxies: Some(vec!["10.0.0.0/33".into()]),
            registry_anonymous_pull: Some(vec!["images/*".into(), "[".into()]),
            log_format: text("xml"),
            log_filter: text("a=b=c"),
            ..Fragment::default()
        })
        .unwrap_err();
        insta::assert_snapshot!(error);
    }

    #[test]
    fn the_plain_registry_is_where_it_listens_unless_it_is_said_to_be_elsewhere() {
        for (listen, url, wanted) in [
            ("192.0.2.5:5000", None, "http://192.0.2.5:5000"),
            ("0.0.0.0:5000", None, "http://slipway.example:5000"),
            ("127.0.0.1:5000", Some("https://images.example/"), "https://images.example"),
        ] {
            let given = Fragment {
                api_url: Some("https://slipway.example:8443".into()),
                registry_listen: Some(listen.into()),
                registry_url: url.map(Into::into),
                ..Fragment::default()
            };
            let config = Config::check(given).unwrap();
            let api_url = config.api_url.clone().unwrap();
            assert_eq!(config.plain_registry_url(listen.parse().unwrap(), &api_url), wanted);
        }
        let given =
            Fragment { registry_url: Some("https://images.example/v2".into()), ..Fragment::default() };
        let told = Config::check(given).unwrap_err().to_string();
        assert!(
            told.contains("registry_url is \"https://images.example/v2\"; give http:// or https://host:port")
                && told.contains("set registry_listen"),
            "{told}"
        );
    }

    #[test]
    fn a_media_url_that_some_bmc_would_refuse_is_refused() {
        for bad in
            ["http://Media.example:8080", "http://media_1:80", &format!("http://{}:80", "a".repeat(60))]
        {
            let given = Fragment { media_url: Some((*bad).to_owned()), ..Fragment::default() };
            assert!(Config::check(given).is_err(), "{bad}");
        }
        let given = Fragment { media_url: Some("http://10.0.0.5:8080/".into()), ..Fragment::default() };
        assert_eq!(Config::check(given).unwrap().media_url.as_deref(), Some("http://10.0.0.5:8080"));
    }

    #[test]
    fn the_host_of_the_api_url_is_on_the_certificate() {
        let given = Fragment {
            api_url: Some("https://[fd00::5]:8443".into()),
            api_listen: Some("0.0.0.0:8443".into()),
            api_names: Some(vec!["slipway.example".into(), "localhost".into()]),
            ..Fragment::default()
        };
        let names = Config::check(given).unwrap().api_names;
        assert_eq!(names, ["127.0.0.1", "::1", "fd00::5", "localhost", "slipway.example"]);
    }

    #[test]
    fn a_prefix_holds_what_shares_its_bits() {
        let prefix = Prefix::parse("10.1.0.0/16").unwrap();
        assert!(prefix.holds("10.1.255.1".parse().unwrap()) && !prefix.holds("10.2.0.1".parse().unwrap()));
        assert!(Prefix::parse("::/0").unwrap().holds("fe80::1".parse().unwrap()));
        assert!(!Prefix::parse("0.0.0.0/0").unwrap().holds("::1".parse().unwrap()));
    }
}
