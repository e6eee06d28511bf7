//! What to think of the findings, and how to say it. Pure: findings in, checks out.

use std::fmt::Write as _;

use jiff::Timestamp;
use schema::size::human;
use serde::Serialize;
use serde_json::Value;
use url::{Host, Url};

use super::ask::Findings;

/// A token that dies sooner than this is worth a word, in days.
const TOKEN_DAYS: i64 = 14;
/// Clocks that differ more than this are worth a word, in seconds.
const SKEW: i64 = 30;
/// Less room than this is worth a word, in bytes.
const ROOM_LOW: u64 = 2 << 30;
/// With less room than this the registry takes nothing more, in bytes.
const ROOM_NONE: u64 = 256 << 20;
/// A quota with less than this part of it left is worth a word.
const QUOTA_LOW: u64 = 10;
/// Serials that are named; the rest is counted.
const NAMED: usize = 5;
/// Width of the column of names.
const WIDTH: usize = 11;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warn,
    /// Does not work.
    Fail,
}

/// One line of the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

fn ok(check: &'static str, text: impl Into<String>) -> Check {
    Check { level: Level::Ok, check, text: text.into(), remedy: None }
}

fn warn(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { level: Level::Warn, check, text: text.into(), remedy: Some(remedy.into()) }
}

fn fail(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { level: Level::Fail, check, text: text.into(), remedy: Some(remedy.into()) }
}

/// There is not even enough to ask with.
pub fn no_connection(error: &anyhow::Error) -> Check {
    fail("connection", format!("{error:#}"), "see --url, --token-file and --ca")
}

/// Every check.
pub fn all(found: &Findings) -> Vec<Check> {
    if let Err(why) = &found.health {
        let remedy = if why.contains("ertificate") {
            "its certificate is not signed by the authority used here: copy <state>/site/ca.pem from the controller \
             and name it with --ca; the name in --url must be one of api_names"
        } else {
            "start it with `slipway serve`; see --url, and firewalls on the way"
        };
        return vec![fail("controller", format!("{} does not answer: {why}", found.url), remedy)];
    }
    let mut checks = vec![ok("controller", format!("{} answers, and its certificate is good", found.url))];
    checks.extend(parts(&found.ready));
    match &found.site {
        Err(why) => checks.push(fail(
            "token",
            why.as_str(),
            "name a file with a live token by --token-file; an admin makes one with `slipway token create`",
        )),
        Ok(site) => {
            checks.push(token(&site["token"], found.now));
            checks.push(version(site));
            checks.push(clock(site, found.now));
            checks.push(room(&site["room"]));
            checks.push(place("api url", site, "api_url", &["https"], "hosts"));
            checks.push(place("media url", site, "media_url", &["http", "https"], "BMCs"));
            checks.push(media(&found.media));
            checks.push(maintenance(&site["maintenance"]));
            checks.push(registry(&found.registry, &found.mode));
            checks.extend(quotas(&found.held));
            checks.push(machines(&found.machines));
            checks.push(alarms(&found.alarms));
        }
    }
    checks
}

/// What the controller says of its parts.
fn parts(ready: &Result<Value, String>) -> Vec<Check> {
    let answer = match ready {
        Ok(answer) => answer,
        Err(why) => return vec![fail("ready", why.as_str(), "look at the controller's log")],
    };
    let bad: Vec<Check> = answer["checks"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, said)| said.as_str() != Some("ok"))
        .map(|(part, said)| {
            let said = said.as_str().unwrap_or("it does not say why");
            fail("ready", format!("{part}: {said}"), "a job would not run; the log says more")
        })
        .collect();
    if bad.is_empty() {
        let names: Vec<&str> =
            answer["checks"].as_object().into_iter().flatten().map(|(n, _)| n.as_str()).collect();
        return vec![ok("ready", format!("{} work", names.join(", ")))];
    }
    bad
}

fn token(token: &Value, now: Timestamp) -> Check {
    let who = format!("{} is {}", text(&token["name"]), text(&token["role"]));
    let expires: Option<Timestamp> = token["expires_at"].as_str().and_then(|at| at.parse().ok());
    match expires {
        None => ok("token", format!("{who}, and does not expire")),
        Some(at) => {
            let days = (at.as_second() - now.as_second()) / 86_400;
            let when = at.strftime("%Y-%m-%d");
            if days < TOKEN_DAYS {
                warn(
                    "token",
                    format!("{who} until {when}, {days} days"),
                    "make a new one: `slipway token create`",
                )
            } else {
                ok("token", format!("{who} until {when}"))
            }
        }
    }
}

fn version(site: &Value) -> Check {
    let (theirs, ours) = (text(&site["version"]), env!("CARGO_PKG_VERSION"));
    if theirs == ours {
        return ok("version", format!("{ours}, here and there"));
    }
    warn(
        "version",
        format!("the controller is {theirs}, this program {ours}"),
        "use the controller's version here",
    )
}

fn clock(site: &Value, now: Timestamp) -> Check {
    let Some(theirs) = site["now"].as_str().and_then(|at| at.parse::<Timestamp>().ok()) else {
        return warn("clock", "the controller does not tell its time", "use the controller's version here");
    };
    let skew = theirs.as_second() - now.as_second();
    if skew.abs() <= SKEW {
        return ok("clock", "agrees with the controller's");
    }
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let text = format!("the controller's is {} s {side} this computer's", skew.abs());
    warn("clock", text, "keep time by NTP on both: tokens and certificates live by the clock")
}

