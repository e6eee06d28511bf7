//! Machines, as described.
#![allow(dead_code)] // described, never made

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// A machine's description, as it is sent.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineInput {
    /// DMI system serial.
    serial: String,
    /// SMBIOS system UUID, when known.
    uuid: Option<String>,
    /// MAC addresses of its NICs, when known.
    macs: Option<Vec<String>>,
    bmc: BmcInput,
    /// Network of the maintenance OS on this machine: `host_network` of the recipe's schema.
    #[schema(value_type = Option<Object>)]
    host_network: Option<serde_json::Value>,
    labels: Option<BTreeMap<String, String>>,
    /// Deadlines by phase, in seconds.
    deadlines: Option<BTreeMap<String, u64>>,
    /// Base URL of media as this machine's BMC reaches it, when not the site's.
    media_url: Option<String>,
    /// Base URL of the API as this machine's host reaches it, when not the site's.
    api_url: Option<String>,
    /// How the maintenance OS gets onto it; absent: `auto`.
    #[schema(inline)]
    transport: Option<TransportSetting>,
}

/// How the maintenance OS gets onto a machine: the best that works, or this one and no other.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSetting {
    /// The best that works.
    Auto,
    /// Two slots: boot medium and task medium.
    VirtualMedia,
    /// One slot: the task medium travels inside the boot medium.
    Composed,
    /// No slot: firmware fetches the composed medium into memory (`media_url` must be reachable from the host).
    HttpBoot,
}

/// What was learnt of the kind of BMC that a machine has, by watching jobs on machines of that kind.
#[derive(ToSchema)]
pub struct Capability {
    vendor: String,
    model: String,
    /// Version of the BMC's firmware. Another version is another kind.
    firmware: String,
    /// A second medium beside the boot medium.
    second_slot: Option<CapabilitySeen>,
    /// Everything in one slot.
    composed: Option<CapabilitySeen>,
    /// HTTP boot of our URI.
    http_boot: Option<CapabilitySeen>,
}

/// One observation.
#[derive(ToSchema)]
pub struct CapabilitySeen {
    works: bool,
    /// What was seen, in words.
    what: String,
    #[schema(format = DateTime)]
    at: String,
    /// The job that saw it.
    #[schema(format = "uuid")]
    job: String,
}

/// Where the BMC is and how to enter it.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BmcInput {
    /// `https://address[:port]`.
    url: String,
    user: String,
    /// Goes in and never comes out. Absent in a PUT: the stored one stays.
    #[schema(write_only)]
    password: Option<String>,
    /// SHA-256 of the certificate to pin; absent: the system's authorities judge.
    certificate_sha256: Option<String>,
    /// Plain http is meant.
    plain_http: Option<bool>,
    /// Id of the system where the BMC shows several.
    system: Option<String>,
}

/// Which BMC's certificate to look at.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BmcCertificateInput {
    /// `https://address[:port]`.
    url: String,
}

/// A certificate as a BMC shows it. Only its SHA-256 is a fact; the rest is what it claims.
#[derive(ToSchema)]
pub struct BmcCertificate {
    url: String,
    /// Of the DER form, 64 hex digits: what a pin is.
    sha256: String,
    /// Null when it cannot be read.
    #[schema(required)]
    subject: Option<String>,
    #[schema(required)]
    issuer: Option<String>,
    #[schema(required, format = DateTime)]
    not_before: Option<String>,
    #[schema(required, format = DateTime)]
    not_after: Option<String>,
}

/// The certificate to trust.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PinInput {
    /// SHA-256 of the certificate, 64 hex digits.
    certificate_sha256: String,
}

/// How a BMC is reached.
#[derive(ToSchema)]
pub struct Bmc {
    url: String,
    user: String,
    /// `"verify"`, or `{"pinned": sha256}`.
    #[schema(value_type = Value)]
    tls: serde_json::Value,
    plain_http: bool,
    system: Option<String>,
}

/// Whether a machine may be written to.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum LifecycleState {
    Free,
    InService,
    Quarantined,
}

/// Whether a machine may be written to, since when, and why not.
#[derive(ToSchema)]
pub struct Lifecycle {
    #[schema(inline)]
    state: LifecycleState,
    #[schema(format = DateTime)]
    since: Option<String>,
    reason: Option<String>,
}

/// Whether a BMC is asked at present. One that fails 5 requests in a row is left alone for 30 seconds, then for twice as
/// long each time a single request finds it unchanged, up to 10 minutes.
#[derive(ToSchema)]
pub struct BmcCircuit {
    #[schema(inline)]
    state: CircuitState,
    /// Failures in a row: no connection, a broken one, or a 5xx.
    failures: u32,
    /// The last of them.
    reason: Option<String>,
    /// Since when it is left alone.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// When it is tried again.
    #[schema(format = DateTime)]
    retry_at: Option<String>,
    /// Requests at it now.
    calls_in_flight: u32,
}

