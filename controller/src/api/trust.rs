//! Trust on first use: what certificate a BMC shows, and the pin that a person decides on. Nothing is sent to the BMC
//! but the beginning of a TLS handshake; its credentials have no part in this.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::body::Body;
use super::error::ApiError;
use super::machines::{found, pin_of, unknown, view};
use super::shapes;
use crate::model::{AuditEntry, BmcTls, NewEvent, Source};
use crate::redfish::look_at_certificate;
use crate::store::{self, Updated};

/// Body of `POST /bmc-certificate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookBody {
    url: String,
}

/// The certificate that a BMC shows to the controller.
#[utoipa::path(
    post,
    path = "/bmc-certificate",
    tag = "machines",
    operation_id = "look_at_bmc_certificate",
    request_body = shapes::BmcCertificateInput,
    responses((status = 200, description = "What it shows", body = shapes::BmcCertificate), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn look(
    State(state): State<ApiState>,
    Extension(asked): Extension<AuditEntry>,
    Body(body): Body<LookBody>,
) -> Result<Json<Value>, ApiError> {
    let refuses = |address| state.outgoing.refuses(address);
    let shown = look_at_certificate(&body.url, &refuses).await.map_err(|error| {
        let code = error.code();
        ApiError::new(code, crate::workflow::chain(&error))
    })?;
    let detail = format!("{} shows {}", body.url.trim(), shown.sha256);
    record(&state, AuditEntry { detail: Some(detail), ..asked }).await?;
    let mut view = json!(shown);
    view["url"] = json!(body.url.trim());
    Ok(Json(view))
}

/// Body of `POST /machines/{serial}/pin`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinBody {
    certificate_sha256: String,
}

/// Trusts exactly this certificate of a machine's BMC from now on.
#[utoipa::path(
    post,
    path = "/machines/{serial}/pin",
    tag = "machines",
    operation_id = "pin_machine_certificate",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    request_body = shapes::PinInput,
    responses((status = 200, description = "As it is now", body = shapes::Machine), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn pin(
    State(state): State<ApiState>,
    Extension(asked): Extension<AuditEntry>,
    Path(serial): Path<String>,
    Body(body): Body<PinBody>,
) -> Result<Json<Value>, ApiError> {
    let pin = pin_of(&body.certificate_sha256, "certificate_sha256")?;
    let mut machine = found(&state, &serial).await?;
    if machine.bmc.url.starts_with("http://") {
        let message =
            format!("the BMC of machine {serial:?} is reached by plain http: there is no certificate");
        return Err(ApiError::new("bmc.pin", message));
    }
    let before = match &machine.bmc.tls {
        BmcTls::Verify => "the system's authorities".to_owned(),
        BmcTls::Pinned(before) => before.clone(),
    };
    let now = state.workflow.clock().now();
    let (id, change) = (machine.id.clone(), format!("pinned {pin}, before: {before}"));
    machine.bmc.tls = BmcTls::Pinned(pin);
    machine.updated_at = now;
    match store::on(state.workflow.store(), move |store| store.update_machine(machine, None)).await? {
        Updated::Done => {}
        Updated::Unknown => return Err(unknown(&serial)),
        Updated::Stale | Updated::SerialTaken => {
            let message = format!("machine {serial:?} was changed meanwhile; ask again");
            return Err(ApiError::new("machine.changed", message));
        }
    }
    let event =
        NewEvent::new(now, Source::Operator, "machine.pinned", format!("the BMC's certificate is {change}"));
    store::on(state.workflow.store(), move |store| store.add_events(None, Some(&id), vec![event])).await?;
    record(&state, AuditEntry { detail: Some(change), ..asked }).await?;
    Ok(Json(view(&found(&state, &serial).await?, None)))
}

async fn record(state: &ApiState, entry: AuditEntry) -> Result<(), ApiError> {
    let entry = AuditEntry { at: state.workflow.clock().now(), ..entry };
    Ok(store::on(state.workflow.store(), move |store| store.audit(entry)).await?)
}
