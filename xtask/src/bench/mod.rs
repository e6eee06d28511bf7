//! `cargo xtask bench`: the figures that the project claims, each measured beside the program it is compared with,
//! in the same run, in turns. A slow run is a result and no error; only what cannot be measured, or is not even
//! right (two media that differ, trees that are not equal), ends with one.
//!
//! ```text
//!   round 1: ours, peer · round 2: peer, ours · …  ─▶ median of the rounds' ratios ─▶ PASS or MISS
//!                                     └─▶ target/slipway/bench/<name>.json, docs/benchmarks.md by hand
//! ```

mod figure;
mod fleet;
mod image_linux;
mod machine;
mod programs;
mod readers;
mod registry;
mod scratch;
mod sim;
mod task_iso;

use std::fs;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::{cache, packages};
use figure::Figure;
use machine::Machine;

/// What to measure, and how.
#[derive(clap::Args)]
pub struct Options {
    /// Which figures; all when none is named.
    names: Vec<Name>,
    /// Rounds of each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
    /// One JSON array on standard output instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Building a task medium, against xorriso.
    TaskIso,
    /// Streaming an image onto a filesystem, against curl | zstd -d | tar -x.
    ImageLinux,
    /// Two hundred jobs at once on simulated machines.
    Sim,
    /// Up to a thousand machines at once behind slow BMCs, and fifty on sushy-tools' emulator.
    Fleet,
    /// Pushes, pulls, manifests, lists and media, against docker-registry and nginx.
    Registry,
}

/// What one benchmark found.
pub struct Findings {
    /// The figures.
    pub figures: Vec<Figure>,
    /// The command lines that were measured.
    pub commands: Vec<String>,
    /// What else a reader must know.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    name: String,
    began: String,
    rounds: u32,
    machine: Machine,
    load_before: String,
    load_after: String,
    versions: Vec<String>,
    commands: Vec<String>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// Measures.
pub fn run(options: &Options) -> Result<()> {
    packages::ensure(packages::EVERYTHING)?;
    let names = if options.names.is_empty() { Name::value_variants() } else { &options.names };
    let mut reports = Vec::new();
    for name in names {
        let report = measure(*name, options.rounds)?;
        let file = cache::folder("bench")?.join(format!("{}.json", report.name));
        fs::write(&file, format!("{:#}\n", serde_json::to_value(&report)?))?;
        if !options.json {
            print!("{}", table(&report));
        }
        reports.push(report);
    }
    if options.json {
        println!("{:#}", serde_json::to_value(&reports)?);
    }
    Ok(())
}

fn measure(name: Name, rounds: u32) -> Result<Report> {
    let word = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    eprintln!("── {word}: building what is measured …");
    let programs = match name {
        Name::ImageLinux => programs::host_and_release()?,
        Name::TaskIso | Name::Sim | Name::Fleet | Name::Registry => programs::release()?,
    };
    eprintln!("── {word}: {rounds} rounds …");
    let peers: &[&str] = match name {
        Name::TaskIso => task_iso::PEERS,
        Name::ImageLinux => image_linux::PEERS,
        Name::Sim | Name::Fleet => &[],
        Name::Registry => {
            registry::install()?;
            registry::PEERS
        }
    };
    let versions = machine::versions(peers)?;
    let (began, load_before) = (machine::now()?, machine::load()?);
    let found = match name {
        Name::TaskIso => task_iso::measure(&programs, rounds)?,
        Name::ImageLinux => image_linux::measure(&programs, rounds)?,
        Name::Sim => sim::measure(&programs, rounds)?,
        Name::Fleet => fleet::measure(&programs, rounds)?,
        Name::Registry => registry::measure(&programs, rounds)?,
    };
    Ok(Report {
        name: word,
        began,
        rounds,
        machine: Machine::this()?,
        load_before,
        load_after: machine::load()?,
        versions,
        commands: found.commands,
        figures: found.figures,
        notes: found.notes,
    })
}

/// A report for people.
fn table(report: &Report) -> String {
    let mut text = format!("\n{} · {} · {}\n", report.name, report.began, report.machine);
    text.push_str(&format!(
        "load before {} · after {} · {} rounds\n\n",
        report.load_before, report.load_after, report.rounds
    ));
    for figure in &report.figures {
        text.push_str(&format!("  {figure}\n"));
    }
    text.push('\n');
    for command in &report.commands {
        text.push_str(&format!("  $ {command}\n"));
    }
    for line in report.notes.iter().chain(&report.versions) {
        text.push_str(&format!("  · {line}\n"));
    }
    text
}
