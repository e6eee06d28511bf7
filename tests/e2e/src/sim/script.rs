//! How each simulated host shall behave, and what it really did. Tests write scripts and read ledgers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;

/// A place in a host's work where it can be held, or go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Firmware has handed over; nothing was read yet.
    Booted,
    /// The medium is good; the question was not asked yet.
    Asking,
    /// Told to proceed; nothing was written yet.
    Proceeding,
    /// Inside that step, after it was reported as started.
    Step(&'static str),
    /// Every step is done; the success was not reported yet.
    Reporting,
}

/// How a host behaves. The default does everything right.
#[derive(Debug, Clone)]
pub struct Script {
    /// The serial its firmware really has, when not the BMC's.
    pub dmi_serial: Option<String>,
    /// This step fails, with that exit code.
    pub fails_at: Option<(&'static str, i32)>,
    /// Last words of its log, when it fails.
    pub log_tail: String,
    /// It asks `started` that many times; every answer must be the same.
    pub asks: u32,
    /// The first time it gets there it restarts, as after a panic.
    pub restarts_at: Option<Moment>,
    /// It works, and is never heard after it was told to proceed.
    pub mute: bool,
    /// Between heartbeats; real ones follow `job.json`.
    pub heartbeat: Duration,
    /// It ends its work and does not power itself off.
    pub stays_on: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            dmi_serial: None,
            fails_at: None,
            log_tail: "the last line of the journal".to_owned(),
            asks: 1,
            restarts_at: None,
            mute: false,
            heartbeat: Duration::from_millis(200),
            stays_on: false,
        }
    }
}

/// Something a host did, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It booted the maintenance OS.
    Maintenance,
    /// It booted what was on its disk before.
    OldSystem,
    /// It booted the system that was installed.
    NewSystem,
    /// It found nothing to boot.
    Nothing,
    /// Its task medium was not usable: why.
    NoMedium(String),
    /// It was told to proceed.
    Proceeds,
    /// It was refused with that status.
    Refused(u16),
    /// It destroyed what was on its disk.
    Wiped,
    /// That step ended well.
    Step(String),
    /// Its image was pulled and is that digest.
    Pulled(String),
    /// It reported success and was heard.
    Succeeded,
    /// It reported that unit as failed and was heard.
    Failed(String),
    /// It powered itself off.
    PoweredOff,
    /// It restarted by itself.
    Restarted,
}

/// What is on a host's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Disk {
    /// An older system.
    #[default]
    Old,
    /// Nothing that boots.
    Wiped,
    /// What the job installed.
    Installed,
}

/// One host's script and ledger.
#[derive(Debug, Default)]
pub struct Stage {
    script: Mutex<Script>,
    deeds: Mutex<Vec<Deed>>,
    disk: Mutex<Disk>,
    held: watch::Sender<Held>,
}

/// Where the host shall wait, and where it is.
#[derive(Debug, Default)]
struct Held {
    hold_at: Option<Moment>,
    reached: Option<Moment>,
}

impl Stage {
    /// Changes the script; holds for what comes after.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.script));
    }

    pub(super) fn plan(&self) -> Script {
        lock(&self.script).clone()
    }

    /// The host waits when it gets there, until [`Stage::go_on`].
    pub fn hold_at(&self, moment: Moment) {
        self.held.send_modify(|held| *held = Held { hold_at: Some(moment), reached: None });
    }

    /// Lets a waiting host go on.
    pub fn go_on(&self) {
        self.held.send_modify(|held| held.hold_at = None);
    }

    /// Waits until the host waits where it was told to.
    pub async fn reached(&self, within: Duration) -> Result<()> {
        let mut held = self.held.subscribe();
        let reached = held.wait_for(|held| held.reached.is_some());
        if tokio::time::timeout(within, reached).await.is_err() {
            bail!("the host did not get where it shall wait; it did {:?}", self.deeds());
        }
        Ok(())
    }

    /// The host is there; returns once it may go on.
    pub(super) async fn pass(&self, moment: Moment) {
        let mut held = self.held.subscribe();
        if held.borrow().hold_at != Some(moment) {
            return;
        }
        self.held.send_modify(|held| held.reached = Some(moment));
        // The sender is in `self`, so this ends only by `go_on`.
        let _ = held.wait_for(|held| held.hold_at != Some(moment)).await;
    }

    /// True once, if the script wants a restart there.
    pub(super) fn restarts(&self, moment: Moment) -> bool {
        let mut script = lock(&self.script);
        let now = script.restarts_at == Some(moment);
        if now {
            script.restarts_at = None;
        }
        now
    }

    pub(super) fn did(&self, deed: Deed) {
        lock(&self.deeds).push(deed);
    }

    /// Everything it did so far.
    pub fn deeds(&self) -> Vec<Deed> {
        lock(&self.deeds).clone()
    }

    /// How often it did that.
    pub fn times(&self, deed: &Deed) -> usize {
        lock(&self.deeds).iter().filter(|done| *done == deed).count()
    }

    /// What is on its disk.
    pub fn disk(&self) -> Disk {
        *lock(&self.disk)
    }

    pub(super) fn write_disk(&self, disk: Disk) {
        *lock(&self.disk) = disk;
    }

    /// Waits until it did that.
    pub async fn wait_deed(&self, deed: &Deed, within: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + within;
        while self.times(deed) == 0 {
            if tokio::time::Instant::now() > end {
                bail!("{deed:?} did not come; the host did {:?}", self.deeds());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// The stage of every host, by the serial its BMC shows.
#[derive(Debug, Default)]
pub struct Playbook(Mutex<HashMap<String, Arc<Stage>>>);

impl Playbook {
    /// The stage of that machine.
    pub fn stage(&self, serial: &str) -> Arc<Stage> {
        Arc::clone(lock(&self.0).entry(serial.to_owned()).or_default())
    }
}

/// A lock that outlives a panic of another holder: every change is a whole one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
