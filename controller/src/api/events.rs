//! `/api/v1/jobs/{id}/events`: the timeline as JSON, or as server-sent events that begin where the reader stopped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::error::ApiError;
use super::jobs::{job_id, unknown};
use super::shapes;
use super::{ApiState, job_view};
use crate::model::{Event, JobId};
use crate::store;
use crate::workflow::Signal;

/// Most events in one JSON answer, and read at once for a stream.
const PAGE: u32 = 500;
/// Progress is shown at most this often.
const LIVE_EVERY: Duration = Duration::from_millis(500);

/// Query of the JSON form.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    #[serde(default)]
    after: i64,
}

/// The timeline after a number. With `Accept: text/event-stream` it goes on until the job is complete:
/// `event: event` carries one timeline entry (its `id` is its number), `event: job` the job whenever its state or
/// progress moved, `event: end` is the last.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    tag = "jobs",
    operation_id = "job_events",
    params(("id" = String, Path, description = "The job's id"), EventsQuery, ("last-event-id" = Option<i64>, Header, description = "The same as after, as browsers send it")),
    responses((status = 200, description = "Up to 500 entries, or the stream", content((shapes::EventList = "application/json"), (String = "text/event-stream"))), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn events(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    if state.workflow.view(&id).await?.is_none() {
        return Err(unknown(id.as_str()));
    }
    let streaming = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    let after = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(query.after);
    if !streaming {
        let events =
            store::on(state.workflow.store(), move |store| store.events_after(&id, after, PAGE)).await?;
        let events: Vec<serde_json::Value> = events.iter().map(job_view::event).collect();
        return Ok(Json(json!({ "events": events })).into_response());
    }
    // Subscribed before the first read, so that nothing falls between the two.
    let signals = state.workflow.subscribe(&id);
    let follower =
        Follower { state, id, after, signals, ready: VecDeque::new(), ended: false, caught_up: false };
    Ok(Sse::new(stream_of(follower)).keep_alive(KeepAlive::default()).into_response())
}

struct Follower {
    state: ApiState,
    id: JobId,
    after: i64,
    signals: broadcast::Receiver<Signal>,
    ready: VecDeque<SseEvent>,
    ended: bool,
    /// Everything stored was read: only a signal brings more.
    caught_up: bool,
}

fn stream_of(follower: Follower) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        loop {
            if let Some(event) = follower.ready.pop_front() {
                return Some((Ok(event), follower));
            }
            if follower.ended {
                return None;
            }
            if follower.caught_up {
                follower.wait().await;
            }
            // None: the store is away: the reader comes back with Last-Event-ID
            follower.read().await?;
        }
    })
}

impl Follower {
    /// Until something moved; bursts of progress become one.
    async fn wait(&mut self) {
        match self.signals.recv().await {
            Ok(Signal::Event(_)) | Err(RecvError::Lagged(_)) => {}
            // Closed: no job is open any more, and what is stored is all there will be.
            Ok(Signal::Live) | Err(RecvError::Closed) => tokio::time::sleep(LIVE_EVERY).await,
        }
        while self.signals.try_recv().is_ok() {}
    }

    /// Everything new, in order: timeline entries, then the job, then the end.
    async fn read(&mut self) -> Option<()> {
        let (job, live) = self.state.workflow.view(&self.id).await.ok()??;
        let (id, after) = (self.id.clone(), self.after);
        let events: Vec<Event> =
            store::on(self.state.workflow.store(), move |store| store.events_after(&id, after, PAGE))
                .await
                .ok()?;
        for event in &events {
            self.after = event.seq;
            let text = job_view::event(event).to_string();
            self.ready.push_back(SseEvent::default().event("event").id(event.seq.to_string()).data(text));
        }
        self.caught_up = events.len() < PAGE as usize;
        if !self.caught_up {
            return Some(());
        }
        let view = job_view::job(&job, &live).to_string();
        self.ready.push_back(SseEvent::default().event("job").data(&view));
        if job.state.is_released() {
            self.ready.push_back(SseEvent::default().event("end").data(&view));
            self.ended = true;
        }
        Some(())
    }
}
