//! `slipway push-rule`: what pushes to the registry start. A new rule only says what it would do; it is switched on by a
//! second command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Client, path};
use super::connection::{self, Connection};
use super::table::table;
use super::{job, machine, print_json};

/// Options of `push-rule`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a rule; it does nothing but say what it would do
    ///
    /// See what it would do with `push-rule try` and `push-rule runs`, then switch it on with `push-rule mode NAME on`.
    Add(Box<Add>),
    /// List the rules
    List {
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a rule; its recipe is not shown
    Show {
        /// The rule's name
        name: String,
    },
    /// Switch a rule; pushes from then on count
    Mode {
        /// The rule's name
        name: String,
        /// off: nothing, dry-run: says what it would do, on: makes jobs
        mode: Mode,
    },
    /// Remove a rule and its runs; jobs that it made go on
    Rm {
        /// The rule's name
        name: String,
    },
    /// Say what a push of a tag, as the registry has it, would start now; changes nothing
    ///
    /// Exit code: 0 every machine would get its job, 1 one would not, or nothing would be done at all.
    Try {
        /// The rule's name
        name: String,
        /// Such as images/debian:trixie
        reference: String,
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what came of each push, newest first
    Runs {
        /// The rule's name
        name: String,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print the API's JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// What people call it: lower-case letters, digits and dashes
    name: String,
    /// Repositories, such as 'images/*'; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    repository: String,
    /// Tags, such as 'v*'
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    tag: String,
    /// The recipe, a JSON file with "{{image}}" where it names its image; - reads standard input
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Machines with this label; may be repeated, all must match
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = machine::pair)]
    labels: Vec<(String, String)>,
    /// The machine with this serial; may be repeated
    #[arg(long = "serial", value_name = "SERIAL")]
    serials: Vec<String>,
    /// Most machines of one push; when there are more, none gets a job
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    max_machines: u32,
    /// Overwrite machines that are in service
    #[arg(long)]
    reinstall: bool,
    /// Do not even say what it would do
    #[arg(long)]
    off: bool,
    /// Where its runs and the events of its jobs are sent, besides the site's callbacks
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// File that holds the secret they are signed with (whsec_…); default: one is made and printed on stderr, this once
    #[arg(long, value_name = "FILE", requires = "callback_url")]
    callback_secret_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Off,
    DryRun,
    On,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry_run",
            Self::On => "on",
        }
    }
}

