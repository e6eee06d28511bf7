//! `slipway machine`: the servers and the BMCs that drive them.

mod add;
mod probe;
mod trust;

pub(super) use add::pair;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, path};
use super::connection::Connection;
use super::print_json;
use super::table::table;

/// Options of `machine`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a machine
    ///
    /// The BMC's password is asked for, read from a pipe, or from --password-file; it is sealed in the controller's
    /// store and never shown again.
    Add(Box<add::Add>),
    /// List machines
    List(List),
    /// Show one machine
    Show(Show),
    /// Show a machine's power, or switch it
    Power(Power),
    /// Tell whether a machine's BMC can boot a job
    ///
    /// One line for each thing that stops jobs, with what to do about it. Ends with 1 where a job would fail. Only reads,
    /// unless --media asks for a trial disc.
    Probe(probe::Options),
    /// Trust the certificate that a machine's BMC shows now
    ///
    /// For a BMC that was replaced, or made itself a new certificate. Both certificates are shown; on a terminal you
    /// are asked.
    Repin(trust::Repin),
    /// Forget what jobs learnt of a machine's kind of BMC
    ///
    /// Of every machine of the same vendor, model and BMC firmware: their next jobs try the best transport again.
    Forget(One),
    /// Remove a machine
    Rm(One),
    /// Free a quarantined machine, or take one out of service
    Release(One),
}

#[derive(Debug, Args)]
struct One {
    /// The machine's serial number
    serial: String,
}

