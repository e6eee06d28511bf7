//! What a host says, and what it is answered.
//!
//! ```text
//!   token ▶ job ▶ judge(job, report) ▶ Change ▶ durable ▶ answer
//!                    │ pure                    ▲ the answer is given only after this
//! ```
//! Nothing is wiped twice: `started` commits the boot's nonce before the host hears `proceed`; the same boot may
//! ask again, any other is refused. The first failure of an attempt wins. A repeated delivery changes nothing.

use std::sync::Arc;

use jiff::Timestamp;
use schema::event::{Proceed, Received, Report, ReportStatus, StepState};

use super::Workflow;
use super::change::{self, tell};
use super::error::ReportError;
use super::hub::STEPS_MAX;
use super::redact::Redactor;
use super::tokens::{self, Presented, Purpose};
use super::write::Written;
use crate::model::job::Progress;
use crate::model::machine::serial_key;
use crate::model::{Ending, Failure, Input, Job, JobState, NewEvent, Phase, Source, StepRecord, StepStatus};
use crate::store::{self, Change, HostLog};

/// What a host is answered when all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `started`: go on.
    Proceed(Proceed),
    /// To everything else.
    Received(Received),
}

/// The unit that speaks when the host could not even ask.
const DISPATCHER_UNIT: &str = "slipway-dispatcher.service";
/// Longest unit name kept.
const UNIT_MAX: usize = 128;
/// Longest message of a host kept, in characters.
const MESSAGE_MAX: usize = 1000;
/// Longest log tail kept, in bytes.
const TAIL_MAX: usize = 16 << 10;

impl Workflow {
    /// Takes in a report for the machine in the URL. The answer is given only after what it says is durable; a host
    /// that is gone before its answer comes (it powers off, say) has reported all the same.
    pub async fn report(
        self: &Arc<Self>,
        serial: &str,
        bearer: &str,
        report: Report,
    ) -> Result<Answer, ReportError> {
        let Some(token) = Presented::read(bearer) else { return Err(ReportError::Unauthorized) };
        let job = self.job_of(&token).await?;
        check(&token, &job, serial, &report)?;
        if let Some(delivery) = report.delivery_id.clone() {
            let id = job.id.clone();
            if store::on(&self.deps.store, move |store| store.delivery_seen(&id, &delivery)).await? {
                return Ok(self.answer(&job, &report));
            }
        }
        match report.status {
            ReportStatus::Heartbeat | ReportStatus::Progress => self.hear(&job, &report),
            _ => {
                let workflow = Arc::clone(self);
                let taken = async move { workflow.take_in(job, report).await };
                self.whole(taken).await?
            }
        }
    }

    /// Heartbeats and progress: memory only.
    fn hear(&self, job: &Job, report: &Report) -> Result<Answer, ReportError> {
        if job.state.is_released() {
            return Err(late(job));
        }
        let progress =
            report.step.as_deref().filter(|_| report.status == ReportStatus::Progress).map(|step| {
                let progress = Progress {
                    done: report.done.unwrap_or(0),
                    total: report.total,
                    message: report.message.as_deref().map(|text| text.chars().take(200).collect()),
                };
                (step_name(step), progress)
            });
        self.hub.heard(&job.id, self.now(), progress);
        Ok(self.answer(job, report))
    }

    /// Everything durable.
    async fn take_in(&self, job: Job, report: Report) -> Result<Answer, ReportError> {
        let redactor = if report.message.is_some() || report.log_tail.is_some() {
            self.redactor(&job).await?
        } else {
            Redactor::default()
        };
        let (now, said) = (self.now(), report.clone());
        let message = report.message.as_deref().map(|text| redactor.clean(text));
        let written = self.write(&job.id, move |job| judge(job, &said, message.as_deref(), now)).await?;
        let job = match written {
            Written::Done(job) | Written::Unchanged(job) => *job,
            Written::Repeated => job,
            Written::Unknown => return Err(ReportError::Unauthorized),
            Written::Fenced => {
                let message = "the controller is busy with this job; try again".to_owned();
                return Err(ReportError::Conflict { code: "report.busy", message });
            }
            Written::Refused(refusal) => {
                if refusal.code() == SECOND_BOOT {
                    self.alarm_second_boot(&job, &report).await?;
                }
                return Err(refusal);
            }
        };
        self.hub.heard(&job.id, now, None);
        if let Some(tail) = &report.log_tail {
            let log = HostLog {
                job_id: job.id.clone(),
                attempt: job.attempt,
                name: report.failed_step.clone().unwrap_or_else(|| "journal".to_owned()),
                at: now,
                text: redactor.clean(tail_of(tail)),
            };
            store::on(&self.deps.store, move |store| store.append_log(log)).await?;
        }
        Ok(self.answer(&job, &report))
    }

