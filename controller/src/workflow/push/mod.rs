//! What a push to the registry starts. Rules are made and switched in `rules`; this acts on pushes.
//!
//! ```text
//!   push ─▶ rules that fit ─▶ begin_push_run (machines are picked) ─▶ each machine: plan | accept ─▶ end_push_run
//!                                  ▲ the same push again: what is begun goes on, what has ended stays
//! ```
//! A job is made by the very code that takes one from the API, under a key of rule, push and machine: whatever a crash
//! cuts off, looking at the push again makes no second one. Nothing is tried again by itself: a refusal is recorded.

mod error;
mod rules;

use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use error::PushRuleError;
pub use rules::NewPushRule;

use super::redact::without_media;
use super::{AcceptError, Submission, Workflow, chain};
use crate::model::{
    Announcement, AuditEntry, Fate, Machine, Picked, Push, PushMode, PushRule, PushRun, Secret, Why, template,
};
use crate::store::{self, Idempotency, MachineFilter, PushRunEnd, Store, StoreError};

/// Machines that are given a job at once.
const PARALLEL: usize = 8;
/// Machines that are only asked at once: each may take the minute that a BMC is given to answer.
const PARALLEL_DRY: usize = 64;
/// Kind of what is told of a run.
pub const RUN_KIND: &str = "push_rule.run";
/// Machines read from the store at once.
const PAGE: u32 = 500;

/// What every machine of a run is given.
struct Order {
    mode: PushMode,
    rule: PushRule,
    push: Push,
    recipe: Secret<String>,
    callback_secret: Option<Secret<String>>,
}

impl Order {
    fn submission(&self, one: &Picked) -> Submission {
        // Machine ids, not serials: a serial may be corrected between two looks at the same push.
        let key = format!("push {} {} {}", self.rule.id, self.push.id, one.machine_id);
        let body_sha256 = hex::encode(Sha256::digest(self.recipe.expose().as_bytes()));
        Submission {
            server_serial: one.serial.clone(),
            recipe: self.recipe.expose().clone(),
            reinstall: self.rule.reinstall,
            evict: false, // nobody is there to say so
            callback_url: self.rule.callback_url.clone(),
            callback_secret: self.callback_secret.clone(),
            idempotency: Some(Idempotency { key, body_sha256 }),
            requested_by: format!("push rule {}", self.rule.name),
        }
    }
}

impl Workflow {
    /// Does what the site's rules say about a push. Doing it again does nothing twice. An error means that nobody can
    /// tell how far it came: the same push is to be handed in again.
    pub async fn pushed(self: &Arc<Self>, push: Push) -> Result<(), StoreError> {
        let rules = store::on(&self.deps.store, Store::push_rules).await?;
        // Jobs before dry runs, which wait for BMCs.
        for wanted in [PushMode::On, PushMode::DryRun] {
            for rule in rules.iter().filter(|rule| rule.mode_for(&push) == wanted) {
                Box::pin(self.run_rule(rule.clone(), wanted, push.clone())).await?;
            }
        }
        Ok(())
    }

    /// What a rule would do if this tag were pushed now, as it is. Changes and keeps nothing.
    pub async fn try_push(
        self: &Arc<Self>,
        name: &str,
        repository: &str,
        tag: &str,
        by: &str,
    ) -> Result<PushRun, PushRuleError> {
        let rule = self.push_rule(name).await?;
        let reference = format!("{repository}:{tag}");
        let found = self.deps.images.resolve(&reference).await.map_err(AcceptError::Edge)?;
        let found = found.ok_or(AcceptError::ImageNotFound { reference, path: String::new() })?;
        let push = Push {
            id: String::new(),
            repository: found.repository,
            tag: tag.to_owned(),
            digest: found.digest,
            media_type: String::new(),
            by: by.to_owned(),
            at: self.now(),
        };
        let mut run = self.begin(&rule, PushMode::DryRun, push).await?;
        if rule.fits(repository, tag) {
            self.carry_out(rule, &mut run).await?;
        } else {
            let message = format!(
                "push rule {name} is about {}:{}, not about {repository}:{tag}",
                rule.repository, rule.tag
            );
            run.machines.clear();
            run.refused = Some(Why::new("push_rule.unfit", message));
        }
        run.ended_at = Some(self.now());
        Ok(run)
    }

    async fn run_rule(
        self: &Arc<Self>,
        rule: PushRule,
        mode: PushMode,
        push: Push,
    ) -> Result<(), StoreError> {
        let run = self.begin(&rule, mode, push).await?;
        let mut run = store::on(&self.deps.store, move |store| store.begin_push_run(run)).await?;
        if run.ended_at.is_some() {
            return Ok(());
        }
        self.carry_out(rule, &mut run).await?;
        let now = self.now();
        run.ended_at = Some(now);
        let push = &run.push;
        tracing::info!(
            rule = run.rule,
            mode = run.mode.as_str(),
            repository = push.repository,
            tag = push.tag,
            digest = push.digest,
            by = push.by,
            outcome = run.summary(),
            "a push met a rule"
        );
        let audit = AuditEntry {
            at: now,
            actor: push.by.clone(),
            source: None,
            request_id: None,
            action: RUN_KIND.to_owned(),
            object: format!("{}:{}@{}", push.repository, push.tag, push.digest),
            detail: Some(format!("push rule {} ({}): {}", run.rule, run.mode.as_str(), run.summary())),
        };
        let announcement = Announcement { kind: RUN_KIND.to_owned(), data: view(&run) };
        let end = PushRunEnd { run, audit, announcement };
        store::on(&self.deps.store, move |store| store.end_push_run(end)).await?;
        self.nudge_outbox();
        Ok(())
    }

