//! Keeps a job's secrets out of what its host says. It knows the payloads of this one job, so it finds them
//! whatever program printed them.

use aho_corasick::AhoCorasick;
use schema::recipe::{HostNetwork, Payload, Recipe};

/// Shorter pieces are words of every log; hiding them would hide the log.
const SHORTEST: usize = 8;
/// What stands in for a secret.
const STARS: &str = "***";

/// The first line of every cloud-config; no secret.
const CLOUD_CONFIG: &str = "#cloud-config";

/// The pieces of a line that may be a secret by themselves: `password: hunter2`, `KEY=hunter2`,
/// `<Value>hunter2</Value>`. Names of YAML keys and XML tags are words of every log, and stay.
fn values(line: &str) -> impl Iterator<Item = &str> {
    let is_border =
        |c: char| matches!(c, ':' | '=' | '<' | '>' | '"' | '\'' | ' ' | ',' | '[' | ']' | '{' | '}');
    let pieces: Vec<&str> = line.split_inclusive(is_border).collect();
    let mut values = Vec::new();
    let mut before = ' ';
    for (n, piece) in pieces.iter().enumerate() {
        let word = piece.trim_end_matches(is_border);
        let after = piece[word.len()..].chars().next();
        let ends_key = pieces.get(n + 1).is_none_or(|next| next.starts_with(' '));
        if before != '<' && !(after == Some(':') && ends_key) {
            values.push(word);
        }
        before = after.unwrap_or(' ');
    }
    values.into_iter()
}

/// Pieces of text that must not be shown. One pass finds them all: logs have megabytes, payloads thousands of lines.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Secrets,
}

#[derive(Clone, Default)]
enum Secrets {
    /// There are none.
    #[default]
    None,
    /// These.
    These(AhoCorasick),
    /// More than can be looked for.
    TooMany,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(***)")
    }
}

impl Redactor {
    /// Knows the payloads and environment values of a recipe, and further secrets such as tokens.
    pub fn new(recipe: &Recipe, tokens: &[&str]) -> Self {
        let mut secrets: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
        secrets.extend(recipe.env.values().cloned());
        for payload in payloads(recipe) {
            let Some(bytes) = payload.bytes() else { continue };
            for line in String::from_utf8_lossy(&bytes).lines() {
                let line = line.trim();
                if line != CLOUD_CONFIG {
                    secrets.push(line.to_owned());
                    secrets.extend(values(line).map(str::to_owned));
                }
            }
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        secrets.sort_unstable();
        secrets.dedup();
        let secrets = AhoCorasick::new(&secrets).map_or(Secrets::TooMany, Secrets::These);
        Self { secrets }
    }

    /// The text with every secret and every name of a medium replaced.
    pub fn clean(&self, text: &str) -> String {
        let text = without_media(text);
        let secrets = match &self.secrets {
            Secrets::None => return text,
            Secrets::TooMany => return WITHHELD.to_owned(),
            Secrets::These(secrets) => secrets,
        };
        let mut clean = String::with_capacity(text.len());
        let mut done = 0;
        // Secrets may overlap: what any of them covers goes, as one.
        for (start, end) in covered(secrets, &text) {
            clean.push_str(&text[done..start]);
            clean.push_str(STARS);
            done = end;
        }
        clean.push_str(&text[done..]);
        clean
    }
}

/// The password in the URL of a host's proxy; empty where there is none.
pub fn proxy_password(network: Option<&HostNetwork>) -> &str {
    let proxy = network.and_then(|network| network.proxy.as_deref());
    let login = proxy.and_then(schema::shown::login).unwrap_or_default();
    login.split_once(':').map_or(login, |(_, password)| password)
}

/// What is left of a text that cannot be cleaned.
const WITHHELD: &str = "[slipway: this job has too many secrets to look for; the text is withheld]";

/// The stretches of a text that secrets cover, in order and apart.
fn covered(secrets: &AhoCorasick, text: &str) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for found in secrets.find_overlapping_iter(text) {
        let (mut start, end) = (found.start(), found.end());
        // They come by their ends: a longer one swallows what lies within it.
        while let Some(last) = stretches.last().copied().filter(|last| start < last.1) {
            start = start.min(last.0);
            stretches.pop();
        }
        stretches.push((start, end));
    }
    stretches
}

