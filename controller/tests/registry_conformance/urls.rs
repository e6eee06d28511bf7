//! What no URL may do: reach anything but blobs and uploads of the registry, or break it. Names, digests, references,
//! upload ids and parameters are bent in every way that fooled servers before, and sent as they are, unnormalized.
//!
//! The registry's folder lies in one that holds what must never be read nor changed, and beside its blobs lies its
//! index, which must never be read either.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use controller::registry::auth::Open;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{
    bent::{METHODS, target},
    registry_support::{options, rig_at, sha256},
    support::{Answer, Line},
};

/// Requests in one run.
const REQUESTS: usize = 4000;
/// What lies beside the registry.
const SECRET: &str = "nobody-may-read-this";
/// How every SQLite file begins.
const INDEX_START: &[u8] = b"SQLite format 3";

/// All files below a folder with their content.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(format!("{}/", path.display()), Vec::new());
            found.extend(tree(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

fn beside(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let registry = place.join("registry").display().to_string();
    tree(place).into_iter().filter(|(path, _)| !path.starts_with(&registry)).collect()
}

/// A registry's folder holds its index, blobs by their digest, and uploads by ids of ours; all files, no links.
fn check_folder(folder: &Path) {
    for path in tree(folder).keys() {
        let name = path.strip_prefix(&format!("{}/", folder.display())).unwrap();
        let hex =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let known = match name.split('/').collect::<Vec<_>>().as_slice() {
            ["index.sqlite" | "index.sqlite-wal" | "index.sqlite-shm"] | ["blobs" | "uploads", ""] => true,
            ["blobs", "sha256" | "sha512", ""] => true,
            ["blobs", "sha256", blob] => hex(blob, 64),
            ["blobs", "sha512", blob] => hex(blob, 128),
            ["uploads", id] => uuid::Uuid::parse_str(id).is_ok(),
            _ => false,
        };
        assert!(known, "{path} is none of the registry's");
        assert!(!fs::symlink_metadata(path).unwrap().is_symlink(), "{path}");
    }
}

fn check(answer: &Answer, request: &str) {
    assert!(answer.status < 500, "{request}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    assert!(!answer.headers.contains_key("x-injected"), "{request}");
    let holds = |needle: &[u8]| answer.body.windows(needle.len()).any(|window| window == needle);
    assert!(
        !holds(SECRET.as_bytes()) && !holds(INDEX_START) && !holds(b"root:x:0"),
        "{request} reads what it may not"
    );
    let ours = answer.headers.contains_key("docker-distribution-api-version");
    if ours && answer.status >= 400 && !answer.body.is_empty() {
        answer.code();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_url_reaches_anything_outside_of_the_store_and_none_breaks_it() {
    let place = tempfile::tempdir().unwrap();
    for path in ["secret", "manifests/secret", "blobs/sha256/secret", "uploads/secret", "a/secret"] {
        fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
        fs::write(place.path().join(path), SECRET).unwrap();
    }
    let before = beside(place.path());
    let rig = rig_at(&place.path().join("registry"), options(), Arc::new(Open)).await;
    rig.push_image("known", "a", b"layer").await;
    let upload = rig.begin("known").await;
    let upload = upload.rsplit('/').next().unwrap();
    let digest = sha256(b"layer").to_string();

    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let requests = (select(METHODS), target(), prop::collection::vec(any::<u8>(), 0..60));
    let mut line = Line::open(&rig).await;
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let (method, target, body) = requests.new_tree(&mut runner).unwrap().current();
        let target =
            replace(&replace(&target, b"{digest}", digest.as_bytes()), b"{upload}", upload.as_bytes());
        let request = format!("{method} {}", target.escape_ascii());
        let length = format!("Content-Length: {}\r\n", body.len());
        line.say(method, &target, &length, &body).await;
        let mut answer = line.hear(method == "HEAD").await;
        if answer.is_none() {
            // The answer before was to a body that nobody read, or to what is no HTTP; the server hung up after it.
            line = Line::open(&rig).await;
            line.say(method, &target, &length, &body).await;
            answer = line.hear(method == "HEAD").await;
        }
        let answer = answer.unwrap_or_else(|| panic!("{request}: no answer"));
        check(&answer, &request);
        *statuses.entry(answer.status).or_default() += 1;
    }
    eprintln!("{REQUESTS} requests were answered so: {statuses:?}");
    for wanted in [200, 400, 404, 405] {
        assert!(statuses.contains_key(&wanted), "the bent requests no longer reach far: {statuses:?}");
    }
    assert_eq!(beside(place.path()), before, "nothing outside of the registry was touched");
    check_folder(&place.path().join("registry"));
    assert_eq!(rig.get("/v2/").await.status(), 200);
}

fn replace(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(what) {
            out.extend_from_slice(with);
            at += what.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// The classics, written out, so that a failure here needs no luck to be found again.
#[tokio::test]
async fn the_classics_are_refused_by_every_method() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("secret"), SECRET).unwrap();
    let rig = rig_at(&place.path().join("registry"), options(), Arc::new(Open)).await;
    rig.push_image("known", "a", b"layer").await;
    for up in [
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "%252e%252e%252f",
        "..%5c",
        "..\\",
        "..%c0%af",
        "%00../",
        "....//",
        "..;/",
    ] {
        for depth in [1, 2, 4] {
            let climb = up.repeat(depth);
            for target in [
                format!("/v2/known/blobs/sha256:{climb}index.sqlite"),
                format!("/v2/known/blobs/{climb}secret"),
                format!("/v2/known/blobs/uploads/{climb}secret"),
                format!("/v2/known/manifests/{climb}secret"),
                format!("/v2/{climb}secret/manifests/a"),
                format!("/v2/known/{climb}secret/tags/list"),
                format!("/v2/{climb}blobs/uploads/"),
                format!("/v2/known/referrers/sha256:{climb}secret"),
                format!("/v2/known/blobs/uploads/?mount=sha256:{climb}secret&from={climb}"),
                format!("/{climb}secret"),
            ] {
                for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
                    let mut line = Line::open(&rig).await;
                    line.say(method, target.as_bytes(), "Content-Length: 1\r\n", b"x").await;
                    let answer = line.hear(method == "HEAD").await.unwrap();
                    let request = format!("{method} {target}");
                    assert!((400..500).contains(&answer.status), "{request}: {}", answer.status);
                    check(&answer, &request);
                }
            }
        }
    }
    assert_eq!(fs::read_to_string(place.path().join("secret")).unwrap(), SECRET);
    check_folder(&place.path().join("registry"));
}
