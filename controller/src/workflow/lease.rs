//! Leases say who drives a job. They are short and renewed while the driver lives, so that another controller on the
//! same store could take over soon after this one died, and all in one write. A driver whose lease is gone stops: the
//! fencing number keeps it from writing anyway, but not from asking the BMC for things.

use std::collections::HashSet;
use std::sync::Arc;

use super::Workflow;
use super::error::chain;
use crate::store::{self, StoreError};

/// Renewals within the life of a lease: two may fail.
const RENEWALS: u32 = 3;

/// Renews what this controller's drivers hold, until it stops.
pub async fn renew_now_and_then(workflow: Arc<Workflow>) {
    let mut stopping = workflow.stopping.subscribe();
    loop {
        let next = workflow.later(workflow.deps.settings.lease / RENEWALS);
        tokio::select! {
            () = workflow.deps.clock.sleep_until(next) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = renew(&workflow).await {
            tracing::warn!(error = chain(&error), "leases of running jobs were not renewed");
        }
    }
}

async fn renew(workflow: &Workflow) -> Result<(), StoreError> {
    let held = workflow.hub.held(); // before the write: what is taken after it is not missed
    if held.is_empty() {
        return Ok(());
    }
    let (owner, until) = (workflow.owner.clone(), workflow.later(workflow.deps.settings.lease));
    let ours = store::on(&workflow.deps.store, move |store| store.renew_leases(&owner, until)).await?;
    let ours: HashSet<_> = ours.into_iter().collect();
    for lost in held.iter().filter(|id| !ours.contains(*id)) {
        workflow.hub.lose(lost);
    }
    Ok(())
}