/// Closed: it is asked. Half open: one request finds out whether it is back. Open: it is left alone.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CircuitState {
    Closed,
    HalfOpen,
    Open,
}

/// A server and its BMC.
#[derive(ToSchema)]
pub struct Machine {
    #[schema(format = "uuid")]
    id: String,
    serial: String,
    uuid: Option<String>,
    macs: Option<Vec<String>>,
    bmc: Bmc,
    #[schema(value_type = Option<Object>)]
    host_network: Option<serde_json::Value>,
    labels: Option<BTreeMap<String, String>>,
    deadlines: Option<BTreeMap<String, u64>>,
    media_url: Option<String>,
    api_url: Option<String>,
    #[schema(inline)]
    transport: TransportSetting,
    lifecycle: Lifecycle,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// Grows with every change.
    version: u64,
    /// Whether its BMC is asked at present; only where one machine is shown.
    bmc_circuit: Option<BmcCircuit>,
    /// The job that has it; only where one machine is shown.
    #[schema(format = "uuid")]
    active_job: Option<String>,
    /// What is known of its kind of BMC; only where one machine is shown, and after the first look at it.
    capability: Option<Capability>,
}

/// Machines by serial.
#[derive(ToSchema)]
pub struct MachinePage {
    machines: Vec<Machine>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Power of a machine.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    On,
    Off,
}

/// Wanted power.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerInput {
    #[schema(inline)]
    power: Power,
}

/// Power as it was seen.
#[derive(ToSchema)]
pub struct PowerState {
    #[schema(inline)]
    power: Power,
    /// What proved it, after a change.
    seen: Option<String>,
}

/// A virtual media slot.
#[derive(ToSchema)]
pub struct Slot {
    /// Path of its Redfish resource.
    id: String,
    media_types: Vec<String>,
    inserted: bool,
    #[schema(required)]
    image: Option<String>,
    /// Usable as the boot CD.
    boots: bool,
}

/// Whether a BMC can have its machine boot over HTTP from an URI of ours.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum HttpBoot {
    /// Yes.
    Offered,
    /// It should, but the attributes are not there: some firmware shows them only after its first restart.
    KeysMissing,
    /// It says nothing of it.
    NotOffered,
}

/// What a BMC says of itself and its machine.
#[derive(ToSchema)]
pub struct Probe {
    #[schema(required)]
    vendor: Option<String>,
    #[schema(required)]
    model: Option<String>,
    /// Version of the BMC's firmware.
    #[schema(required)]
    firmware: Option<String>,
    #[schema(required)]
    serial: Option<String>,
    #[schema(required)]
    uuid: Option<String>,
    macs: Vec<String>,
    #[schema(inline)]
    power: Power,
    /// Preferred boot slot first, preferred data slot second.
    slots: Vec<Slot>,
    /// Allowed one-time boot targets; empty when the BMC does not say.
    boot_targets: Vec<String>,
    #[schema(inline)]
    http_boot: HttpBoot,
    /// How a one-time boot from a virtual CD would be set; null when it cannot.
    #[schema(required)]
    boots_once: Option<String>,
    /// Path of the system.
    system: String,
    /// What family of BMCs it is treated as.
    family: String,
    /// What is worth knowing of that family.
    advice: Vec<String>,
    /// URL schemes of images that it takes; empty when nothing is known.
    schemes: Vec<String>,
    /// How far the BMC's clock is ahead of ours, in seconds; null when it does not tell.
    #[schema(required)]
    skew_seconds: Option<i64>,
    /// Whether it is spoken to by TLS.
    encrypted: bool,
}

/// Whether a BMC can boot a job.
#[derive(ToSchema)]
pub struct Fitness {
    /// Whether a job would get as far as switching the machine on.
    bootable: bool,
    /// One for each thing that was looked at, in the order in which a job meets them.
    checks: Vec<Check>,
    /// What the BMC says of itself; null when it could not be asked.
    #[schema(required)]
    bmc: Option<Probe>,
}

/// One thing that was looked at.
#[derive(ToSchema)]
pub struct Check {
    #[schema(inline)]
    name: CheckName,
    #[schema(inline)]
    verdict: CheckVerdict,
    /// What was seen.
    seen: String,
    /// What to do about it.
    remedy: Option<String>,
    /// The code that a job fails with.
    code: Option<String>,
}

/// What was looked at.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    Reachable,
    Certificate,
    Credentials,
    System,
    Identity,
    Family,
    Power,
    Slots,
    Licence,
    BootTarget,
    MediaUrl,
    Clock,
    Fetch,
}

/// How it is. `warn`: a job can run, and somebody should look at it. `unknown`: something before it stood in the way.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    Yes,
    Warn,
    No,
    Unknown,
}
