//! A machine's BMC in an operator's hands: looking, and power. Not part of any job, and refused while one runs.

use std::sync::Arc;
use std::time::Duration;

use super::drive::Fault;
use super::error::HandsError;
use super::fitness::{Check, Expected, Fitness};
use super::{Workflow, trial};
use crate::model::{Machine, NewEvent, Source};
use crate::redfish::{Bmc, BmcError, Evidence, Power, Probe, Standing};
use crate::store;

/// For one look, session included.
const LOOK_DEADLINE: Duration = Duration::from_secs(60);
/// For a change of power: firmware and BMCs take their time.
const POWER_DEADLINE: Duration = Duration::from_secs(180);
/// For ending the session.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// One probe, session included.
pub(super) async fn look(bmc: &dyn Bmc, within: Duration) -> Result<Probe, BmcError> {
    let asked = tokio::time::timeout(within, bmc.probe()).await;
    let _ = tokio::time::timeout(CLOSE_DEADLINE, bmc.close()).await; // BMCs end idle sessions by themselves
    asked.unwrap_or_else(|_| {
        let late = std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("it was not probed within {} s", within.as_secs()),
        );
        Err(BmcError::Unreachable { endpoint: bmc.endpoint(), source: late.into() })
    })
}

impl Workflow {
    /// Whether the BMC could boot a job, and what it says of itself and its machine. Changes nothing.
    pub async fn probe_machine(&self, serial: &str) -> Result<Fitness, HandsError> {
        let machine = self.machine_in_hand(serial, false).await?;
        let bmc = self.connect_by_hand(&machine).await?;
        let asked = look(bmc.as_ref(), LOOK_DEADLINE).await;
        let identity = machine.identity();
        let media_url = machine.media_url.as_ref().unwrap_or(&self.deps.settings.media_url);
        let transport = machine.transport;
        let expected = Expected { identity: &identity, media_url, evict: false, transport };
        Ok(Fitness::of(asked.as_ref(), &expected))
    }

    /// The same, and then a disc that holds nothing is put into the slot to boot from, watched, and taken out: whether
    /// the BMC really fetches what it is told to. Power and boot settings are left alone.
    pub async fn probe_machine_media(self: &Arc<Self>, serial: &str) -> Result<Fitness, HandsError> {
        let machine = self.machine_in_hand(serial, true).await?;
        let mut fitness = self.probe_machine(serial).await?;
        let Some(probe) = fitness.bmc.clone().filter(|_| fitness.bootable) else { return Ok(fitness) };
        let workflow = Arc::clone(self);
        // Whole: a client that hangs up must not leave the disc in.
        let check = self.whole(async move { workflow.try_media(&machine, &probe).await }).await??;
        fitness.add(check);
        Ok(fitness)
    }

    async fn try_media(&self, machine: &Machine, probe: &Probe) -> Result<Check, HandsError> {
        let media_url = machine.media_url.as_ref().unwrap_or(&self.deps.settings.media_url);
        let bmc = self.connect_by_hand(machine).await?;
        let check = trial::run(self, bmc.as_ref(), probe, media_url).await;
        let _ = tokio::time::timeout(CLOSE_DEADLINE, bmc.close()).await;
        let check = check?;
        let text = format!("a trial disc was put in and taken out: {}", check.seen);
        let event = NewEvent::new(self.now(), Source::Operator, "machine.media_tried", text);
        let id = machine.id.clone();
        store::on(&self.deps.store, move |store| store.add_events(None, Some(&id), vec![event])).await?;
        Ok(check)
    }

    /// Power now.
    pub async fn machine_power(&self, serial: &str) -> Result<Power, HandsError> {
        let machine = self.machine_in_hand(serial, false).await?;
        self.ask(&machine, LOOK_DEADLINE, |bmc| async move { bmc.power().await }).await
    }

    /// Switches a machine that no job has, and sees it switched.
    pub async fn set_machine_power(&self, serial: &str, wanted: Power) -> Result<Evidence, HandsError> {
        let machine = self.machine_in_hand(serial, true).await?;
        let change = |bmc: Arc<dyn Bmc>| async move { bmc.set_power(wanted).await };
        let evidence = self.ask(&machine, POWER_DEADLINE, change).await?;
        let text = format!("switched by hand: {}", evidence.seen);
        let event = NewEvent::new(self.now(), Source::Operator, "machine.power", text);
        let id = machine.id;
        store::on(&self.deps.store, move |store| store.add_events(None, Some(&id), vec![event])).await?;
        Ok(evidence)
    }

    /// Whether a machine's BMC is asked at present, or left alone.
    pub fn bmc_standing(&self, machine: &Machine) -> Standing {
        self.deps.bmcs.standing(machine)
    }

    async fn connect_by_hand(&self, machine: &Machine) -> Result<Arc<dyn Bmc>, Fault> {
        let id = machine.id.clone();
        let password = store::on(&self.deps.store, move |store| store.machine_password(&id)).await?;
        Ok(self.deps.bmcs.connect_by_hand(machine, password.unwrap_or_default())?)
    }

    async fn ask<T, F>(
        &self,
        machine: &Machine,
        deadline: Duration,
        call: impl FnOnce(Arc<dyn Bmc>) -> F,
    ) -> Result<T, HandsError>
    where
        F: Future<Output = Result<T, BmcError>>,
    {
        let bmc = self.connect_by_hand(machine).await?;
        let answer = tokio::time::timeout(deadline, call(Arc::clone(&bmc))).await;
        let _ = tokio::time::timeout(CLOSE_DEADLINE, bmc.close()).await; // BMCs end idle sessions by themselves
        Ok(answer.map_err(|_| {
            let text = format!("BMC {} did not do it within {} s", machine.bmc.url, deadline.as_secs());
            HandsError::Connect { code: "bmc.timeout".to_owned(), text }
        })??)
    }

    async fn machine_in_hand(&self, serial: &str, alone: bool) -> Result<Machine, HandsError> {
        let wanted = serial.to_owned();
        let found = store::on(&self.deps.store, move |store| {
            let Some(machine) = store.machine_by_serial(&wanted)? else { return Ok(None) };
            let active = store.active_job(&machine.id)?;
            Ok(Some((machine, active)))
        })
        .await?;
        match found {
            None => Err(HandsError::UnknownMachine { serial: serial.to_owned() }),
            Some((machine, Some(job))) if alone => Err(HandsError::ActiveJob { serial: machine.serial, job }),
            Some((machine, _)) => Ok(machine),
        }
    }
}
