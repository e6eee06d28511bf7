//! Which slots of a BMC take remote images, and which of them is used for what.
//!
//! ```text
//! System.VirtualMedia ─┐
//! Manager.VirtualMedia ┴▶ members ─▶ usable? ─▶ order ─▶ MediaSlots: boot first, data second
//!                            └▶ none usable, and the profile names a way ─▶ oem
//! ```
//! The rules are pure and take the profile as data.

use super::discover::{Manager, MediaSlot, MediaSlots, System, Way, members};
use super::error::BmcError;
use super::oem::{self, Port};
use super::profile::{Profile, Slots};
use super::session::Session;
use super::view::Media;
use super::wire::Resource;

/// A slot with what it shows, and how it is filled.
type Candidate = (String, Media, Way);

/// Finds the usable slots, and what is in them now.
///
/// The system's own collection comes first; managers are asked only when it does not offer a boot slot and one
/// more, since theirs are often the same slots under older names.
pub async fn find(
    session: &Session,
    system: &System,
    profile: &Profile,
    managers: &[Manager],
) -> Result<(MediaSlots, Vec<(String, Media)>), BmcError> {
    let mut found = MediaSlots::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut standard: Vec<(String, Resource)> = Vec::new();
    if let Some(path) = &system.media {
        standard.extend(collect(session, system, profile, path, &mut found, &mut candidates).await?);
    }
    let boots = candidates.iter().any(|(_, media, _)| media.takes_cd());
    if !boots || candidates.len() < 2 {
        for manager in managers {
            if let Some(link) = &manager.media {
                let path = session.endpoint.path(link)?;
                standard.extend(collect(session, system, profile, &path, &mut found, &mut candidates).await?);
            }
        }
    }
    let is_standard = candidates.iter().any(|(_, _, way)| matches!(way, Way::Action(_)));
    if let (Some(way), false) = (profile.media.way, is_standard) {
        let ported = oem::find(session, way, system, managers, &standard).await?;
        if !ported.is_empty() {
            let by_way = |(path, media, port): (String, Media, Port)| (path, media, Way::Oem(port));
            candidates = ported.into_iter().map(by_way).collect();
        }
    }
    retain_wanted(&mut candidates, &profile.slots);
    order(&mut candidates, &profile.slots);
    candidates.truncate(profile.slots.most.unwrap_or(usize::MAX));
    found.slots = candidates
        .iter()
        .map(|(path, media, way)| MediaSlot {
            path: path.clone(),
            boots: can_boot(media, &profile.slots),
            way: way.clone(),
        })
        .collect();
    Ok((found, candidates.into_iter().map(|(path, media, _)| (path, media)).collect()))
}

async fn collect(
    session: &Session,
    system: &System,
    profile: &Profile,
    collection: &str,
    found: &mut MediaSlots,
    candidates: &mut Vec<Candidate>,
) -> Result<Vec<(String, Resource)>, BmcError> {
    if found.collections.iter().any(|known| known == collection) {
        return Ok(Vec::new());
    }
    found.collections.push(collection.to_owned());
    let all = members(session, collection, system.expand && profile.read.expand).await?;
    let acts = all.iter().any(|(_, resource)| Media::read(resource.node()).insert.is_some());
    for (path, resource) in &all {
        let media = Media::read(resource.node());
        if let Some(way) = way(&media, acts)
            && !candidates.iter().any(|(known, ..)| known == path)
        {
            candidates.push((path.clone(), media, way));
        }
    }
    Ok(all)
}

/// How a slot is filled, if it takes remote images at all. Beside slots that have an insert action, one without is for
/// local images only; where none has it (`acts` is false), they are filled by PATCH.
fn way(media: &Media, acts: bool) -> Option<Way> {
    match &media.insert {
        Some(action) => Some(Way::Action(action.clone())),
        None if !acts && media.patchable => Some(Way::Patch),
        None => None,
    }
}