    /// A run with the machines that the rule picks now.
    async fn begin(&self, rule: &PushRule, mode: PushMode, push: Push) -> Result<PushRun, StoreError> {
        let labels = rule.machines.labels.clone().into_iter().collect();
        let machines: Vec<Machine> = store::on(&self.deps.store, move |store| {
            let mut filter = MachineFilter { labels, limit: PAGE, cursor: None };
            let mut all = Vec::new();
            loop {
                let page = store.machines(&filter)?;
                all.extend(page.items);
                match page.next {
                    Some(next) => filter.cursor = Some(next),
                    None => return Ok(all),
                }
            }
        })
        .await?;
        Ok(PushRun::begin(rule, mode, push, &machines, self.now()))
    }

    /// Settles every machine of a run that is pending.
    async fn carry_out(self: &Arc<Self>, rule: PushRule, run: &mut PushRun) -> Result<(), StoreError> {
        let id = rule.id.clone();
        let found = store::on(&self.deps.store, move |store| store.push_rule_secrets(&id)).await;
        if let Err(error @ StoreError::Sealed { .. }) = &found {
            // Asking again would not open it, and other pushes wait behind this one.
            run.refused = Some(Why::new("push_rule.sealed", chain(error)));
            return Ok(());
        }
        let Some(secrets) = found? else {
            let removed =
                Why::new("push_rule.unknown", format!("push rule {} was removed meanwhile", rule.name));
            run.refused = Some(removed);
            return Ok(());
        };
        let recipe = template::fill(secrets.recipe.expose(), &run.push.image()).into();
        let order = Arc::new(Order {
            mode: run.mode,
            rule,
            push: run.push.clone(),
            recipe,
            callback_secret: secrets.callback_secret,
        });
        let mut work = Vec::new();
        for (place, one) in run.machines.iter().enumerate() {
            if one.fate == Fate::Pending {
                work.push(settle(Arc::clone(self), Arc::clone(&order), place, one.clone()));
            }
        }
        let at_once = if order.mode == PushMode::On { PARALLEL } else { PARALLEL_DRY };
        let mut settled = futures_util::stream::iter(work).buffer_unordered(at_once);
        while let Some(done) = settled.next().await {
            let (place, fate) = done?;
            run.machines[place].fate = fate;
        }
        Ok(())
    }

    async fn is_still_on(&self, rule: &PushRule) -> Result<bool, StoreError> {
        let (id, name) = (rule.id.clone(), rule.name.clone());
        let now = store::on(&self.deps.store, move |store| store.push_rule(&name)).await?;
        Ok(now.is_some_and(|now| now.id == id && now.mode == PushMode::On))
    }
}

/// Gives a machine its job, or finds out what would become of it; with its place in the run.
async fn settle(
    workflow: Arc<Workflow>,
    order: Arc<Order>,
    place: usize,
    one: Picked,
) -> Result<(usize, Fate), StoreError> {
    let submission = order.submission(&one);
    if order.mode != PushMode::On {
        let planned = Box::pin(workflow.plan(submission)).await;
        let would = planned.map(|plan| Fate::WouldAccept {
            destructive: plan.destructive,
            problems: plan.problems.iter().map(|problem| without_media(problem)).collect(),
        });
        return Ok((place, fate(would)?));
    }
    // Looked at before each machine: whoever switches a rule off wants the rest left alone.
    if !workflow.is_still_on(&order.rule).await? {
        let message = format!("push rule {} was switched off or removed meanwhile", order.rule.name);
        return Ok((place, Fate::Refused(Why::new("push_rule.switched_off", message))));
    }
    let accepted = Box::pin(workflow.accept(submission)).await;
    Ok((place, fate(accepted.map(|accepted| Fate::Accepted { job_id: accepted.job.id }))?))
}

/// What a refusal means for a machine. A store that does not answer says nothing about it.
fn fate(done: Result<Fate, AcceptError>) -> Result<Fate, StoreError> {
    match done {
        Ok(fate) => Ok(fate),
        Err(AcceptError::Store(error)) => Err(error),
        Err(error) => Ok(Fate::Refused(Why::new(error.code(), without_media(&chain(&error))))),
    }
}

/// A run as the API and callbacks show it.
pub fn view(run: &PushRun) -> Value {
    let machines: Vec<Value> = run
        .machines
        .iter()
        .map(|one| {
            let mut view = json!(one.fate);
            view["serial"] = json!(one.serial);
            view
        })
        .collect();
    let push = &run.push;
    let mut view = json!({
        "rule": run.rule,
        "mode": run.mode,
        "push": {
            "repository": push.repository, "tag": push.tag, "digest": push.digest, "by": push.by, "at": push.at,
        },
        "started_at": run.started_at,
        "machines": machines,
    });
    if let Some(at) = run.ended_at {
        view["ended_at"] = json!(at);
    }
    if let Some(why) = &run.refused {
        view["refused"] = json!(why);
    }
    view
}
