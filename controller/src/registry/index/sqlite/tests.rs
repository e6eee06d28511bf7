//! Rules of the index, on a real file: durability, migration, and a model that it must agree with.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::registry::{
    digest::Algorithm,
    document::Need,
    index::{Cursor, Garbage as _, PUSHES_KEPT, Page, Pushes as _, UploadRow},
};

fn open(folder: &tempfile::TempDir) -> SqliteIndex {
    SqliteIndex::open(&folder.path().join("index.sqlite")).unwrap()
}

fn digest(number: usize) -> Digest {
    Digest::of(Algorithm::Sha256, number.to_string().as_bytes())
}

fn repository(number: usize) -> Repository {
    format!("r/{number}").parse().unwrap()
}

fn tag(number: usize) -> Tag {
    format!("t{number}").parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn manifest(place: usize, name: usize, needs: Vec<(Digest, Need)>, tags: Vec<Tag>) -> NewManifest {
    NewManifest {
        repository: repository(place),
        row: ManifestRow {
            digest: digest(name),
            media_type: "application/x".to_owned(),
            size: 3,
            artifact_type: None,
            subject: None,
            annotations: BTreeMap::new(),
        },
        needs,
        tags,
        id: format!("push of {name}"),
        by: "ci".to_owned(),
        fixed: Fixed::default(),
        quotas: Vec::new(),
        at: at(1),
    }
}

#[test]
fn what_was_written_is_read_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let upload = UploadRow {
        id: "u".to_owned(),
        repository: repository(1),
        algorithm: Algorithm::Sha512,
        started_at: at(5),
    };
    let mut new = manifest(1, 1, vec![(digest(2), Need::Blob)], vec![tag(1)]);
    new.row.annotations.insert("k".to_owned(), "v".to_owned());
    new.row.subject = Some(digest(9));
    let pin = Pin { digest: digest(1), owner: "job 1".to_owned(), until: Some(at(77)) };
    {
        let index = open(&folder);
        index.begin_upload(&upload).unwrap();
        index.link_blob(&repository(1), &digest(2), 7, None, at(1), &[]).unwrap();
        assert_eq!(index.put_manifest(&new).unwrap(), Stored::Yes);
        index.pin(&pin).unwrap();
    }
    let index = open(&folder);
    assert_eq!(index.upload("u").unwrap(), Some(upload));
    assert_eq!(index.manifest(&repository(1), &Reference::Tag(tag(1))).unwrap(), Some(new.row.clone()));
    assert_eq!(index.pins().unwrap(), [pin]);
    let referrers = index.referrers(&repository(1), &digest(9), None, "", 10).unwrap();
    assert_eq!(referrers, Page { items: vec![new.row], more: false });
    assert_eq!(index.uploads_before(at(5)).unwrap(), Vec::<String>::new());
    assert_eq!(index.uploads_before(at(6)).unwrap(), ["u"]);
    index.link_blob(&repository(1), &digest(3), 7, Some("u"), at(1), &[]).unwrap();
    assert_eq!(index.upload("u").unwrap(), None, "a blob takes the place of its upload");
}

#[test]
fn a_file_of_a_later_release_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let path = folder.path().join("index.sqlite");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteIndex::open(&path).unwrap_err();
    assert!(matches!(error, IndexError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_manifest_that_misses_a_piece_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    index.link_blob(&repository(1), &digest(1), 7, None, at(1), &[]).unwrap();
    index.link_blob(&repository(2), &digest(2), 7, None, at(1), &[]).unwrap();
    let needs = vec![(digest(1), Need::Blob), (digest(2), Need::Blob)];
    let new = manifest(1, 5, needs, vec![tag(1)]);
    assert_eq!(
        index.put_manifest(&new).unwrap(),
        Stored::Missing(digest(2)),
        "it is in another repository only"
    );
    assert_eq!(index.manifest(&repository(1), &Reference::Digest(digest(5))).unwrap(), None);
    assert_eq!(index.tags(&repository(1), "", 10).unwrap().unwrap().items, Vec::<String>::new());
    let child = manifest(1, 6, vec![(digest(5), Need::Manifest)], vec![]);
    assert_eq!(index.put_manifest(&child).unwrap(), Stored::Missing(digest(5)));
}

#[test]
fn pins_that_have_ended_are_forgotten_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    index.put_manifest(&manifest(1, 1, vec![], vec![])).unwrap();
    for (owner, until) in [("a", None), ("b", Some(at(10))), ("c", Some(at(11)))] {
        index.pin(&Pin { digest: digest(1), owner: owner.to_owned(), until }).unwrap();
    }
    let owners = || -> Vec<String> { index.pins().unwrap().into_iter().map(|pin| pin.owner).collect() };
    assert_eq!((index.expire_pins(at(9)).unwrap(), owners().len()), (0, 3));
    assert_eq!((index.expire_pins(at(10)).unwrap(), owners()), (1, vec!["a".to_owned(), "c".to_owned()]));
    assert_eq!((index.expire_pins(at(99)).unwrap(), owners()), (1, vec!["a".to_owned()]));
}

