//! One machine with its BMC: the handle that tests, the service and the driver share. All state is inside;
//! cloning is cheap.

pub(crate) mod board;
pub(crate) mod condition;
pub(crate) mod driver;
pub(crate) mod reset;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use board::Board;
pub use board::{BootOverride, Enabled, Power, SlotState, Target};
use condition::Condition;
use driver::{Job, Order};
pub use reset::ResetType;

use crate::{
    backend::host::{BootSource, HostPower},
    config::MachineConfig,
    fault::{Injection, armed::Faults},
    journal::{Journal, RequestRecord},
    session::Sessions,
    vendor::Model,
};

/// Most of a console file that is read, in bytes.
const CONSOLE_READ: u64 = 1 << 20;

/// Why an order from a test or the control API was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// The rack has been dropped.
    #[error("the rack of machine {0} is gone")]
    Gone(String),
    /// The backend said no.
    #[error("machine {machine}: {reason}")]
    Refused {
        /// Machine name.
        machine: String,
        /// Its words.
        reason: String,
    },
    /// What was waited for did not come.
    #[error("machine {machine} did not become {wanted} within {seconds} s; it is {found}")]
    Late {
        /// Machine name.
        machine: String,
        /// What was waited for.
        wanted: String,
        /// Deadline.
        seconds: u64,
        /// What it is instead.
        found: String,
    },
}

/// Where the serial console is.
#[derive(Debug, Clone)]
pub(crate) enum Console {
    Memory(HostPower),
    File(PathBuf),
}

#[derive(Debug)]
struct Inner {
    config: MachineConfig,
    model: Model,
    base_url: String,
    certificate: Option<String>,
    board: Mutex<Board>,
    sessions: Mutex<Sessions>,
    condition: Mutex<Condition>,
    faults: Mutex<Faults>,
    journal: Mutex<Journal>,
    changed: watch::Sender<u64>,
    streams: Arc<Semaphore>,
    orders: mpsc::Sender<Job>,
    console: Console,
    fetch: crate::media::Fetch,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Inner>);

impl Machine {
    pub(crate) fn new(
        (config, model): (MachineConfig, Model),
        base_url: String,
        certificate: Option<String>,
        orders: mpsc::Sender<Job>,
        console: Console,
        fetch: crate::media::Fetch,
    ) -> Self {
        let idle = Duration::from_secs(config.session_seconds);
        Self(Arc::new(Inner {
            board: Mutex::new(Board::new(&model, jiff::Timestamp::now())),
            sessions: Mutex::new(Sessions::new(config.session_limit, idle)),
            condition: Mutex::default(),
            faults: Mutex::default(),
            journal: Mutex::default(),
            changed: watch::Sender::new(0),
            streams: Arc::new(Semaphore::new(model.events.as_ref().map_or(0, |events| events.streams))),
            config,
            model,
            base_url,
            certificate,
            orders,
            console,
            fetch,
        }))
    }

    /// Name in the rack.
    pub fn name(&self) -> &str {
        &self.0.config.name
    }

    /// The configuration with everything derived filled in.
    pub fn config(&self) -> &MachineConfig {
        &self.0.config
    }

    /// What its BMC is like: ids, slots, targets.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Path of its system.
    pub fn system_path(&self) -> String {
        self.0.model.layout.system_path()
    }

    /// Path of the collection of its virtual drives.
    pub fn media_path(&self) -> String {
        let (parent, id) = self.0.model.layout.media_parent(self.0.model.layout.media);
        format!("/redfish/v1/{parent}/{id}/VirtualMedia")
    }

    /// Target of its Reset action.
    pub fn reset_path(&self) -> String {
        format!("{}/Actions/ComputerSystem.Reset", self.system_path())
    }

    /// Root of the BMC, such as `http://127.0.0.1:40123`, without `/redfish`.
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// PEM certificate the BMC shows, when it serves HTTPS.
    pub fn certificate(&self) -> Option<&str> {
        self.0.certificate.as_deref()
    }

    /// True power state.
    pub fn power(&self) -> Power {
        self.board().power
    }

    /// Boot override as set.
    pub fn boot_override(&self) -> BootOverride {
        self.board().boot.clone()
    }

    /// The virtual drives.
    pub fn slots(&self) -> Vec<SlotState> {
        self.board().slots.clone()
    }

    /// URL in the drive of that id.
    pub fn image(&self, slot: &str) -> Option<String> {
        self.board().slots.iter().find(|found| found.id == slot)?.image.clone()
    }

    /// Boots so far.
    pub fn boots(&self) -> u64 {
        self.board().boots
    }

    /// What the last boot booted from.
    pub fn last_source(&self) -> Option<BootSource> {
        self.board().last_source.clone()
    }

    /// Why the machine last did not start or died.
    pub fn broken(&self) -> Option<String> {
        self.board().broken.clone()
    }

    /// Streams of events that are open.
    pub fn open_streams(&self) -> usize {
        let most = self.0.model.events.as_ref().map_or(0, |events| events.streams);
        most - self.0.streams.available_permits()
    }

    /// Sessions open now.
    pub fn open_sessions(&self) -> usize {
        self.sessions().list(std::time::Instant::now()).len()
    }

    /// Closes every session, as a restart of the BMC does.
    pub fn forget_sessions(&self) {
        self.sessions().clear();
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.journal().list()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.journal().clear();
    }

    /// Arms a fault; the number removes it.
    pub fn inject(&self, injection: Injection) -> u64 {
        self.faults().add(injection)
    }

