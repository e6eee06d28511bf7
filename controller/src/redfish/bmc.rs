//! What the workflow may ask of a BMC. One real implementation speaks Redfish ([`super::client`]); tests
//! use the mock BMC program instead of a second implementation wherever they can.

use async_trait::async_trait;

use super::error::BmcError;
use super::events::Signs;

/// A BMC that can power one machine and hold virtual media for it.
///
/// Every mutating call succeeds **by observation only**: it returns after the BMC has been seen in the wanted
/// state, and the [`Evidence`] says what was seen. Each call is idempotent: wanting what already is costs a read.
/// Dropping the returned future cancels the call.
#[async_trait]
pub trait Bmc: Send + Sync {
    /// scheme://host:port, for people.
    fn endpoint(&self) -> String;
    /// Everything a job needs to know before it touches anything. Read-only.
    async fn probe(&self) -> Result<Probe, BmcError>;
    /// The present power state.
    async fn power(&self) -> Result<Power, BmcError>;
    /// Power and the firmware's boot progress (`OSRunning` …, where the BMC reports one), in one look.
    async fn look(&self) -> Result<Look, BmcError>;
    /// Begins to listen for signs that something changed, where the BMC gives any: a reason to look, and no more. What
    /// becomes of it, and whether it works at all, is nobody's fault.
    async fn signs(&self) -> Option<Signs> {
        None
    }
    /// Brings power to `On` or `Off` (graceful is never waited for; `Off` is forced) and sees it there.
    async fn set_power(&self, wanted: Power) -> Result<Evidence, BmcError>;
    /// What is being asked, or awaited and seen so far, for people; what was asked last, when nothing is. Asks nothing.
    fn at_work(&self) -> Option<String> {
        None
    }
    /// What people should know of how the BMC is spoken to, once each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// All usable slots and what is in them.
    async fn slots(&self) -> Result<Vec<Slot>, BmcError>;
    /// The first slot that does not show its image (any more). Slots seen since the last change of media are not
    /// read again: some BMCs drop one medium while they take the next.
    async fn dropped(&self, held: &[(SlotId, String)]) -> Result<Option<SlotId>, BmcError> {
        let slots = self.slots().await?;
        let shown = |id: &SlotId, url: &str| slots.iter().any(|slot| slot.id == *id && slot.holds(url));
        Ok(held.iter().find(|(id, url)| !shown(id, url)).map(|(id, _)| id.clone()))
    }
    /// Ejects whatever is in the slot, inserts `url`, and sees it inserted.
    async fn insert(&self, slot: &SlotId, url: &str) -> Result<Evidence, BmcError>;
    /// Ejects, and sees the slot empty. An empty slot is a success.
    async fn eject(&self, slot: &SlotId) -> Result<Evidence, BmcError>;
    /// Sets a one-time boot from the virtual CD in `slot` (UEFI where the BMC knows modes), and reads it back.
    async fn boot_once(&self, slot: &SlotId) -> Result<Evidence, BmcError>;
    /// Sets a one-time UEFI HTTP boot of `uri`, and reads it back.
    async fn boot_http(&self, uri: &str) -> Result<Evidence, BmcError>;
    /// Clears a one-time boot that is still set, and the URI of HTTP boot if it is `ours`: one that a site set for
    /// purposes of its own is left alone.
    async fn clear_boot(&self, ours: Option<&str>) -> Result<Evidence, BmcError>;
    /// Ends the session. Called on every end of a job; a second call does nothing.
    async fn close(&self);
}

/// Power of a machine. Transitional states count as where they are going to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Running.
    On,
    /// Not running.
    Off,
}

/// What one look at a machine shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Power now.
    pub power: Power,
    /// `BootProgress.LastState`, where the BMC has one.
    pub boot_progress: Option<String>,
}

/// Whether a BMC can have its machine boot over HTTP from an URI of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpBoot {
    /// `UefiHttp` may be chosen, and `HttpBootUri` is there to be set.
    Offered,
    /// The attributes for it are not there, although they should be: some firmware shows them only after its first
    /// restart.
    KeysMissing,
    /// It says nothing of it.
    NotOffered,
}

/// Names a slot within one BMC: the path of its resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SlotId(pub String);

/// A virtual media slot that takes remote images.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Slot {
    /// Its identity.
    pub id: SlotId,
    /// `MediaTypes` as the BMC gives them.
    pub media_types: Vec<String>,
    /// Whether something is inserted.
    pub inserted: bool,
    /// The image URL, when the BMC tells.
    pub image: Option<String>,
    /// Usable as the boot CD.
    pub boots: bool,
}

impl Slot {
    /// Whether `url` is in it, in whatever form the BMC gives the image back.
    pub fn holds(&self, url: &str) -> bool {
        self.inserted && is_image(self.image.as_deref(), url)
    }
}

/// Whether a BMC that shows `shown` for a filled slot means `url`: shown as the URL, as its path on the server,
/// or, by BMCs that keep no more, as the name of its file. One that shows nothing at all means what we put in.
pub(super) fn is_image(shown: Option<&str>, url: &str) -> bool {
    fn path(text: &str) -> &str {
        text.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(text)
    }
    let Some(shown) = shown.filter(|shown| !shown.is_empty()) else { return true };
    let wanted = path(url);
    let file = wanted.rsplit('/').next().unwrap_or(wanted);
    shown == url || path(shown) == wanted || (!shown.contains('/') && shown == file)
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probe {
    /// `ServiceRoot.Vendor`, or the system's manufacturer.
    pub vendor: Option<String>,
    /// The system's model.
    pub model: Option<String>,
    /// BMC firmware version.
    pub firmware: Option<String>,
    /// The system's serial (Dell: its SKU).
    pub serial: Option<String>,
    /// The system's UUID.
    pub uuid: Option<String>,
    /// MAC addresses of the system's NICs, as far as the BMC knows them.
    pub macs: Vec<String>,
    /// Power now.
    pub power: Power,
    /// Usable slots, preferred boot slot first, preferred data slot second.
    pub slots: Vec<Slot>,
    /// Allowed one-time boot targets; empty when the BMC does not say.
    pub boot_targets: Vec<String>,
    /// Whether it can boot over HTTP from an URI of ours.
    pub http_boot: HttpBoot,
    /// How a one-time boot from a virtual CD would be set: the target, or the maker's own way; none when it cannot.
    pub boots_once: Option<String>,
    /// Path of the system.
    pub system: String,
    /// What it is treated as.
    pub family: String,
    /// What is worth knowing of that family before a job relies on it.
    pub advice: Vec<String>,
    /// URL schemes of images that it takes; empty when nothing is known.
    pub schemes: Vec<String>,
    /// How far the BMC's clock is ahead of ours, in seconds; none when it does not tell.
    pub skew_seconds: Option<i64>,
    /// Whether it is spoken to by TLS.
    pub encrypted: bool,
}

/// What was seen after a mutating call, for the job's timeline.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// One sentence: `slot Cd holds http://… (Inserted=true)`.
    pub seen: String,
    /// How many requests it took.
    pub requests: u32,
}