#[test]
fn a_page_of_referrers_ends_when_its_annotations_are_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    for name in 0..6 {
        let mut new = manifest(1, name, vec![], vec![]);
        new.row.subject = Some(digest(99));
        new.row.annotations.insert("large".to_owned(), "x".repeat(600 * 1024));
        index.put_manifest(&new).unwrap();
    }
    let (mut found, mut after, mut pages) = (0, String::new(), 0);
    loop {
        let page = index.referrers(&repository(1), &digest(99), None, &after, 1000).unwrap();
        assert!(page.items.len() <= 2);
        found += page.items.len();
        pages += 1;
        if !page.more {
            break;
        }
        after = page.items.last().unwrap().digest.to_string();
    }
    assert_eq!((found, pages), (6, 3));
}

#[test]
fn pushes_that_nobody_deals_with_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    let push = |name: usize| index.put_manifest(&manifest(1, name, vec![], vec![tag(1)])).unwrap();
    push(1);
    let many = PUSHES_KEPT + 1000;
    let skip = format!("UPDATE sqlite_sequence SET seq = {} WHERE name = 'push'", many - 2);
    lock(&index.writer).execute(&skip, []).unwrap();
    push(2);
    assert_eq!(index.pushes_after(0, 10).unwrap().len(), 2);
    push(3);
    let left: Vec<i64> = index.pushes_after(0, 10).unwrap().iter().map(|push| push.seq).collect();
    assert_eq!(left, [many - 1, many], "the oldest is gone");
}

