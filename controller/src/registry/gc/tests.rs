//! Any history of pushes, mounts, attachments, deletions, collections and restarts leaves the registry as the
//! [`model`] has it: nothing reachable is ever collected, and all garbage is once its time has passed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tower::ServiceExt as _;

use super::Rule;
use super::model::{FIRST, MANIFESTS, Model, Thing, Times, named, subject};
use crate::registry::auth::Open;
use crate::registry::digest::{Algorithm, Digest};
use crate::registry::document::{OCI_INDEX, OCI_MANIFEST};
use crate::registry::{Options, Registry};

const TIMES: Times = Times { lease: 60, grace: 30, untagged: 90 };
/// Minutes since 1970. One test moves it.
static NOW: AtomicI64 = AtomicI64::new(0);

fn minutes(count: i64) -> Duration {
    Duration::from_secs(60 * u64::try_from(count).unwrap())
}

fn now() -> Timestamp {
    Timestamp::from_second(60 * NOW.load(Ordering::Relaxed)).unwrap()
}

fn open(folder: &Path) -> Arc<Registry> {
    let rule = Rule {
        repository: glob::Pattern::new("*").unwrap(),
        tags: glob::Pattern::new("*").unwrap(),
        keep_last: None,
        untagged_after: Some(minutes(TIMES.untagged)),
    };
    let options = Options {
        reserve: 0,
        lease: minutes(TIMES.lease),
        grace: minutes(TIMES.grace),
        retention: vec![rule],
        clock: now,
        ..Options::default()
    };
    Registry::open(folder, options).unwrap()
}

fn bytes(thing: Thing) -> Vec<u8> {
    if thing < FIRST {
        return format!("blob {thing}").into_bytes();
    }
    let descriptor = |thing: &Thing| {
        let kind = if *thing < FIRST { "application/x" } else { media_type(*thing) };
        json!({ "mediaType": kind, "digest": digest(*thing), "size": bytes(*thing).len() })
    };
    let pieces: Vec<_> = named(thing).iter().map(descriptor).collect();
    let mut whole = json!({
        "schemaVersion": 2, "mediaType": media_type(thing), "annotations": { "number": thing.to_string() }
    });
    if media_type(thing) == OCI_INDEX {
        whole["manifests"] = pieces.into();
    } else {
        whole["config"] = pieces[0].clone();
        whole["layers"] = pieces[1..].to_vec().into();
    }
    if let Some(subject) = subject(thing) {
        whole["subject"] = descriptor(&subject);
    }
    whole.to_string().into_bytes()
}

fn media_type(manifest: Thing) -> &'static str {
    if named(manifest).iter().any(|thing| *thing >= FIRST) { OCI_INDEX } else { OCI_MANIFEST }
}

fn digest(thing: Thing) -> Digest {
    Digest::of(Algorithm::Sha256, &bytes(thing))
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize, Thing),
    Mount(usize, usize, Thing),
    Ask(usize, Thing),
    Put(usize, Thing, Option<usize>),
    Delete(usize, Thing),
    DeleteTag(usize, usize),
    DeleteBlob(usize, Thing),
    Pin(Thing),
    Unpin(Thing),
    Later(i64),
    Collect,
    /// The process dies; between two instants of a push, when a thing is named: its file is there and its link is not.
    Crash(Option<Thing>),
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..2_usize;
    let blob = 0..3_usize;
    let manifest = FIRST..FIRST + MANIFESTS.len();
    prop_oneof![
        6 => (place.clone(), blob.clone()).prop_map(|(place, blob)| Step::Push(place, blob)),
        2 => (place.clone(), blob.clone()).prop_map(|(from, blob)| Step::Mount(from, 1 - from, blob)),
        1 => (place.clone(), blob.clone()).prop_map(|(place, blob)| Step::Ask(place, blob)),
        8 => (place.clone(), manifest.clone(), proptest::option::of(0..2_usize))
            .prop_map(|(place, manifest, tag)| Step::Put(place, manifest, tag)),
        2 => (place.clone(), manifest.clone()).prop_map(|(place, manifest)| Step::Delete(place, manifest)),
        1 => (place.clone(), 0..2_usize).prop_map(|(place, tag)| Step::DeleteTag(place, tag)),
        1 => (place, blob.clone()).prop_map(|(place, blob)| Step::DeleteBlob(place, blob)),
        1 => manifest.clone().prop_map(Step::Pin),
        1 => manifest.prop_map(Step::Unpin),
        3 => (1..80_i64).prop_map(Step::Later),
        4 => Just(Step::Collect),
        1 => proptest::option::of(blob).prop_map(Step::Crash),
    ]
}

/// The registry and its model, side by side.
struct Pair {
    folder: tempfile::TempDir,
    registry: Arc<Registry>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        NOW.store(1_000_000, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let registry = open(folder.path());
        Self { folder, registry, model: Model { now: 1_000_000, ..Model::default() } }
    }

    async fn ask(&self, method: Method, path: String, kind: &str, body: Vec<u8>) -> StatusCode {
        let request =
            Request::builder().method(method).uri(path).header("content-type", kind).body(Body::from(body));
        self.registry.router(Arc::new(Open), None).oneshot(request.unwrap()).await.unwrap().status()
    }