    fn answer(&self, job: &Job, report: &Report) -> Answer {
        if report.status == ReportStatus::Started
            && let Some(nonce) = &job.boot_nonce
        {
            let token = tokens::session(&self.deps.site_keys, &job.id, job.attempt, nonce);
            return Answer::Proceed(Proceed { proceed: true, session_token: token.expose().clone() });
        }
        let held = matches!(job.state, JobState::Over { ending: Ending::Holding, .. });
        Answer::Received(Received { received: true, power_off: job.state.outcome().is_some() && !held })
    }

    async fn alarm_second_boot(&self, job: &Job, report: &Report) -> Result<(), ReportError> {
        if !self.hub.first_alarm(&job.id, report.boot_nonce.as_deref().unwrap_or_default()) {
            return Ok(());
        }
        let text = "the machine booted the maintenance OS again during this attempt; it was refused and touches nothing";
        let event = NewEvent::new(self.now(), Source::Controller, "alarm.second_boot", text);
        tracing::warn!(job_id = %job.id, serial = %job.serial, "second boot refused");
        Ok(self.note(job, vec![event]).await?)
    }
}

const SECOND_BOOT: &str = "report.second_boot";

/// Whether this token may say this at all.
fn check(token: &Presented, job: &Job, serial: &str, report: &Report) -> Result<(), ReportError> {
    let forbidden = ReportError::Forbidden { status: word(report.status) };
    let foreign = serial_key(serial) != serial_key(&job.serial)
        || report.job_id.as_deref().is_some_and(|id| id != job.id.as_str())
        || report.attempt.is_some_and(|attempt| attempt != job.attempt);
    let allowed = match token.purpose {
        Purpose::Session => report.status != ReportStatus::Started,
        // Before it may ask, a host can only ask, or say why it cannot.
        Purpose::Bootstrap => match report.status {
            ReportStatus::Started => true,
            ReportStatus::Failed => report.failed_step.as_deref() == Some(DISPATCHER_UNIT),
            _ => false,
        },
    };
    if foreign || !allowed {
        return Err(forbidden);
    }
    let other_boot = token.purpose == Purpose::Session
        && report.boot_nonce.is_some()
        && report.boot_nonce != job.boot_nonce;
    if other_boot {
        return Err(second_boot(job));
    }
    let too_long = [&report.step, &report.failed_step, &report.delivery_id, &report.boot_nonce]
        .into_iter()
        .flatten()
        .any(|text| text.len() > UNIT_MAX || text.is_empty() || text.chars().any(char::is_control));
    if too_long {
        let message =
            format!("step, failed_step, delivery_id and boot_nonce are 1 to {UNIT_MAX} plain characters");
        return Err(ReportError::Malformed { message });
    }
    Ok(())
}

/// What a durable report makes of a job. Pure.
fn judge(
    job: Job,
    report: &Report,
    message: Option<&str>,
    now: Timestamp,
) -> Result<Option<Change>, ReportError> {
    let mut change = match report.status {
        ReportStatus::Started => match started(job, report, now)? {
            Some(change) => change,
            None => return Ok(None),
        },
        ReportStatus::Step => step(job, report, now)?,
        ReportStatus::Success => {
            let hold = job.on_success == schema::recipe::OnSuccess::Stay;
            outcome(job, Input::Succeeded { hold }, now)?
        }
        ReportStatus::Failed => failed(job, report, message, now)?,
        ReportStatus::Progress | ReportStatus::Heartbeat => return Ok(None),
    };
    change.delivery.clone_from(&report.delivery_id);
    Ok(Some(change))
}

fn started(mut job: Job, report: &Report, now: Timestamp) -> Result<Option<Change>, ReportError> {
    let Some(nonce) = report.boot_nonce.clone() else {
        let message = "`started` needs boot_nonce, a fresh random value of this boot".to_owned();
        return Err(ReportError::Malformed { message });
    };
    match &job.boot_nonce {
        Some(first) if *first != nonce => return Err(second_boot(&job)),
        // The same boot asks again: it did not hear the answer. While the job is not decided, it is the same answer.
        Some(_) if job.state == JobState::Provisioning(Phase::Installing) => return Ok(None),
        Some(_) => return Err(late(&job)),
        None => {}
    }
    if job.state.outcome().is_some() {
        return Err(late(&job));
    }
    if job.state != JobState::Provisioning(Phase::Booting) {
        let message =
            format!("job {} is {}; this machine was not switched on for it yet", job.id, job.state.name());
        return Err(ReportError::Conflict { code: "report.early", message });
    }
    job.boot_nonce = Some(nonce);
    if job.destructive {
        job.destructive_started = Some(now);
    }
    let text = if job.destructive {
        "the host asked and was told to proceed; from here on its disk may be written"
    } else {
        "the host asked and was told to proceed"
    };
    let mut change = change::transition(job, Input::Started, now).map_err(illegal)?;
    change.events.insert(0, NewEvent::new(now, Source::Host, "host.started", text));
    Ok(Some(change))
}

