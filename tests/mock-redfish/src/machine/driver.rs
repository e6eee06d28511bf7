//! The one task that moves a machine: takes orders one at a time, minds the delays, hears how boots end.
//! Nobody else calls the backend.
//!
//! ```text
//!   Order (Reset, Insert, Eject, …) ─┐
//!                                    ├─▶ run ──▶ Backend, Board
//!   Ended (guest off, guest reset) ──┘
//! ```

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::{
    Machine,
    board::Power,
    reset::{Act, ResetType, decide},
};
use crate::{
    backend::{Backend, BackendError, Ended, GuestEnd, host::Boot, host::BootSource},
    fault::Fault,
};

/// How long a guest has to follow the power button before the BMC cuts power on its own.
const BUTTON_PATIENCE: Duration = Duration::from_secs(300);

/// What the driver is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Reset(ResetType),
    Insert { slot: usize, image: String },
    Eject { slot: usize },
    PullPower,
    WipeNvram,
}

/// An order, where to tell its end, and the task that stands for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub order: Order,
    pub task: Option<u64>,
    pub done: oneshot::Sender<Result<(), String>>,
}

/// State of the driver that is nobody else's business.
pub(crate) struct Driver {
    machine: Machine,
    backend: Box<dyn Backend>,
    /// Power is applied again when the guest has switched itself off.
    start_again: bool,
    /// When power is cut if the guest ignores the button.
    patience: Option<tokio::time::Instant>,
}

impl Driver {
    pub fn new(machine: Machine, backend: Box<dyn Backend>) -> Self {
        Self { machine, backend, start_again: false, patience: None }
    }

