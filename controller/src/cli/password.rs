//! Where a BMC's password comes from: a file, a pipe, or a person who types it unseen. Never a command line.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use super::connection;
use crate::model::Secret;

/// Longest password, in bytes.
const PASSWORD_MAX: usize = 1024;

/// Reads it from `file`, else from standard input; none when it is empty.
pub fn read(file: Option<&Path>, whose: &str) -> anyhow::Result<Option<Secret<String>>> {
    let text = match file {
        Some(path) => {
            connection::read(path).with_context(|| format!("reading the password in {}", path.display()))?
        }
        None if std::io::stdin().is_terminal() => typed(whose)?,
        None => line().context("reading the password from standard input")?,
    };
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Ok(None);
    }
    if password.len() > PASSWORD_MAX || password.contains(['\n', '\0']) {
        bail!("the password of {whose} is one line of at most {PASSWORD_MAX} bytes");
    }
    Ok(Some(Secret::new(password.to_owned())))
}

fn line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn typed(whose: &str) -> anyhow::Result<String> {
    eprint!("Password of {whose}: ");
    std::io::stderr().flush().context("asking for the password")?;
    let _unseen = Unseen::new()?;
    let text = line().context("reading the password")?;
    eprintln!();
    Ok(text)
}

/// While it lives the terminal does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn new() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(std::io::stdin()).context("asking the terminal for its mode")?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)
            .context("keeping the terminal from showing the password")?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that went away.
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