    /// Disarms one fault; `false` when it is not armed (any more).
    pub fn remove_fault(&self, id: u64) -> bool {
        self.faults().remove(id)
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.faults().clear();
    }

    /// How often each kind of fault has shown so far, by the names of the README.
    pub fn shown_faults(&self) -> std::collections::BTreeMap<String, u32> {
        self.faults().shown().clone()
    }

    /// The faults still armed, with their numbers.
    pub fn armed_faults(&self) -> Vec<(u64, Injection)> {
        self.faults().list().to_vec()
    }

    /// Text of the serial console: all of a simulated one, the last MiB of a real one.
    pub fn console(&self) -> String {
        match &self.0.console {
            Console::Memory(power) => power.console(),
            Console::File(path) => tail(path),
        }
    }

    /// Folder of the machine's files (`VARS.fd`, disks, `console.log`, `qemu.log`), when it has files.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.0.console {
            Console::Memory(_) => None,
            Console::File(path) => path.parent(),
        }
    }

    /// Cuts power at once, whatever the machine does. The BMC stays alive.
    pub async fn pull_power(&self) -> Result<(), MachineError> {
        self.order(Order::PullPower, None).await
    }

    /// Applies power as `Reset On` does, without a client.
    pub async fn power_on(&self) -> Result<(), MachineError> {
        self.order(Order::Reset(reset::ResetType::On), None).await
    }

    /// Makes the firmware forget its boot entries, as a flat battery does. The machine must be off.
    pub async fn wipe_nvram(&self) -> Result<(), MachineError> {
        if self.power() != Power::Off {
            let reason = "the NVRAM can only be wiped while power is off".into();
            return Err(MachineError::Refused { machine: self.name().into(), reason });
        }
        self.order(Order::WipeNvram, None).await
    }

    /// Waits for a power state.
    pub async fn wait_power(&self, wanted: Power, within: Duration) -> Result<(), MachineError> {
        self.wait(&format!("{wanted:?}"), within, |machine| machine.power() == wanted).await
    }

    /// Waits until that many boots have begun.
    pub async fn wait_boots(&self, wanted: u64, within: Duration) -> Result<(), MachineError> {
        self.wait(&format!("booted {wanted} times"), within, |machine| machine.boots() >= wanted).await
    }

    /// Waits until the serial console shows a text.
    pub async fn wait_console(&self, wanted: &str, within: Duration) -> Result<(), MachineError> {
        let end = tokio::time::Instant::now() + within;
        while !self.console().contains(wanted) {
            if tokio::time::Instant::now() > end {
                return Err(self.late(&format!("showing {wanted:?} on its console"), within));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn wait(
        &self,
        wanted: &str,
        within: Duration,
        reached: impl Fn(&Self) -> bool,
    ) -> Result<(), MachineError> {
        let mut changes = self.0.changed.subscribe();
        let reached = async {
            while !reached(self) {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, reached).await.map_err(|_| self.late(wanted, within))
    }

    fn late(&self, wanted: &str, within: Duration) -> MachineError {
        let (power, boots, broken) = {
            let board = self.board();
            (board.power, board.boots, board.broken.clone())
        };
        let broken = broken.map(|reason| format!(" ({reason})")).unwrap_or_default();
        MachineError::Late {
            machine: self.name().into(),
            wanted: wanted.into(),
            seconds: within.as_secs(),
            found: format!("{power:?} after {boots} boots{broken}"),
        }
    }

    /// Hands an order to the driver without waiting for its end.
    pub(crate) async fn place(
        &self,
        order: Order,
        task: Option<u64>,
    ) -> Result<oneshot::Receiver<Result<(), String>>, MachineError> {
        let (done, end) = oneshot::channel();
        let job = Job { order, task, done };
        self.0.orders.send(job).await.map_err(|_| MachineError::Gone(self.name().into()))?;
        Ok(end)
    }

    /// Hands an order to the driver and waits for its end.
    pub(crate) async fn order(&self, order: Order, task: Option<u64>) -> Result<(), MachineError> {
        let end = self.place(order, task).await?;
        let result = end.await.map_err(|_| MachineError::Gone(self.name().into()))?;
        result.map_err(|reason| MachineError::Refused { machine: self.name().into(), reason })
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.0.board)
    }

    /// Changes the board and wakes whoever waits for a change.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let result = change(&mut self.board());
        self.0.changed.send_modify(|version| *version += 1);
        result
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.0.sessions)
    }

    pub(crate) fn condition(&self) -> MutexGuard<'_, Condition> {
        lock(&self.0.condition)
    }

    /// The BMC restarts: away for that long, every session gone, and what only a restart brings back is back.
    pub(crate) fn restart_bmc(&self, away: Duration, unready: u32) {
        self.condition().restart(std::time::Instant::now(), away, unready);
        self.forget_sessions();
        self.faults().bmc_restarted();
        self.change(|_| ());
    }

    /// A number that grows with every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Leave to open one more event stream.
    pub(crate) fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.streams.clone().try_acquire_owned().ok()
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.0.faults)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.0.journal)
    }

    pub(crate) fn fetch(&self) -> &crate::media::Fetch {
        &self.0.fetch
    }
}

/// A lock that outlives a panic of another holder: every change is a whole one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a file as text; empty when there is none yet.
fn tail(path: &std::path::Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(CONSOLE_READ)))?;
        let mut bytes = Vec::new();
        file.take(CONSOLE_READ).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
