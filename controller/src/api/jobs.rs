//! `/api/v1/jobs`.

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::auth::Caller;
use super::error::ApiError;
use super::shapes;
use super::{ApiState, body, job_view};
use crate::model::{Job, JobId, Role, Secret, Status};
use crate::store::{self, Idempotency, JobFilter};
use crate::workflow::{Accepted, Submission};

/// Longest `Idempotency-Key`, in bytes.
const KEY_MAX: usize = 255;
/// Timeline events shown with a job; the rest by `…/events`.
const TIMELINE_MAX: u32 = 500;

/// Body of `POST /jobs`. The recipe stays text: what was sent is what is checked, hashed and put on the medium.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submit {
    server_serial: String,
    recipe: Box<RawValue>,
    #[serde(default)]
    reinstall: bool,
    #[serde(default)]
    evict: bool,
    #[serde(default)]
    callback_url: Option<String>,
    #[serde(default)]
    callback_secret: Option<String>,
}

/// Query of `POST /jobs`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    #[serde(default)]
    dry_run: bool,
}

/// Accepts a job (202), or with `dry_run=true` says what it would do (200).
#[utoipa::path(
    post,
    path = "/jobs",
    tag = "jobs",
    operation_id = "submit_job",
    params(SubmitQuery, ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key and body gives the same job")),
    request_body = shapes::Submission,
    responses((status = 202, description = "Accepted", body = shapes::Job, headers(("location" = String, description = "Where it is"))), (status = 200, description = "The same key and body again: the same job. With dry_run: what a job would do", content((shapes::Job = "application/json"), (shapes::Plan = "application/json"))), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn submit(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let bytes = body::raw(request, &state).await?;
    let wanted: Submit = body::read(&bytes)?;
    let idempotency = idempotency(&headers, &bytes)?;
    let submission = Submission {
        server_serial: wanted.server_serial,
        recipe: wanted.recipe.get().to_owned(),
        reinstall: wanted.reinstall,
        evict: wanted.evict,
        callback_url: wanted.callback_url,
        callback_secret: wanted.callback_secret.map(Secret::new),
        idempotency,
        requested_by: caller.0.name.clone(),
    };
    if query.dry_run {
        let plan = state.workflow.plan(submission).await?;
        return Ok(Json(json!(plan)).into_response());
    }
    let accepted = state.workflow.accept(submission).await?;
    answer(&state, accepted).await
}

fn idempotency(headers: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(ApiError::bad_request(format!("Idempotency-Key is text of 1 to {KEY_MAX} characters")));
    }
    Ok(Some(Idempotency { key: key.to_owned(), body_sha256: hex::encode(Sha256::digest(body)) }))
}

async fn answer(state: &ApiState, accepted: Accepted) -> Result<Response, ApiError> {
    let status = if accepted.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let id = accepted.job.id;
    let location = HeaderValue::from_str(&format!("/api/v1/jobs/{id}"))
        .map_err(|_| ApiError::bad_request("this id cannot be a path"))?;
    let mut view = view(state, &id).await?;
    if let Some(secret) = accepted.callback_secret {
        view["callback_secret"] = json!(secret.expose());
    }
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// The job as it is now.
async fn view(state: &ApiState, id: &JobId) -> Result<Value, ApiError> {
    let (job, live) = state.workflow.view(id).await?.ok_or_else(|| unknown(id.as_str()))?;
    Ok(job_view::job(&job, &live))
}

pub(super) fn unknown(id: &str) -> ApiError {
    ApiError::new("job.unknown", format!("there is no job {id}"))
}

pub(super) fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| unknown(text))
}

/// Query of `GET /jobs`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    status: Option<String>,
    machine: Option<String>,
    #[serde(default)]
    limit: u32,
    cursor: Option<String>,
}