#[derive(Debug, Args)]
struct Show {
    /// The machine's serial number
    serial: String,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Only machines with this label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Power {
    /// The machine's serial number
    serial: String,
    /// Wanted power; without it the present one is shown
    wanted: Option<Wanted>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    /// Running
    On,
    /// Not running; forced, not asked of the operating system
    Off,
}

/// Runs one of them.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.connection.client()?;
    match options.command {
        Command::Add(wanted) => add::run(&client, &wanted).await?,
        Command::List(wanted) => list(&client, &wanted).await?,
        Command::Show(wanted) => {
            let machine = client.get(&path(&["machines", &wanted.serial])).await?;
            if wanted.json { print_json(&machine)? } else { print!("{}", shown(&machine)) }
        }
        Command::Power(wanted) => power(&client, &wanted).await?,
        Command::Probe(wanted) => {
            return probe::run(&client, &wanted).await;
        }
        Command::Repin(wanted) => trust::repin(&client, &wanted).await?,
        Command::Forget(wanted) => {
            client.delete(&path(&["machines", &wanted.serial, "capability"])).await?;
            println!("what was learnt of the kind of BMC that {} has is forgotten", wanted.serial);
        }
        Command::Rm(wanted) => {
            client.delete(&path(&["machines", &wanted.serial])).await?;
            println!("{} is removed", wanted.serial);
        }
        Command::Release(wanted) => {
            client.post(&path(&["machines", &wanted.serial, "release"]), None).await?;
            println!("{} is free", wanted.serial);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, wanted: &List) -> anyhow::Result<()> {
    let mut machines = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !wanted.labels.is_empty() {
            query.append_pair("label", &wanted.labels.join(","));
        }
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        let mut page = client.get(&format!("/machines?{}", query.finish())).await?;
        machines.extend(page["machines"].as_array_mut().map(std::mem::take).unwrap_or_default());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if wanted.json {
        return print_json(&json!(machines));
    }
    let cell = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = machines
        .iter()
        .map(|machine| {
            let labels: Vec<String> = machine["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            vec![
                cell(&machine["serial"]),
                cell(&machine["lifecycle"]["state"]),
                cell(&machine["bmc"]["url"]),
                labels.join(","),
            ]
        })
        .collect();
    print!("{}", table(&["SERIAL", "STATE", "BMC", "LABELS"], &rows));
    Ok(())
}

async fn power(client: &Client, wanted: &Power) -> anyhow::Result<()> {
    let path = path(&["machines", &wanted.serial, "power"]);
    let answer = match wanted.wanted {
        None => client.get(&path).await?,
        Some(Wanted::On) => client.post(&path, Some(&json!({ "power": "on" }))).await?,
        Some(Wanted::Off) => client.post(&path, Some(&json!({ "power": "off" }))).await?,
    };
    println!("{}", answer["power"].as_str().unwrap_or("unknown"));
    Ok(())
}

/// Lines of `name  value` for what is there.
fn lines(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name:width$}  {value}"); // a String takes everything
    }
    text
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `closed`; or since when, why, and until when the BMC is left alone.
fn circuit(circuit: &Value) -> String {
    let mut shown = text(&circuit["state"]).replace('_', " ");
    let mut add = |words: &str, value: &Value| {
        if !value.is_null() {
            let _ = write!(shown, "{words}{}", text(value)); // a String takes everything
        }
    };
    add(" since ", &circuit["since"]);
    if circuit["failures"].as_u64().is_some_and(|failures| failures > 0) {
        add(", failures in a row: ", &circuit["failures"]);
    }
    add(", the last: ", &circuit["reason"]);
    add(", tried again at ", &circuit["retry_at"]);
    shown
}

fn shown(machine: &Value) -> String {
    let state = match &machine["lifecycle"]["reason"] {
        Value::String(reason) => format!("{}: {reason}", text(&machine["lifecycle"]["state"])),
        _ => text(&machine["lifecycle"]["state"]),
    };
    let tls = match &machine["bmc"]["tls"] {
        Value::Object(pin) => format!("certificate {}", pin.get("pinned").map(text).unwrap_or_default()),
        _ if machine["bmc"]["plain_http"] == json!(true) => {
            "plain http: its password travels in the clear".to_owned()
        }
        _ => "by the system's authorities".to_owned(),
    };
    lines(&[
        ("serial", text(&machine["serial"])),
        ("state", state),
        ("active job", text(&machine["active_job"])),
        ("uuid", text(&machine["uuid"])),
        ("macs", text(&machine["macs"])),
        ("bmc", text(&machine["bmc"]["url"])),
        ("bmc user", text(&machine["bmc"]["user"])),
        ("bmc trust", tls),
        ("bmc circuit", circuit(&machine["bmc_circuit"])),
        ("labels", text(&machine["labels"])),
        ("deadlines", text(&machine["deadlines"])),
        ("host network", text(&machine["host_network"])),
        ("transport", text(&machine["transport"])),
        ("bmc kind", kind(&machine["capability"])),
        ("two slots", learnt(&machine["capability"]["second_slot"])),
        ("one slot", learnt(&machine["capability"]["composed"])),
        ("http boot", learnt(&machine["capability"]["http_boot"])),
        ("media url", text(&machine["media_url"])),
        ("api url", text(&machine["api_url"])),
        ("added", text(&machine["created_at"])),
    ])
}

/// Vendor, model and firmware of a BMC that was looked at.
fn kind(known: &Value) -> String {
    match known {
        Value::Object(_) => {
            let part = |name: &str| text(&known[name]);
            format!("{} {} (BMC {})", part("vendor"), part("model"), part("firmware"))
        }
        _ => String::new(),
    }
}

/// An observation of jobs on machines of this kind.
fn learnt(seen: &Value) -> String {
    match seen["works"].as_bool() {
        Some(works) => {
            let word = if works { "works" } else { "does not work" };
            format!("{word}: {} (job {}, {})", text(&seen["what"]), text(&seen["job"]), text(&seen["at"]))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bmc_that_is_left_alone_is_shown_with_why_and_until_when() {
        let open = json!({
            "state": "open", "failures": 5, "reason": "HTTP 503", "calls_in_flight": 0,
            "since": "2026-01-01T00:00:00Z", "retry_at": "2026-01-01T00:00:30Z",
        });
        for (circuit, wanted) in [
            (json!({ "state": "closed", "failures": 0, "calls_in_flight": 0 }), "closed"),
            (
                json!({ "state": "closed", "failures": 2, "reason": "Connection refused (os error 111)" }),
                "closed, failures in a row: 2, the last: Connection refused (os error 111)",
            ),
            (
                open,
                "open since 2026-01-01T00:00:00Z, failures in a row: 5, the last: HTTP 503, tried again at 2026-01-01T00:00:30Z",
            ),
            (Value::Null, ""),
        ] {
            assert_eq!(super::circuit(&circuit), wanted);
        }
    }
}
