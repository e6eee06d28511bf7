//! `/api/v1/machines`. BMC credentials go in and never come out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schema::recipe::HostNetwork;
use schema::shown;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiState;
use super::auth::Caller;
use super::body::Body;
use super::capability;
use super::error::ApiError;
use super::job_view::hide_media;
use super::shapes;
use crate::model::{Bmc, BmcTls, Lifecycle, Machine, MachineId, Overrides, Secret, TransportSetting};
use crate::redfish::{Fingerprint, Power};
use crate::store::{self, Added, MachineFilter, Removed, Updated};

/// Body of `POST /machines` and `PUT /machines/{serial}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineBody {
    serial: String,
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    macs: Vec<String>,
    bmc: BmcBody,
    #[serde(default)]
    host_network: Option<HostNetwork>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    deadlines: Overrides,
    #[serde(default)]
    media_url: Option<String>,
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    transport: TransportSetting,
}

/// Where the BMC is and how to enter it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BmcBody {
    url: String,
    user: String,
    /// Absent in a PUT: the stored one stays.
    #[serde(default)]
    password: Option<String>,
    /// SHA-256 of the certificate to pin; absent: verify against the system's roots.
    #[serde(default)]
    certificate_sha256: Option<String>,
    #[serde(default)]
    plain_http: bool,
    #[serde(default)]
    system: Option<String>,
}

impl MachineBody {
    /// A machine of this description. What is already there is kept where a description does not say it.
    fn machine(
        mut self,
        old: Option<&Machine>,
        now: jiff::Timestamp,
    ) -> Result<(Machine, Option<Secret<String>>), ApiError> {
        let serial = self.serial.trim().to_owned();
        if serial.is_empty() || serial.len() > SERIAL_MAX || serial.chars().any(char::is_control) {
            return Err(ApiError::bad_request(format!("serial is 1 to {SERIAL_MAX} printable characters")));
        }
        if schema::identity::is_placeholder_serial(&serial) {
            let message = format!(
                "{serial:?} is a placeholder that many machines share; set a real serial in the firmware"
            );
            return Err(ApiError::new("machine.placeholder_serial", message));
        }
        let url = url::Url::parse(&self.bmc.url)
            .ok()
            .filter(|url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none()
            })
            .ok_or_else(|| {
                ApiError::bad_request("bmc.url is https://address[:port], without credentials in it")
            })?;
        if url.scheme() == "http" && !self.bmc.plain_http {
            return Err(ApiError::bad_request(
                "bmc.url is plain http: credentials would cross the network in clear; set bmc.plain_http if that is meant",
            ));
        }
        let tls = match self.bmc.certificate_sha256 {
            Some(pin) => BmcTls::Pinned(pin_of(&pin, "bmc.certificate_sha256")?),
            None => BmcTls::Verify,
        };
        keep_proxy_login(&mut self.host_network, old);
        let machine = Machine {
            id: old.map_or_else(MachineId::fresh, |machine| machine.id.clone()),
            serial,
            uuid: self.uuid,
            macs: self.macs,
            bmc: Bmc {
                url: self.bmc.url.trim_end_matches('/').to_owned(),
                user: self.bmc.user,
                tls,
                plain_http: self.bmc.plain_http,
                system: self.bmc.system,
            },
            host_network: self.host_network,
            labels: self.labels,
            deadlines: self.deadlines,
            media_url: self.media_url,
            api_url: self.api_url,
            transport: self.transport,
            lifecycle: old.map_or(Lifecycle::Free, |machine| machine.lifecycle.clone()),
            created_at: old.map_or(now, |machine| machine.created_at),
            updated_at: now,
            version: old.map_or(0, |machine| machine.version),
        };
        Ok((machine, self.bmc.password.map(Secret::new)))
    }
}

fn proxy_of(network: Option<&HostNetwork>) -> Option<&str> {
    network?.proxy.as_deref()
}

/// What a client read and sends back unchanged stands for what is stored, with the login that it was not shown.
fn keep_proxy_login(sent: &mut Option<HostNetwork>, old: Option<&Machine>) {
    let stored = old.and_then(|old| proxy_of(old.host_network.as_ref()));
    if let (Some(network), Some(stored)) = (sent, stored)
        && network.proxy.as_deref() == Some(shown::without_login(stored).as_str())
    {
        network.proxy = Some(stored.to_owned());
    }
}

/// A certificate's SHA-256 in whatever form people paste it, as 64 lower-case hex digits.
pub fn pin_of(text: &str, field: &str) -> Result<String, ApiError> {
    let read: Fingerprint =
        text.parse().map_err(|error| ApiError::bad_request(format!("{field}: {error}")))?;
    Ok(read.to_string())
}

