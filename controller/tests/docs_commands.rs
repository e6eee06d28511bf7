//! Every `slipway …` that the book shows is one that the program takes: blocks of shell and words in backticks are
//! given to the command line's own parser. Nothing is run.

#![allow(clippy::unwrap_used)] // a test: what is not there fails it

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use controller::cli::Cli;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            pages.push(entry.unwrap().path());
        }
    }
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages
}

/// Commands in a page: lines of code blocks that begin with the program's name, and spans of code that do.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, part) in page.replace("\\\n", " ").split("```").enumerate() {
        if n % 2 == 1 {
            found.extend(part.lines().map(str::trim).map(str::to_owned));
        } else {
            found.extend(part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        }
    }
    found.retain(|text| text.starts_with("slipway ") && !text.contains('…'));
    found
}

#[test]
fn every_command_in_the_book_is_one_that_the_program_takes() {
    let mut seen = 0;
    for page in pages() {
        for command in commands(&std::fs::read_to_string(&page).unwrap()) {
            let words = command.split('#').next().unwrap_or_default().split_whitespace();
            let shown = format!("{}: {command}", page.display());
            match Cli::try_parse_from(words) {
                Ok(_) => {}
                // A command that is only named, without what it needs.
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::MissingRequiredArgument
                            | ErrorKind::MissingSubcommand
                            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    ),
                    "{shown}\n{error}"
                ),
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found; does this test still read the pages?");
}
