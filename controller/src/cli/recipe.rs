//! `slipway recipe`: recipes without a controller. Same checks, same words as the API's.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use schema::layout::DiskGeometry;
use schema::recipe::Recipe;
use schema::validate::RECIPE_MAX;

/// Check recipes, and read them in plain words.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether files are recipes; every fault at once
    ///
    /// Exit code: 0 all are, 1 at least one is not. What only the controller knows (machine, image) is not asked:
    /// `job submit --dry-run` does that.
    Check {
        /// Recipes, JSON files; - reads standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Say in plain words what a recipe would do
    Explain {
        /// The recipe, a JSON file; - reads standard input
        file: PathBuf,
        /// Size of the disk, such as 480G: solves the partition layout for it
        #[arg(long, value_name = "SIZE", value_parser = size)]
        disk_size: Option<u64>,
        /// Bytes of the disk's logical sectors
        #[arg(long, value_name = "BYTES", default_value = "512", value_parser = ["512", "4096"])]
        sector: String,
    },
}

fn size(text: &str) -> Result<u64, String> {
    schema::size::absolute(text).map_err(|error| error.to_string())
}

/// Runs one of them.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { files } => {
            let mut all = true;
            for file in &files {
                match read(file) {
                    Ok(_) => println!("{}: a recipe", file.display()),
                    Err(error) => {
                        all = false;
                        println!("{}: refused", file.display());
                        for line in format!("{error:#}").lines() {
                            println!("  {line}");
                        }
                    }
                }
            }
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Explain { file, disk_size, sector } => {
            let recipe = read(&file).with_context(|| format!("recipe {}", file.display()))?;
            let sector_bytes = if sector == "4096" { 4096 } else { 512 };
            let geometry = disk_size.map(|size_bytes| DiskGeometry { size_bytes, sector_bytes });
            print!("{}", schema::explain::explain(&recipe, geometry));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Recipe> {
    let most = RECIPE_MAX as u64 + 1;
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).context("reading standard input")?;
    } else {
        let open = std::fs::File::open(file).context("opening it")?;
        open.take(most).read_to_string(&mut text).context("reading it")?;
    }
    Ok(schema::validate::recipe(&text)?)
}