/// Whether a BMC may be at the address that is written in its URL. What a name means is judged when it is connected to.
fn may_be_there(state: &ApiState, machine: &Machine) -> Result<(), ApiError> {
    let url = url::Url::parse(&machine.bmc.url).ok();
    let address: Option<IpAddr> = match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Ipv4(address)) => Some(address.into()),
        Some(url::Host::Ipv6(address)) => Some(address.into()),
        Some(url::Host::Domain(_)) | None => None,
    };
    match address.and_then(|address| Some((address, state.outgoing.refuses(address)?))) {
        None => Ok(()),
        Some((address, kind)) => {
            let message =
                format!("no BMC may be at {address} ({kind}); list it in allow_outgoing if that is meant");
            Err(ApiError::new("bmc.address", message))
        }
    }
}

/// Longest serial, in bytes.
const SERIAL_MAX: usize = 128;

/// No such machine.
pub fn unknown(serial: &str) -> ApiError {
    ApiError::new(
        "machine.unknown",
        format!("no machine has serial {serial:?}; add it with `slipway machine add`"),
    )
}

fn taken(serial: &str) -> ApiError {
    let message = format!("a machine with serial {serial:?} is there already; change it with PUT");
    ApiError::new("machine.exists", message)
}

/// The machine with this serial.
pub async fn found(state: &ApiState, serial: &str) -> Result<Machine, ApiError> {
    let wanted = serial.to_owned();
    store::look(state.workflow.store(), move |store| store.machine_by_serial(&wanted))
        .await?
        .ok_or_else(|| unknown(serial))
}

/// Adds a machine.
#[utoipa::path(
    post,
    path = "/machines",
    tag = "machines",
    operation_id = "add_machine",
    request_body = shapes::MachineInput,
    responses((status = 201, description = "Added", body = shapes::Machine, headers(("location" = String, description = "Where it is"))), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn add(State(state): State<ApiState>, Body(body): Body<MachineBody>) -> Result<Response, ApiError> {
    let (machine, password) = body.machine(None, state.workflow.clock().now())?;
    may_be_there(&state, &machine)?;
    let password = password.ok_or_else(|| ApiError::bad_request("bmc.password is missing"))?;
    let (serial, new) = (machine.serial.clone(), machine.clone());
    match store::on(state.workflow.store(), move |store| store.add_machine(new, password)).await? {
        Added::SerialTaken => Err(taken(&serial)),
        Added::Done => {
            let path = format!("/api/v1/machines/{}", utf8_percent_encode(&serial, NON_ALPHANUMERIC));
            let machine = found(&state, &serial).await?;
            Ok((StatusCode::CREATED, [(header::LOCATION, path)], Json(view(&machine, None))).into_response())
        }
    }
}

/// Replaces a machine's description; the password stays unless a new one is sent.
#[utoipa::path(
    put,
    path = "/machines/{serial}",
    tag = "machines",
    operation_id = "replace_machine",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    request_body = shapes::MachineInput,
    responses((status = 200, description = "As it is now", body = shapes::Machine), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn replace(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
    Body(body): Body<MachineBody>,
) -> Result<Json<Value>, ApiError> {
    let old = found(&state, &serial).await?;
    let (machine, password) = body.machine(Some(&old), state.workflow.clock().now())?;
    may_be_there(&state, &machine)?;
    let new_serial = machine.serial.clone();
    match store::on(state.workflow.store(), move |store| store.update_machine(machine, password)).await? {
        Updated::Done => Ok(Json(view(&found(&state, &new_serial).await?, None))),
        Updated::SerialTaken => Err(taken(&new_serial)),
        Updated::Unknown => Err(unknown(&serial)),
        Updated::Stale => {
            let message = format!("machine {serial:?} was changed meanwhile; read it again");
            Err(ApiError::new("machine.changed", message))
        }
    }
}

/// Query of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    #[serde(default)]
    limit: u32,
    cursor: Option<String>,
    /// `name=value`, several separated by commas; all must match.
    label: Option<String>,
}

/// Machines by serial.
#[utoipa::path(
    get,
    path = "/machines",
    tag = "machines",
    operation_id = "list_machines",
    params(ListQuery),
    responses((status = 200, description = "Machines by serial", body = shapes::MachinePage), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn list(
    State(state): State<ApiState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    let mut labels = Vec::new();
    for pair in query.label.iter().flat_map(|text| text.split(',')) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| ApiError::bad_request("label is name=value[,name=value]"))?;
        labels.push((name.to_owned(), value.to_owned()));
    }
    let filter = MachineFilter { labels, limit: query.limit, cursor: query.cursor };
    let page = store::look(state.workflow.store(), move |store| store.machines(&filter)).await?;
    let machines: Vec<Value> = page.items.iter().map(|machine| view(machine, None)).collect();
    Ok(Json(json!({ "machines": machines, "next_cursor": page.next })))
}

