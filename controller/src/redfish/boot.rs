//! The one-time boot override.
//!
//! Which resource takes the change is a rule (settings object or system, attribute by attribute), what is sent is
//! a plan, both pure; then it is sent, and read back until it shows. Always `Once`: lasting overrides are gone
//! from the standard and refused by many. What is booted is a virtual CD, or an URI over HTTP.

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::bmc::HttpBoot;
use super::change::patch;
use super::discover::{System, missing};
use super::error::BmcError;
use super::media::not_observed;
use super::profile::Profile;
use super::session::Session;
use super::task::Verdict;
use super::view::{Boot, SystemState};

const TARGET: &str = "BootSourceOverrideTarget";
const ENABLED: &str = "BootSourceOverrideEnabled";
const MODE: &str = "BootSourceOverrideMode";
const HTTP_URI: &str = "HttpBootUri";
/// The target that boots [`HTTP_URI`].
const HTTP_TARGET: &str = "UefiHttp";

/// What an override should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    target: Option<String>,
    enabled: &'static str,
    mode: Option<&'static str>,
    /// What this family shows of `enabled` once it is set, where that is something else.
    shown: Option<String>,
    /// Whether the BMC can be told, and has to show, the UEFI mode.
    uefi: bool,
    uri: Option<String>,
}

impl Override {
    /// Boot once from the virtual CD, in UEFI mode where the BMC knows modes. None when no CD target is allowed.
    pub fn once_from_cd(boot: &Boot, targets: &[String], profile: &Profile) -> Option<Self> {
        let allowed = |target: &&str| targets.is_empty() || targets.iter().any(|known| known == *target);
        // A service that says nothing of its targets is taken at the standard's word.
        let preferred = if targets.is_empty() { vec!["Cd"] } else { profile.cd_targets() };
        let target = preferred.into_iter().find(allowed)?.to_owned();
        let (uefi, mode) = uefi(boot, profile);
        let shown = profile.boot.shown_enabled.clone();
        Some(Self { target: Some(target), enabled: "Once", mode, shown, uefi, uri: None })
    }

    /// Boot `uri` once over HTTP. Whether that is offered at all, [`http`] says.
    pub fn once_over_http(boot: &Boot, profile: &Profile, uri: &str) -> Self {
        let (target, uri) = (Some(HTTP_TARGET.to_owned()), Some(uri.to_owned()));
        let (uefi, mode) = uefi(boot, profile);
        let shown = profile.boot.shown_enabled.clone();
        Self { target, enabled: "Once", mode, shown, uefi, uri }
    }

    /// What it points to.
    pub fn target(self) -> Option<String> {
        self.target
    }

    /// No override. Families that ignore partial settings get the whole triple here, too.
    pub fn none(boot: &Boot, targets: &[String], profile: &Profile) -> Self {
        if let Some(rest) = &profile.boot.rest_target {
            let shown = profile.boot.shown_enabled.clone();
            let target = Some(rest.clone());
            return Self { target, enabled: "Disabled", mode: None, shown, uefi: false, uri: None };
        }
        let full = profile.boot.full;
        let known = targets.iter().any(|target| target == "None") || (full && targets.is_empty());
        let target = known.then(|| "None".to_owned());
        let mode = (full && !profile.boot.no_mode && boot.mode.is_some()).then_some("UEFI");
        Self { target, enabled: "Disabled", mode, shown: None, uefi: false, uri: None }
    }

    /// The attributes to send: to the settings object those it has, to the system the rest.
    fn split(&self, settings: Option<&Boot>) -> (Map<String, Value>, Map<String, Value>) {
        let all = [
            (TARGET, self.target.as_deref()),
            (ENABLED, Some(self.enabled)),
            (MODE, self.mode),
            (HTTP_URI, self.uri.as_deref()),
        ];
        let (mut there, mut here) = (Map::new(), Map::new());
        for (key, value) in all {
            let Some(value) = value else { continue };
            let in_settings = settings.is_some_and(|boot| boot.has(key));
            let side = if in_settings { &mut there } else { &mut here };
            side.insert(key.to_owned(), json!(value));
        }
        (there, here)
    }

    /// Whether `boot` shows this override.
    pub fn is_shown_by(&self, boot: &Boot) -> bool {
        if self.enabled == "Disabled" && self.shown.is_none() {
            return !boot.is_armed();
        }
        let enabled = boot.enabled.as_deref();
        boot.target == self.target
            && (enabled == Some(self.enabled) || (enabled.is_some() && enabled == self.shown.as_deref()))
            && self.mode_is_right(boot)
    }

    /// Some firmware makes the mode `Legacy` by itself when the rest is changed.
    fn mode_is_right(&self, boot: &Boot) -> bool {
        !self.uefi || boot.mode.as_deref().is_none_or(|mode| mode == "UEFI")
    }

