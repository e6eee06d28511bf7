//! Media for `cargo xtask bench`, through the very code of the controller.
//!
//! `media_bench build RECIPE USER_DATA_BYTES BUILDS OUT.iso` builds one task medium many times and prints how long each build
//! took, as one JSON object; it ends with an error when two builds differ in one byte.
//!
//! `media_bench serve RECIPE STATE_DIR MAINTENANCE.iso` runs a whole controller on free ports, stages the media of a job as if
//! a machine were about to boot, prints the URL of its maintenance medium, and serves until its standard input ends.
#![allow(clippy::print_stdout)] // its output is for xtask

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use controller::config::{Config, Fragment};
use controller::media::{MediumFile, TaskInputs, TaskMedium};
use controller::server::Server;
use ed25519_dalek::SigningKey;
use schema::recipe::Payload;
use schema::task::{Identity, TaskJob};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["build", recipe, user_data, builds, out] => build(recipe, user_data, builds, out),
        ["serve", recipe, state, maintenance] => serve(recipe, state, maintenance),
        _ => anyhow::bail!(
            "usage: media_bench build RECIPE USER_DATA_BYTES BUILDS OUT.iso | serve RECIPE STATE_DIR MAINTENANCE.iso"
        ),
    }
}

fn serve(recipe: &str, state: &str, maintenance: &str) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let fragment = Fragment {
        state_dir: Some(state.into()),
        api_listen: Some("127.0.0.1:0".to_owned()),
        media_listen: Some("127.0.0.1:0".to_owned()),
        maintenance_iso: Some(maintenance.into()),
        ..Fragment::default()
    };
    let config = Config::check(fragment)?;
    let inputs = inputs(recipe, 0)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = Server::start(config).await?;
        let staged = server.shelf.stage(&inputs)?;
        println!("{}{}", server.media_url, staged.path(MediumFile::Maintenance));
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        server.stop().await;
        Ok(())
    })
}

fn build(recipe: &str, user_data: &str, builds: &str, out: &str) -> anyhow::Result<()> {
    let (user_data, builds): (usize, usize) = (user_data.parse()?, builds.parse()?);
    ensure!(builds > 0, "BUILDS is at least 1");
    let inputs = inputs(recipe, user_data)?;
    // Any key does: signing takes as long with each.
    let key = SigningKey::from_bytes(&[7; 32]);
    let first = TaskMedium::build(&inputs, &key)?;
    let mut seconds = Vec::with_capacity(builds);
    for number in 1..=builds {
        let began = Instant::now();
        let medium = black_box(TaskMedium::build(black_box(&inputs), &key)?);
        seconds.push(began.elapsed().as_secs_f64());
        ensure!(medium.bytes == first.bytes, "build {number} differs from the first");
    }
    std::fs::write(out, &first.bytes).with_context(|| format!("writing {out}"))?;
    seconds.sort_by(f64::total_cmp);
    let result = serde_json::json!({
        "builds": builds,
        "bytes": first.bytes.len(),
        "sha256": hex::encode(first.sha256),
        "median_seconds": seconds[builds / 2],
        "slowest_seconds": seconds[builds - 1],
    });
    println!("{result}");
    Ok(())
}

/// A job as the controller would store it: that recipe with user data of that size.
fn inputs(recipe: &str, user_data: usize) -> anyhow::Result<TaskInputs> {
    let text = std::fs::read_to_string(recipe).with_context(|| format!("reading {recipe}"))?;
    let mut recipe = schema::validate::recipe(&text).with_context(|| format!("checking {recipe}"))?;
    let mut data = "#cloud-config\n".to_owned();
    while data.len() < user_data {
        data.push_str(&format!("# line at byte {}\n", data.len()));
    }
    data.truncate(user_data.max("#cloud-config\n".len()));
    recipe.user_data = Some(Payload::Plain(data));
    Ok(TaskInputs {
        job: TaskJob {
            version: 1,
            job_id: "0190b5a0-0000-7000-8000-000000000001".to_owned(),
            attempt: 1,
            expected: Identity { serial: "BENCH-1".to_owned(), uuid: None, macs: Vec::new() },
            api_url: "https://127.0.0.1:8443".to_owned(),
            bootstrap_token: "not-a-real-token".to_owned(),
            site_ca: None,
            issued_at: "2026-11-21T08:45:00Z".parse()?,
            image: None,
            heartbeat_seconds: 15,
            step_seconds: BTreeMap::new(),
            proxy: None,
            offline: None,
        },
        host_network: recipe.host_network.clone(),
        recipe,
        recipe_schema: schema::validate::RECIPE_SCHEMA.to_owned(),
        remote_payloads: BTreeMap::new(),
    })
}