/// What is sent. The recipe goes as it is written in its file.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    repository: &'a str,
    tag: &'a str,
    recipe: &'a RawValue,
    machines: Value,
    mode: &'a str,
    max_machines: u32,
    reinstall: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_secret: Option<&'a str>,
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Add(wanted) => add(&client, &wanted).await?,
        Command::List { json } => {
            let rules = client.get("/push-rules").await?;
            if json { print_json(&rules["push_rules"])? } else { print!("{}", listed(&rules["push_rules"])) }
        }
        Command::Show { name } => print_json(&client.get(&path(&["push-rules", &name])).await?)?,
        Command::Mode { name, mode } => {
            let path = format!("/api/v1{}", path(&["push-rules", &name, "mode"]));
            let body = json!({ "mode": mode.as_str() });
            let rule = client.call(Method::PUT, &path, Some(&body)).await?;
            println!("push rule {name} is {}", word(&rule["mode"]));
        }
        Command::Rm { name } => {
            client.delete(&path(&["push-rules", &name])).await?;
            println!("push rule {name} is removed");
        }
        Command::Try { name, reference, json } => {
            let (repository, tag) = reference
                .rsplit_once(':')
                .with_context(|| format!("{reference:?} has no tag; give repository:tag"))?;
            let body = json!({ "repository": repository, "tag": tag });
            let run = client.post(&path(&["push-rules", &name, "try"]), Some(&body)).await?;
            if json {
                print_json(&run)?;
            } else {
                print!("{}", told(&run));
            }
            return Ok(if gets_through(&run) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Runs { name, limit, json } => {
            let runs = client.get(&format!("{}?limit={limit}", path(&["push-rules", &name, "runs"]))).await?;
            if json {
                print_json(&runs["runs"])?;
            } else {
                let texts: Vec<String> = items(&runs["runs"]).map(told).collect();
                print!("{}", texts.join("\n"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(client: &Client, wanted: &Add) -> anyhow::Result<()> {
    let recipe = job::recipe(&wanted.recipe)?;
    let labels: BTreeMap<_, _> = wanted.labels.iter().cloned().collect();
    let secret = match &wanted.callback_secret_file {
        Some(file) => Some(
            connection::read(file)
                .with_context(|| format!("reading the callback secret in {}", file.display()))?,
        ),
        None => None,
    };
    let body = Body {
        name: &wanted.name,
        repository: &wanted.repository,
        tag: &wanted.tag,
        recipe: &recipe,
        machines: json!({ "labels": labels, "serials": wanted.serials }),
        mode: if wanted.off { "off" } else { "dry_run" },
        max_machines: wanted.max_machines,
        reinstall: wanted.reinstall,
        callback_url: wanted.callback_url.as_deref(),
        callback_secret: secret.as_ref().map(|secret| secret.trim()),
    };
    let request = client.request(Method::POST, "/api/v1/push-rules")?.json(&body);
    let rule = client.json(request).await?;
    if let Some(secret) = rule["callback_secret"].as_str() {
        eprintln!("callbacks of this rule and of its jobs are signed with {secret} (not shown again)");
    }
    println!("push rule {} is {}", wanted.name, word(&rule["mode"]));
    Ok(())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    match value.as_str() {
        Some("dry_run") => "dry-run",
        Some(word) => word,
        None => "",
    }
}

fn listed(rules: &Value) -> String {
    let rows: Vec<Vec<String>> = items(rules)
        .map(|rule| {
            let labels = rule["machines"]["labels"].as_object().into_iter().flatten();
            let labels = labels.map(|(name, value)| format!("{name}={}", word(value)));
            let serials = items(&rule["machines"]["serials"]).map(|serial| word(serial).to_owned());
            vec![
                word(&rule["name"]).to_owned(),
                word(&rule["mode"]).to_owned(),
                format!("{}:{}", word(&rule["repository"]), word(&rule["tag"])),
                word(&rule["task_target"]).to_owned(),
                rule["max_machines"].to_string(),
                labels.chain(serials).collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    table(&["NAME", "MODE", "PUSHES", "TARGET", "MOST", "MACHINES"], &rows)
}

/// Whether every machine got its job, or would.
fn gets_through(run: &Value) -> bool {
    run["refused"].is_null()
        && items(&run["machines"]).all(|one| match one["outcome"].as_str() {
            Some("would_accept") => items(&one["problems"]).next().is_none(),
            outcome => outcome == Some("accepted"),
        })
}

/// A run in words.
fn told(run: &Value) -> String {
    let push = &run["push"];
    let mut text = format!(
        "{} {}:{} {} by {} ({})\n",
        word(&push["at"]),
        word(&push["repository"]),
        word(&push["tag"]),
        word(&push["digest"]),
        word(&push["by"]),
        word(&run["mode"])
    );
    let mut line = |what: String| text.push_str(&format!("  {what}\n"));
    if let Some(why) = run["refused"]["message"].as_str() {
        line(format!("nothing is done: {why} [{}]", word(&run["refused"]["code"])));
    }
    for one in items(&run["machines"]) {
        let serial = word(&one["serial"]);
        match one["outcome"].as_str().unwrap_or_default() {
            "accepted" => line(format!("{serial}: job {}", word(&one["job_id"]))),
            "would_accept" => {
                let writes =
                    if one["destructive"] == json!(true) { ", which writes to its disks" } else { "" };
                line(format!("{serial}: would get a job{writes}"));
                for problem in items(&one["problems"]) {
                    line(format!("  PROBLEM {}", word(problem)));
                }
            }
            "refused" => {
                line(format!("{serial}: no job: {} [{}]", word(&one["message"]), word(&one["code"])));
            }
            outcome => line(format!("{serial}: {outcome}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Value {
        json!({
            "rule": "web", "mode": "dry_run",
            "push": { "repository": "images/debian", "tag": "v1", "digest": "sha256:abc", "by": "token ci",
                      "at": "2026-11-21T10:00:00Z" },
            "started_at": "2026-11-21T10:00:01Z", "ended_at": "2026-11-21T10:00:02Z",
            "machines": [
                { "serial": "S1", "outcome": "accepted", "job_id": "01a1" },
                { "serial": "S2", "outcome": "would_accept", "destructive": true, "problems": ["one slot"] },
                { "serial": "S3", "outcome": "refused", "code": "conflict.active_job", "message": "S3 has job 01a0" },
                { "serial": "S4", "outcome": "pending" },
            ],
        })
    }

    #[test]
    fn a_run_is_told_in_words() {
        let mut refused = run();
        refused["machines"] = json!([]);
        refused["refused"] = json!({ "code": "push_rule.no_machine", "message": "it picks none" });
        insta::assert_snapshot!(format!("{}\n{}", told(&run()), told(&refused)));
    }

    #[test]
    fn a_trial_gets_through_when_every_machine_would() {
        let with = |machines: Value| json!({ "machines": machines });
        for (run, wanted) in [
            (with(json!([{ "outcome": "would_accept", "problems": [] }])), true),
            (with(json!([{ "outcome": "would_accept", "problems": ["x"] }])), false),
            (with(json!([{ "outcome": "would_accept", "problems": [] }, { "outcome": "refused" }])), false),
            (json!({ "machines": [], "refused": { "code": "push_rule.unfit" } }), false),
        ] {
            assert_eq!(gets_through(&run), wanted, "{run}");
        }
    }

    #[test]
    fn rules_are_listed_with_what_they_pick() {
        let rules = json!([{
            "name": "web", "mode": "on", "repository": "images/*", "tag": "v*", "task_target": "install-linux.target",
            "max_machines": 4, "machines": { "labels": { "role": "web" }, "serials": ["S1"] },
        }]);
        insta::assert_snapshot!(listed(&rules));
    }
}