fn room(room: &Value) -> Check {
    let (Some(free), Some(total)) = (room["free"].as_u64(), room["total"].as_u64()) else {
        return warn("disk", "the controller does not know how much room it has", "look at its state folder");
    };
    let text = format!("{} of {} free in the state folder", human(free), human(total));
    if free < ROOM_NONE {
        fail("disk", text, "make room: images are refused now, jobs soon")
    } else if free < ROOM_LOW {
        warn("disk", text, "make room before the next images")
    } else {
        ok("disk", text)
    }
}

/// A URL that others must reach.
fn place(check: &'static str, site: &Value, field: &str, schemes: &[&str], who: &str) -> Check {
    let shown = text(&site[field]);
    let remedy = format!("set {field} to the address by which {who} reach the controller, and restart it");
    let Ok(url) = Url::parse(&shown) else { return fail(check, format!("{shown:?} is no URL"), remedy) };
    if !schemes.contains(&url.scheme()) {
        return fail(check, format!("{shown} is {}, not {}", url.scheme(), schemes.join(" or ")), remedy);
    }
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Domain(name)) => name == "localhost",
        None => true,
    };
    match (is_loopback, site["allow_loopback"].as_bool().unwrap_or(false)) {
        (true, false) => {
            fail(check, format!("{shown} is loopback, where no machine gets; jobs are refused"), remedy)
        }
        (true, true) => warn(
            check,
            format!("{shown} is loopback, and that is allowed: for tests on one computer"),
            remedy,
        ),
        (false, _) => ok(check, shown),
    }
}

fn media(answer: &Result<(), String>) -> Check {
    match answer {
        Ok(()) => ok("media", "the listener answers"),
        Err(why) => warn(
            "media",
            format!("the listener does not answer from here: {why}"),
            "it need not: BMCs must reach it. Try from their network; see media_listen and media_url",
        ),
    }
}

fn maintenance(medium: &Value) -> Check {
    let remedy =
        "build it with `cargo xtask maintenance-iso`, set maintenance_iso and restart the controller";
    let Some(sha256) = medium["sha256"].as_str() else {
        return fail("maintenance", "there is no maintenance medium: no job gets far", remedy);
    };
    let size = human(medium["size"].as_u64().unwrap_or_default());
    let what = format!("{size}, sha256 {sha256}");
    match medium["version"].as_str() {
        Some(version) if version == env!("CARGO_PKG_VERSION") => {
            ok("maintenance", format!("version {version}, {what}"))
        }
        Some(version) => warn("maintenance", format!("version {version}, {what}"), remedy),
        None => warn("maintenance", format!("it does not say its version; {what}"), remedy),
    }
}

fn registry(answer: &Result<u16, String>, mode: &Result<Value, String>) -> Check {
    if let Ok(mode) = mode
        && mode["read_only"] == Value::Bool(true)
    {
        return warn(
            "registry",
            format!("is read-only since {}: {}", text(&mode["since"]), text(&mode["reason"])),
            "nothing can be pushed; when that is over: `slipway registry read-only off`",
        );
    }
    match answer {
        Ok(200) => ok("registry", "answers at /v2/"),
        Ok(status) => fail("registry", format!("answers {status} at /v2/"), "look at the controller's log"),
        Err(why) => fail("registry", why.as_str(), "look at the controller's log"),
    }
}

/// Quotas that are all but used up.
fn quotas(held: &Result<Value, String>) -> Vec<Check> {
    let rooms = held.as_ref().ok().and_then(|held| held["quotas"].as_array()).into_iter().flatten();
    rooms
        .filter_map(|room| {
            let (size, used) = (room["size"].as_u64()?, room["used"].as_u64()?);
            let namespace =
                room["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("all repositories");
            (size.saturating_sub(used) < size / QUOTA_LOW).then(|| {
                warn(
                    "quota",
                    format!("{namespace}: {} of {} are used", human(used), human(size)),
                    "remove images there (`slipway registry du` shows them), or raise its registry_quota",
                )
            })
        })
        .collect()
}

fn machines(found: &Result<Vec<(String, String)>, String>) -> Check {
    let machines = match found {
        Ok(machines) => machines,
        Err(why) => return fail("machines", why.as_str(), "look at the controller's log"),
    };
    let held: Vec<&str> = machines
        .iter()
        .filter(|(_, state)| state == "quarantined")
        .map(|(serial, _)| serial.as_str())
        .collect();
    let all = format!("{} machines", machines.len());
    if held.is_empty() {
        return ok("machines", format!("{all}, none quarantined"));
    }
    let more = if held.len() > NAMED { " …" } else { "" };
    let named = held.iter().take(NAMED).copied().collect::<Vec<_>>().join(" ");
    let remedy = "see why with `slipway machine show`, then `slipway machine release`";
    warn("machines", format!("{all}, {} quarantined: {named}{more}", held.len()), remedy)
}

fn alarms(found: &Result<Vec<(String, String)>, String>) -> Check {
    match found {
        Err(why) => fail("alarms", why.as_str(), "look at the controller's log"),
        Ok(alarms) => match alarms.last() {
            None => ok("alarms", "none in open jobs"),
            Some((job, said)) => {
                let text = format!("{} in open jobs; job {job}: {said}", alarms.len());
                warn("alarms", text, "read the timeline with `slipway job show`")
            }
        },
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("(nothing)").to_owned()
}

/// The checks as people read them.
pub fn screen(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let level = match check.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let _ = writeln!(out, "{level:4}  {:WIDTH$}  {}", check.check, check.text); // a String takes everything
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(out, "{:6}{:WIDTH$}  → {remedy}", "", "");
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    let _ = match (count(Level::Fail), count(Level::Warn)) {
        (0, 0) => writeln!(out, "\nall is well"),
        (0, warnings) => writeln!(out, "\nnothing is wrong; warnings: {warnings}"),
        (failures, warnings) => writeln!(out, "\nwrong: {failures}; warnings: {warnings}"),
    };
    out
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