/// Jobs, newest first.
#[utoipa::path(
    get,
    path = "/jobs",
    tag = "jobs",
    operation_id = "list_jobs",
    params(ListQuery),
    responses((status = 200, description = "Jobs, newest first", body = shapes::JobPage), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn list(
    State(state): State<ApiState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let status = match query.status.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<Status>().map_err(ApiError::bad_request)?),
    };
    let machine = query.machine;
    let mut filter = JobFilter { status, machine: None, limit: query.limit, cursor: query.cursor };
    let page = store::look(state.workflow.store(), move |store| {
        if let Some(serial) = machine {
            match store.machine_by_serial(&serial)? {
                Some(machine) => filter.machine = Some(machine.id),
                None => return Ok(store::Page { items: vec![], next: None }),
            }
        }
        store.jobs(&filter)
    })
    .await?;
    let mut jobs = Vec::with_capacity(page.items.len());
    for job in &page.items {
        jobs.push(listed(&state, job).await?);
    }
    Ok(Json(json!({ "jobs": jobs, "next_cursor": page.next })))
}

async fn listed(state: &ApiState, job: &Job) -> Result<Value, ApiError> {
    if job.state.is_released() {
        return Ok(job_view::job(job, &crate::model::Live::default()));
    }
    view(state, &job.id).await
}

/// One job with its timeline.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    tag = "jobs",
    operation_id = "show_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = shapes::Job), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = job_id(&id)?;
    let (job, live) = state.workflow.view(&id).await?.ok_or_else(|| unknown(id.as_str()))?;
    let timeline =
        store::look(state.workflow.store(), move |store| store.events_after(&id, 0, TIMELINE_MAX)).await?;
    Ok(Json(job_view::job_with_timeline(&job, &live, &timeline)))
}

/// What the host wrote to its journal, as it was sent.
#[utoipa::path(
    get,
    path = "/jobs/{id}/logs",
    tag = "jobs",
    operation_id = "job_logs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "Pieces of its logs", body = shapes::LogList), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn logs(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = job_id(&id)?;
    let wanted = id.clone();
    let logs = store::on(state.workflow.store(), move |store| {
        Ok(match store.job(&wanted)? {
            Some(_) => Some(store.logs(&wanted)?),
            None => None,
        })
    })
    .await?
    .ok_or_else(|| unknown(id.as_str()))?;
    let logs: Vec<Value> = logs
        .iter()
        .map(|log| json!({ "attempt": log.attempt, "name": log.name, "at": log.at, "text": log.text }))
        .collect();
    Ok(Json(json!({ "logs": logs })))
}

/// Stops a job; one that is over stays as it is.
#[utoipa::path(
    post,
    path = "/jobs/{id}/cancel",
    tag = "jobs",
    operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = shapes::Job), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn cancel(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let id = job_id(&id)?;
    state.workflow.cancel(&id, &caller.0.name).await?;
    Ok(Json(view(&state, &id).await?))
}

/// Makes a new job of the same recipe on the same machine.
#[utoipa::path(
    post,
    path = "/jobs/{id}/retry",
    tag = "jobs",
    operation_id = "retry_job",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 202, description = "A new job", body = shapes::Job, headers(("location" = String, description = "Where it is"))), (status = 200, description = "The new job of an earlier call", body = shapes::Job), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn retry(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let accepted = Box::pin(state.workflow.retry(&job_id(&id)?, &caller.0.name)).await?;
    answer(&state, accepted).await
}

/// Query of `POST …/release`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReleaseQuery {
    #[serde(default)]
    force: bool,
}

/// Ends a holding; by force (admin) also frees a machine whose BMC is dead.
#[utoipa::path(
    post,
    path = "/jobs/{id}/release",
    tag = "jobs",
    operation_id = "release_job",
    params(("id" = String, Path, description = "The job's id"), ReleaseQuery),
    responses((status = 200, description = "The job", body = shapes::Job), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn release(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<ReleaseQuery>,
) -> Result<Json<Value>, ApiError> {
    if query.force {
        caller.needs(Role::Admin)?;
    }
    let id = job_id(&id)?;
    state.workflow.release(&id, query.force, &caller.0.name).await?;
    Ok(Json(view(&state, &id).await?))
}