#[derive(Debug, Clone)]
enum Step {
    Link(usize, usize),
    Unlink(usize, usize),
    Put(usize, usize, Option<usize>, Option<usize>),
    Delete(usize, usize),
    DeleteTag(usize, usize),
    Pin(usize, usize),
    Unpin(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0..3_usize;
    prop_oneof![
        3 => (small.clone(), small.clone()).prop_map(|(place, blob)| Step::Link(place, blob)),
        1 => (small.clone(), small.clone()).prop_map(|(place, blob)| Step::Unlink(place, blob)),
        5 => (small.clone(), small.clone(), proptest::option::of(small.clone()), proptest::option::of(small.clone()))
            .prop_map(|(place, name, blob, tag)| Step::Put(place, name, blob, tag)),
        2 => (small.clone(), small.clone()).prop_map(|(place, name)| Step::Delete(place, name)),
        1 => (small.clone(), small.clone()).prop_map(|(place, tag)| Step::DeleteTag(place, tag)),
        1 => (small.clone(), small.clone()).prop_map(|(name, owner)| Step::Pin(name, owner)),
        1 => small.prop_map(Step::Unpin),
    ]
}

/// What the index must agree with. Manifests are numbers from 100 on, so that they never are blobs.
#[derive(Default)]
struct Model {
    blobs: BTreeSet<(usize, usize)>,
    manifests: BTreeSet<(usize, usize)>,
    edges: BTreeSet<(usize, usize, usize)>,
    tags: BTreeMap<(usize, usize), usize>,
    pins: BTreeSet<(usize, usize)>,
}

impl Model {
    fn pinned(&self, thing: usize) -> bool {
        let named_by = self.edges.iter().filter(|edge| edge.2 == thing).map(|edge| edge.1);
        let mut keepers: BTreeSet<usize> = named_by.collect();
        keepers.insert(thing);
        self.pins.iter().any(|(digest, _)| keepers.contains(digest))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_leaves_the_index_as_the_model_has_it(steps in proptest::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let index = open(&folder);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Link(place, blob) => {
                    index.link_blob(&repository(place), &digest(blob), 1, None, at(1), &[]).unwrap();
                    model.blobs.insert((place, blob));
                }
                Step::Unlink(place, blob) => {
                    let done = index.unlink_blob(&repository(place), &digest(blob), &Fixed::default(), at(1)).unwrap();
                    let expected = !model.pinned(blob) && model.blobs.remove(&(place, blob));
                    prop_assert_eq!(done == Removed::Yes, expected);
                }
                Step::Put(place, name, blob, name_of_tag) => {
                    let needs = blob.map(|blob| (digest(blob), Need::Blob)).into_iter().collect();
                    let tags = name_of_tag.map(tag).into_iter().collect();
                    let stored = index.put_manifest(&manifest(place, 100 + name, needs, tags)).unwrap();
                    let complete = blob.is_none_or(|blob| model.blobs.contains(&(place, blob)));
                    prop_assert_eq!(stored == Stored::Yes, complete);
                    if complete {
                        model.manifests.insert((place, 100 + name));
                        model.edges.extend(blob.map(|blob| (place, 100 + name, blob)));
                        model.tags.extend(name_of_tag.map(|tag| ((place, tag), 100 + name)));
                    }
                }
                Step::Delete(place, name) => {
                    let name = 100 + name;
                    let done = index.delete_manifest(&repository(place), &digest(name), &Fixed::default(), at(1)).unwrap();
                    let expected = !model.pinned(name) && model.manifests.remove(&(place, name));
                    prop_assert_eq!(done == Removed::Yes, expected);
                    if expected {
                        model.edges.retain(|edge| (edge.0, edge.1) != (place, name));
                        model.tags.retain(|key, found| (key.0, *found) != (place, name));
                    }
                }
                Step::DeleteTag(place, name) => {
                    let done = index.delete_tag(&repository(place), &tag(name)).unwrap();
                    prop_assert_eq!(done, model.tags.remove(&(place, name)).is_some());
                }
                Step::Pin(name, owner) => {
                    let pin = Pin { digest: digest(100 + name), owner: owner.to_string(), until: None };
                    let known = model.manifests.iter().any(|key| key.1 == 100 + name);
                    prop_assert_eq!(index.pin(&pin).unwrap(), known);
                    model.pins.extend(known.then_some((100 + name, owner)));
                }
                Step::Unpin(owner) => {
                    let held = model.pins.iter().filter(|pin| pin.1 == owner).count();
                    prop_assert_eq!(index.unpin(&owner.to_string()).unwrap(), held);
                    model.pins.retain(|pin| pin.1 != owner);
                }
            }
        }
        for place in 0..3 {
            for thing in (0..3).chain(100..103) {
                prop_assert_eq!(index.holds_blob(&repository(place), &digest(thing)).unwrap(), model.blobs.contains(&(place, thing)));
                let found = index.manifest(&repository(place), &Reference::Digest(digest(thing))).unwrap();
                prop_assert_eq!(found.is_some(), model.manifests.contains(&(place, thing)));
            }
            for name in 0..3 {
                let found = index.manifest(&repository(place), &Reference::Tag(tag(name))).unwrap();
                prop_assert_eq!(found.map(|row| row.digest), model.tags.get(&(place, name)).map(|found| digest(*found)));
            }
            let listed = index.tags(&repository(place), "", 10).unwrap().map(|page| page.items).unwrap_or_default();
            let expected: Vec<String> =
                model.tags.keys().filter(|key| key.0 == place).map(|key| tag(key.1).to_string()).collect();
            prop_assert_eq!(listed, expected);
        }
        for row in index.usage("", 10).unwrap() {
            let place = (0..3).find(|place| repository(*place).as_str() == row.repository).unwrap();
            let blobs = model.blobs.iter().filter(|key| key.0 == place).count();
            let manifests = model.manifests.iter().filter(|key| key.0 == place).count();
            prop_assert_eq!(row.bytes, (blobs + 3 * manifests) as u64, "one byte for each blob, three for each manifest");
        }
        let listed = index.repositories("", 10).unwrap().items;
        let expected: BTreeSet<String> = model.manifests.iter().map(|key| repository(key.0).to_string()).collect();
        prop_assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
    }
}

/// Repositories of two namespaces, and of neither.
const PLACES: [&str; 4] = ["team", "team/app", "teamwork", "other"];

fn place(number: usize) -> Repository {
    PLACES[number].parse().unwrap()
}