/// One machine, with its active job, and whether its BMC is asked at present.
#[utoipa::path(
    get,
    path = "/machines/{serial}",
    tag = "machines",
    operation_id = "show_machine",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 200, description = "The machine", body = shapes::Machine), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn show(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let machine = found(&state, &serial).await?;
    let id = machine.id.clone();
    let job = store::look(state.workflow.store(), move |store| store.active_job(&id)).await?;
    let mut view = view(&machine, job.as_ref().map(crate::model::JobId::as_str));
    view["bmc_circuit"] = json!(state.workflow.bmc_standing(&machine));
    let capability = capability::of(&state, &machine.id).await?;
    if !capability.is_null() {
        view["capability"] = capability;
    }
    Ok(Json(view))
}

/// Removes a machine that no open job has.
#[utoipa::path(
    delete,
    path = "/machines/{serial}",
    tag = "machines",
    operation_id = "remove_machine",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 204, description = "Removed"), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn remove(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = found(&state, &serial).await?.id;
    match store::on(state.workflow.store(), move |store| store.remove_machine(&id)).await? {
        Removed::Done => Ok(StatusCode::NO_CONTENT),
        Removed::Unknown => Err(unknown(&serial)),
        Removed::Busy { job } => {
            let message = format!("machine {serial:?} has job {job}, which is not released; cancel it first");
            Err(ApiError::new("conflict.active_job", message))
        }
    }
}

/// Frees a quarantined machine, or takes one out of service.
#[utoipa::path(
    post,
    path = "/machines/{serial}/release",
    tag = "machines",
    operation_id = "release_machine",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 200, description = "As it is now", body = shapes::Machine), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn release(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(serial): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let machine = state.workflow.release_machine(&serial, &caller.0.name).await?;
    Ok(Json(view(&machine, None)))
}

/// Query of `POST …/probe`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProbeQuery {
    /// Put a trial disc into the slot to boot from, see whether the BMC fetches it, and take it out again. Refused while
    /// a job has the machine.
    #[serde(default)]
    media: bool,
}

/// Whether its BMC can boot a job, and what it says of itself. Read-only, unless a trial disc is asked for.
#[utoipa::path(
    post,
    path = "/machines/{serial}/probe",
    tag = "machines",
    operation_id = "probe_machine",
    params(ProbeQuery, ("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 200, description = "Whether it can, check by check; also when it cannot even be asked", body = shapes::Fitness), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn probe(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
    Query(query): Query<ProbeQuery>,
) -> Result<Json<Value>, ApiError> {
    let fitness = if query.media {
        state.workflow.probe_machine_media(&serial).await?
    } else {
        state.workflow.probe_machine(&serial).await?
    };
    let mut view = json!(fitness);
    hide_media(&mut view);
    Ok(Json(view))
}

/// Power now.
#[utoipa::path(
    get,
    path = "/machines/{serial}/power",
    tag = "machines",
    operation_id = "machine_power",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    responses((status = 200, description = "Power now", body = shapes::PowerState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn power(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "power": state.workflow.machine_power(&serial).await? })))
}

/// Body of `POST …/power`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerBody {
    power: Power,
}

/// Switches a machine that no job has.
#[utoipa::path(
    post,
    path = "/machines/{serial}/power",
    tag = "machines",
    operation_id = "set_machine_power",
    params(("serial" = String, Path, description = "The machine's serial, percent-encoded")),
    request_body = shapes::PowerInput,
    responses((status = 200, description = "Switched, and seen", body = shapes::PowerState), (status = "default", description = "Refused", body = shapes::Refusal))
)]
pub async fn set_power(
    State(state): State<ApiState>,
    Path(serial): Path<String>,
    Body(body): Body<PowerBody>,
) -> Result<Json<Value>, ApiError> {
    let evidence = state.workflow.set_machine_power(&serial, body.power).await?;
    Ok(Json(json!({ "power": body.power, "seen": evidence.seen })))
}

/// A machine as the API shows it: its proxy without the login. The BMC's password is not in a [`Machine`].
pub fn view(machine: &Machine, active_job: Option<&str>) -> Value {
    let mut view = json!(machine);
    view["transport"] = json!(machine.transport);
    if let Some(proxy) = proxy_of(machine.host_network.as_ref()) {
        view["host_network"]["proxy"] = json!(shown::without_login(proxy));
    }
    if let Some(job) = active_job {
        view["active_job"] = json!(job);
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(proxy: &str) -> MachineBody {
        let body = json!({
            "serial": "S1",
            "bmc": { "url": "https://192.0.2.1", "user": "root", "password": "x" },
            "host_network": { "proxy": proxy },
        });
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_proxy_sent_back_as_it_was_shown_keeps_its_login() {
        const STORED: &str = "http://slipway:hunter2@proxy.example.com:3128";
        let (old, _) = body(STORED).machine(None, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let shown = view(&old, None)["host_network"]["proxy"].as_str().unwrap().to_owned();
        for (sent, kept) in [
            (shown.as_str(), STORED),
            ("http://***@other.example.com:3128", "http://***@other.example.com:3128"),
            ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
        ] {
            let (new, _) = body(sent).machine(Some(&old), jiff::Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(proxy_of(new.host_network.as_ref()), Some(kept));
        }
    }
}
