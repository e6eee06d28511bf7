//! `/api/v1/push-rules`: what pushes to the registry start. A rule's recipe goes in and never comes out.

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ApiState;
use super::auth::Caller;
use super::body::Body;
use super::error::ApiError;
use super::shapes;
use crate::model::{AuditEntry, MachineSelector, PushMode, PushRule, Role, Secret};
use crate::store;
use crate::workflow::{NewPushRule, push};

/// Runs in one answer when nobody says.
const PAGE: u32 = 50;

/// Body of `POST /push-rules`. The recipe stays text, as in a submission.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    name: String,
    repository: String,
    #[serde(default = "every_tag")]
    tag: String,
    recipe: Box<RawValue>,
    machines: MachineSelector,
    #[serde(default)]
    mode: Option<PushMode>,
    #[serde(default)]
    max_machines: Option<u32>,
    #[serde(default)]
    reinstall: bool,
    #[serde(default)]
    callback_url: Option<String>,
    #[serde(default)]
    callback_secret: Option<String>,
}

fn every_tag() -> String {
    "*".to_owned()
}

/// A rule as it is shown.
fn view(rule: &PushRule) -> Value {
    let mut view = json!(rule);
    if let Some(fields) = view.as_object_mut() {
        fields.remove("id"); // its name is what it is called by
    }
    view
}

/// Makes a rule. It records what it would do until it is switched on.
#[utoipa::path(
    post,
    path = "/push-rules",
    tag = "push-rules",
    operation_id = "add_push_rule",
    request_body = shapes::PushRuleInput,
    responses((status = 201, description = "Made", body = shapes::PushRule, headers(("location" = String, description = "Where it is"))), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn add(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Extension(asked): Extension<AuditEntry>,
    Body(body): Body<RuleBody>,
) -> Result<Response, ApiError> {
    caller.needs(Role::Admin)?;
    let new = NewPushRule {
        name: body.name,
        repository: body.repository,
        tag: body.tag,
        recipe: Secret::new(body.recipe.get().to_owned()),
        machines: body.machines,
        mode: body.mode,
        max_machines: body.max_machines,
        reinstall: body.reinstall,
        callback_url: body.callback_url,
        callback_secret: body.callback_secret.map(Secret::new),
        created_by: caller.0.name.clone(),
    };
    let (rule, secret) = state.workflow.add_push_rule(new).await?;
    record(&state, asked, format!("push rule {} made, {}", rule.name, rule.mode.as_str())).await?;
    let location = format!("/api/v1/push-rules/{}", rule.name);
    let mut view = view(&rule);
    if let Some(secret) = secret {
        view["callback_secret"] = json!(secret.expose());
    }
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Every rule, by name.
#[utoipa::path(
    get,
    path = "/push-rules",
    tag = "push-rules",
    operation_id = "list_push_rules",
    responses((status = 200, description = "Every rule", body = shapes::PushRuleList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
    let rules: Vec<Value> = state.workflow.push_rules().await?.iter().map(view).collect();
    Ok(Json(json!({ "push_rules": rules })))
}

/// One.
#[utoipa::path(
    get,
    path = "/push-rules/{name}",
    tag = "push-rules",
    operation_id = "show_push_rule",
    params(("name" = String, Path, description = "The rule's name")),
    responses((status = 200, description = "The rule", body = shapes::PushRule), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn show(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(view(&state.workflow.push_rule(&name).await?)))
}

/// Removes it and its runs. Jobs that it made go on.
#[utoipa::path(
    delete,
    path = "/push-rules/{name}",
    tag = "push-rules",
    operation_id = "remove_push_rule",
    params(("name" = String, Path, description = "The rule's name")),
    responses((status = 204, description = "Removed"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn remove(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.needs(Role::Admin)?;
    state.workflow.remove_push_rule(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Body of `PUT …/mode`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeBody {
    mode: PushMode,
}

/// Switches it. Pushes from now on count; machines that wait for their job in a run under way get none when it is
/// switched off.
#[utoipa::path(
    put,
    path = "/push-rules/{name}/mode",
    tag = "push-rules",
    operation_id = "set_push_rule_mode",
    params(("name" = String, Path, description = "The rule's name")),
    request_body = shapes::PushModeInput,
    responses((status = 200, description = "As it is now", body = shapes::PushRule), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn set_mode(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Extension(asked): Extension<AuditEntry>,
    Path(name): Path<String>,
    Body(body): Body<ModeBody>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Role::Admin)?;
    let rule = state.workflow.set_push_mode(&name, body.mode).await?;
    record(&state, asked, format!("push rule {name} is {}", body.mode.as_str())).await?;
    Ok(Json(view(&rule)))
}

/// Query of the runs.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only those before this number.
    before: Option<i64>,
    limit: Option<u32>,
}

/// What came of each push, newest first. The last 1000 are kept.
#[utoipa::path(
    get,
    path = "/push-rules/{name}/runs",
    tag = "push-rules",
    operation_id = "push_rule_runs",
    params(("name" = String, Path, description = "The rule's name"), RunsQuery),
    responses((status = 200, description = "Newest first", body = shapes::PushRunList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn runs(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Value>, ApiError> {
    let rule = state.workflow.push_rule(&name).await?;
    let limit = query.limit.unwrap_or(PAGE);
    let runs = store::on(state.workflow.store(), move |store| store.push_runs(&rule.id, query.before, limit))
        .await?;
    let runs: Vec<Value> = runs
        .iter()
        .map(|(seq, run)| {
            let mut view = push::view(run);
            view["seq"] = json!(seq);
            view
        })
        .collect();
    Ok(Json(json!({ "runs": runs })))
}

/// Body of `POST …/try`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TryBody {
    repository: String,
    tag: String,
}

/// What a push of that tag, as the registry has it, would start now. Machines are only asked.
#[utoipa::path(
    post,
    path = "/push-rules/{name}/try",
    tag = "push-rules",
    operation_id = "try_push_rule",
    params(("name" = String, Path, description = "The rule's name")),
    request_body = shapes::PushTryInput,
    responses((status = 200, description = "What it would do; not kept", body = shapes::PushRun), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn try_it(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Body(body): Body<TryBody>,
) -> Result<Json<Value>, ApiError> {
    let by = format!("token {}", caller.0.name);
    let run = Box::pin(state.workflow.try_push(&name, &body.repository, &body.tag, &by)).await?;
    Ok(Json(push::view(&run)))
}

/// The path of a call does not say what it changed.
async fn record(state: &ApiState, asked: AuditEntry, detail: String) -> Result<(), ApiError> {
    let entry = AuditEntry { at: state.workflow.clock().now(), detail: Some(detail), ..asked };
    Ok(store::on(state.workflow.store(), move |store| store.audit(entry)).await?)
}
