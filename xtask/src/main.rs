//! `cargo xtask`: the repository's chores, in Rust. It builds what people boot and runs what proves it.
//! It is not shipped, and nothing in the product calls it.
//!
//! ```text
//! packages ─▶ base ─▶ hostbin ─▶ maintenance ─▶ test / demo
//!                 └─▶ os_image ──────────────┘
//! ```

#![allow(clippy::print_stdout)] // a program for a terminal

mod base;
mod bench;
mod cache;
mod demo;
mod hostbin;
mod iso;
mod maintenance;
mod os_image;
mod packages;
mod recipe_docs;
mod redfish_tools;
mod run;
mod service;
mod site;
mod space;
mod stage;
mod test;
mod tools;

use clap::{Parser, Subcommand};

/// Chores of the Slipway repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install the distribution packages that the other chores need, listing them first.
    Setup,
    /// Build maintenance.iso and the netboot files into target/slipway/.
    MaintenanceIso,
    /// Build the Debian image that the demo and the whole-machine tests install.
    OsImage,
    /// Write docs/recipes.md anew from schema/recipe.schema.json.
    Docs,
    /// Install a Debian on a virtual machine behind a mock BMC, from nothing to its login prompt.
    Demo,
    /// Measure what the project claims, each figure beside the program it is compared with.
    Bench(bench::Options),
    /// Install what is missing and run every test: format, lints, unit, in-process and whole-machine.
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    std::env::set_current_dir(cache::repository())?;
    match cli.chore {
        Chore::Setup => {
            packages::ensure(packages::EVERYTHING)?;
            tools::ensure()
        }
        Chore::MaintenanceIso => {
            packages::ensure(packages::EVERYTHING)?;
            maintenance::build().map(|built| println!("{}", built.iso.display()))
        }
        Chore::OsImage => {
            packages::ensure(packages::EVERYTHING)?;
            os_image::build().map(|tar| println!("{}", tar.display()))
        }
        Chore::Docs => {
            let schema = std::fs::read_to_string("schema/recipe.schema.json")?;
            Ok(std::fs::write("docs/recipes.md", recipe_docs::page(&schema)?)?)
        }
        Chore::Bench(options) => bench::run(&options),
        Chore::Demo => demo::run(),
        Chore::Test(options) => test::run(&options),
    }
}
