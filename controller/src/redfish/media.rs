//! Filling and emptying one virtual media slot.
//!
//! Statuses prove nothing here: BMCs answer success and mount nothing, answer 500 and have mounted, and show a
//! stale `Inserted` after an eject. So both calls end only when the slot itself shows the wanted state. A slot is
//! emptied before it is filled, always; one URL is put in at most four times.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::bmc::is_image;
use super::classify::{Kind, Refusal};
use super::discover::{MediaSlot, Way};
use super::error::BmcError;
use super::oem::lenovo_patch;
use super::payload::{Extra, Payload};
use super::session::Session;
use super::task::{Verdict, settle};
use super::view::{Action, ActionInfo, Media};

/// Posts of one image into one slot, in all.
const INSERT_TRIES: u32 = 4;
/// Ejects of one slot, in all.
const EJECT_TRIES: u32 = 3;

/// Empties the slot, puts `url` in, and sees it there. `known` is what the slot held when last seen; it may
/// save a read before the change, never the one after. `first` is what its family is sent beside the image at once.
pub async fn insert(
    session: &Session,
    slot: &MediaSlot,
    url: &str,
    first: &[Extra],
    known: Option<Media>,
) -> Result<Media, BmcError> {
    let what = format!("inserting {url} into {}", slot.path);
    let mut payload = Payload::of(first);
    let mut known = known;
    let mut tries = 0;
    loop {
        match known.take() {
            Some(media) if !media.inserted => {}
            known => drop(eject(session, slot, known).await?),
        }
        tries += 1;
        let refusal = match put(session, slot, url, &payload).await {
            Ok(Verdict::Look) => return watch(session, slot, &what, |media| shows(media, url)).await,
            Ok(Verdict::Refused(refusal)) => refusal,
            // The request may have arrived although its answer did not.
            Err(error @ BmcError::Unreachable { .. }) => {
                sleep(session.endpoint.pause(tries)).await;
                let media = look(session, slot).await?;
                if shows(&media, url) {
                    return Ok(media);
                }
                if tries == INSERT_TRIES {
                    return Err(error);
                }
                known = Some(media);
                continue;
            }
            Err(error) => return Err(error),
        };
        let fail = |refusal: Refusal| Err(refusal.into_error(&session.endpoint.shown(), what.clone()));
        if tries == INSERT_TRIES {
            return fail(refusal);
        }
        match refusal.kind {
            Kind::Forbidden | Kind::Licence | Kind::PasswordExpired | Kind::Absent => return fail(refusal),
            _ => {}
        }
        if let Some(next) = payload.after(&refusal, &required(session, slot).await?) {
            payload = next;
            continue;
        }
        if !refusal.passes() {
            return fail(refusal);
        }
        sleep(session.endpoint.pause(tries)).await;
        let media = look(session, slot).await?;
        if shows(&media, url) {
            return Ok(media);
        }
        known = Some(media);
    }
}

