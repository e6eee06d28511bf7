//! What was learnt of the kind of BMC that a machine has.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ApiState;
use super::error::ApiError;
use super::machines::found;
use super::shapes;
use crate::model::MachineId;
use crate::store;

/// Which kind of BMC a machine was last seen to have, and what is known of that kind; null before the first look.
pub async fn of(state: &ApiState, machine: &MachineId) -> Result<Value, ApiError> {
    let id = machine.clone();
    let known = store::on(state.workflow.store(), move |store| {
        let Some(family) = store.family(&id)? else { return Ok(None) };
        let known = store.capability(&family)?.unwrap_or_default();
        Ok(Some((family, known)))
    })
    .await?;
    Ok(known.map_or(Value::Null, |(family, known)| {
        let mut view = json!(known);
        view["vendor"] = json!(family.vendor);
        view["model"] = json!(family.model);
        view["firmware"] = json!(family.firmware);
        view
    }))
}

/// Forgets what was learnt of the kind of BMC that this machine has: its next job tries the best transport again.
#[utoipa::path(
    delete,
    path = "/machines/{serial}/capability",
    tag = "machines",
    operation_id = "forget_capability",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 204, description = "Nothing is known any more, of any machine of this vendor, model and firmware"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn forget(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = found(&state, &serial).await?.id;
    store::on(state.workflow.store(), move |store| match store.family(&id)? {
        Some(family) => store.forget_capability(&family).map(drop),
        None => Ok(()),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
