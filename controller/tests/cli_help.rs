//! `--help` is a manual: what strangers read is checked in, page by page.
#![allow(clippy::unwrap_used)] // a helper that cannot go on ends its test

use std::process::Command;

/// Subcommands named in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn help(path: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway")).args(path).arg("--help").output().unwrap();
    assert!(output.status.success(), "{path:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_page_of_help_is_as_it_was_last_read() {
    let mut pages = vec![Vec::new()];
    let mut manual = String::new();
    while let Some(page) = pages.pop() {
        let text = help(&page);
        for name in subcommands(&text).into_iter().rev() {
            pages.push([page.clone(), vec![name]].concat());
        }
        manual = format!("{manual}==== slipway {}\n{text}\n\n", page.join(" "));
    }
    insta::assert_snapshot!(manual);
}

#[test]
fn no_option_takes_a_secret() {
    let mut pages = vec![Vec::new()];
    while let Some(page) = pages.pop() {
        let text = help(&page);
        for name in subcommands(&text) {
            pages.push([page.clone(), vec![name]].concat());
        }
        for option in ["--password ", "--token ", "--secret "] {
            assert!(!text.contains(option), "slipway {page:?} has {option}");
        }
    }
}

#[test]
fn a_wrong_word_is_answered_with_the_right_ones() {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway")).args(["job", "sumbit"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("a similar subcommand exists: 'submit'"), "{text}");
}

#[test]
fn a_wrong_command_line_is_64_and_asking_for_help_is_0() {
    let code = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_slipway")).args(args).output().unwrap();
        output.status.code().unwrap()
    };
    for wrong in [&["job", "sumbit"][..], &["job"], &["job", "watch"], &["machine", "list", "--loud"], &[]] {
        assert_eq!(code(wrong), 64, "{wrong:?}");
    }
    for right in [&["--help"][..], &["job", "--help"], &["help", "job"], &["--version"]] {
        assert_eq!(code(right), 0, "{right:?}");
    }
}

#[test]
fn the_book_has_the_same_exit_codes_as_the_help() {
    let help = help(&[]);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let book = include_str!("../../docs/operations.md");
    let mut seen = 0;
    for line in codes.lines().filter(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        assert!(book.contains(&format!("| {code} | {meaning} |")), "docs/operations.md lacks: {line}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}
