//! What the collection must agree with: the same rules on plain sets, without transactions, pages or files.

use std::collections::{BTreeMap, BTreeSet};

/// A thing is a blob (0, 1, 2) or a manifest (from [`FIRST`] on).
pub type Thing = usize;
/// The first manifest.
pub const FIRST: Thing = 10;

/// What a manifest names, and what it is about. Names come before those who name them.
pub const MANIFESTS: [(&[Thing], Option<Thing>); 5] = [
    (&[0], None),
    (&[0, 1], None),
    (&[FIRST], None),
    (&[2], Some(FIRST + 1)),
    (&[FIRST + 1, FIRST + 2], None),
];

/// What a manifest names.
pub fn named(manifest: Thing) -> &'static [Thing] {
    MANIFESTS[manifest - FIRST].0
}

/// What it is about.
pub fn subject(manifest: Thing) -> Option<Thing> {
    MANIFESTS[manifest - FIRST].1
}

/// Times, in minutes.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub lease: i64,
    pub grace: i64,
    pub untagged: i64,
}

/// The state of a registry.
#[derive(Debug, Default)]
pub struct Model {
    pub now: i64,
    /// Place and blob, with the beginning of its lease.
    pub links: BTreeMap<(usize, Thing), i64>,
    /// Place and manifest, with the time of its push.
    pub manifests: BTreeMap<(usize, Thing), i64>,
    /// Place and tag.
    pub tags: BTreeMap<(usize, usize), Thing>,
    pub pins: BTreeSet<Thing>,
    pub files: BTreeSet<Thing>,
    pub unheld: BTreeMap<Thing, i64>,
}

impl Model {
    pub fn link(&mut self, place: usize, blob: Thing) {
        self.links.insert((place, blob), self.now);
        self.files.insert(blob);
        self.unheld.remove(&blob);
    }

    /// Whether a push of this manifest is taken.
    pub fn complete(&self, place: usize, manifest: Thing) -> bool {
        named(manifest).iter().all(|thing| {
            let here = if *thing < FIRST {
                self.links.contains_key(&(place, *thing))
            } else {
                self.manifests.contains_key(&(place, *thing))
            };
            here && self.files.contains(thing)
        })
    }

    pub fn put(&mut self, place: usize, manifest: Thing, tag: Option<usize>) {
        self.manifests.insert((place, manifest), self.now);
        self.files.insert(manifest);
        self.unheld.remove(&manifest);
        self.tags.extend(tag.map(|tag| ((place, tag), manifest)));
    }

    pub fn delete(&mut self, place: usize, manifest: Thing) {
        self.manifests.remove(&(place, manifest));
        self.tags.retain(|key, found| (key.0, *found) != (place, manifest));
    }

    /// Whether a pin keeps it: on itself, or on what names it anywhere.
    pub fn pinned(&self, thing: Thing) -> bool {
        self.pins.contains(&thing)
            || self
                .manifests
                .keys()
                .any(|(_, parent)| named(*parent).contains(&thing) && self.pinned(*parent))
    }

    fn held(&self, thing: Thing) -> bool {
        self.pins.contains(&thing)
            || self.links.keys().any(|key| key.1 == thing)
            || self.manifests.keys().any(|key| key.1 == thing)
    }

    pub fn collect(&mut self, times: Times) {
        loop {
            let idle = self.manifests.iter().find(|((place, manifest), pushed)| {
                let here = |thing: Thing| self.manifests.contains_key(&(*place, thing));
                **pushed < self.now - times.untagged
                    && !self.tags.iter().any(|(key, found)| (key.0, *found) == (*place, *manifest))
                    && !self.manifests.keys().any(|key| key.0 == *place && named(key.1).contains(manifest))
                    && !subject(*manifest).is_some_and(here)
                    && !self.pinned(*manifest)
            });
            let Some((&(place, manifest), _)) = idle else { break };
            self.delete(place, manifest);
        }
        let unnamed: Vec<_> = self
            .links
            .iter()
            .filter(|((place, blob), since)| {
                **since < self.now - times.lease
                    && !self.manifests.keys().any(|key| key.0 == *place && named(key.1).contains(blob))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in unnamed {
            self.links.remove(&key);
        }
        for thing in self.files.clone() {
            if self.held(thing) {
                self.unheld.remove(&thing);
                continue;
            }
            let since = *self.unheld.entry(thing).or_insert(self.now);
            if since <= self.now - times.grace {
                self.files.remove(&thing);
                self.unheld.remove(&thing);
            }
        }
    }

    /// All that a manifest, wherever it is, needs to be pulled; what a client itself took out of it is not.
    pub fn reachable(&self) -> BTreeSet<Thing> {
        let here = |place: usize, thing: Thing| {
            self.links.contains_key(&(place, thing)) || self.manifests.contains_key(&(place, thing))
        };
        let keys = self.manifests.keys();
        keys.flat_map(|key| named(key.1).iter().copied().filter(|thing| here(key.0, *thing)).chain([key.1]))
            .collect()
    }
}
