//! Who may do what in the registry: people and CI by their API tokens, hosts by their session tokens.
//!
//! ```text
//! viewer: pull · operator: pull, push · admin: everything · a token's scopes add to its role
//! host:   pull, and only the repositories its job names, while the job is not released
//! nobody: pull, and only what the site has opened to everyone; so may all the others
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use glob::Pattern;
use sha2::{Digest as _, Sha256};

use crate::model::{ApiToken, RegistryScope, Role};
use crate::registry::auth::{Access, Action, Authorizer, Credentials, Identity, Verdict};
use crate::store;
use crate::workflow::Workflow;

/// The registry's authorizer.
pub struct RegistryAccess {
    workflow: Arc<Workflow>,
    /// Repositories that anybody may pull.
    public: Vec<Pattern>,
}

impl RegistryAccess {
    /// Asks the workflow's store about people and the workflow about hosts. `public` may be pulled by anybody.
    pub fn new(workflow: Arc<Workflow>, public: Vec<Pattern>) -> Self {
        Self { workflow, public }
    }

    async fn person(&self, secret: &str) -> Option<ApiToken> {
        let sha256 = Sha256::digest(secret.as_bytes()).into();
        if let Some(token) = self.workflow.store().known_token(sha256) {
            return Some(token).filter(|token| token.is_alive(self.workflow.clock().now()));
        }
        let found = store::on(self.workflow.store(), move |store| store.token_by_hash(sha256)).await;
        let now = self.workflow.clock().now();
        match found {
            Ok(token) => token.filter(|token| token.is_alive(now)),
            Err(error) => {
                tracing::error!(%error, "looking up a token");
                None
            }
        }
    }
}

#[async_trait]
impl Authorizer for RegistryAccess {
    async fn authorize(&self, credentials: &Credentials, access: &Access) -> Verdict {
        let secret = match credentials {
            Credentials::Anonymous => return anybody_may(&self.public, access),
            // podman and oras want a user name; whom a token belongs to is the token's to say.
            Credentials::Basic { password, .. } => password,
            Credentials::Bearer(token) => token,
        };
        if let Some(token) = self.person(secret).await {
            return person_may(&token, access);
        }
        match self.workflow.session(secret).await {
            Ok(session) => host_may(access, session.job.id.as_str(), |repository| {
                session.may_pull(repository) || is_public(&self.public, repository)
            }),
            Err(_) => Verdict::Challenge,
        }
    }
}

fn is_public(public: &[Pattern], repository: &str) -> bool {
    public.iter().any(|pattern| pattern.matches(repository))
}

/// What is allowed without credentials. The catalog is not: it names what is not public too.
fn anybody_may(public: &[Pattern], access: &Access) -> Verdict {
    let allowed = match access {
        Access::Enter => !public.is_empty(),
        Access::Repository { repository, action: Action::Pull } => is_public(public, repository.as_str()),
        Access::Repository { .. } | Access::Catalog => false,
    };
    if allowed { Verdict::Allowed(Identity("anonymous".to_owned())) } else { Verdict::Challenge }
}

fn person_may(token: &ApiToken, access: &Access) -> Verdict {
    let allowed = match access {
        Access::Enter => true,
        Access::Catalog => token.role >= Role::Viewer,
        Access::Repository { repository, action } => {
            let by_role = match action {
                Action::Pull => token.role >= Role::Viewer,
                Action::Push => token.role >= Role::Operator,
                Action::Delete => token.role >= Role::Admin,
            };
            by_role || token.scopes.iter().any(|scope| gives(scope, &repository.to_string(), *action))
        }
    };
    if allowed { Verdict::Allowed(Identity(format!("token {}", token.name))) } else { Verdict::Denied }
}

fn gives(scope: &RegistryScope, repository: &str, action: Action) -> bool {
    let has = match action {
        Action::Pull => scope.pull,
        Action::Push => scope.push,
        Action::Delete => scope.delete,
    };
    // `team` covers `team` and `team/app`, not `teamwork`.
    let prefix = scope.prefix.trim_end_matches('/');
    let inside = prefix.is_empty()
        || repository.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    has && inside
}

fn host_may(access: &Access, job: &str, may_pull: impl Fn(&str) -> bool) -> Verdict {
    let allowed = match access {
        Access::Enter => true,
        Access::Repository { repository, action: Action::Pull } => may_pull(&repository.to_string()),
        Access::Repository { .. } | Access::Catalog => false,
    };
    if allowed { Verdict::Allowed(Identity(format!("host of {job}"))) } else { Verdict::Denied }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TokenId;

    fn token(role: Role, scopes: Vec<RegistryScope>) -> ApiToken {
        let created_at = "2026-11-21T08:45:00Z".parse().unwrap();
        ApiToken {
            id: TokenId::fresh(),
            name: "ci".into(),
            role,
            scopes,
            created_at,
            expires_at: None,
            revoked_at: None,
        }
    }

    fn on(repository: &str, action: Action) -> Access {
        Access::Repository { repository: repository.parse().unwrap(), action }
    }

    fn allowed(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Allowed(_))
    }

    #[test]
    fn roles_rise_from_pull_to_delete() {
        let table = [
            (Role::Viewer, [true, false, false]),
            (Role::Operator, [true, true, false]),
            (Role::Admin, [true, true, true]),
        ];
        for (role, wanted) in table {
            let found = [Action::Pull, Action::Push, Action::Delete]
                .map(|action| allowed(&person_may(&token(role, vec![]), &on("images/debian", action))));
            assert_eq!(found, wanted, "{role:?}");
        }
    }

    #[test]
    fn a_scope_adds_to_a_role_below_its_prefix_only() {
        let scope = RegistryScope { prefix: "team".into(), pull: true, push: true, delete: false };
        let token = token(Role::Viewer, vec![scope]);
        assert!(allowed(&person_may(&token, &on("team/app", Action::Push))));
        assert!(allowed(&person_may(&token, &on("team", Action::Push))));
        assert!(!allowed(&person_may(&token, &on("teamwork", Action::Push))));
        assert!(!allowed(&person_may(&token, &on("team/app", Action::Delete))));
    }

    #[test]
    fn nobody_pulls_what_is_public_and_does_nothing_else() {
        let public = ["images/*", "tools"].map(|text| Pattern::new(text).unwrap());
        let table = [
            (Access::Enter, true),
            (Access::Catalog, false),
            (on("images/debian", Action::Pull), true),
            (on("images/ci/debian", Action::Pull), true),
            (on("images", Action::Pull), false),
            (on("tools", Action::Pull), true),
            (on("tools/x", Action::Pull), false),
            (on("images/debian", Action::Push), false),
            (on("images/debian", Action::Delete), false),
        ];
        for (access, wanted) in table {
            assert_eq!(allowed(&anybody_may(&public, &access)), wanted, "{access:?}");
            assert_eq!(anybody_may(&[], &access), Verdict::Challenge, "{access:?}");
        }
    }

    #[test]
    fn a_host_pulls_what_its_job_names_and_nothing_else() {
        let may =
            |access: &Access| allowed(&host_may(access, "j", |repository| repository == "images/debian"));
        assert!(may(&on("images/debian", Action::Pull)) && may(&Access::Enter));
        assert!(!may(&on("images/other", Action::Pull)));
        assert!(!may(&on("images/debian", Action::Push)) && !may(&Access::Catalog));
    }
}