fn step(mut job: Job, report: &Report, now: Timestamp) -> Result<Change, ReportError> {
    if job.state != JobState::Provisioning(Phase::Installing) {
        return Err(late(&job));
    }
    let (Some(unit), Some(state)) = (&report.step, report.step_state) else {
        return Err(ReportError::Malformed { message: "`step` needs step and step_state".to_owned() });
    };
    let name = step_name(unit);
    if !job.steps.iter().any(|step| step.name == name) {
        if job.steps.len() >= STEPS_MAX {
            let message = format!("a job has at most {STEPS_MAX} steps");
            return Err(ReportError::Malformed { message });
        }
        job.steps.push(StepRecord::waiting(name.clone())); // a site's own target
    }
    let text = match state {
        StepState::Started => format!("{name} started"),
        StepState::Finished => format!("{name} finished"),
    };
    for step in job.steps.iter_mut().filter(|step| step.name == name) {
        match state {
            StepState::Started => {
                step.started_at.get_or_insert(now);
                if step.status == StepStatus::Waiting {
                    step.status = StepStatus::Running;
                }
            }
            StepState::Finished => {
                step.started_at.get_or_insert(now);
                step.finished_at = Some(now);
                step.status = StepStatus::Finished;
            }
        }
    }
    let code = if state == StepState::Started { "step.started" } else { "step.finished" };
    job.updated_at = now;
    let mut change = Change::of(job);
    change.events.push(NewEvent::new(now, Source::Host, code, text).step(name.clone()));
    tell(&mut change, "job.step");
    if let Some(telling) = change.announcements.last_mut() {
        telling.data["step"] = serde_json::json!(name);
        telling.data["step_state"] = serde_json::json!(state);
    }
    Ok(change)
}

fn failed(job: Job, report: &Report, message: Option<&str>, now: Timestamp) -> Result<Change, ReportError> {
    let Some(unit) = report.failed_step.clone().or_else(|| report.step.clone()) else {
        let message = "`failed` needs failed_step, the systemd unit that failed".to_owned();
        return Err(ReportError::Malformed { message });
    };
    // Before its question was answered, only the dispatcher can fail, and only while an answer is awaited: a second
    // boot that is refused reports this too, and must not end the job of the first.
    let asked = job.boot_nonce.is_some();
    let other_boot = report.boot_nonce.is_some() && asked && report.boot_nonce != job.boot_nonce;
    if other_boot {
        return Err(second_boot(&job));
    }
    if !asked && job.state != JobState::Provisioning(Phase::Booting) {
        return Err(late(&job));
    }
    let mut reason: String = match message {
        Some(text) if !text.trim().is_empty() => text.trim().chars().take(MESSAGE_MAX).collect(),
        _ => "it gave no reason; its log is with the job".to_owned(),
    };
    if let Some(code) = report.exit_code {
        reason = format!("{reason} (exit code {code})");
    }
    if let Some(found) = &report.found_serial {
        let found: String = found.chars().take(64).collect();
        reason = format!("{reason} (this machine says it is {found:?}, the job is for {:?})", job.serial);
    }
    let code = if unit == DISPATCHER_UNIT { dispatcher_code(report.exit_code) } else { "step.failed" };
    let hold = job.on_failure == schema::recipe::OnFailure::Stay;
    let failure = Failure { failed_step: unit, code: code.to_owned(), reason };
    outcome(job, Input::Failed { failure, hold }, now)
}

/// The dispatcher's exit codes from 20 on (host.md) as codes of ours.
fn dispatcher_code(exit: Option<i32>) -> &'static str {
    match exit {
        Some(20) => "host.recipe_invalid",
        Some(21) => "host.wrong_machine",
        Some(22) => "host.not_allowed",
        Some(30) => "host.hand_off",
        Some(40) => "host.target",
        _ => "host.dispatcher",
    }
}

fn outcome(job: Job, input: Input, now: Timestamp) -> Result<Change, ReportError> {
    if job.state.outcome().is_some() {
        return Err(late(&job));
    }
    change::transition(job, input, now).map_err(illegal)
}

fn late(job: &Job) -> ReportError {
    let message = format!(
        "job {} is {} ({}); this report comes too late and changes nothing",
        job.id,
        job.state.status().as_str(),
        job.state.name()
    );
    ReportError::Conflict { code: "report.late", message }
}

fn second_boot(job: &Job) -> ReportError {
    let message = format!("job {} was given to another boot of this attempt; touch nothing", job.id);
    ReportError::Conflict { code: SECOND_BOOT, message }
}

#[allow(clippy::needless_pass_by_value)] // it is given to map_err
fn illegal(source: crate::model::Illegal) -> ReportError {
    ReportError::Conflict { code: "report.early", message: source.to_string() }
}

fn step_name(unit: &str) -> String {
    unit.strip_suffix(".service").unwrap_or(unit).to_owned()
}

fn tail_of(text: &str) -> &str {
    let mut start = text.len().saturating_sub(TAIL_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

fn word(status: ReportStatus) -> &'static str {
    match status {
        ReportStatus::Started => "started",
        ReportStatus::Step => "step",
        ReportStatus::Progress => "progress",
        ReportStatus::Heartbeat => "heartbeat",
        ReportStatus::Success => "success",
        ReportStatus::Failed => "failed",
    }
}