    async fn plain(&self, method: Method, path: String) -> StatusCode {
        self.ask(method, path, "application/octet-stream", Vec::new()).await
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Push(place, blob) => {
                let path = format!("/v2/r{place}/blobs/uploads/?digest={}", digest(blob));
                let status = self.ask(Method::POST, path, "application/octet-stream", bytes(blob)).await;
                assert_eq!(status, StatusCode::CREATED);
                self.model.link(place, blob);
            }
            Step::Mount(from, to, blob) => {
                let path = format!("/v2/r{to}/blobs/uploads/?mount={}&from=r{from}", digest(blob));
                let there = self.model.links.contains_key(&(from, blob)) && self.model.files.contains(&blob);
                let expected = if there { StatusCode::CREATED } else { StatusCode::ACCEPTED };
                assert_eq!(self.plain(Method::POST, path).await, expected);
                if there {
                    self.model.link(to, blob);
                }
            }
            Step::Ask(place, blob) => {
                let there = self.model.links.contains_key(&(place, blob));
                let status = self.plain(Method::HEAD, format!("/v2/r{place}/blobs/{}", digest(blob))).await;
                assert_eq!(status == StatusCode::OK, there);
                let now = self.model.now;
                if let Some(since) = self.model.links.get_mut(&(place, blob))
                    && *since < now - TIMES.lease / 2
                {
                    *since = now;
                }
            }
            Step::Put(place, manifest, tag) => {
                let reference = tag.map_or_else(|| digest(manifest).to_string(), |tag| format!("t{tag}"));
                let path = format!("/v2/r{place}/manifests/{reference}");
                let status = self.ask(Method::PUT, path, media_type(manifest), bytes(manifest)).await;
                let taken = self.model.complete(place, manifest);
                assert_eq!(status == StatusCode::CREATED, taken, "{status}");
                if taken {
                    self.model.put(place, manifest, tag);
                }
            }
            Step::Delete(place, manifest) => {
                let path = format!("/v2/r{place}/manifests/{}", digest(manifest));
                let deleted = self.plain(Method::DELETE, path).await == StatusCode::ACCEPTED;
                let there = self.model.manifests.contains_key(&(place, manifest));
                assert_eq!(deleted, there && !self.model.pinned(manifest));
                if deleted {
                    self.model.delete(place, manifest);
                }
            }
            Step::DeleteTag(place, tag) => {
                let path = format!("/v2/r{place}/manifests/t{tag}");
                let deleted = self.plain(Method::DELETE, path).await == StatusCode::ACCEPTED;
                assert_eq!(deleted, self.model.tags.remove(&(place, tag)).is_some());
            }
            Step::DeleteBlob(place, blob) => {
                // Only what no manifest here names: a client that takes a layer out of its image has done just that.
                let used =
                    self.model.manifests.keys().any(|key| key.0 == place && named(key.1).contains(&blob));
                if !used && !self.model.pinned(blob) {
                    let path = format!("/v2/r{place}/blobs/{}", digest(blob));
                    let deleted = self.plain(Method::DELETE, path).await == StatusCode::ACCEPTED;
                    assert_eq!(deleted, self.model.links.remove(&(place, blob)).is_some());
                }
            }
            Step::Pin(manifest) => {
                let known = self.model.manifests.keys().any(|key| key.1 == manifest);
                assert_eq!(
                    self.registry.pin(&digest(manifest), &manifest.to_string(), None).await.unwrap(),
                    known
                );
                if known {
                    self.model.pins.insert(manifest);
                }
            }
            Step::Unpin(manifest) => {
                self.registry.unpin(&manifest.to_string()).await.unwrap();
                self.model.pins.remove(&manifest);
            }
            Step::Later(span) => self.later(span),
            Step::Collect => self.collect().await,
            Step::Crash(between) => {
                if let Some(blob) = between {
                    std::fs::write(self.registry.blob_path(&digest(blob)), bytes(blob)).unwrap();
                    self.model.files.insert(blob);
                }
                self.registry = open(self.folder.path());
            }
        }
    }

    fn later(&mut self, span: i64) {
        self.model.now += span;
        NOW.store(self.model.now, Ordering::Relaxed);
    }

    async fn collect(&mut self) {
        let rehearsed = self.registry.collect(true).await.unwrap();
        let done = self.registry.collect(false).await.unwrap();
        assert_eq!(
            super::Collection { dry_run: false, ..rehearsed },
            done,
            "a dry run says what would be done"
        );
        self.model.collect(TIMES);
        self.check();
    }

    fn check(&self) {
        let all: Vec<Thing> = (0..3).chain(FIRST..FIRST + MANIFESTS.len()).collect();
        let there = |thing: &Thing| self.registry.store.blob_size(&digest(*thing)).unwrap().is_some();
        let files: BTreeSet<Thing> = all.iter().copied().filter(there).collect();
        assert_eq!(files, self.model.files);
        assert!(self.model.reachable().is_subset(&files), "something reachable was collected");
        for place in 0..2 {
            let repository = format!("r{place}").parse().unwrap();
            for blob in 0..3 {
                let held = self.registry.index.holds_blob(&repository, &digest(blob)).unwrap();
                assert_eq!(held, self.model.links.contains_key(&(place, blob)), "blob {blob} in {place}");
            }
            for manifest in FIRST..FIRST + MANIFESTS.len() {
                let reference = digest(manifest).to_string().parse().unwrap();
                let held = self.registry.index.manifest(&repository, &reference).unwrap().is_some();
                assert_eq!(
                    held,
                    self.model.manifests.contains_key(&(place, manifest)),
                    "{manifest} in {place}"
                );
            }
        }
        assert!(self.registry.store.upload_ids().unwrap().iter().all(|id| !id.starts_with("scratch")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_reachable_is_ever_collected_and_all_garbage_is(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for step in steps {
                pair.take(step).await;
            }
            pair.check();
            for span in [TIMES.lease + TIMES.untagged + 1, TIMES.grace + 1] {
                pair.later(span);
                pair.collect().await;
            }
            let kept: BTreeSet<Thing> = pair.model.reachable().union(&pair.model.pins).copied().collect();
            assert_eq!(pair.model.files, kept, "garbage is left after its time");
        });
    }
}
