//! `slipway-dispatcher run`: from an empty drive to a target that systemd works on.
//!
//! ```text
//!   medium ─▶ clock ─▶ network ─▶ identity ─▶ recipe ─▶ target ─▶ proceed? ─▶ hand-off ─▶ start ─▶ follow
//!   10 11 12                        21          20        40        22           30         40
//! ```
//! Nothing that destroys can happen before the controller has said yes to this very boot.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use schema::event::{Report, ReportStatus};
use schema::recipe::Recipe;
use schema::task::TaskJob;

use crate::clock::{self, Clock};
use crate::cmdline::KernelCommandLine;
use crate::console::Screen;
use crate::controller::{AddressError, Controller, Token, host_of};
use crate::debug_ssh::DebugSsh;
use crate::delivery::{Sender, Wire, chain};
use crate::exit::Exit;
use crate::fault::Fault;
use crate::follow::{End, Follow};
use crate::handoff::Handoff;
use crate::identity::Hardware;
use crate::medium::{self, Media};
use crate::network::{self, Network};
use crate::overrides::{self, DropIn};
use crate::power::Power;
use crate::systemd::{Systemd, SystemdError};
use crate::targets;
use crate::verify::TaskMedium;

/// Makes the way to the controller that a job names.
pub type Connect<'a> = &'a dyn Fn(&TaskJob) -> Result<Box<dyn Controller>, AddressError>;
/// Makes the way to systemd.
pub type ConnectSystemd<'a> = &'a dyn Fn() -> Result<Box<dyn Systemd>, SystemdError>;

/// The machine, as the dispatcher sees it: every edge a trait.
pub struct Host<'a> {
    /// Drives.
    pub media: &'a dyn Media,
    /// Words of the kernel command line.
    pub words: KernelCommandLine,
    /// NICs.
    pub network: &'a dyn Network,
    /// DMI.
    pub hardware: &'a dyn Hardware,
    /// Time.
    pub clock: &'a dyn Clock,
    /// When the maintenance OS was built.
    pub built: Option<Timestamp>,
    /// The controller.
    pub connect: Connect<'a>,
    /// PID 1.
    pub systemd: ConnectSystemd<'a>,
    /// The off switch.
    pub power: &'a dyn Power,
    /// Status lines.
    pub screen: &'a dyn Screen,
    /// `/run/provision`.
    pub handoff: Handoff,
    /// Folder of the targets' unit files.
    pub target_dir: &'a Path,
    /// Root that drop-ins are written below; `/` outside tests.
    pub root: &'a Path,
    /// Ends the following, for tests.
    pub stop: &'a AtomicBool,
}

/// How long one run looks for a medium before it exits and systemd starts it again.
const LOOK_FOR: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Heartbeats more often than this help nobody; more seldom than a minute would look like lost contact.
const HEARTBEAT_BOUNDS: (u32, u32) = (1, 60);

/// docs/decisions/0009: nothing on a medium holds an image, so a host without its controller has nothing to install.
const OFFLINE_REFUSED: &str = "job.json permits to run without the controller, which this maintenance OS never does: \
                               make the medium without that permission, and let the host reach its controller";

/// Everything that is known once the medium was read.
struct Task<'a> {
    medium: &'a TaskMedium,
    sender: Sender,
    bootstrap: Token,
    wire: Wire<'a>,
}

