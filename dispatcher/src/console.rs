//! The status screen: plain lines, each with the prefix `slipway:`, on every console the kernel knows.
//!
//! `/dev/console` is only the last `console=` of the kernel command line; an operator may be looking at another, so
//! the lines go to each of `/sys/class/tty/console/active`. What is said on the screen also goes to the journal.
//! A console that does not take a line (a serial port without listener and with flow control) is skipped: the screen
//! never holds up the work.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;

/// Where the status lines go.
pub trait Screen: Send + Sync {
    /// Shows one line.
    fn line(&self, text: &str);
}

/// Prefix of every line, so that a serial log can be searched.
pub const PREFIX: &str = "slipway:";
/// Longest line shown, in characters; the rest is cut.
const LINE_MAX: usize = 400;
/// Names of the active consoles, separated by blanks.
const ACTIVE_CONSOLES: &str = "/sys/class/tty/console/active";

/// The real screen.
pub struct Consoles {
    paths: Vec<PathBuf>,
}

impl Consoles {
    /// The consoles that are active now; `/dev/console` when the kernel does not tell.
    pub fn open() -> Self {
        let active = fs::read_to_string(ACTIVE_CONSOLES).unwrap_or_default();
        let mut paths: Vec<PathBuf> =
            active.split_whitespace().map(|name| PathBuf::from("/dev").join(name)).collect();
        if paths.is_empty() {
            paths.push(PathBuf::from("/dev/console"));
        }
        Self { paths }
    }
}

impl Screen for Consoles {
    fn line(&self, text: &str) {
        let text = printable(text);
        eprintln!("{text}");
        for path in &self.paths {
            let console = OpenOptions::new()
                .write(true)
                .custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits())
                .open(path);
            if let Ok(mut console) = console {
                // One write per line: lines of two processes do not mix. A console that is full or gone is passed over.
                let _shown = console.write(format!("{PREFIX} {text}\r\n").as_bytes());
            }
        }
    }
}

/// The text as one line of harmless characters: what comes from DMI, from tools or from the network must not move
/// the cursor of somebody's terminal.
pub fn printable(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect();
    if text.chars().nth(LINE_MAX).is_some() {
        line.push_str(" ...");
    }
    line.trim_end().to_owned()
}

/// A screen that remembers its lines, for tests.
#[derive(Default)]
pub struct RecordingScreen {
    lines: std::sync::Mutex<Vec<String>>,
}

impl RecordingScreen {
    /// Everything shown so far, one line each.
    pub fn text(&self) -> String {
        self.lines.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }
}

impl Screen for RecordingScreen {
    fn line(&self, text: &str) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(printable(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_MAX, printable};

    #[test]
    fn a_line_cannot_move_the_cursor_or_flood_the_screen() {
        assert_eq!(printable("serial \u{1b}[2Jhidden\nsecond"), "serial  [2Jhidden second");
        assert_eq!(printable(&"x".repeat(1000)).len(), LINE_MAX + 4);
    }
}
