//! `slipway-dispatcher`: see the library's head.

use std::process::ExitCode;

use dispatcher::{args, exit::Exit, start};

fn main() -> ExitCode {
    // Where TLS is made and this was not done, rustls would not know what to encrypt with.
    let _already_done = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let exit = match args::parse(&words) {
        Ok(command) => start::start(&command),
        Err(error) => {
            eprintln!("{error}");
            Exit::Usage
        }
    };
    ExitCode::from(exit.code())
}
