//! `slipway machine add`: a record of a machine, and before its password is asked for, whom to believe on the wire.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::client::{Client, path};
use super::super::{connection, password};
use super::trust;
use crate::model::Secret;

/// Options of `machine add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Change a machine that is there already: its record becomes what is given here, all of it. An empty password
    /// keeps the stored one, and as long as the BMC's address is the same, so is what is said about its certificate
    #[arg(long)]
    replace: bool,
    /// The machine's serial number, as its firmware shows it to the operating system
    serial: String,
    /// Address of the BMC: a host name, an address, or https://address[:port]
    #[arg(long, value_name = "ADDRESS")]
    bmc: String,
    /// User of the BMC
    #[arg(long, value_name = "NAME")]
    bmc_user: String,
    /// File that holds the BMC's password; without it standard input is read
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    trust: trust::Given,
    /// The BMC is reached by plain http and that is meant
    #[arg(long, conflicts_with_all = ["pin", "pin_first_use", "no_pin"])]
    plain_http: bool,
    /// Id of the system where the BMC shows several
    #[arg(long, value_name = "ID")]
    system: Option<String>,
    /// System UUID, when known
    #[arg(long)]
    uuid: Option<String>,
    /// MAC address of a NIC, when known; may be repeated
    #[arg(long = "mac", value_name = "MAC")]
    macs: Vec<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A deadline of this machine, such as booting=45m; may be repeated
    #[arg(long = "deadline", value_name = "PHASE=DURATION", value_parser = pair)]
    deadlines: Vec<(String, String)>,
    /// JSON file with the network of the maintenance OS on this machine (host_network of the recipe reference)
    #[arg(long, value_name = "FILE")]
    host_network: Option<PathBuf>,
    /// Base URL of media as this machine's BMC reaches it, when not the site's
    #[arg(long, value_name = "URL")]
    media_url: Option<String>,
    /// Base URL of the API as this machine's host reaches it, when not the site's
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
    /// How the maintenance OS gets onto it. auto takes the best that works
    #[arg(long, value_enum, default_value = "auto")]
    transport: Transport,
}

/// As the API writes them.
#[derive(Debug, Clone, Copy, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Transport {
    /// The best that works
    Auto,
    /// Boot medium and task medium in a slot each
    VirtualMedia,
    /// Both in one slot
    Composed,
    /// Firmware fetches them over HTTP; the media URL must be reachable from the host
    HttpBoot,
}

/// `name=value`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give name=value".to_owned()),
    }
}

/// Adds it, or changes it.
pub async fn run(client: &Client, wanted: &Add) -> anyhow::Result<()> {
    let url = if wanted.bmc.contains("://") { wanted.bmc.clone() } else { format!("https://{}", wanted.bmc) };
    let stored =
        if wanted.replace { client.get(&path(&["machines", &wanted.serial])).await? } else { Value::Null };
    let pin = trust::settle(client, &wanted.trust, &url, &stored["bmc"]).await?;
    let whose = format!("{} at {url}", wanted.bmc_user);
    let password = password::read(wanted.password_file.as_deref(), &whose)?;
    if password.is_none() && !wanted.replace {
        bail!("the password of {whose} is empty; type it, pipe it in, or name a file with --password-file");
    }
    let mut body = json!({
        "serial": wanted.serial,
        "bmc": {
            "url": url,
            "user": wanted.bmc_user,
            "password": password.as_ref().map(Secret::expose),
            "plain_http": wanted.plain_http,
        },
        "macs": wanted.macs,
        "labels": wanted.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "deadlines": deadlines(&wanted.deadlines)?,
        "transport": wanted.transport,
    });
    let optional = [
        ("/bmc", "certificate_sha256", pin.as_ref()),
        ("/bmc", "system", wanted.system.as_ref()),
        ("", "uuid", wanted.uuid.as_ref()),
        ("", "media_url", wanted.media_url.as_ref()),
        ("", "api_url", wanted.api_url.as_ref()),
    ];
    for (place, name, value) in optional {
        if let (Some(value), Some(object)) = (value, body.pointer_mut(place)) {
            object[name] = json!(value);
        }
    }
    if let Some(file) = &wanted.host_network {
        let text = connection::read(file).with_context(|| format!("reading {}", file.display()))?;
        body["host_network"] =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    }
    if wanted.replace {
        let path = format!("/api/v1{}", path(&["machines", &wanted.serial]));
        client.call(Method::PUT, &path, Some(&body)).await?;
        println!("{} is changed", wanted.serial);
        return Ok(());
    }
    client.call(Method::POST, "/api/v1/machines", Some(&body)).await?;
    println!("{} is added; see what its BMC says with `slipway machine probe {0}`", wanted.serial);
    Ok(())
}

fn deadlines(pairs: &[(String, String)]) -> anyhow::Result<Map<String, Value>> {
    pairs
        .iter()
        .map(|(phase, text)| {
            let duration =
                schema::size::duration(text).with_context(|| format!("--deadline {phase}={text}"))?;
            Ok((phase.clone(), json!(duration.as_secs())))
        })
        .collect()
}
