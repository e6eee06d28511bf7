//! A machine's BMC in an operator's hands: looking, and power. Not part of any job, and refused while one runs.

use super::Workflow;
use super::error::HandsError;
use crate::model::Machine;
use crate::redfish::{Evidence, Power, Probe};
use crate::store;

impl Workflow {
    /// What the BMC says of itself and its machine. Changes nothing.
    pub async fn probe_machine(&self, serial: &str) -> Result<Probe, HandsError> {
        let machine = self.machine_in_hand(serial, false).await?;
        let bmc = self.connect(&machine).await.map_err(HandsError::from)?;
        let probe = bmc.probe().await;
        bmc.close().await;
        Ok(probe?)
    }

    /// Power now.
    pub async fn machine_power(&self, serial: &str) -> Result<Power, HandsError> {
        let machine = self.machine_in_hand(serial, false).await?;
        let bmc = self.connect(&machine).await.map_err(HandsError::from)?;
        let power = bmc.power().await;
        bmc.close().await;
        Ok(power?)
    }

    /// Switches a machine that no job has, and sees it switched.
    pub async fn set_machine_power(&self, serial: &str, wanted: Power) -> Result<Evidence, HandsError> {
        let machine = self.machine_in_hand(serial, true).await?;
        let bmc = self.connect(&machine).await.map_err(HandsError::from)?;
        let evidence = bmc.set_power(wanted).await;
        bmc.close().await;
        Ok(evidence?)
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
