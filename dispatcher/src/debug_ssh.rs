//! `debug_ssh_keys`: a recipe may let people into the maintenance OS, to look at what goes wrong. Off unless a recipe
//! asks for it, and only once the medium is verified, the machine is the right one and the controller has given leave
//! to this boot: an old disc in a drive opens nothing.
//!
//! ```text
//!   recipe ──▶ /run/provision/authorized_keys ──▶ slipway-debug-ssh.service (keys alone, root alone)
//!                                                   └▶ host key, made at its start ──▶ fingerprint on the screen
//! ```
//! What can go wrong here is said and never ends a job.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::console::Screen;
use crate::delivery::chain;
use crate::handoff::Handoff;
use crate::systemd::Systemd;

/// The unit that runs sshd. Nothing else starts it.
pub const UNIT: &str = "slipway-debug-ssh.service";
/// The keys in the hand-off, as `sshd_config` names them.
pub const KEYS: &str = "authorized_keys";
/// The public half of the host key that the unit makes.
pub const HOST_KEY: &str = "/run/slipway-ssh/ssh_host_ed25519_key.pub";
/// How long the unit may take to make its key.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A public key is one short line.
const KEY_MAX: u64 = 4096;

/// The machine's side of it.
pub struct DebugSsh<'a> {
    /// Where the keys are put.
    pub handoff: &'a Handoff,
    /// Starts the unit.
    pub systemd: &'a dyn Systemd,
    /// Waits.
    pub clock: &'a dyn Clock,
    /// Tells people.
    pub screen: &'a dyn Screen,
    /// `/` outside tests.
    pub root: &'a Path,
}

impl DebugSsh<'_> {
    /// Lets the holders of these keys in; without keys nothing happens.
    pub fn open(&self, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        let text = keys.iter().fold(String::new(), |text, key| text + key.trim() + "\n");
        if let Err(error) = self.handoff.write(KEYS, text.as_bytes()) {
            return self.screen.line(&format!("debug_ssh_keys: nobody is let in: {}", chain(&error)));
        }
        if let Err(error) = self.systemd.start(UNIT) {
            return self.screen.line(&format!("debug_ssh_keys: nobody is let in: {}", chain(&error)));
        }
        let many = if keys.len() == 1 { "1 key".to_owned() } else { format!("{} keys", keys.len()) };
        match self.host_key() {
            Some(print) => self
                .screen
                .line(&format!("debug_ssh_keys: root may log in over ssh with {many}; host key {print}")),
            None => self.screen.line(&format!(
                "debug_ssh_keys: ssh for {many} was started but has no host key yet; see journalctl -u {UNIT}"
            )),
        }
    }

    fn host_key(&self) -> Option<String> {
        let path = self.root.join(HOST_KEY.trim_start_matches('/'));
        let mut waited = Duration::ZERO;
        loop {
            let mut line = String::new();
            let read = fs::File::open(&path).and_then(|file| file.take(KEY_MAX).read_to_string(&mut line));
            if let Some(print) = read.ok().and_then(|_| fingerprint(&line)) {
                return Some(print);
            }
            if waited >= PATIENCE {
                return None;
            }
            self.clock.sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
    }
}

/// `SHA256:…` as `ssh` shows it, of one line of a `.pub` file.
pub fn fingerprint(line: &str) -> Option<String> {
    let blob = BASE64_STANDARD.decode(line.split_whitespace().nth(1)?).ok()?;
    Some(format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob))))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn the_fingerprint_is_the_one_ssh_shows() {
        // Made and shown by ssh-keygen 9.2.
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGw8AKGAD7j0REO0njj9ZpEp6BY9bkZGkiaTHW6+X7q root@slipway\n";
        assert_eq!(fingerprint(line).as_deref(), Some("SHA256:1AP0blYxD9D7G1d03Wzesxbi7JUl1DmFHIJih6otnkw"));
        assert_eq!(fingerprint("ssh-ed25519"), None);
        assert_eq!(fingerprint("ssh-ed25519 !!!"), None);
        assert_eq!(fingerprint(""), None);
    }
}
