//! Which slots a job's media go into: free ones, or ones that still hold what is ours. A slot that holds somebody
//! else's image is left alone, unless whoever submitted the job allows it to be evicted. Pure.
//!
//! The task medium makes do with another slot, or travels inside the other medium. The medium that is booted does not:
//! the override names a kind of device and no slot, so that with somebody else's disc in the best boot slot the machine
//! would boot that one, and what it does then nobody knows.

use crate::redfish::Slot;

/// The slots of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Berths<'a> {
    /// For the medium that is booted.
    pub boot: &'a Slot,
    /// For the task medium; none where it travels inside the other.
    pub data: Option<&'a Slot>,
}

/// Why a job has no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBerth<'a> {
    /// None can be booted from.
    NoBootSlot,
    /// The one that is booted from holds somebody else's image.
    Occupied(&'a Slot),
}

/// Chooses among the slots of a BMC, best first as the probe lists them.
pub fn choose(
    slots: &[Slot],
    evict: bool,
    is_ours: impl Fn(&Slot) -> bool,
) -> Result<Berths<'_>, NoBerth<'_>> {
    let free = |slot: &&Slot| !slot.inserted || is_ours(slot);
    let boot = slots.iter().find(|slot| slot.boots).ok_or(NoBerth::NoBootSlot)?;
    if !evict && !free(&boot) {
        return Err(NoBerth::Occupied(boot));
    }
    let others = || slots.iter().filter(|slot| slot.id != boot.id);
    let data = others().find(free).or_else(|| others().next().filter(|_| evict));
    Ok(Berths { boot, data })
}

/// Whether the image in a slot is one that this controller serves: below `/m/` of its media URL, under a name of its
/// own making. An image of which the BMC shows no more than a file's name may be anybody's.
pub fn is_in_our_namespace(slot: &Slot, media_url: &str) -> bool {
    let Some(image) = slot.image.as_deref() else { return false };
    let path = match image.strip_prefix(media_url.trim_end_matches('/')) {
        Some(path) => path,
        None if image.starts_with('/') => image,
        None => return false,
    };
    let Some((token, name)) = path.strip_prefix("/m/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let of_ours = |c: char| c.is_ascii_lowercase() || ('2'..='7').contains(&c);
    token.len() == TOKEN_LEN && token.chars().all(of_ours) && !name.contains('/')
}

/// Characters of the unguessable part of a medium's path, as [`crate::media`] makes them.
const TOKEN_LEN: usize = crate::media::TOKEN_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redfish::SlotId;

    const MEDIA: &str = "http://10.0.0.5:8080";
    const OURS: &str = "http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxyz/maintenance.iso";
    const RESCUE: &str = "http://10.0.0.9/rescue.iso";

    fn slot(id: &str, boots: bool, image: Option<&str>) -> Slot {
        Slot {
            id: SlotId(id.to_owned()),
            media_types: vec![],
            inserted: image.is_some(),
            image: image.map(str::to_owned),
            boots,
        }
    }

    #[test]
    fn free_slots_are_taken_first_and_others_only_with_leave() {
        type Row = (&'static [(&'static str, bool, Option<&'static str>)], bool, &'static str);
        let table: &[Row] = &[
            (&[("1", true, None), ("2", true, None)], false, "1 2"),
            (&[("1", true, None)], false, "1 -"),
            (&[("1", true, Some(OURS)), ("2", false, Some(OURS))], false, "1 2"),
            (&[("1", true, Some(RESCUE)), ("2", true, None)], false, "occupied 1"),
            // Another slot, where there is one.
            (&[("1", true, None), ("2", false, Some(RESCUE)), ("3", false, None)], false, "1 3"),
            (&[("1", true, None), ("2", false, Some(RESCUE))], false, "1 -"),
            (&[("1", true, Some(RESCUE)), ("2", false, None)], false, "occupied 1"),
            (&[("1", true, Some(RESCUE)), ("2", false, None)], true, "1 2"),
            (&[("1", true, None), ("2", false, Some(RESCUE))], true, "1 2"),
            (&[("1", true, Some(RESCUE)), ("2", true, None)], true, "1 2"),
            (&[("1", false, None)], true, "none"),
            (&[], false, "none"),
        ];
        for (slots, evict, wanted) in table {
            let slots: Vec<Slot> = slots.iter().map(|(id, boots, image)| slot(id, *boots, *image)).collect();
            let got = match choose(&slots, *evict, |slot| is_in_our_namespace(slot, MEDIA)) {
                Ok(Berths { boot, data }) => {
                    format!("{} {}", boot.id.0, data.map_or("-", |data| data.id.0.as_str()))
                }
                Err(NoBerth::Occupied(slot)) => format!("occupied {}", slot.id.0),
                Err(NoBerth::NoBootSlot) => "none".to_owned(),
            };
            assert_eq!(got, *wanted, "{slots:?} evict: {evict}");
        }
    }

    #[test]
    fn only_images_below_our_own_media_url_are_ours() {
        for (image, ours) in [
            (OURS, true),
            ("/m/abcdefghijklmnopqrstuvwxyz/task.iso", true),
            ("http://10.0.0.5:8080/m/short/task.iso", false),
            ("http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxy1/task.iso", false),
            ("http://10.0.0.5:8080/m/abcdefghijklmnopqrstuvwxyz/a/task.iso", false),
            ("http://10.0.0.6:8080/m/abcdefghijklmnopqrstuvwxyz/task.iso", false),
            ("http://10.0.0.5:8080/iso/debian.iso", false),
            ("maintenance.iso", false),
            ("", false),
        ] {
            assert_eq!(is_in_our_namespace(&slot("1", true, Some(image)), MEDIA), ours, "{image}");
        }
        assert!(!is_in_our_namespace(&slot("1", true, None), MEDIA));
    }
}