    /// Whether the system or what waits for its next start shows all of it.
    pub fn is_shown<'a>(&self, boot: &'a Boot, pending: Option<&'a Boot>) -> Option<&'a Boot> {
        let pending = pending.filter(|pending| pending.enabled.is_some());
        if !self.uri_is_shown(boot, pending) {
            return None;
        }
        [Some(boot), pending].into_iter().flatten().find(|boot| self.is_shown_by(boot))
    }

    /// Whether the URI is shown by either: it may be kept beside the rest.
    fn uri_is_shown(&self, boot: &Boot, pending: Option<&Boot>) -> bool {
        let shows = |boot: &Boot| boot.http_uri == self.uri;
        self.uri.is_none() || shows(boot) || pending.is_some_and(shows)
    }
}

/// Whether the BMC can be told the UEFI mode, and the mode to tell it: where it has another, or wants to hear all.
fn uefi(boot: &Boot, profile: &Profile) -> (bool, Option<&'static str>) {
    let knows_uefi = boot.modes.is_empty() || boot.modes.iter().any(|mode| mode == "UEFI");
    let differs = boot.mode.as_deref().is_some_and(|mode| mode != "UEFI");
    let uefi = boot.mode.is_some() && knows_uefi && !profile.boot.no_mode;
    (uefi, (uefi && (differs || profile.boot.full)).then_some("UEFI"))
}

/// Whether HTTP boot of an URI of ours is offered.
pub fn http(boot: &Boot, settings: Option<&Boot>, targets: &[String]) -> HttpBoot {
    let has = |key| boot.has(key) || settings.is_some_and(|settings| settings.has(key));
    let listed = targets.iter().any(|target| target == HTTP_TARGET);
    match (listed || targets.is_empty(), has(HTTP_URI)) {
        (true, true) => HttpBoot::Offered,
        (true, false) if listed || !has(TARGET) => HttpBoot::KeysMissing,
        _ => HttpBoot::NotOffered,
    }
}

/// Whether the settings must be read to know of HTTP boot.
pub fn http_may_be_in_settings(boot: &Boot) -> bool {
    boot.targets.iter().any(|target| target == HTTP_TARGET) && !boot.has(HTTP_URI)
}

/// Makes the override so, and sees it. `known` is the system as last seen.
pub async fn set(
    session: &Session,
    system: &System,
    known: &SystemState,
    settings: Option<&SystemState>,
    wanted: &Override,
) -> Result<(Boot, SystemState), BmcError> {
    let what = format!("the boot override {} on {}", wanted.target.as_deref().unwrap_or("off"), system.path);
    send_all(session, system, known, settings, wanted, &what).await?;
    let waits = session.endpoint.waits();
    let began = Instant::now();
    let mut mode_mended = false;
    loop {
        let now = system.look(session).await?;
        let boot = &now.boot;
        if wanted.is_shown_by(boot) && wanted.uri_is_shown(boot, None) {
            session.endpoint.work.watched();
            return Ok((boot.clone(), now));
        }
        // Where the settings object takes it, the system may show the old value until the reset.
        let mut seen = boot.shown();
        let mut flipped = !wanted.mode_is_right(boot);
        let settings = read_settings(session, system).await?;
        if let Some(settings) = &settings {
            let pending = &settings.boot;
            let shown = pending.enabled.is_some() && wanted.is_shown_by(pending);
            if (shown || wanted.is_shown_by(boot)) && wanted.uri_is_shown(boot, Some(pending)) {
                session.endpoint.work.watched();
                return Ok((if shown { pending } else { boot }.clone(), now));
            }
            flipped |= !wanted.mode_is_right(pending);
            seen = format!("{seen}, pending {}", pending.shown());
        }
        if flipped && !mode_mended {
            mode_mended = true;
            let whole = Override { mode: Some("UEFI"), ..wanted.clone() };
            send_all(session, system, &now, settings.as_ref(), &whole, &what).await?;
            continue;
        }
        session.endpoint.work.watching(&what, &seen);
        if began.elapsed() >= waits.boot_total {
            return Err(not_observed(session, &what, seen, waits.boot_total));
        }
        sleep(waits.boot_poll).await;
    }
}

/// Sends the attributes to where they belong.
async fn send_all(
    session: &Session,
    system: &System,
    known: &SystemState,
    settings: Option<&SystemState>,
    wanted: &Override,
    what: &str,
) -> Result<(), BmcError> {
    let (there, here) = wanted.split(settings.map(|settings| &settings.boot));
    if let (Some(path), Some(settings), false) = (&system.settings, settings, there.is_empty()) {
        send(session, path, there, settings, what).await?;
    }
    if !here.is_empty() {
        send(session, &system.path, here, known, what).await?;
    }
    Ok(())
}

