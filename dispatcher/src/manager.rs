//! The real systemd, over the system bus. The program is synchronous: each call runs on the calling thread until it is
//! answered, and one thread of its own collects the `JobRemoved` signals.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy};

use crate::systemd::{EndedJob, Ending, Systemd, SystemdError, UnitState};

/// For one call. A reload with generators takes seconds on a slow machine.
const CALL_DEADLINE: Duration = Duration::from_secs(90);
/// How a start job stands to those already queued: it replaces conflicting ones.
const REPLACE: &str = "replace";

/// systemd at the other end of D-Bus.
pub struct ZbusSystemd {
    manager: ManagerProxy<'static>,
    jobs: Mutex<Receiver<EndedJob>>,
}

impl ZbusSystemd {
    /// Connects and subscribes, so that no job that is started later ends unseen.
    pub fn connect() -> Result<Self, SystemdError> {
        Self::over(Builder::system())
    }

    /// The same over another bus.
    pub fn over(bus: Builder<'static>) -> Result<Self, SystemdError> {
        let (ended, jobs) = mpsc::channel();
        let manager = zbus::block_on(async {
            let connection = bus.method_timeout(CALL_DEADLINE).build().await?;
            let manager = ManagerProxy::new(&connection).await?;
            let signals = manager.receive_job_removed().await?;
            manager.subscribe().await?;
            thread::spawn(move || zbus::block_on(collect(signals, &ended)));
            Ok(manager)
        })
        .map_err(|source: zbus::Error| SystemdError::Connect(source.into()))?;
        Ok(Self { manager, jobs: Mutex::new(jobs) })
    }
}

async fn collect(mut signals: zbus_systemd::systemd1::JobRemovedStream, ended: &Sender<EndedJob>) {
    while let Some(signal) = signals.next().await {
        let Ok(job) = signal.args() else { continue };
        let job = EndedJob { unit: job.unit().clone(), result: job.result().clone() };
        if ended.send(job).is_err() {
            return;
        }
    }
}

impl Systemd for ZbusSystemd {
    fn reload(&self) -> Result<(), SystemdError> {
        call("reload its units", zbus::block_on(self.manager.reload()))
    }

    fn start(&self, unit: &str) -> Result<(), SystemdError> {
        let asked = zbus::block_on(self.manager.start_unit(unit.to_owned(), REPLACE.to_owned()));
        call(&format!("start {unit}"), asked).map(drop)
    }

    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, SystemdError> {
        let known = call("list the steps", zbus::block_on(self.manager.list_units_by_names(units.to_vec())))?;
        let state = |unit: &String| {
            let found = known.iter().find(|known| known.0 == *unit);
            found.map_or(UnitState::Missing, |unit| UnitState::from_words(&unit.2, &unit.3))
        };
        Ok(units.iter().map(state).collect())
    }

    fn ending(&self, unit: &str) -> Result<Ending, SystemdError> {
        let asked: zbus::Result<Ending> = zbus::block_on(async {
            let path = self.manager.load_unit(unit.to_owned()).await?;
            let service = ServiceProxy::builder(self.manager.inner().connection()).path(path).build().await?;
            Ok(Ending { result: service.result().await?, exit_code: service.exec_main_status().await? })
        });
        call(&format!("tell how {unit} ended"), asked)
    }

    fn next_job(&self, wait: Duration) -> Option<EndedJob> {
        let began = Instant::now();
        let next = self.jobs.lock().ok()?.recv_timeout(wait);
        if matches!(next, Err(RecvTimeoutError::Disconnected)) {
            // The bus is gone (systemd re-executes, say): the caller polls, at the same pace.
            thread::sleep(wait.saturating_sub(began.elapsed()));
        }
        next.ok()
    }
}

fn call<T>(what: &str, answer: zbus::Result<T>) -> Result<T, SystemdError> {
    answer.map_err(|source| SystemdError::Call { what: what.to_owned(), source: source.into() })
}
