//! One case: arm, submit, wait, and hold what came of it against the row.

use std::time::Duration;

use e2e::sim::{Deed, Site};
use mock_redfish::{Fault, Injection, Machine, Power, Vendor};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::faults::{Ends, Row};

/// For a job to be decided, and then to be complete; builds may run beside it.
const PATIENCE: Duration = Duration::from_secs(100);
/// Lines of a timeline that are shown beside what went wrong.
const LINES: usize = 8;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// For the controller to give its session back once the job is complete.
const GOODBYE: Duration = Duration::from_secs(5);

/// One vendor and one row, on a machine of its own.
pub struct Case {
    /// Number of the machine in the rack.
    pub machine: usize,
    /// Its vendor.
    pub vendor: Vendor,
    /// What goes wrong.
    pub row: &'static Row,
}

/// What was not as it must be, and how long the job took.
pub struct Verdict {
    /// In words; empty when all is well.
    pub faults: Vec<String>,
    /// The job's whole timeline.
    pub told: String,
    /// Vendor and row.
    pub case: String,
    /// From submission to completion.
    pub took: Duration,
}

impl Case {
    fn ends(&self) -> (Ends, bool) {
        let except = self.row.except.iter().find(|except| except.vendor == self.vendor);
        except.map_or((self.row.ends, true), |except| (except.ends, except.shows))
    }

    /// Runs the job to its end.
    pub async fn run(self, site: &Site) -> Verdict {
        let began = Instant::now();
        let mut faults = Vec::new();
        let mut told = String::new();
        if let Err(error) = self.go(site, &mut faults, &mut told).await {
            faults.push(format!("{error:#}"));
        }
        Verdict { faults, told, case: format!("{} × {}", self.vendor, self.row.name), took: began.elapsed() }
    }

    async fn go(&self, site: &Site, faults: &mut Vec<String>, told: &mut String) -> anyhow::Result<()> {
        let machine = site.machine(self.machine);
        if self.row.runs {
            machine.power_on().await?;
        }
        let armed = (self.row.arm)(machine);
        for injection in &armed {
            machine.inject(injection.clone());
        }
        let timeouts = self.row.limit.map_or(json!({}), |(phase, time)| json!({ (phase): time }));
        let recipe = site.recipe_with("timeouts", timeouts);
        let id = site.api().submit(site.serial(self.machine), recipe).await?;
        let open = |job: &Value| job["status"] == "queued" || job["status"] == "provisioning";
        let decided = wait(site, &id, "decided", |job| !open(job)).await?;
        let (ends, shows) = self.ends();
        if let Ends::Failed(..) = ends {
            // The operator mends it; what is left to do is the controller's.
            machine.clear_faults();
        }
        let job = wait(site, &id, "complete", |job| job["complete"] == true).await?;
        judge_end(ends, &decided, faults);
        self.judge_host(site, ends, faults).await;
        let lies = |seen: &Injection| matches!(seen.fault, Fault::PowerLies { .. });
        judge_bmc(machine, ends, armed.iter().any(lies), faults);
        let seen = machine.shown_faults();
        for injection in &armed {
            let kind = injection.fault.kind();
            if seen.contains_key(&kind) != shows {
                faults.push(format!("the fault {kind} showed: {}", !shows));
            }
        }
        if !faults.is_empty() {
            faults.push(format!("timeline: {}", timeline(&job, LINES)));
        }
        told.push_str(&timeline(&job, usize::MAX));
        if !no_session(machine).await {
            faults.push(format!("{} sessions are still open", machine.open_sessions()));
        }
        Ok(())
    }

    /// What the host behind the BMC lived through.
    async fn judge_host(&self, site: &Site, ends: Ends, faults: &mut Vec<String>) {
        let stage = site.stage(self.machine);
        let erased = stage.times(&Deed::Wiped);
        match ends {
            Ends::Well => {
                if erased != 1 {
                    faults.push(format!("its disk was erased {erased} times"));
                }
                if let Err(error) = stage.wait_deed(&Deed::NewSystem, GOODBYE).await {
                    faults.push(format!("{error:#}"));
                }
            }
            Ends::Failed(..) if erased > 0 => faults.push("its disk was erased".into()),
            Ends::Failed(..) => {}
        }
    }
}

fn judge_end(ends: Ends, job: &Value, faults: &mut Vec<String>) {
    let (status, code) = (&job["status"], job["reason_code"].as_str().unwrap_or_default());
    let reason = job["reason"].as_str().unwrap_or_default();
    match ends {
        Ends::Well if status != "succeeded" => faults.push(format!("ended {status} by {code}: {reason}")),
        Ends::Well => {}
        Ends::Failed(codes, words) => {
            if status != "failed" || !codes.contains(&code) {
                faults.push(format!("ended {status} by {code:?} and not by {codes:?}: {reason}"));
            }
            for word in words.iter().filter(|word| !reason.contains(**word)) {
                faults.push(format!("the reason does not name {word:?}: {reason}"));
            }
        }
    }
}

/// `claims_on`: the BMC said that the machine ran, so it is left running.
fn judge_bmc(machine: &Machine, ends: Ends, claims_on: bool, faults: &mut Vec<String>) {
    for slot in machine.slots() {
        if let Some(image) = slot.image {
            faults.push(format!("slot {} still holds {image}", slot.id));
        }
    }
    let wanted = if matches!(ends, Ends::Well) || claims_on { Power::On } else { Power::Off };
    if machine.power() != wanted {
        faults.push(format!("its power is {:?}", machine.power()));
    }
    let others = &machine.model().layout.others;
    for seen in machine.requests() {
        let other = others.iter().any(|other| seen.path.contains(&format!("/Systems/{other}")));
        if other && seen.method != "GET" {
            faults.push(format!("{} {} touches another system", seen.method, seen.path));
        }
    }
}

async fn no_session(machine: &Machine) -> bool {
    let end = Instant::now() + GOODBYE;
    while machine.open_sessions() > 0 {
        if Instant::now() > end {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

async fn wait(site: &Site, id: &str, wanted: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let job = site.api().job(id).await?;
        if is(&job) {
            return Ok(job);
        }
        if Instant::now() > end {
            anyhow::bail!(
                "the job is not {wanted}: {} {}; {}",
                job["phase"],
                job["wait"],
                timeline(&job, LINES)
            );
        }
        sleep(LOOK).await;
    }
}

/// The last lines of a job's timeline.
fn timeline(job: &Value, most: usize) -> String {
    let events = job["timeline"].as_array().cloned().unwrap_or_default();
    let from = events.len().saturating_sub(most);
    let lines = events[from..].iter().map(|event| {
        let text = event["message"].as_str().or(event["text"].as_str()).unwrap_or_default();
        let (at, code) =
            (event["at"].as_str().unwrap_or_default(), event["code"].as_str().unwrap_or_default());
        format!("\n      {} {code} {text:.200}", at.get(11..23).unwrap_or_default())
    });
    lines.collect()
}
