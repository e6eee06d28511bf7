//! A dry run: everything a job would find out before it touches anything. Nothing is created, pinned or changed;
//! the BMC is only read.

use std::sync::Arc;
use std::time::Duration;

use schema::layout::{DiskGeometry, LayoutPlan, SolvedPartition};
use serde::Serialize;

use super::accept::Submission;
use super::error::{AcceptError, chain};
use super::{Workflow, steps};
use crate::model::ResolvedImage;
use crate::redfish::Probe;

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The machine.
    pub serial: String,
    /// The target.
    pub task_target: String,
    /// Its steps, in order.
    pub steps: Vec<String>,
    /// Whether it writes to disks.
    pub destructive: bool,
    /// The image, resolved now.
    pub image: Option<ResolvedImage>,
    /// The partitions on a disk of the assumed size.
    pub partitions: Vec<SolvedPartition>,
    /// What was assumed, because only the machine itself knows.
    pub assumed: Vec<String>,
    /// What the BMC says of itself.
    pub bmc: Option<Probe>,
    /// Why the BMC could not be asked, or does not fit. A job would fail here.
    pub problems: Vec<String>,
}

/// How long a dry run waits for a BMC.
const PROBE_DEADLINE: Duration = Duration::from_secs(60);
/// The disk a layout is solved for while the real one is unknown: 480 GB, the smallest usual server disk.
const ASSUMED_DISK: DiskGeometry = DiskGeometry { size_bytes: 480_000_000_000, sector_bytes: 512 };

impl Workflow {
    /// What a submission would do.
    pub async fn plan(self: &Arc<Self>, submission: Submission) -> Result<Plan, AcceptError> {
        let settled = self.settle(&submission).await?;
        let mut assumed = Vec::new();
        let layout = LayoutPlan::from_recipe(&settled.recipe);
        let partitions = if layout.partitions.is_empty() {
            vec![]
        } else {
            assumed.push(format!(
                "a disk of {} bytes with {}-byte sectors",
                ASSUMED_DISK.size_bytes, ASSUMED_DISK.sector_bytes
            ));
            layout.solve(ASSUMED_DISK).map_err(|error| AcceptError::Layout { message: chain(&error) })?
        };
        let mut plan = Plan {
            serial: settled.machine.serial.clone(),
            task_target: settled.recipe.task_target.clone(),
            steps: settled.steps.iter().map(|step| step.name.clone()).collect(),
            destructive: settled.destructive,
            image: settled.image.clone(),
            partitions,
            assumed,
            bmc: None,
            problems: vec![],
        };
        let asked = async {
            let bmc = self.connect(&settled.machine).await.map_err(|fault| fault.text)?;
            let probe = bmc.probe().await.map_err(|error| chain(&error));
            bmc.close().await;
            probe
        };
        match tokio::time::timeout(PROBE_DEADLINE, asked).await {
            Ok(Ok(probe)) => {
                let expected = settled.machine.identity();
                if let Err(failure) = steps::probing::fits(&probe, &expected) {
                    plan.problems.push(failure.reason);
                }
                plan.bmc = Some(probe);
            }
            Ok(Err(problem)) => plan.problems.push(problem),
            Err(_) => {
                plan.problems.push(format!("the BMC did not answer within {} s", PROBE_DEADLINE.as_secs()));
            }
        }
        Ok(plan)
    }
}
