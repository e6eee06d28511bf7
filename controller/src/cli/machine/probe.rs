//! `slipway machine probe`: can this BMC boot my job, and if not, why and what then.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::client::{Client, path};
use super::super::print_json;
use super::super::table::table;
use super::{lines, text};

/// Options of `machine probe`.
#[derive(Debug, Args)]
pub struct Options {
    /// The machine's serial number
    serial: String,
    /// Put a trial disc into the slot to boot from, see whether the BMC really fetches it, and take it out again
    #[arg(long)]
    media: bool,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

/// Probes, and says what came of it.
pub async fn run(client: &Client, wanted: &Options) -> anyhow::Result<ExitCode> {
    let mut target = path(&["machines", &wanted.serial, "probe"]);
    if wanted.media {
        target.push_str("?media=true");
    }
    let fitness = client.post(&target, None).await?;
    if wanted.json {
        print_json(&fitness)?;
    } else {
        print!("{}", shown(&fitness));
    }
    Ok(if fitness["bootable"] == json!(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(fitness: &Value) -> String {
    let mut whole = String::new();
    let bmc = &fitness["bmc"];
    if bmc.is_object() {
        whole.push_str(&lines(&[
            ("vendor", text(&bmc["vendor"])),
            ("model", text(&bmc["model"])),
            ("firmware", text(&bmc["firmware"])),
            ("serial", text(&bmc["serial"])),
            ("uuid", text(&bmc["uuid"])),
            ("macs", text(&bmc["macs"])),
            ("media slots", slots(bmc)),
            ("boot targets", text(&bmc["boot_targets"])),
        ]));
        whole.push('\n');
    }
    whole.push_str(&checks(fitness));
    whole.push('\n');
    whole.push_str(if fitness["bootable"] == json!(true) {
        "this BMC can boot a job\n"
    } else {
        "this BMC cannot boot a job yet\n"
    });
    whole
}

fn slots(bmc: &Value) -> String {
    let one = |slot: &Value| {
        let held = match slot["image"].as_str() {
            _ if slot["inserted"] != json!(true) => "empty".to_owned(),
            Some(image) => format!("holds {image}"),
            None => "in use".to_owned(),
        };
        let boots = if slot["boots"] == json!(true) { ", boots" } else { "" };
        format!("{} ({held}{boots})", text(&slot["id"]))
    };
    bmc["slots"].as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

fn checks(fitness: &Value) -> String {
    let one = |check: &Value| {
        let mark = match check["verdict"].as_str() {
            Some("yes") => "ok",
            Some("warn") => "warn",
            Some("no") => "NO",
            _ => "?",
        };
        let remedy = check["remedy"].as_str().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        let name = text(&check["name"]).replace('_', " ");
        vec![mark.to_owned(), name, format!("{}{remedy}", text(&check["seen"]))]
    };
    let rows: Vec<Vec<String>> = fitness["checks"].as_array().into_iter().flatten().map(one).collect();
    table(&["", "CHECK", "SEEN"], &rows)
}
