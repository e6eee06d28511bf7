//! What of a recipe may be shown by `Debug`: names of the environment but no values, a proxy but not its password, a
//! job but not its token. Payloads see to themselves ([`crate::payload`]).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use crate::recipe::HostNetwork;
use crate::task::TaskJob;

/// Environment of the tool containers, name to value. Its `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Whether it has no variable.
    pub fn is_unset(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for Environment {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Environment {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a Environment {
    type Item = (&'a String, &'a String);
    type IntoIter = std::collections::btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for HostNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_deref().map(without_login);
        out.debug_struct("HostNetwork")
            .field("links", &self.links)
            .field("ntp", &self.ntp)
            .field("proxy", &proxy)
            .finish()
    }
}

impl fmt::Debug for TaskJob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TaskJob")
            .field("job_id", &self.job_id)
            .field("attempt", &self.attempt)
            .field("expected", &self.expected)
            .field("api_url", &self.api_url)
            .field("proxy", &self.proxy.as_deref().map(without_login))
            .field("issued_at", &self.issued_at)
            .field("image", &self.image)
            .field("heartbeat_seconds", &self.heartbeat_seconds)
            .field("step_seconds", &self.step_seconds)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// The user name and password in a URL, as written there.
pub fn login(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(login, _)| login)
}

/// A URL with its user name and password hidden.
pub fn without_login(url: &str) -> String {
    match (url.split_once("://"), login(url)) {
        (Some((scheme, rest)), Some(login)) if !login.is_empty() => {
            format!("{scheme}://***{}", &rest[login.len()..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn debug_output_shows_names_and_no_values() {
        let recipe: Recipe = serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target",
            "env": {"JOIN_KEY": "hunter2"},
            "host_network": {"links": [], "proxy": "http://ops:hunter2@proxy:3128"}
        }))
        .unwrap();
        let text = format!("{recipe:?}");
        assert!(text.contains("JOIN_KEY") && text.contains("http://***@proxy:3128"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let job: TaskJob = serde_json::from_value(serde_json::json!({
            "version": 1, "job_id": "j", "attempt": 1, "expected": {"serial": "S"}, "api_url": "https://10.0.0.5",
            "bootstrap_token": "hunter2", "issued_at": "2026-11-21T08:45:00Z", "heartbeat_seconds": 15,
            "proxy": "http://ops:hunter2@proxy:3128"
        }))
        .unwrap();
        assert!(!format!("{job:?}").contains("hunter2"));
    }

    #[test]
    fn a_login_is_found_in_the_authority_and_nowhere_else() {
        for (url, found, shown) in [
            ("http://u:p@proxy:3128/x@y", Some("u:p"), "http://***@proxy:3128/x@y"),
            ("http://http@proxy", Some("http"), "http://***@proxy"),
            ("http://proxy/x@y", None, "http://proxy/x@y"),
            ("http://@proxy", Some(""), "http://@proxy"),
            ("proxy", None, "proxy"),
        ] {
            assert_eq!((login(url), without_login(url).as_str()), (found, shown), "{url}");
        }
    }
}
