//! A person's look at one machine's BMC, and a hand on its power: outside of any job, and never against one.

use std::sync::Arc;
use std::time::Duration;

use super::Workflow;
use super::drive::Fault;
use super::error::IntentError;
use crate::model::{Machine, NewEvent, Source};
use crate::redfish::{Bmc, BmcError, Evidence, Power, Probe};
use crate::store;

/// For one look, session included.
const LOOK_DEADLINE: Duration = Duration::from_secs(60);
/// For a change of power: firmware and BMCs take their time.
const POWER_DEADLINE: Duration = Duration::from_secs(180);

impl Workflow {
    /// What a machine's BMC says of itself.
    pub async fn probe_machine(&self, serial: &str) -> Result<Probe, IntentError> {
        let machine = self.machine(serial).await?;
        self.ask(&machine, LOOK_DEADLINE, |bmc| async move { bmc.probe().await }).await
    }

    /// Whether a machine is on.
    pub async fn machine_power(&self, serial: &str) -> Result<Power, IntentError> {
        let machine = self.machine(serial).await?;
        self.ask(&machine, LOOK_DEADLINE, |bmc| async move { bmc.power().await }).await
    }

    /// Switches a machine on or off by hand. Refused while a job has it.
    pub async fn set_machine_power(
        &self,
        serial: &str,
        wanted: Power,
        by: &str,
    ) -> Result<Evidence, IntentError> {
        let machine = self.machine(serial).await?;
        let id = machine.id.clone();
        if let Some(job) = store::on(&self.deps.store, move |store| store.active_job(&id)).await? {
            return Err(IntentError::ActiveJob { serial: machine.serial, job });
        }
        let change = |bmc: Arc<dyn Bmc>| async move { bmc.set_power(wanted).await };
        let evidence = self.ask(&machine, POWER_DEADLINE, change).await?;
        let text =
            format!("{by} switches it {}: {}", if wanted == Power::On { "on" } else { "off" }, evidence.seen);
        let event = NewEvent::new(self.now(), Source::Operator, "machine.power", text);
        let id = machine.id.clone();
        store::on(&self.deps.store, move |store| store.add_events(None, Some(&id), vec![event])).await?;
        Ok(evidence)
    }

    async fn machine(&self, serial: &str) -> Result<Machine, IntentError> {
        let wanted = serial.to_owned();
        store::on(&self.deps.store, move |store| store.machine_by_serial(&wanted))
            .await?
            .ok_or_else(|| IntentError::UnknownMachine { serial: serial.to_owned() })
    }

    async fn ask<T, F>(
        &self,
        machine: &Machine,
        deadline: Duration,
        call: impl FnOnce(Arc<dyn Bmc>) -> F,
    ) -> Result<T, IntentError>
    where
        F: Future<Output = Result<T, BmcError>>,
    {
        let asked = async {
            let bmc = self.connect(machine).await?;
            let answer = call(Arc::clone(&bmc)).await;
            bmc.close().await;
            answer.map_err(Fault::from)
        };
        match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) => Err(IntentError::Bmc { code: fault.code, message: fault.text }),
            Err(_) => Err(IntentError::Bmc {
                code: "bmc.timeout",
                message: format!("BMC {} did not do it within {} s", machine.bmc.url, deadline.as_secs()),
            }),
        }
    }
}