/// Reads the resource that holds settings until the next reset, where there is one.
pub async fn read_settings(session: &Session, system: &System) -> Result<Option<SystemState>, BmcError> {
    let Some(path) = &system.settings else { return Ok(None) };
    match session.get(path).await {
        Ok(settings) => Ok(Some(SystemState::read(&settings))),
        // Named and not there, not even at a second look: then the system itself takes the settings.
        Err(BmcError::Refused { status: 404 | 405 | 410, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One PATCH of the `Boot` object, again while the BMC says "not now".
async fn send(
    session: &Session,
    path: &str,
    attributes: Map<String, Value>,
    seen: &SystemState,
    what: &str,
) -> Result<(), BmcError> {
    let body = json!({"Boot": attributes});
    let waits = session.endpoint.waits();
    for tries in 0..=waits.busy_retries {
        match patch(session, path, &body, seen.etag.as_deref()).await {
            // The answer may be lost and the change made: reading back decides.
            Ok(Verdict::Look) | Err(BmcError::Unreachable { .. }) => return Ok(()),
            Ok(Verdict::Refused(refusal)) if refusal.passes() && tries < waits.busy_retries => {
                sleep(waits.busy * (tries + 1)).await;
            }
            Ok(Verdict::Refused(refusal)) => {
                return Err(refusal.into_error(&session.endpoint.shown(), what));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes our URI out of HTTP boot again: to `null`, and where that is refused to the empty text. One that stays is
/// said, not failed over: the override is off, and nothing is served there any more.
pub async fn clear_uri(
    session: &Session,
    system: &System,
    known: &SystemState,
    settings: Option<&SystemState>,
) -> Result<(), BmcError> {
    let in_settings = settings.filter(|settings| settings.boot.has(HTTP_URI));
    let (path, seen) = match (&system.settings, in_settings) {
        (Some(path), Some(settings)) => (path, settings),
        _ => (&system.path, known),
    };
    for empty in [Value::Null, json!("")] {
        let attributes = Map::from_iter([(HTTP_URI.to_owned(), empty)]);
        match send(session, path, attributes, seen, "clearing the URI of HTTP boot").await {
            Err(BmcError::Refused { .. }) => {}
            other => return other,
        }
    }
    Ok(())
}

/// The targets a BMC allows: from the system, else from its settings.
pub fn targets(boot: &Boot, settings: Option<&SystemState>) -> Vec<String> {
    if !boot.targets.is_empty() {
        return boot.targets.clone();
    }
    settings.map(|settings| settings.boot.targets.clone()).unwrap_or_default()
}

/// The error for a BMC that cannot boot from a CD.
pub fn no_cd(session: &Session, targets: &[String]) -> BmcError {
    let what = format!("one-time boot from a virtual CD (it allows {})", targets.join(", "));
    missing(session, what, "update its firmware, or use another transport")
}

/// The error for a BMC that cannot boot over HTTP.
pub fn no_http(session: &Session, offered: HttpBoot, targets: &[String]) -> BmcError {
    if offered == HttpBoot::KeysMissing {
        let what = "HttpBootUri among its boot settings";
        let remedy = "some firmware shows it only after a first restart: restart the machine once with \
                      `ForceRestart`, then probe again; otherwise update its firmware or use another transport";
        return missing(session, what, remedy);
    }
    let what = format!("one-time UEFI HTTP boot (it allows {})", targets.join(", "));
    missing(session, what, "update its firmware, or use another transport")
}

#[cfg(test)]
mod tests {
    use super::super::profile::{Identity, Profiles};
    use super::super::wire::Node;
    use super::*;

    fn once(mode: Option<&'static str>) -> Override {
        Override { target: Some("Cd".into()), enabled: "Once", mode, shown: None, uefi: true, uri: None }
    }

    fn boot(json: &Value) -> Boot {
        Boot::read(Node(json))
    }

    #[test]
    fn the_plan_is_minimal_and_follows_what_the_bmc_allows() {
        let profiles = Profiles::builtin();
        let of = |vendor| profiles.choose(&Identity { vendor, ..Identity::default() }).as_ref();
        let (generic, supermicro) = (of(None), of(Some("Supermicro")));
        let uefi = json!({"Boot": {"BootSourceOverrideMode": "UEFI"}});
        let legacy = json!({"Boot": {"BootSourceOverrideMode": "Legacy"}});
        let modeless = json!({"Boot": {}});
        for (state, allowed, profile, wanted) in [
            (&uefi, vec![], generic, Some(("Cd", None))),
            (&uefi, vec!["None", "Cd", "UsbCd"], generic, Some(("Cd", None))),
            (&uefi, vec!["None", "UsbCd"], generic, Some(("UsbCd", None))),
            (&uefi, vec!["None", "Pxe"], generic, None),
            (&legacy, vec!["Cd"], generic, Some(("Cd", Some("UEFI")))),
            (&modeless, vec!["Cd"], supermicro, Some(("Cd", None))),
            (&uefi, vec!["Cd", "UsbCd"], supermicro, Some(("UsbCd", Some("UEFI")))),
        ] {
            let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
            let got = Override::once_from_cd(&boot(state), &allowed, profile);
            let got = got.as_ref().map(|plan| (plan.target.as_deref().unwrap(), plan.mode));
            assert_eq!(got, wanted, "{state} {allowed:?} {}", profile.name);
        }
    }

    #[test]
    fn attributes_go_to_the_settings_object_only_where_it_has_them() {
        let plan = once(Some("UEFI"));
        let partial = boot(&json!({"Boot": {"BootSourceOverrideTarget": null, "BootOrder": []}}));
        let (there, here) = plan.split(Some(&partial));
        assert_eq!(Value::from(there), json!({"BootSourceOverrideTarget": "Cd"}));
        assert_eq!(
            Value::from(here),
            json!({"BootSourceOverrideEnabled": "Once", "BootSourceOverrideMode": "UEFI"})
        );
        let (there, here) = plan.split(None);
        assert!(there.is_empty() && here.len() == 3);
    }

    #[test]
    fn http_boot_is_offered_only_with_the_target_and_the_key_for_its_uri() {
        let full = json!({"Boot": {"BootSourceOverrideTarget": "None", "HttpBootUri": null}});
        let keyless = json!({"Boot": {"BootSourceOverrideTarget": "None"}});
        let empty = json!({"Boot": {}});
        let key_only = json!({"Boot": {"HttpBootUri": ""}});
        for (system, settings, targets, wanted) in [
            (&full, None, vec!["Cd", "UefiHttp"], HttpBoot::Offered),
            (&full, None, vec![], HttpBoot::Offered),
            (&full, None, vec!["Cd", "Pxe"], HttpBoot::NotOffered),
            (&keyless, None, vec!["UefiHttp"], HttpBoot::KeysMissing),
            (&keyless, Some(&key_only), vec!["UefiHttp"], HttpBoot::Offered),
            (&keyless, None, vec![], HttpBoot::NotOffered),
            // A BlueField-3 before its first restart.
            (&empty, None, vec![], HttpBoot::KeysMissing),
        ] {
            let targets: Vec<String> = targets.into_iter().map(str::to_owned).collect();
            let settings = settings.map(boot);
            assert_eq!(http(&boot(system), settings.as_ref(), &targets), wanted, "{system} {targets:?}");
        }
    }

    #[test]
    fn the_uri_goes_where_its_key_is_and_counts_only_when_it_shows() {
        let uefi = boot(&json!({"Boot": {"BootSourceOverrideMode": "UEFI"}}));
        let profiles = Profiles::builtin();
        let generic = profiles.choose(&Identity::default());
        let plan = Override::once_over_http(&uefi, generic, "http://a/c.iso");
        let settings = boot(&json!({"Boot": {"HttpBootUri": null, "BootSourceOverrideTarget": "None"}}));
        let (there, here) = plan.split(Some(&settings));
        assert_eq!(
            Value::from(there),
            json!({"BootSourceOverrideTarget": "UefiHttp", "HttpBootUri": "http://a/c.iso"})
        );
        assert_eq!(Value::from(here), json!({"BootSourceOverrideEnabled": "Once"}));
        let shows = |uri: Value| boot(&json!({"Boot": {"HttpBootUri": uri}}));
        assert!(plan.uri_is_shown(&shows(json!("http://a/c.iso")), None));
        assert!(plan.uri_is_shown(&shows(json!(null)), Some(&shows(json!("http://a/c.iso")))));
        assert!(!plan.uri_is_shown(&shows(json!("http://a/other.iso")), Some(&shows(json!("")))));
        assert!(Override::none(&uefi, &[], generic).uri_is_shown(&shows(json!("http://theirs/")), None));
    }

    #[test]
    fn an_override_is_off_when_it_is_disabled_or_points_nowhere() {
        for (state, armed) in [
            (
                json!({"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "Pxe"}}),
                false,
            ),
            (
                json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "None"}}),
                false,
            ),
            (json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}}), true),
            (
                json!({"Boot": {"BootSourceOverrideEnabled": "Continuous", "BootSourceOverrideTarget": "Pxe"}}),
                true,
            ),
            (json!({}), false),
        ] {
            assert_eq!(boot(&state).is_armed(), armed, "{state}");
        }
    }

    #[test]
    fn a_mode_that_flipped_to_legacy_is_not_what_was_asked() {
        let plan = once(Some("UEFI"));
        let state = |mode: &str| {
            boot(&json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd",
                "BootSourceOverrideMode": mode}}))
        };
        assert!(plan.is_shown_by(&state("UEFI")));
        assert!(!plan.is_shown_by(&state("Legacy")));
    }
}