/// What stands before the name of a medium in its URL.
const MEDIA: &str = "/m/";

/// A text without names of media: whoever knows one can read the medium, and with it the recipe's secrets and the
/// job's token. BMCs repeat their URLs in evidence and in refusals.
pub fn without_media(text: &str) -> String {
    let mut pieces = text.split(MEDIA);
    let mut hidden = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        hidden.push_str(MEDIA);
        hidden.push('…');
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        hidden.push_str(rest.strip_prefix('…').unwrap_or(rest)); // hidden before
    }
    hidden
}

/// Every payload of a recipe.
pub fn payloads(recipe: &Recipe) -> impl Iterator<Item = &Payload> {
    [&recipe.user_data, &recipe.meta_data, &recipe.network_config, &recipe.unattend_xml, &recipe.ks_cfg]
        .into_iter()
        .flatten()
        .chain(recipe.first_boot_scripts.iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_loses_the_jobs_secrets_and_keeps_the_rest() {
        let recipe: Recipe = serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target",
            "user_data": "#cloud-config\nchpasswd: {list: 'root:correct-horse'}\nok: yes\n",
            "unattend_xml": {"content": "<Value>P@ssw0rd1</Value>"},
            "env": {"JOIN_KEY": "abcdef0123"},
        }))
        .unwrap();
        let network: HostNetwork =
            serde_json::from_str(r#"{"links": [], "proxy": "http://ops:battery-staple@proxy:3128"}"#)
                .unwrap();
        assert_eq!(proxy_password(None), "");
        let redactor = Redactor::new(&recipe, &["sls.token", proxy_password(Some(&network))]);
        let log = "#cloud-config chpasswd ok: yes; set correct-horse; tried P@ssw0rd1 with abcdef0123 and sls.token; \
                   by http://ops:battery-staple@proxy:3128";
        assert_eq!(
            redactor.clean(log),
            "#cloud-config chpasswd ok: yes; set ***; tried *** with *** and ***; by http://ops:***@proxy:3128"
        );
        assert!(!format!("{redactor:?}").contains("horse"));
    }

    #[test]
    fn secrets_that_overlap_leave_no_rest() {
        let recipe: Recipe = serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target",
            "env": {"A": "alpha-beta-gamma", "B": "gamma-delta-epsilon", "C": "beta-gamma-delta"},
        }))
        .unwrap();
        let redactor = Redactor::new(&recipe, &[]);
        for (text, wanted) in [
            ("x alpha-beta-gamma-delta-epsilon y", "x *** y"),
            ("alpha-beta-gamma", "***"),
            ("gamma-delta-epsilon, alpha-beta-gamma", "***, ***"),
            ("ü beta-gamma-delta ü", "ü *** ü"),
            ("alpha-beta", "alpha-beta"),
        ] {
            assert_eq!(redactor.clean(text), wanted);
        }
    }

    #[test]
    fn a_long_log_is_cleaned_of_many_secrets_in_one_pass() {
        let lines: String = (0..5000).map(|n| format!("key-{n:08}-of-this-job\n")).collect();
        let recipe: Recipe = serde_json::from_value(serde_json::json!({
            "task_target": "install-linux.target", "user_data": lines,
        }))
        .unwrap();
        let log = "nothing to hide here, and then key-00004321-of-this-job\n".repeat(10_000);
        let clean = Redactor::new(&recipe, &[]).clean(&log);
        assert!(!clean.contains("key-0") && clean.contains("nothing to hide here, and then ***"));
    }

    #[test]
    fn names_of_media_are_replaced_and_nothing_else() {
        for (text, wanted) in [
            (
                "inserting http://10.0.0.5/m/abcdefghijklmnopqrstuvwxyz/task.iso into Cd",
                "inserting http://10.0.0.5/m/…/task.iso into Cd",
            ),
            ("/m/a1/b.iso and /m/c2", "/m/…/b.iso and /m/…"),
            ("https://ci/job/7", "https://ci/job/7"),
            ("", ""),
        ] {
            assert_eq!(without_media(text), wanted);
            assert_eq!(without_media(wanted), wanted, "what is hidden stays as it is");
        }
    }
}