impl Host<'_> {
    /// Runs to the end of this machine's job, or to the first thing that forbids it.
    pub fn run(&self) -> Exit {
        if let Some(target) = self.handoff.dispatched() {
            return self.resume(&target);
        }
        let serial = self.hardware.identity().serial;
        let serial = match serial.trim() {
            "" => "not given by the firmware",
            serial => serial,
        };
        self.screen.line(&format!("serial number {serial}; waiting for a task medium"));
        match self.wait_for_medium() {
            Ok(medium) => self.with_medium(&medium),
            Err(exit) => exit,
        }
    }

    fn wait_for_medium(&self) -> Result<TaskMedium, Exit> {
        let mut waited = Duration::ZERO;
        let mut said = String::new();
        loop {
            let problem = match medium::find(self.media, &self.words) {
                Ok(medium) => return Ok(medium),
                Err(problem) => problem,
            };
            let text = chain(&problem);
            if text != said {
                self.screen.line(&text);
                said = text;
            }
            if waited >= LOOK_FOR {
                return Err(problem.exit());
            }
            self.clock.sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
    }

    fn with_medium(&self, medium: &TaskMedium) -> Exit {
        let job = &medium.job;
        self.screen.line(&format!("task medium for job {} attempt {} is genuine", job.job_id, job.attempt));
        if let Some(to) = clock::forward(self.clock.now(), self.built, job.issued_at) {
            match self.clock.set(to) {
                Ok(()) => self.screen.line(&format!("clock moved forward to {to}")),
                Err(error) => {
                    self.screen.line(&format!("the clock could not be moved forward to {to}: {error}"));
                }
            }
        }
        // A file of the medium that networkd does not take leaves DHCP in force: better than no word at all.
        if let Err(error) = network::configure(self.network, medium.folder("host-network")) {
            self.screen.line(&chain(&error));
        }
        // Through a proxy it is the proxy that must be reached.
        let first = job.proxy_for(&job.api_url).unwrap_or(&job.api_url);
        network::wait(self.network, self.clock, self.screen, &host_of(first).unwrap_or_default());

        let controller = match (self.connect)(job) {
            Ok(controller) => controller,
            Err(error) => return self.idle(&chain(&error)),
        };
        let Some(bootstrap) = Token::new(&job.bootstrap_token) else {
            return self.idle("job.json holds no usable token");
        };
        let boot_nonce = match self.handoff.boot_nonce() {
            Ok(nonce) => nonce,
            Err(error) => {
                // Without a nonce this boot cannot be told from another, so it may not even ask.
                self.screen.line(&chain(&error));
                return Exit::HandoffFailed;
            }
        };
        let task = Task {
            medium,
            sender: Sender { job_id: job.job_id.clone(), attempt: job.attempt, boot_nonce },
            bootstrap,
            wire: Wire { controller: &*controller, clock: self.clock, screen: self.screen },
        };
        let (recipe, steps) = match self.check(&task) {
            Ok(checked) => checked,
            Err(fault) => return self.give_up(&task.sender, task.wire, &task.bootstrap, &fault),
        };
        self.screen.line("asking the controller for leave to proceed");
        let started = Report {
            found_serial: Some(self.hardware.identity().serial),
            ..task.sender.report(ReportStatus::Started, "")
        };
        let token = match task.wire.ask(&task.bootstrap, &started) {
            Ok(token) => token,
            Err(refusal) => {
                let fault = Fault::new(Exit::NotAllowed, &refusal);
                task.wire.mention(&task.bootstrap, &fault.report(&task.sender));
                return self.idle(&refusal.to_string());
            }
        };
        match self.start(&task, &recipe, &steps, &token) {
            Ok(systemd) => self.follow(&task.sender, &token, task.wire, &*systemd, &recipe, &steps, job),
            Err(fault) => self.give_up(&task.sender, task.wire, &token, &fault.under(&recipe)),
        }
    }

    /// Everything that can be checked without leave: machine, recipe, target.
    fn check(&self, task: &Task) -> Result<(Recipe, Vec<String>), Fault> {
        let found = self.hardware.identity();
        schema::identity::check(&task.medium.job.expected, &found)
            .map_err(|mismatch| Fault::new(Exit::WrongMachine, &mismatch).found(found.serial))?;
        if task.medium.job.offline.is_some() {
            return Err(Fault::saying(Exit::NotAllowed, OFFLINE_REFUSED.to_owned()));
        }
        let recipe = schema::validate::recipe(&task.medium.recipe)
            .map_err(|refusal| Fault::new(Exit::RecipeInvalid, &refusal))?;
        overrides::check(&recipe, &task.medium.job)
            .map_err(|error| Fault::new(Exit::RecipeInvalid, &error).under(&recipe))?;
        let steps = targets::steps(self.target_dir, &recipe.task_target)
            .map_err(|error| Fault::new(Exit::TargetNotStarted, &error).under(&recipe))?;
        Ok((recipe, steps))
    }

    fn start(
        &self,
        task: &Task,
        recipe: &Recipe,
        steps: &[String],
        token: &Token,
    ) -> Result<Box<dyn Systemd>, Fault> {
        let handoff = |error: &(dyn std::error::Error + 'static)| Fault::new(Exit::HandoffFailed, error);
        let left_out = self.handoff.hand_over(task.medium, recipe, token).map_err(|error| handoff(&error))?;
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            self.screen.line(&format!("not in recipe.env, because of characters that need quotes: {names}"));
        }
        let drop_ins = overrides::drop_ins(recipe, &task.medium.job, steps, token);
        for file in &drop_ins {
            self.put(file).map_err(|source| {
                handoff(&crate::handoff::HandoffError::Write { path: file.path.clone(), source })
            })?;
        }
        let not_started = |error: SystemdError| Fault::new(Exit::TargetNotStarted, &error);
        let systemd = (self.systemd)().map_err(not_started)?;
        if !drop_ins.is_empty() {
            systemd.reload().map_err(not_started)?;
        }
        DebugSsh {
            handoff: &self.handoff,
            systemd: &*systemd,
            clock: self.clock,
            screen: self.screen,
            root: self.root,
        }
        .open(&recipe.debug_ssh_keys);
        self.handoff.note_dispatched(&recipe.task_target).map_err(|error| handoff(&error))?;
        systemd.start(&recipe.task_target).map_err(not_started)?;
        self.screen.line(&format!("{} started: {} steps", recipe.task_target, steps.len()));
        Ok(systemd)
    }

    fn put(&self, file: &DropIn) -> std::io::Result<()> {
        let path = self.root.join(file.path.strip_prefix("/").unwrap_or(&file.path));
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        let mode = if file.secret { 0o600 } else { 0o644 };
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)?
            .write_all(file.text.as_bytes())
    }

    /// An earlier dispatcher of this boot started the target and died; its steps go on without it.
    fn resume(&self, target: &str) -> Exit {
        self.screen.line(&format!("following {target}, which was started before"));
        let handed = match self.handoff.read_back() {
            Ok(handed) => handed,
            Err(error) => return self.idle(&chain(&error)),
        };
        let controller = match (self.connect)(&handed.job) {
            Ok(controller) => controller,
            Err(error) => return self.idle(&chain(&error)),
        };
        let wire = Wire { controller: &*controller, clock: self.clock, screen: self.screen };
        match (targets::steps(self.target_dir, target), (self.systemd)()) {
            (Ok(steps), Ok(systemd)) => self.follow(
                &handed.sender,
                &handed.token,
                wire,
                &*systemd,
                &handed.recipe,
                &steps,
                &handed.job,
            ),
            (Err(error), _) => self.idle(&chain(&error)),
            (_, Err(error)) => self.idle(&chain(&error)),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn follow(
        &self,
        sender: &Sender,
        token: &Token,
        wire: Wire,
        systemd: &dyn Systemd,
        recipe: &Recipe,
        steps: &[String],
        job: &TaskJob,
    ) -> Exit {
        let heartbeat = job.heartbeat_seconds.clamp(HEARTBEAT_BOUNDS.0, HEARTBEAT_BOUNDS.1);
        let follow = Follow {
            target: &recipe.task_target,
            steps,
            sender,
            token,
            wire,
            systemd,
            handoff: &self.handoff,
            heartbeat: Duration::from_secs(heartbeat.into()),
            stop: self.stop,
        };
        match follow.follow() {
            End::PowerOff => {
                self.screen.line("the controller ends this job; powering off");
                self.off();
                Exit::Ok
            }
            End::Stopped => Exit::Ok,
            End::NotStarted { result } => {
                let message = format!("systemd ended the start of {} with {result}", recipe.task_target);
                let fault = Fault::saying(Exit::TargetNotStarted, message).under(recipe);
                self.give_up(sender, wire, token, &fault)
            }
        }
    }

    /// Tells the controller of a fault until it has heard, then powers off unless the recipe wants to look at it.
    fn give_up(&self, sender: &Sender, wire: Wire, token: &Token, fault: &Fault) -> Exit {
        self.screen.line(&fault.message);
        self.power.sync();
        match wire.deliver(token, &fault.report(sender)) {
            Ok(answer) if !fault.stay || answer.power_off => {
                self.screen.line("reported; powering off");
                self.off();
            }
            Ok(_) => self.screen.line("reported; the recipe asks the machine to stay as it is"),
            Err(refusal) => self.screen.line(&format!("{refusal}; the machine waits for its BMC")),
        }
        fault.exit
    }

    fn off(&self) {
        self.power.sync();
        if let Err(error) = self.power.off() {
            self.screen.line(&chain(&error));
        }
    }

    fn idle(&self, why: &str) -> Exit {
        self.screen.line(why);
        self.screen
            .line("not allowed to proceed: nothing on this machine is touched, it idles until its BMC acts");
        Exit::NotAllowed
    }
}

/// The words of the running kernel's command line.
pub fn kernel_words() -> KernelCommandLine {
    crate::cmdline::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
}
