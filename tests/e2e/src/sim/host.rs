//! A server as firmware, maintenance OS and installed system in one: boots what it is told to, and in the maintenance
//! OS does over the wire what dispatcher and steps do.
//!
//! ```text
//!   boot ─▶ disc? ─▶ trust, task medium ─▶ verify ─▶ identity ─▶ started? ─▶ steps ─▶ success | failed ─▶ off
//!             └─ disk: old system, nothing, or the installed one            └─ heartbeats all the while
//! ```

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use dispatcher::verify::{self, TaskMedium};
use mock_redfish::{Boot, BootSource, Host, HostExit, HostPower};
use schema::event::{DISPATCHER_UNIT, ReportStatus, StepState};
use schema::recipe::Recipe;
use schema::task::{COMPOSED_TASK_FILE, Identity, MAINTENANCE_LABEL, TASK_LABEL, TRUST_FILE};

use super::disc::Disc;
use super::script::{Deed, Disk, Moment, Playbook, Script, Stage};
use super::wire::{Refused, Wire};

/// Exit codes of the dispatcher that are reported (host.md).
const WRONG_MACHINE: i32 = 21;
const NOT_ALLOWED: i32 = 22;
/// Between two looks for a medium.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Plays every server of a rack, each by its own script.
pub struct SimHost {
    playbook: Arc<Playbook>,
    http: reqwest::Client,
}

/// How the work in the maintenance OS ended.
enum End {
    Off,
    Restart,
    Idle,
}

/// What one boot of the maintenance OS works with.
struct Work<'a> {
    boot: &'a Boot,
    stage: &'a Stage,
    script: Script,
    power: &'a HostPower,
}

