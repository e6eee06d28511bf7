//! Making, switching and removing rules about pushes. What would be refused at every push is refused here.

use std::sync::Arc;

use schema::validate::Refusal;
use sha2::{Digest as _, Sha256};

use super::PushRuleError;
use crate::model::{MachineSelector, PushMode, PushRule, PushRuleId, Secret, template};
use crate::store::{self, RuleAdded, RuleSecrets, Store, StoreError};
use crate::workflow::accept::{callback_secret_fits, shown};
use crate::workflow::{AcceptError, Workflow, fresh_secret};

/// Rules of one site: each push is held against every one of them.
const RULES_MAX: usize = 100;
/// Most machines that one push may be about.
const MACHINES_MAX: u32 = 500;
/// Machines of one push when nobody says.
const MACHINES: u32 = 1;
/// Longest name, in bytes.
const NAME_MAX: usize = 63;
/// Labels and serials of one selector.
const SELECTOR_MAX: usize = 1000;
/// Stands for a push while a rule's recipe is checked.
const EXAMPLE: &str = "example/image@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A rule as it was asked for.
#[derive(Debug, Clone)]
pub struct NewPushRule {
    /// What people call it.
    pub name: String,
    /// Which repositories.
    pub repository: String,
    /// Which tags.
    pub tag: String,
    /// The recipe with `"{{image}}"` where the image is named, JSON text.
    pub recipe: Secret<String>,
    /// Which machines.
    pub machines: MachineSelector,
    /// `off`, or `dry_run`, which it is when nobody says.
    pub mode: Option<PushMode>,
    /// Most machines of one push.
    pub max_machines: Option<u32>,
    /// Machines in service may be overwritten.
    pub reinstall: bool,
    /// Where its runs and the events of its jobs are told.
    pub callback_url: Option<String>,
    /// What signs them; one is made when none is given.
    pub callback_secret: Option<Secret<String>>,
    /// Who asks: name of a token.
    pub created_by: String,
}

impl Workflow {
    /// Adds a rule; with the secret of its callbacks, when that was made here. It is never on from the start.
    pub async fn add_push_rule(
        self: &Arc<Self>,
        new: NewPushRule,
    ) -> Result<(PushRule, Option<Secret<String>>), PushRuleError> {
        let rule = checked(&new, self.now())?;
        callback_secret_fits(new.callback_url.as_ref(), new.callback_secret.as_ref())?;
        if let Some(url) = &new.callback_url {
            let refused = |source| AcceptError::CallbackUrl { url: shown(url), source };
            self.deps.fetch.check(url).await.map_err(refused)?;
        }
        let made = match (&new.callback_url, &new.callback_secret) {
            (Some(_), None) => Some(fresh_secret().map_err(|_| AcceptError::NoRandomness)?),
            _ => None,
        };
        let callback_secret = new.callback_secret.or_else(|| made.clone());
        let secrets = RuleSecrets { recipe: new.recipe, callback_secret };
        let kept = rule.clone();
        match store::on(&self.deps.store, move |store| store.add_push_rule(kept, secrets, RULES_MAX)).await? {
            RuleAdded::Done => Ok((rule, made)),
            RuleAdded::NameTaken => Err(PushRuleError::Exists { name: rule.name }),
            RuleAdded::TooMany => Err(PushRuleError::TooMany { most: RULES_MAX }),
        }
    }

    /// One rule.
    pub async fn push_rule(&self, name: &str) -> Result<PushRule, PushRuleError> {
        let wanted = name.to_owned();
        let found = store::on(&self.deps.store, move |store| store.push_rule(&wanted)).await?;
        found.ok_or_else(|| PushRuleError::Unknown { name: name.to_owned() })
    }

    /// Every rule, by name.
    pub async fn push_rules(&self) -> Result<Vec<PushRule>, StoreError> {
        store::on(&self.deps.store, Store::push_rules).await
    }

    /// Switches a rule; as it is from now on. Pushes before now start nothing.
    pub async fn set_push_mode(&self, name: &str, mode: PushMode) -> Result<PushRule, PushRuleError> {
        let (wanted, now) = (name.to_owned(), self.now());
        let found = store::on(&self.deps.store, move |store| store.set_push_mode(&wanted, mode, now)).await?;
        found.ok_or_else(|| PushRuleError::Unknown { name: name.to_owned() })
    }

    /// Removes a rule and its runs. Jobs that it made go on.
    pub async fn remove_push_rule(&self, name: &str) -> Result<(), PushRuleError> {
        let wanted = name.to_owned();
        if store::on(&self.deps.store, move |store| store.remove_push_rule(&wanted)).await? {
            return Ok(());
        }
        Err(PushRuleError::Unknown { name: name.to_owned() })
    }
}

/// The rule that is asked for, if it is one.
fn checked(new: &NewPushRule, now: jiff::Timestamp) -> Result<PushRule, PushRuleError> {
    let invalid = |field, problem: String| PushRuleError::Invalid { field, problem };
    let is_name = |name: &str| {
        name.len() <= NAME_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
    };
    if !is_name(&new.name) {
        let problem = format!(
            "give 1 to {NAME_MAX} lower-case letters, digits, dashes, dots and underscores, beginning with a letter or digit"
        );
        return Err(invalid("name", problem));
    }
    let repository = new.repository.parse().map_err(|error| invalid("repository", format!("{error}")))?;
    let tag = new.tag.parse().map_err(|error| invalid("tag", format!("{error}")))?;
    if new.machines.is_empty() {
        let problem =
            "say which machines, by labels or serials; a rule about every machine there is, is none";
        return Err(invalid("machines", problem.to_owned()));
    }
    if new.machines.labels.len() + new.machines.serials.len() > SELECTOR_MAX {
        return Err(invalid("machines", format!("give at most {SELECTOR_MAX} labels and serials")));
    }
    if new.mode == Some(PushMode::On) {
        let problem = "a new rule is off or dry_run; look at what it would do, then switch it on";
        return Err(invalid("mode", problem.to_owned()));
    }
    let max_machines = new.max_machines.unwrap_or(MACHINES);
    if !(1..=MACHINES_MAX).contains(&max_machines) {
        return Err(invalid("max_machines", format!("give 1 to {MACHINES_MAX}")));
    }
    let recipe = schema::validate::recipe(&template::fill(new.recipe.expose(), EXAMPLE))
        .map_err(|refusal: Refusal| AcceptError::Recipe(refusal))?;
    if !template::names(&recipe, EXAMPLE) {
        let problem = "nothing in it is \"{{image}}\", so that it would not depend on the push; write it where the \
                       recipe names its image, as oci_url, under tools or under drivers";
        return Err(invalid("recipe", problem.to_owned()));
    }
    Ok(PushRule {
        id: PushRuleId::fresh(),
        name: new.name.clone(),
        repository,
        tag,
        machines: new.machines.clone(),
        max_machines,
        reinstall: new.reinstall,
        mode: new.mode.unwrap_or(PushMode::DryRun),
        mode_since: now,
        task_target: recipe.task_target,
        recipe_sha256: hex::encode(Sha256::digest(new.recipe.expose().as_bytes())),
        callback_url: new.callback_url.clone(),
        created_at: now,
        created_by: new.created_by.clone(),
    })
}