#[test]
fn what_was_there_before_quotas_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let old = Connection::open(&path).unwrap();
    for sql in &MIGRATIONS[..4] {
        old.execute_batch(sql).unwrap();
    }
    old.pragma_update(None, "user_version", 4).unwrap();
    old.execute_batch(
        "INSERT INTO repository (id, name) VALUES (1, 'team/app'), (2, 'other'), (3, 'team');
         INSERT INTO repository_blob VALUES (1, 'sha256:a', 100, 0), (1, 'sha256:b', 20, 0), (2, 'sha256:a', 100, 0);
         INSERT INTO manifest VALUES (1, 'sha256:c', 'x', 3, NULL, NULL, '{}', 0);",
    )
    .unwrap();
    drop(old);
    let index = SqliteIndex::open(&path).unwrap();
    let found: Vec<(String, u64)> =
        index.usage("", 10).unwrap().into_iter().map(|row| (row.repository, row.bytes)).collect();
    assert_eq!(found, [("other".to_owned(), 100), ("team".to_owned(), 0), ("team/app".to_owned(), 123)]);
    let quotas = ["team", ""].map(|name| Quota { namespace: name.to_owned(), size: 1000 });
    let used: Vec<u64> = index.rooms(&quotas).unwrap().iter().map(|room| room.used).collect();
    assert_eq!(used, [123, 223]);
}

#[derive(Debug, Clone)]
enum Change {
    Link(usize, usize),
    Unlink(usize, usize),
    Put(usize, usize),
    Delete(usize, usize),
    Sweep,
}

fn change() -> impl Strategy<Value = Change> {
    let (place, thing) = (0..PLACES.len(), 0..6_usize);
    prop_oneof![
        6 => (place.clone(), thing.clone()).prop_map(|(place, thing)| Change::Link(place, thing)),
        2 => (place.clone(), thing.clone()).prop_map(|(place, thing)| Change::Unlink(place, thing)),
        4 => (place.clone(), thing.clone()).prop_map(|(place, thing)| Change::Put(place, thing)),
        2 => (place, thing).prop_map(|(place, thing)| Change::Delete(place, thing)),
        1 => Just(Change::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_history_exceeds_a_quota_and_what_fits_is_always_taken(changes in proptest::collection::vec(change(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let index = open(&folder);
        let quotas = [("team", 12), ("team/app", 7), ("", 20)]
            .map(|(name, size)| Quota { namespace: name.to_owned(), size });
        // Blobs are as large as their number and one; manifests, from 100 on, have three bytes.
        let size = |thing: usize| if thing < 100 { thing as u64 + 1 } else { 3 };
        let mut held: BTreeSet<(usize, usize)> = BTreeSet::new();
        let used = |held: &BTreeSet<(usize, usize)>, quota: &Quota| -> u64 {
            held.iter().filter(|key| quota.covers(&place(key.0))).map(|key| size(key.1)).sum()
        };
        for change in changes {
            let fits = |at: usize, thing: usize| {
                held.contains(&(at, thing))
                    || quotas.iter().filter(|quota| quota.covers(&place(at)))
                        .all(|quota| used(&held, quota) + size(thing) <= quota.size)
            };
            match change {
                Change::Link(to, blob) => {
                    let expected = fits(to, blob);
                    let kept = Quota::of(&quotas, &place(to));
                    let linked = index.link_blob(&place(to), &digest(blob), size(blob), None, at(1), &kept).unwrap();
                    prop_assert_eq!(linked == Linked::Yes, expected);
                    held.extend(expected.then_some((to, blob)));
                }
                Change::Unlink(from, blob) => {
                    let gone = index.unlink_blob(&place(from), &digest(blob), &Fixed::default(), at(1)).unwrap();
                    prop_assert_eq!(gone == Removed::Yes, held.remove(&(from, blob)));
                }
                Change::Put(to, number) => {
                    let thing = 100 + number;
                    let expected = fits(to, thing);
                    let mut new = manifest(0, thing, vec![], vec![]);
                    (new.repository, new.quotas) = (place(to), Quota::of(&quotas, &place(to)));
                    let stored = index.put_manifest(&new).unwrap();
                    prop_assert_eq!(stored == Stored::Yes, expected);
                    held.extend(expected.then_some((to, thing)));
                }
                Change::Delete(from, number) => {
                    let thing = 100 + number;
                    let gone = index.delete_manifest(&place(from), &digest(thing), &Fixed::default(), at(1)).unwrap();
                    prop_assert_eq!(gone == Removed::Yes, held.remove(&(from, thing)));
                }
                Change::Sweep => {
                    index.unlink_unnamed(&Cursor::default(), at(2), at(2), 100).unwrap();
                    held.retain(|key| key.1 >= 100);
                }
            }
            for (room, quota) in index.rooms(&quotas).unwrap().into_iter().zip(&quotas) {
                prop_assert_eq!(room.used, used(&held, quota), "{}", &room.namespace);
                prop_assert!(room.used <= quota.size);
            }
        }
    }
}
