//! A dry run: everything a job would find out before it touches anything. Nothing is created, pinned or changed;
//! the BMC is only read.

use std::sync::Arc;
use std::time::Duration;

use schema::layout::{DiskGeometry, LayoutPlan, SolvedPartition};
use serde::Serialize;

use super::Workflow;
use super::accept::Submission;
use super::error::{AcceptError, chain};
use super::fitness::{Expected, Fitness};
use super::hands::look;
use crate::model::ResolvedImage;

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
    /// Whether its BMC can boot the job; none when the machine's record does not let it be asked.
    pub bmc: Option<Fitness>,
    /// Why a job would fail.
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
        let bmc = match self.connect(&settled.machine).await {
            Ok(bmc) => bmc,
            Err(fault) => {
                plan.problems.push(fault.text);
                return Ok(plan);
            }
        };
        let asked = look(bmc.as_ref(), PROBE_DEADLINE).await;
        let identity = settled.machine.identity();
        let expected = Expected {
            identity: &identity,
            media_url: &settled.media_url,
            evict: submission.evict,
            transport: settled.machine.transport,
        };
        let fitness = Fitness::of(asked.as_ref(), &expected);
        plan.problems.extend(fitness.failure().map(|failure| failure.reason));
        plan.bmc = Some(fitness);
        Ok(plan)
    }
}
