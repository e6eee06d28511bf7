//! The `slipway` binary: service and command line in one. Parses, calls, prints what went wrong and why.

use std::process::ExitCode;

use clap::Parser as _;

/// Exit code for everything that is no outcome of its own.
const FAILED: u8 = 1;
/// Exit code of a wrong command line: EX_USAGE of sysexits.h. Clap's own 2 is a cancelled job's.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match controller::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A terminal that went away cannot be told.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // An error only says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match controller::cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("slipway: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::from(FAILED)
        }
    }
}