/// Keeps the slots that a job could use. Where none has a name that the profile knows, newer firmware may have given
/// them others: then all are tried.
fn retain_wanted(candidates: &mut Vec<Candidate>, rules: &Slots) {
    candidates.retain(|(_, media, _)| media.takes_cd() || media.takes_stick());
    let named = |media: &Media| rules.only.iter().any(|prefix| media.id.starts_with(prefix.as_str()));
    if candidates.iter().any(|(_, media, _)| named(media)) {
        candidates.retain(|(_, media, _)| named(media));
    }
}

fn can_boot(media: &Media, rules: &Slots) -> bool {
    media.takes_cd() && (rules.boots_only.is_empty() || rules.boots_only.contains(&media.id))
}

/// Best boot slot first, best data slot second, the rest as the BMC lists them: boot slots before data slots, and
/// among boot slots the purely optical ones first.
fn order(candidates: &mut [Candidate], rules: &Slots) {
    let place = |names: &[String], id: &str| names.iter().position(|name| name == id).unwrap_or(names.len());
    let kind = |media: &Media| match (media.takes_cd(), media.takes_stick()) {
        (true, false) => 0,
        (true, true) => 1,
        _ => 2,
    };
    candidates
        .sort_by_key(|(_, media, _)| (!can_boot(media, rules), place(&rules.boot, &media.id), kind(media)));
    if candidates.len() > 2 {
        candidates[1..].sort_by_key(|(_, media, _)| (place(&rules.data, &media.id), kind(media)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::profile::{Identity, Profiles};

    fn candidate(id: &str, types: &[&str]) -> Candidate {
        let types = types.iter().map(|&kind| kind.to_owned()).collect();
        (format!("/VirtualMedia/{id}"), Media { id: id.to_owned(), types, ..Media::default() }, Way::Patch)
    }

    fn ordered(maker: &str, manager: &str, slots: &[(&str, &[&str])]) -> Vec<(String, bool)> {
        let identity = Identity { vendor: Some(maker), manager: Some(manager), ..Identity::default() };
        let profiles = Profiles::builtin();
        let rules = &profiles.choose(&identity).slots;
        let mut candidates: Vec<Candidate> = slots.iter().map(|(id, types)| candidate(id, types)).collect();
        retain_wanted(&mut candidates, rules);
        order(&mut candidates, rules);
        candidates.iter().map(|(_, media, _)| (media.id.clone(), can_boot(media, rules))).collect()
    }

    #[test]
    fn slots_are_chosen_and_ordered_as_their_family_needs() {
        const ALL: &[&str] = &["CD", "DVD", "USBStick"];
        let names = |list: &[(&str, bool)]| -> Vec<(String, bool)> {
            list.iter().map(|(id, boots)| ((*id).to_owned(), *boots)).collect()
        };
        assert_eq!(
            ordered("HPE", "iLO 5", &[("1", &["Floppy", "USBStick"]), ("2", &["CD", "DVD"])]),
            names(&[("2", true), ("1", false)])
        );
        assert_eq!(ordered("Dell", "15G", &[("1", ALL), ("2", ALL)]), names(&[("1", true), ("2", true)]));
        assert_eq!(ordered("Dell", "17G", &[("2", ALL), ("1", ALL)]), names(&[("1", true), ("2", false)]));
        assert_eq!(
            ordered(
                "Lenovo",
                "",
                &[("RDOC1", ALL), ("EXT2", ALL), ("EXT3", ALL), ("EXT1", ALL), ("Remote1", ALL)]
            ),
            names(&[("EXT1", true), ("EXT2", true), ("EXT3", true)])
        );
        assert_eq!(
            ordered(
                "",
                "",
                &[("Usb", &["USBStick"]), ("Stick", ALL), ("Cd", &["CD"]), ("Floppy", &["Floppy"])]
            ),
            names(&[("Cd", true), ("Stick", true), ("Usb", false)])
        );
    }

    #[test]
    fn beside_slots_with_an_action_those_without_are_for_local_images() {
        let patchable = Media { patchable: true, ..Media::default() };
        assert_eq!(way(&patchable, false), Some(Way::Patch));
        assert_eq!(way(&patchable, true), None);
        assert_eq!(way(&Media::default(), false), None);
    }
}