    /// Runs until the rack stops, then cuts power.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<Job>,
        mut ends: mpsc::UnboundedReceiver<Ended>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let patience = self.patience;
            let impatient = async {
                match patience {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Changed or sender gone: the rack is no more.
                _ = stop.changed() => break,
                Some(job) = orders.recv() => self.obey(job).await,
                Some(end) = ends.recv() => self.hear(end).await,
                () = impatient => {
                    self.patience = None;
                    let again = std::mem::take(&mut self.start_again);
                    self.power_off().await;
                    if again { self.try_power_on().await; }
                }
            }
        }
        if let Err(error) = self.backend.stop().await {
            warn!(machine = self.machine.name(), %error, "power could not be cut at the end");
        }
    }

    async fn obey(&mut self, job: Job) {
        let result = match job.order {
            Order::Reset(kind) => self.reset(kind).await,
            Order::Insert { slot, image } => self.insert(slot, image).await,
            Order::Eject { slot } => self.eject(slot).await,
            Order::PullPower => {
                self.start_again = false;
                self.patience = None;
                let stopped = self.backend.stop().await;
                self.machine.change(|board| board.turn(Power::Off, Instant::now()));
                stopped
            }
            Order::WipeNvram => self.backend.wipe_nvram().await,
        };
        let told = result.map_err(|error| chain(&error));
        if let Err(reason) = &told {
            warn!(machine = self.machine.name(), %reason, "order not carried out");
        }
        if let Some(task) = job.task {
            let fault = told.clone().err();
            self.machine.change(|board| board.end_task(task, fault, Timestamp::now()));
        }
        // Whoever ordered may have gone away.
        let _ = job.done.send(told);
    }

    async fn reset(&mut self, kind: ResetType) -> Result<(), BackendError> {
        if self.machine.faults().takes(&Fault::ResetIgnored) {
            return Ok(());
        }
        let power = self.machine.power();
        for act in decide(kind, power).unwrap_or_default() {
            match act {
                Act::CutPower => self.power_off().await,
                Act::ApplyPower => self.power_on().await?,
                Act::PressButton | Act::PressButtonThenStart => {
                    self.start_again = *act == Act::PressButtonThenStart;
                    self.patience = Some(tokio::time::Instant::now() + BUTTON_PATIENCE);
                    self.backend.press_button().await?;
                }
            }
        }
        Ok(())
    }

    async fn power_off(&mut self) {
        self.patience = None;
        self.machine.change(|board| board.turn(Power::PoweringOff, Instant::now()));
        pause(self.machine.config().timing.power_off_ms).await;
        if let Err(error) = self.backend.stop().await {
            warn!(machine = self.machine.name(), error = chain(&error), "power cut with complaints");
        }
        self.machine.change(|board| board.turn(Power::Off, Instant::now()));
    }

    /// Powers on where nobody waits for an answer; a refusal is on the board.
    async fn try_power_on(&mut self) {
        if let Err(error) = self.power_on().await {
            warn!(machine = self.machine.name(), reason = chain(&error), "the machine does not start");
        }
    }

    async fn power_on(&mut self) -> Result<(), BackendError> {
        self.machine.change(|board| {
            board.turn(Power::PoweringOn, Instant::now());
            board.apply_settings();
        });
        pause(self.machine.config().timing.power_on_ms).await;
        let (ignore_once, keep_once, refuse) = {
            let mut faults = self.machine.faults();
            (
                faults.takes(&Fault::OnceIgnored),
                faults.takes(&Fault::OnceSticks),
                faults.takes(&Fault::WillNotStart),
            )
        };
        let boot = {
            let config = self.machine.config();
            let board = self.machine.board();
            Boot {
                machine: config.name.clone(),
                serial: config.serial.clone(),
                uuid: config.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
                macs: config.macs.clone(),
                number: board.boots + 1,
                source: if ignore_once { BootSource::Order } else { board.next_source() },
                media: board.media(),
            }
        };
        let started = if refuse { Err(BackendError::Injected) } else { self.backend.start(&boot).await };
        match started {
            Ok(()) => {
                info!(machine = self.machine.name(), boot = boot.number, source = ?boot.source, "started");
                self.machine.change(|board| {
                    board.booted(boot.source, (Timestamp::now(), Instant::now()), keep_once);
                });
                Ok(())
            }
            Err(error) => {
                let reason = chain(&error);
                self.machine.change(|board| {
                    board.turn(Power::Off, Instant::now());
                    board.broken = Some(reason);
                });
                Err(error)
            }
        }
    }

    async fn insert(&mut self, slot: usize, image: String) -> Result<(), BackendError> {
        pause(self.machine.config().timing.insert_ms).await;
        if self.machine.faults().takes(&Fault::PhantomInsert) {
            return Ok(());
        }
        if self.machine.power() == Power::On {
            self.backend.insert(slot, &image).await?;
        }
        let drops_override = self.machine.faults().takes(&Fault::OverrideDropped);
        self.machine.change(|board| {
            board.slots[slot].image = Some(image);
            board.slots[slot].stale = None;
            if drops_override {
                board.forget_boot();
            }
        });
        Ok(())
    }

    async fn eject(&mut self, slot: usize) -> Result<(), BackendError> {
        pause(self.machine.config().timing.eject_ms).await;
        if self.machine.power() == Power::On {
            self.backend.eject(slot).await?;
        }
        let stale = self.machine.faults().take(|fault| match fault {
            Fault::StaleInserted { reads } => Some(*reads),
            _ => None,
        });
        self.machine.change(|board| {
            let slot = &mut board.slots[slot];
            let image = slot.image.take();
            slot.stale = stale.and_then(|reads| Some((image?, reads)));
            slot.protocol = None;
            slot.user = None;
        });
        Ok(())
    }

    async fn hear(&mut self, end: Ended) {
        let (power, current) = {
            let board = self.machine.board();
            (board.power, board.boots)
        };
        if power != Power::On || end.boot != current {
            return; // The boot was ended by an order in the meantime.
        }
        info!(machine = self.machine.name(), boot = end.boot, how = ?end.how, "boot ended");
        self.patience = None;
        let again = std::mem::take(&mut self.start_again);
        if end.how == GuestEnd::Restarted {
            if let Err(error) = self.backend.stop().await {
                warn!(machine = self.machine.name(), error = chain(&error), "restart with complaints");
            }
            self.try_power_on().await;
            return;
        }
        if let GuestEnd::Died(reason) = end.how {
            self.machine.change(|board| board.broken = Some(reason));
        }
        self.power_off().await;
        if again {
            self.try_power_on().await;
        }
    }
}

/// Starts the driver of a machine.
pub(crate) fn spawn(
    machine: &Machine,
    backend: Box<dyn Backend>,
    orders: mpsc::Receiver<Job>,
    ends: mpsc::UnboundedReceiver<Ended>,
    stop: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(Driver::new(machine.clone(), backend).run(orders, ends, stop))
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// The error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