impl SimHost {
    /// Hosts that follow `playbook`.
    pub fn new(playbook: Arc<Playbook>) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        Ok(Self { playbook, http })
    }

    /// The disc that firmware boots, when it boots one.
    fn disc<'a>(boot: &'a Boot, stage: &Stage) -> Option<&'a str> {
        match &boot.source {
            BootSource::Slot { .. } => boot.boot_medium(),
            BootSource::UefiHttp { uri } => Some(uri),
            // A disk that does not boot: firmware goes on to the drives.
            BootSource::Order if stage.disk() == Disk::Wiped => {
                boot.media.first().map(|medium| medium.url.as_str())
            }
            _ => None,
        }
    }

    /// The dispatcher is started again and again until there is a medium it may use; the first fault is kept.
    async fn wait_for_medium(
        &self,
        boot: &Boot,
        maintenance: &str,
        stage: &Stage,
        power: &HostPower,
    ) -> TaskMedium {
        let mut said = false;
        loop {
            match self.medium(boot, maintenance).await {
                Ok(medium) => return medium,
                Err(error) if !said => {
                    said = true;
                    power.print(&format!("{error:#}"));
                    stage.did(Deed::NoMedium(format!("{error:#}")));
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Trust block and task medium, found by label and checked as the dispatcher does.
    async fn medium(&self, boot: &Boot, maintenance: &str) -> Result<TaskMedium> {
        let disc = Disc::at(self.http.clone(), maintenance);
        let label = disc.label().await?;
        if label.as_deref() != Some(MAINTENANCE_LABEL) {
            bail!("booted from {maintenance}, which is labelled {label:?}");
        }
        let files = disc.files().await?;
        let trust = *files.get(TRUST_FILE).context("the disc has no trust block")?;
        let keys = verify::trusted_keys(&disc.read(trust).await?)?;
        let task = self.task_disc(boot, maintenance, &disc).await?;
        let folder = tempfile::tempdir()?;
        task.copy_to(folder.path()).await?;
        Ok(tokio::task::spawn_blocking(move || verify::medium(folder.path(), &keys)).await??)
    }

    async fn task_disc(&self, boot: &Boot, maintenance: &str, disc: &Disc) -> Result<Disc> {
        for medium in boot.media.iter().filter(|medium| medium.url != maintenance) {
            let task = Disc::at(self.http.clone(), &medium.url);
            // What cannot be read is no task medium; the dispatcher goes by labels, too.
            if matches!(task.label().await, Ok(Some(label)) if label == TASK_LABEL) {
                return Ok(task);
            }
        }
        let files = disc.files().await?;
        let composed = *files.get(COMPOSED_TASK_FILE).context("no place for a composed task medium")?;
        let task = disc.inside(composed);
        if task.label().await?.as_deref() == Some(TASK_LABEL) {
            return Ok(task);
        }
        bail!("no disc labelled {TASK_LABEL} in any drive")
    }
}

#[async_trait]
impl Host for SimHost {
    async fn booted(&self, boot: Boot, power: HostPower) -> HostExit {
        let stage = self.playbook.stage(&boot.serial);
        let Some(maintenance) = Self::disc(&boot, &stage) else {
            let (deed, line) = match stage.disk() {
                Disk::Old => (Deed::OldSystem, "old system login:"),
                Disk::Installed => (Deed::NewSystem, "new system login:"),
                Disk::Wiped => (Deed::Nothing, "no bootable device"),
            };
            stage.did(deed);
            power.print(line);
            return HostExit::Stays;
        };
        stage.did(Deed::Maintenance);
        stage.pass(Moment::Booted).await;
        let medium = self.wait_for_medium(&boot, maintenance, &stage, &power).await;
        let work = Work { boot: &boot, stage: &stage, script: stage.plan(), power: &power };
        match work.run(&medium).await {
            Ok(End::Off) if !work.script.stays_on => {
                stage.did(Deed::PoweredOff);
                HostExit::PoweredOff
            }
            Ok(End::Off | End::Idle) => HostExit::Stays,
            Ok(End::Restart) => {
                stage.did(Deed::Restarted);
                HostExit::Restarted
            }
            Err(error) => {
                power.print(&format!("{error:#}"));
                stage.did(Deed::NoMedium(format!("{error:#}")));
                HostExit::Stays
            }
        }
    }
}

impl Work<'_> {
    async fn run(&self, medium: &TaskMedium) -> Result<End> {
        let wire = Wire::new(&medium.job, &medium.job.expected.serial)?;
        let found = Identity {
            serial: self.script.dmi_serial.clone().unwrap_or_else(|| self.boot.serial.clone()),
            uuid: Some(self.boot.uuid.clone()),
            macs: self.boot.macs.clone(),
        };
        if let Err(mismatch) = schema::identity::check(&medium.job.expected, &found) {
            let mut report = wire.report(ReportStatus::Failed);
            report.failed_step = Some(DISPATCHER_UNIT.to_owned());
            report.exit_code = Some(WRONG_MACHINE);
            report.message = Some(mismatch.to_string());
            report.found_serial = Some(found.serial);
            return Ok(
                self.ended(wire.tell_without_leave(&report).await, Deed::Failed(DISPATCHER_UNIT.into()))
            );
        }
        let recipe = schema::validate::recipe(&medium.recipe)
            .map_err(|refusal| anyhow::anyhow!("the recipe on the medium: {refusal}"))?;
        self.stage.pass(Moment::Asking).await;
        let token = match self.ask(&wire).await? {
            Ok(token) => token,
            Err(refused) => return Ok(self.refused(&wire, &refused).await),
        };
        self.stage.did(Deed::Proceeds);
        if self.script.mute {
            std::future::pending::<()>().await;
        }
        // Whatever comes first: the end of the work, or the word to power off.
        tokio::select! {
            end = self.steps(&wire, &token, &recipe) => end,
            () = self.beat(&wire, &token) => Ok(End::Off),
        }
    }

    async fn ask(&self, wire: &Wire) -> Result<Result<String, Refused>> {
        let mut token: Option<String> = None;
        for _ in 0..self.script.asks {
            match wire.ask().await {
                Ok(answer) if token.as_ref().is_some_and(|first| *first != answer.session_token) => {
                    bail!("the same question got two answers");
                }
                Ok(answer) if answer.proceed => token = Some(answer.session_token),
                Ok(_) => bail!("200 without proceed"),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        token.context("the script asks not even once").map(Ok)
    }

    /// Idle, and nothing is touched. It is mentioned once; nobody has to believe it.
    async fn refused(&self, wire: &Wire, refused: &Refused) -> End {
        self.stage.did(Deed::Refused(refused.status));
        self.power.print(&format!("not allowed to proceed: {}", refused.text));
        let mut report = wire.report(ReportStatus::Failed);
        report.failed_step = Some(DISPATCHER_UNIT.to_owned());
        report.exit_code = Some(NOT_ALLOWED);
        let _ = wire.tell_without_leave(&report).await;
        End::Idle
    }

    /// Heartbeats until the controller wants the power off.
    async fn beat(&self, wire: &Wire, token: &str) {
        loop {
            tokio::time::sleep(self.script.heartbeat).await;
            match wire.tell(token, &wire.report(ReportStatus::Heartbeat)).await {
                Ok(received) if received.power_off => return,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn steps(&self, wire: &Wire, token: &str, recipe: &Recipe) -> Result<End> {
        self.stage.pass(Moment::Proceeding).await;
        if self.stage.restarts(Moment::Proceeding) {
            return Ok(End::Restart);
        }
        let target = schema::target::find(&recipe.task_target).context("a target that is not ours")?;
        for name in target.steps {
            let unit = format!("{name}.service");
            self.step(wire, token, &unit, StepState::Started).await?;
            self.stage.pass(Moment::Step(name)).await;
            if self.stage.restarts(Moment::Step(name)) {
                return Ok(End::Restart);
            }
            match self.script.fails_at {
                Some((failing, code)) if failing == *name => {
                    return Ok(self
                        .fails(wire, token, &unit, code, "it went wrong, as the script says")
                        .await);
                }
                _ => {}
            }
            if let Err(error) = self.does(wire, token, name).await {
                return Ok(self.fails(wire, token, &unit, 1, &format!("{error:#}")).await);
            }
            self.stage.did(Deed::Step((*name).to_owned()));
            self.step(wire, token, &unit, StepState::Finished).await?;
        }
        self.stage.pass(Moment::Reporting).await;
        if self.stage.restarts(Moment::Reporting) {
            return Ok(End::Restart);
        }
        let heard = wire.tell(token, &wire.report(ReportStatus::Success)).await;
        Ok(self.held(wire, token, heard, Deed::Succeeded).await)
    }

    /// What a step does to this machine.
    async fn does(&self, wire: &Wire, token: &str, name: &str) -> Result<()> {
        match name {
            "partition" | "wipe" => {
                self.stage.did(Deed::Wiped);
                self.stage.write_disk(Disk::Wiped);
            }
            "image-linux" => {
                let mut report = wire.report(ReportStatus::Progress);
                report.step = Some("image-linux.service".to_owned());
                (report.done, report.total) = (Some(1), Some(2));
                let _ = wire.tell(token, &report).await;
                if let Some(digest) = wire.pull(token).await? {
                    self.stage.did(Deed::Pulled(digest));
                }
            }
            "bootloader-linux" => self.stage.write_disk(Disk::Installed),
            _ => {}
        }
        Ok(())
    }

    async fn step(&self, wire: &Wire, token: &str, unit: &str, state: StepState) -> Result<()> {
        let mut report = wire.report(ReportStatus::Step);
        report.step = Some(unit.to_owned());
        report.step_state = Some(state);
        match wire.tell(token, &report).await {
            Ok(_) => Ok(()),
            // The job is over; the next heartbeat says what to do.
            Err(refused) if refused.status == 409 => std::future::pending().await,
            Err(refused) => bail!("a step report got {} {}", refused.status, refused.text),
        }
    }

    async fn fails(&self, wire: &Wire, token: &str, unit: &str, code: i32, message: &str) -> End {
        let mut report = wire.report(ReportStatus::Failed);
        report.failed_step = Some(unit.to_owned());
        report.exit_code = Some(code);
        report.message = Some(message.to_owned());
        report.log_tail = Some(self.script.log_tail.clone());
        let heard = wire.tell(token, &report).await;
        self.held(wire, token, heard, Deed::Failed(unit.to_owned())).await
    }

    /// Powers off when told to; where the job is kept for an operator it goes on beating until that ends.
    async fn held(
        &self,
        wire: &Wire,
        token: &str,
        heard: Result<schema::event::Received, Refused>,
        deed: Deed,
    ) -> End {
        if let Ok(received) = &heard
            && !received.power_off
        {
            self.stage.did(deed);
            self.beat(wire, token).await;
            return End::Off;
        }
        self.ended(heard, deed)
    }

    fn ended(&self, heard: Result<schema::event::Received, Refused>, deed: Deed) -> End {
        match heard {
            Ok(_) => {
                self.stage.did(deed);
                End::Off
            }
            Err(refused) => {
                self.stage.did(Deed::Refused(refused.status));
                End::Idle
            }
        }
    }
}