/// Empties the slot and sees it empty.
pub async fn eject(session: &Session, slot: &MediaSlot, known: Option<Media>) -> Result<Media, BmcError> {
    let what = format!("ejecting {}", slot.path);
    let mut media = match known {
        Some(media) if media.inserted => media,
        _ => look(session, slot).await?,
    };
    let mut tries = 0;
    while media.inserted {
        tries += 1;
        match take(session, slot, &media).await {
            Ok(Verdict::Look) => return watch(session, slot, &what, |media| !media.inserted).await,
            // "Nothing to eject" comes as an error from some; the slot knows better.
            Ok(Verdict::Refused(refusal)) => {
                media = look(session, slot).await?;
                if media.inserted && (tries == EJECT_TRIES || !refusal.passes()) {
                    return Err(refusal.into_error(&session.endpoint.shown(), what));
                }
            }
            Err(error @ BmcError::Unreachable { .. }) => {
                media = look(session, slot).await?;
                if media.inserted && tries == EJECT_TRIES {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        if media.inserted {
            sleep(session.endpoint.pause(tries)).await;
        }
    }
    Ok(media)
}

/// What the slot shows now. A slot that is gone is empty.
pub async fn look(session: &Session, slot: &MediaSlot) -> Result<Media, BmcError> {
    if let Way::Oem(port) = &slot.way {
        return port.look(session, &slot.path).await;
    }
    let found = session.find(&slot.path).await?;
    Ok(found.map(|resource| Media::read(resource.node())).unwrap_or_default())
}

/// One insert request.
async fn put(session: &Session, slot: &MediaSlot, url: &str, payload: &Payload) -> Result<Verdict, BmcError> {
    match &slot.way {
        Way::Action(action) => {
            let target = session.endpoint.path(&action.target)?;
            let answer = session.post(&target, &payload.body(url)).await?;
            settle(session, answer).await
        }
        Way::Patch => lenovo_patch::put(session, &slot.path, payload.body(url)).await,
        Way::Oem(port) => port.put(session, url).await,
    }
}

/// One eject request.
async fn take(session: &Session, slot: &MediaSlot, media: &Media) -> Result<Verdict, BmcError> {
    match (&slot.way, &media.eject) {
        (Way::Oem(port), _) => port.take(session).await,
        (_, Some(action)) => {
            let target = session.endpoint.path(&action.target)?;
            // An empty body is an error to some, an empty object to none.
            let answer = session.post(&target, &json!({})).await?;
            settle(session, answer).await
        }
        (Way::Action(_) | Way::Patch, None) => lenovo_patch::take(session, &slot.path).await,
    }
}

/// Parameters the insert action requires, asked for only after a refusal.
async fn required(session: &Session, slot: &MediaSlot) -> Result<Vec<String>, BmcError> {
    let Way::Action(Action { info: Some(info), .. }) = &slot.way else { return Ok(Vec::new()) };
    let found = session.find(&session.endpoint.path(info)?).await?;
    Ok(found.map(|info| ActionInfo::read(info.node()).required).unwrap_or_default())
}

/// Looks until the slot is as wanted.
async fn watch(
    session: &Session,
    slot: &MediaSlot,
    what: &str,
    wanted: impl Fn(&Media) -> bool,
) -> Result<Media, BmcError> {
    let waits = session.endpoint.waits();
    let began = Instant::now();
    loop {
        let media = look(session, slot).await?;
        if wanted(&media) {
            session.endpoint.work.watched();
            return Ok(media);
        }
        session.endpoint.work.watching(what, &media.shown());
        if began.elapsed() >= waits.media_total {
            return Err(not_observed(session, what, media.shown(), waits.media_total));
        }
        sleep(waits.media_poll).await;
    }
}

/// It was accepted, and did not happen.
pub fn not_observed(session: &Session, what: &str, seen: String, watched: Duration) -> BmcError {
    BmcError::NotObserved {
        endpoint: session.endpoint.shown(),
        what: what.to_owned(),
        seen,
        seconds: watched.as_secs(),
    }
}

/// Whether the slot shows `url`.
pub fn shows(media: &Media, url: &str) -> bool {
    media.inserted && is_image(media.image.as_deref().or(media.image_name.as_deref()), url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_recognised_in_every_form_bmcs_give_it_back() {
        let url = "http://10.0.0.5:8080/m/abc/maintenance.iso";
        let media = |inserted, image: Option<&str>, name: Option<&str>| Media {
            inserted,
            image: image.map(str::to_owned),
            image_name: name.map(str::to_owned),
            ..Media::default()
        };
        for (shown, wanted) in [
            (media(true, Some(url), None), true),
            (media(true, Some("/m/abc/maintenance.iso"), None), true),
            (media(true, Some("maintenance.iso"), None), true),
            (media(true, None, Some("maintenance.iso")), true),
            (media(true, None, None), true),
            (
                media(true, Some("http://10.0.0.5:8080/m/other/maintenance.iso"), Some("maintenance.iso")),
                false,
            ),
            (media(true, Some("other.iso"), None), false),
            (media(false, Some(url), None), false),
        ] {
            assert_eq!(shows(&shown, url), wanted, "{}", shown.shown());
        }
    }
}
